"""Refused rows go back as a workbook; what a clerk corrects in it becomes the next version, and nothing else does."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook, load_workbook

from pipelines.flow import Outcome, run_all
from pipelines.mend_book import OWN
from pipelines.rebuild import rebuild
from pipelines.trace import trace
from pipelines.verify import verify
from tests.support import SOURCES, Town, tables, town
from warehouse.layout import Workspace

FIRST, SECOND, THIRD, FOURTH = (f"2026-03-{day:02}T08:30:00+08:00" for day in (3, 4, 5, 6))

#: Shops as a GB18030 file, and as a workbook of two sheets' worth of habits: other column order, a column nobody agreed.
CSV = SOURCES | {
    "market__shop": SOURCES["market__shop"].replace("columns:\n", "format: {encoding: gb18030}\ncolumns:\n", 1),
}
XLSX = SOURCES | {
    "market__shop": SOURCES["market__shop"].replace("shop_*.csv", "shop_*.xlsx").replace(
        "columns:\n", "format: {reader: workbook}\ncolumns:\n", 1
    ),
}  # fmt: skip
ROWS = [
    ["名称", "编号", "成立日期", "负责人"],
    ["甲", "001", "2020-01-02", "=HYPERLINK(1)"],
    ["乙", "002", "没有", "+86"],
    ["丙", "", "2021-05-06", "@丙"],
    ["=1+1", "004", "昨天", "-丁"],
]


def csv_bytes() -> bytes:
    return ("\n".join(",".join(row) for row in ROWS) + "\n").encode("gb18030")


def xlsx_bytes() -> bytes:
    book = Workbook()
    sheet: Any = book.active
    sheet.title = "店铺"
    for number, row in enumerate(ROWS, 1):
        for position, text in enumerate(row, 1):
            cell = sheet.cell(number, position)
            cell.value, cell.data_type = text or None, "s" if text else "n"
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


@pytest.fixture(scope="module")
def towns(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Town]:
    """Per form of the file a town whose market office has just learnt that three of its four rows were refused."""
    made = {}
    for form, sources, data in (("csv", CSV, csv_bytes()), ("xlsx", XLSX, xlsx_bytes())):
        made[form] = town(tmp_path_factory.mktemp(form), sources)
        made[form].drop("market", f"shop_20260302.{form}", data)
        play(made[form], FIRST)
    return made


@pytest.fixture
def place(towns: dict[str, Town], tmp_path: Path) -> Town:
    return copied(towns["csv"], tmp_path)


def copied(place: Town, root: Path) -> Town:
    shutil.copytree(place.workspace.root, root / "workspace")
    return Town(Workspace(root / "workspace"), place.catalog)


def play(place: Town, when: str, *, fuse: bool = False) -> Outcome:
    with place.run(when) as run:
        return run_all(run, None if fuse else ["market__shop", "tax__payer"], None if fuse else [])


def returned(place: Town, version: int = 1) -> Path:
    [path] = (place.workspace.outbox / "market" / "market__shop" / f"2026-03-02.v{version}").glob("*.xlsx")
    return path


def mended(path: Path, cells: Mapping[tuple[int, str], Any] = {}, change: Callable[[Any], None] = lambda sheet: None) -> bytes:
    """The workbook as a clerk saves it: cells by original row number and heading."""
    book = load_workbook(path)
    sheet: Any = book.worksheets[0]
    heading = [c.value for c in sheet[1]]
    rows = {line[heading.index(OWN["row"])].value: line for line in sheet.iter_rows(min_row=2)}
    for (row, column), value in cells.items():
        rows[str(row)][heading.index(column)].value = value
    change(sheet)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def newest(place: Town) -> tuple[dict[str, Any], list[str]]:
    """Ledger row and finding codes of the newest batch of the market office."""
    found = place.tables()
    batch = max((b for b in found["ledger.batch"] if b["source"] == "market__shop"), key=lambda b: b["version"])
    return batch, sorted({f["code"] for f in found["quality.finding"] if f["batch"] == batch["batch"]})


def std(place: Town, batch: str) -> dict[int, tuple[Any, ...]]:
    rows = place.tables()["std.market__shop"]
    return {r["_row"]: (r["shop_no"], r["shop_name"], str(r["opened_on"])) for r in rows if r["_batch"] == batch}


MENDED = {(3, "成立日期"): "2020-03-04", (4, "编号"): "003"}


@pytest.mark.parametrize("form", ["csv", "xlsx"])
def test_mended_rows_come_in_and_the_rest_stays_as_it_was(towns: dict[str, Town], tmp_path: Path, form: str) -> None:
    place = copied(towns[form], tmp_path)
    place.drop("market", "改好了 (1).xlsx", mended(returned(place), MENDED))
    play(place, SECOND)
    batch, _ = newest(place)
    assert (batch["batch"], batch["mends"]) == ("market__shop@2026-03-02.v2", "market__shop@2026-03-02.v1")
    assert (batch["rows_read"], batch["rows_accepted"], batch["rows_refused"]) == (4, 3, 1)
    assert std(place, batch["batch"]) == {
        2: ("001", "甲", "2020-01-02"), 3: ("002", "乙", "2020-03-04"), 4: ("003", "丙", "2021-05-06"),
    }  # fmt: skip
    extras = {r["_row"]: r["_extra"] for r in place.tables()["raw.market__shop"] if r["_batch"] == batch["batch"]}
    assert json.loads(extras[3]) == {"负责人": "+86"}, "a column nobody agreed on survives the round trip"
    told = json.loads(next(returned(place, 2).parent.glob("receipt.json")).read_text(encoding="utf-8"))
    assert (told["mends"]["mended"], told["mends"]["unchanged"], told["mends"]["not_taken"]) == (2, 1, 0)
    assert told["score"]["T"]["value"] == "100.00", "the delivery was in time; a correction does not make it late"


def test_a_golden_record_is_traced_to_the_original_row_and_to_the_workbook(place: Town) -> None:
    place.drop("market", "改.xlsx", mended(returned(place), MENDED))
    play(place, SECOND, fuse=True)
    with place.run(SECOND) as run:
        fields = {f.attribute: f for f in trace(run, "shop", "002").fields}
        untouched = trace(run, "shop", "001").fields[0]
        assert verify(run) == []
    assert (fields["opened_on"].file_name, fields["opened_on"].row) == ("shop_20260302.csv", 3)
    assert fields["opened_on"].mended_in == ("改.xlsx", 2)
    assert fields["shop_name"].mended_in is None, "that cell is as it was first sent"
    assert (untouched.file_name, untouched.row, untouched.mended_in) == ("shop_20260302.csv", 2, None)


def test_the_archive_gives_the_mended_batch_again(place: Town, tmp_path: Path) -> None:
    place.drop("market", "改.xlsx", mended(returned(place), MENDED))
    play(place, SECOND)
    with place.run(SECOND) as run:
        again = tables(rebuild(run, tmp_path / "again"))
    for name in ("raw.market__shop", "std.market__shop", "ledger.mended", "quarantine.row", "quality.check"):
        assert again[name] == place.tables()[name], name


def test_the_workbook_shows_their_columns_says_what_is_wrong_and_runs_no_formula(place: Town) -> None:
    sheet: Any = load_workbook(returned(place)).worksheets[0]
    heading = [c.value for c in sheet[1]]
    assert [h for h in heading if not h.startswith("【")] == ROWS[0]
    assert [line[heading.index(OWN["row"])].value for line in sheet.iter_rows(min_row=2)] == ["3", "4", "5"]
    cells = [c for line in sheet.iter_rows() for c in line]
    assert {c.data_type for c in cells if c.value is not None} == {"s"} and {c.number_format for c in cells} == {"@"}
    risky = [c for c in cells if str(c.value or "").startswith(("=", "+", "-", "@"))]
    assert [c.value for c in risky] == ["+86", "@丙", "=1+1", "-丁"] and all(c.quotePrefix for c in risky)
    last = dict(zip(heading, sheet[4], strict=True))
    assert "“昨天”" in last[OWN["zh"]].value and "2026-03-02" in last[OWN["zh"]].value, "value and a right example"
    assert last[f"{OWN['key']} 编号"].value == "004"
    assert last["成立日期"].fill.fgColor.rgb != last["编号"].fill.fgColor.rgb
    assert sheet.freeze_panes and sheet.column_dimensions["A"].hidden


def test_sorting_deleting_and_own_columns_do_no_harm_and_added_rows_are_told(place: Town) -> None:

    def change(sheet: Any) -> None:
        lines = [[c.value for c in line] for line in sheet.iter_rows()]
        lines = [lines[0], lines[3], lines[1]]  # turned round, and the middle one deleted
        lines = [[*line, extra] for line, extra in zip(lines, ("我的备注", "", "核对过"), strict=True)]
        sheet.delete_rows(1, sheet.max_row)
        for line in [*lines, [None] * 4 + ["新店", "009", "2022-01-01"]]:
            sheet.append(line)

    place.drop("market", "改.xlsx", mended(returned(place), MENDED, change))
    play(place, SECOND)
    batch, codes = newest(place)
    assert set(std(place, batch["batch"])) == {2, 3}, "row 3 was mended; row 4 was deleted from the workbook and stays refused"
    assert {"mend_column_ignored", "mend_row_added"} <= set(codes)


def test_a_number_typed_into_a_code_column_is_told(place: Town) -> None:
    place.drop("market", "改.xlsx", mended(returned(place), {(4, "编号"): 3}))
    play(place, SECOND)
    batch, codes = newest(place)
    assert std(place, batch["batch"])[4][0] == "3" and "number_in_text_column" in codes


def _without_marks(sheet: Any) -> None:
    sheet.delete_cols(1)


def _foreign_marks(sheet: Any) -> None:
    for line in sheet.iter_rows(min_row=2):
        line[0].value = "0123456789abcdef"


def _doubled(sheet: Any) -> None:
    sheet.append([c.value for c in sheet[2]])


@pytest.mark.parametrize(
    ("change", "code"),
    [(_without_marks, "mend_marks_missing"), (_foreign_marks, "mend_row_unknown"), (lambda sheet: None, "mend_nothing_changed")],
)
def test_a_workbook_that_brings_nothing_is_held_with_the_reason(place: Town, change: Callable[[Any], None], code: str) -> None:
    before = place.tables()["std.market__shop"]
    place.drop("market", "改.xlsx", mended(returned(place), {}, change))
    play(place, SECOND)
    batch, codes = newest(place)
    assert batch["verdict"] == "hold" and code in codes
    assert place.tables()["std.market__shop"] == before, "the last good data stay"
    # It was a mistake, not a version: the same workbook, corrected, is taken.
    place.drop("market", "改.xlsx", mended(returned(place), MENDED))
    play(place, THIRD)
    assert newest(place)[0]["rows_accepted"] == 3


def test_two_copies_of_one_row_are_not_taken(place: Town) -> None:
    place.drop("market", "改.xlsx", mended(returned(place), MENDED, _doubled))
    play(place, SECOND)
    batch, codes = newest(place)
    assert set(std(place, batch["batch"])) == {2, 4} and "mend_row_twice" in codes


def test_a_batch_that_was_replaced_meanwhile_is_not_mended(place: Town) -> None:
    workbook = mended(returned(place), MENDED)
    place.drop("market", "shop_20260302.csv", csv_bytes() + "戊,005,2020-01-01,x\n".encode("gb18030"))
    play(place, SECOND)
    place.drop("market", "改.xlsx", workbook)
    play(place, THIRD)
    batch, codes = newest(place)
    assert (batch["version"], batch["verdict"], codes) == (3, "hold", ["mend_superseded"])
    assert "v2" in batch["reason_zh"]


def test_a_workbook_of_another_file_is_not_taken_for_this_one(place: Town, tmp_path: Path) -> None:
    other = town(tmp_path / "other", CSV)
    other.drop("market", "shop_20260302.csv", csv_bytes() + "戊,005,x,x\n".encode("gb18030"))
    play(other, FIRST)
    place.drop("market", "改.xlsx", mended(returned(other), MENDED))
    play(place, SECOND)
    batch, codes = newest(place)
    assert (batch["verdict"], codes) == ("hold", ["mend_batch_unknown"])


def test_the_same_workbook_twice_changes_nothing_and_gets_a_receipt(place: Town) -> None:
    workbook = mended(returned(place), MENDED)
    place.drop("market", "改.xlsx", workbook)
    play(place, SECOND)
    place.drop("market", "再发一次.xlsx", workbook)
    assert play(place, THIRD) == Outcome((), ())
    assert newest(place)[0]["version"] == 2
    assert list((place.workspace.outbox / "market" / "market__shop").glob("*.unchanged.*/receipt.html"))


def test_a_workbook_in_another_departments_folder_is_left_alone(place: Town) -> None:
    path = place.drop("tax", "改.xlsx", mended(returned(place), MENDED))
    assert play(place, SECOND) == Outcome((), ())
    assert path.is_file()


def test_mending_in_steps_keeps_what_was_mended_before(place: Town) -> None:
    place.drop("market", "改.xlsx", mended(returned(place), MENDED))
    play(place, SECOND)
    place.drop("market", "再改.xlsx", mended(returned(place, 2), {(5, "成立日期"): "2022-02-02", (5, "名称"): "丁"}))
    play(place, THIRD, fuse=True)
    batch, _ = newest(place)
    assert batch["verdict"] in ("pass", "warn") and set(std(place, batch["batch"])) == {2, 3, 4, 5}
    with place.run(FOURTH) as run:
        [field] = [f for f in trace(run, "shop", "004").fields if f.attribute == "shop_name"]
    assert (field.file_name, field.row, field.mended_in) == ("shop_20260302.csv", 5, ("再改.xlsx", 2))


def test_a_held_batch_comes_back_with_the_rows_that_broke_a_rule(tmp_path: Path) -> None:
    place = town(tmp_path)
    place.drop("market", "shop_20260302.csv", "编号,名称,成立日期\n1,甲,没有\n2,乙\n")
    play(place, FIRST)
    assert newest(place)[0]["verdict"] == "hold"
    place.drop("market", "改.xlsx", mended(returned(place), {(2, "成立日期"): "2020-01-01", (3, "成立日期"): "2020-01-02"}))
    play(place, SECOND)
    batch, _ = newest(place)
    assert batch["verdict"] in ("pass", "warn") and set(std(place, batch["batch"])) == {2, 3}
