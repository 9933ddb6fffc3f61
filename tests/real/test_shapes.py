"""Files as public bodies publish them: titles, notes and group rows around the table, old workbooks, GB 18030 without a mark.

Statistics and odd files are read under the contract that `dmp contract new` proposes for them; the lists of universities under
one that a person wrote.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import duckdb
import pytest

from catalog.contract import Contract, load_contract
from catalog.yaml_file import CatalogError
from pipelines import readers
from pipelines.errors import NotFound
from pipelines.readers.rows import Reading
from pipelines.scaffold import scaffold
from tests.real.conftest import extracts
from tests.support import town
from warehouse.lake import literal, quoted

pytestmark = pytest.mark.shared

MONTHLY = """\
title: {zh: 分省月度价格指数, en: Monthly price indices by province}
load: append
period: {from: arrival}
arrival: {drop: "*.csv", cycle: event}
format: {encoding: gb18030, above_header: '^指标：(?P<指标>.+)$'}
columns:
  - {from: 指标, to: indicator, key: true}
  - {from: 地区, to: region, key: true}
"""
UNIVERSITIES = """\
title: {zh: 普通高校名单, en: Universities and colleges}
load: snapshot
period: {from: file_name, pattern: "^(?P<year>[0-9]{4})"}
arrival: {drop: "*名单.xls", cycle: yearly}
format: {reader: workbook, group_rows: '^(?P<省份>.+?)[（(](?P<count>[0-9]+)所[）)]$'}
clean: [trim_text]
columns:
  - {from: 省份, to: province, required: true}
  - {from: 学校名称, to: university_name, key: true}
  - {from: 学校标识码, to: university_code, optional: true}
  - {from: 主管部门, to: authority}
  - {from: 所在地, to: city}
  - {from: 办学层次, to: education_level}
  - {from: 序号, ignore: counts the rows of the list}
  - {from: 备注, to: remark, optional: true}
expect:
  - key_is_unique
"""


def scaffolded(path: Path, folder: Path, number: int) -> tuple[Contract, Reading, Path]:
    """The file under the contract that is proposed for it."""
    place = folder / f"sample__file{number}.yaml"
    place.write_text(scaffold(path), encoding="utf-8")
    contract, out = load_contract(place), folder / f"{number}.parquet"
    return contract, readers.read(path, contract, "b", out), out


def test_statistics_have_the_header_the_columns_and_the_rows_that_a_person_sees(tmp_path: Path) -> None:
    folder = extracts("nbs-statistics-exports")
    with (folder / "expected_shape.csv").open(encoding="utf-8-sig") as file:
        expected = list(csv.DictReader(file))
    seen, wanted = {}, {}
    for number, row in enumerate(expected):
        contract, reading, _ = scaffolded(folder / row["file"], tmp_path, number)
        header = next((f.row for f in reading.findings if f.code == "header_found"), (contract.format.header_row or (1,))[-1])
        notes = reading.other.get("note", 0)
        seen[row["file"]] = (header, len(reading.header), reading.rows, notes, reading.encoding or "xls")
        shape = [int(row[k]) for k in ("header_row_1based", "columns", "data_rows", "footer_rows")]
        wanted[row["file"]] = (*shape, row["encoding"])
        assert reading.records == reading.rows + sum(reading.other.values())
    assert len(seen) == 23
    assert seen == wanted


def test_nine_files_of_one_form_become_one_table_by_the_text_above_their_header(tmp_path: Path) -> None:
    files = sorted(extracts("nbs-statistics-exports").glob("data-science-in-action__*.csv"))
    with files[0].open(encoding="gb18030") as file:
        header = next(line for line in file if line.startswith("地区")).strip().split(",")
    months = "".join(f'  - {{from: "{h}", to: month_{i}, type: number}}\n' for i, h in enumerate(header[1:], 1))
    place = town(tmp_path, {"statistics__price": MONTHLY + months})
    for number, file in enumerate(files):
        place.drop("statistics", f"{number}.csv", file.read_bytes())
    with place.run("2026-03-02T20:00:00+08:00") as run:
        from pipelines.flow import intake

        verdicts = intake(run, "statistics__price")
    assert [v.state for v in verdicts] == ["pass"] * 9, [v.sentence for v in verdicts]
    rows = place.tables()["std.statistics__price"]
    assert len(rows) == 9 * 31
    assert len({r["indicator"] for r in rows}) == 9
    assert len({r["region"] for r in rows}) == 31


def test_lists_of_universities_load_whole_and_their_groups_have_the_rows_they_announce(tmp_path: Path) -> None:
    place = town(tmp_path, {"education__university": UNIVERSITIES})
    for file in extracts("moe-universities").glob("*.xls"):
        place.drop("education", file.name, file.read_bytes())
    with place.run("2026-03-02T20:00:00+08:00") as run:
        from pipelines.flow import intake

        verdicts = intake(run, "education__university")
    assert all(v.accepted for v in verdicts), [v.sentence for v in verdicts]
    tables = place.tables()
    ledger = {r["period"]: r for r in tables["ledger.batch"]}
    assert {p: (r["rows_accepted"], r["rows_refused"]) for p, r in ledger.items()} == {"2011": (2101, 0), "2017": (2631, 0)}
    rows = tables["std.education__university"]
    assert not [r for r in rows if "所）" in r["university_name"]], "a row that heads a group is no institution"
    assert {len({r["province"] for r in rows if r["_batch"] == b["batch"]}) for b in ledger.values()} == {31}
    codes = [r["code"] for r in tables["quality.finding"]]
    assert "group_count_differs" not in codes, "each province has as many institutions as its row says"
    announced = [json.loads(s["rows_out"])["group_heading"] for s in tables["ledger.stage"] if s["stage"] == "collect"]
    assert announced == [31, 31]


def test_a_province_that_announces_more_than_it_has_is_told(tmp_path: Path) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    for row in (
        ["序号", "学校名称", "主管部门", "所在地", "办学层次"],
        ["北京市（3所）"],
        [1, "甲大学", "教育部", "北京市", "本科"],
    ):
        sheet.append(row)
    book.save(tmp_path / "2020名单.xls")
    path = tmp_path / "education__university.yaml"
    path.write_text(UNIVERSITIES, encoding="utf-8")
    reading = readers.read(tmp_path / "2020名单.xls", load_contract(path), "b", tmp_path / "o.parquet")
    (found,) = [f for f in reading.findings if f.code == "group_count_differs"]
    assert "3" in found.message_zh
    assert "1" in found.message_zh
    assert found.row == 2


def workbook_contract(tmp_path: Path, form: str, columns: list[str]) -> Contract:
    path = tmp_path / "public__table.yaml"
    lines = [f'  - {{from: "{c}", to: column_{i}}}' for i, c in enumerate(columns)]
    path.write_text(
        f"title: x\nload: snapshot\narrival: {{drop: '*', cycle: yearly}}\nformat: {form}\ncolumns:\n" + "\n".join(lines),
        encoding="utf-8",
    )
    return load_contract(path)


@pytest.mark.parametrize(
    ("file", "form", "columns", "first", "last", "sample"),
    [
        (
            "smungs__us-crime-2.xlsx",
            "{reader: workbook, sheet: 16tbl02, header_row: [4, 5], fill_down: Area, notes: '^([0-9]|NOTE)'}",
            ["Area", "Year", "Population2", "Violent crime3 Rate per 100,000"],
            6,
            203,
            {"Area": "Connecticut", "Year": "2016", "Population2": "3576452"},
        ),
        (
            "smungs__toronto_transit.xlsx",
            "{reader: workbook, sheet: 1985-2017 ACTUALS, header_row: 6}",
            ["FARE MEDIA", "2017", "2015 *", "1985"],
            7,
            None,
            {"FARE MEDIA": "TOKENS", "2017": "76106"},
        ),
        (
            "flaxandteal__expenditure.xls",
            "{reader: workbook, sheet: Table 1, header_row: 6}",
            ["column 1", "1971", "2001"],
            7,
            None,
            {"column 1": "Education", "1971": "100", "2001": "254.9368660732767"},
        ),
        (
            "csvkit__ne_1033_data.xlsx",
            "{reader: workbook, sheet: NE data}",
            ["state", "county", "item_name"],
            2,
            1037,
            {"state": "NE"},
        ),
    ],
)
def test_public_workbooks_give_the_rows_that_a_person_counts(
    file: str, form: str, columns: list[str], first: int, last: int | None, sample: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "o.parquet"
    contract = workbook_contract(tmp_path, form, columns)
    reading = readers.read(extracts("public-workbooks") / file, contract, "b", out)
    assert not reading.held, [f.message_en for f in reading.findings]
    rows = duckdb.sql(f"FROM {literal(str(out))} WHERE _defect IS NULL ORDER BY _row")
    names = rows.columns
    records = [dict(zip(names, r, strict=True)) for r in rows.fetchall()]
    assert records[0]["_row"] == first
    if last:
        assert (records[-1]["_row"], len(records)) == (last, last - first + 1)
    assert any(all((r[k] or "").strip() == v for k, v in sample.items()) for r in records)
    assert reading.records == reading.rows + sum(reading.other.values())


def test_odd_files_load_or_are_refused_with_a_reason_and_none_reads_as_nonsense(tmp_path: Path) -> None:
    loaded, refused = 0, {}
    files = sorted(p for p in extracts("csv-fixtures").rglob("*") if p.is_file() and p.suffix not in (".json", ".md"))
    for number, path in enumerate(files):
        try:
            _, reading, out = scaffolded(path, tmp_path, number)
        except (NotFound, CatalogError) as error:
            refused[path.name] = str(error)
            continue
        if reading.held:
            refused[path.name] = " ".join(f.message_zh for f in reading.findings if f.severity == "hold")
            continue
        loaded += 1
        text = json.dumps(duckdb.sql(f"FROM {literal(str(out))}").fetchall(), ensure_ascii=False, default=str)
        assert "\ufffd" not in text.replace("\\ufffd", "") or any(f.code == "character_unreadable" for f in reading.findings)
        assert not any(marker in text for marker in ("Ã©", "â€", "Ð¢Ð°")), f"{path.name} reads as nonsense"
    print(f"\n{loaded} load, {len(refused)} are refused with a reason")
    assert loaded + len(refused) == len(files) >= 170
    assert all(refused.values())
    # A byte that fits many encodings is not guessed at.
    assert "encoding" in refused["latin1.csv"]
    assert "encoding" in refused["table-with-accents.csv"]


def test_the_spectrum_of_csv_reads_as_its_makers_say(tmp_path: Path) -> None:
    folder = extracts("csv-fixtures") / "csv-spectrum"
    files = sorted((folder / "csvs").glob("*.csv"))
    for number, file in enumerate(files):
        expected = json.loads((folder / "json" / f"{file.stem}.json").read_text(encoding="utf-8"))
        contract, reading, out = scaffolded(file, tmp_path, number)
        assert not reading.held, file.name
        if file.stem == "location_coordinates":  # holds U+FFFD: somebody else's decoding lost these characters
            assert [f.row for f in reading.findings if f.code == "character_unreadable"] == [2]
            continue
        headers = [c.source for c in contract.columns]
        columns = ", ".join(quoted(h) for h in headers)
        rows = duckdb.sql(f"SELECT {columns} FROM {literal(str(out))} ORDER BY _row").fetchall()
        seen = [{h: v or "" for h, v in zip(headers, row, strict=True)} for row in rows]
        assert seen == [{h.strip(): v for h, v in record.items()} for record in expected], file.name
    assert len(files) == 12
