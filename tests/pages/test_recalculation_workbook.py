"""The workbook of the recalculation kit, calculated by LibreOffice: what an auditor sees is what the product published."""

from __future__ import annotations

import json
import shutil
import subprocess
from datetime import datetime
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import pytest
from openpyxl import load_workbook

from catalog.registry import SHIPPED
from examples.city.city import make_city
from pipelines.flow import run_all
from pipelines.recalculation_book import recalculation_book
from pipelines.recalculation_sheets import CHECKS
from pipelines.report import report
from pipelines.run import open_run
from quality.scoring import score_source
from tests.recalculation import READ_ME, WORKED_BY_HAND, city_of_ties, differences, recalculated, shown_scores, worked_city
from tests.report_town import make, write_report

pytestmark = [pytest.mark.pages, pytest.mark.timeout(900)]

OFFICE = shutil.which("soffice") or "/usr/bin/soffice"

Sheets = dict[str, list[dict[str, Any]]]


def calculated(path: Path, folder: Path) -> Sheets:
    """Rows of every sheet by English heading, as LibreOffice shows them after it has calculated the file without a screen."""
    profile, out = folder / "profile", folder / "calculated"
    subprocess.run(
        [
            OFFICE,
            f"-env:UserInstallation={profile.as_uri()}",
            "--headless",
            "--convert-to",
            "xlsx",
            "--outdir",
            str(out),
            str(path),
        ],
        check=True,
        capture_output=True,
        timeout=300,
    )
    found: Sheets = {}
    for sheet in load_workbook(out / path.name, data_only=True).worksheets:
        rows = list(sheet.iter_rows(values_only=True))
        found[sheet.title] = [dict(zip(map(str, rows[2]), row, strict=True)) for row in rows[3:]]
    return found


def verdict(sheets: Sheets) -> tuple[int, int]:
    """Figures compared and differing, by the last line of the first sheet and by all its columns of differences."""
    told = next(tuple(row.values()) for row in sheets[READ_ME] if str(next(iter(row.values()))).startswith("合计"))
    compared = differing = 0
    for name, rows in sheets.items():
        if name != READ_ME:
            cells = [v for row in rows for key, v in row.items() if key.endswith((" difference", " differs"))]
            assert all(isinstance(v, int | float) for v in cells), name
            compared, differing = compared + len(cells), differing + sum(v != 0 for v in cells)
    assert told[1:3] == (compared, differing)
    return compared, differing


def test_the_workbook_of_a_report_agrees_with_it(tmp_path: Path) -> None:
    site = write_report(make(tmp_path / "town"))
    compared, differing = verdict(calculated(site / "recalculate.xlsx", tmp_path))
    assert compared > 100 and differing == 0


def test_the_worked_example_comes_out_as_worked_by_hand(tmp_path: Path) -> None:
    city = worked_city()
    path = tmp_path / "worked.xlsx"
    path.write_bytes(recalculation_book(city))
    sheets = calculated(path, tmp_path)
    assert WORKED_BY_HAND.items() <= shown_scores(sheets.__getitem__, city.sources[0].id).items()
    assert sheets["部门 Departments"][0]["grade"] == "良 Good"
    assert verdict(sheets)[1] == 0


def test_scores_half_way_between_two_printed_numbers_go_up(tmp_path: Path) -> None:
    city = city_of_ties(120)
    path = tmp_path / "ties.xlsx"
    path.write_bytes(recalculation_book(city))
    sheets = calculated(path, tmp_path)
    assert verdict(sheets)[1] == 0
    shown = {(row["source"], row["check"]): row for row in sheets[CHECKS]}
    for source in city.sources:
        for one in source.card.score.checks:
            row = shown[source.id, one.check.id]
            assert (D(str(row["X"])), D(str(row["Y"]))) == (one.x, one.y), (source.id, one.check.id)


def test_a_count_changed_by_hand_moves_every_score_above_it_as_the_product_would(tmp_path: Path) -> None:
    city = city_of_ties(4)
    path = tmp_path / "changed.xlsx"
    path.write_bytes(recalculation_book(city))
    book = load_workbook(path)
    headings = {cell.value: cell.column for cell in book[CHECKS][3]}
    row = next(r for r in book[CHECKS].iter_rows(min_row=4) if r[1].value == "points on the curve")
    row[headings["A"] - 1].value = 123_456
    book.save(path)
    sheets = calculated(path, tmp_path)
    source = next(s for s in city.sources if s.id == row[0].value)
    checks = [one.check for one in source.card.score.checks]
    at = next(n for n, check in enumerate(checks) if check.id == "points on the curve")
    checks[at] = type(checks[at])(
        **{name: getattr(checks[at], name) for name in checks[at].__dataclass_fields__} | {"a": 123_456}
    )
    expected = score_source(checks, city.policy)
    moved = next(r for r in sheets["数据源 Sources"] if r["source"] == source.id)
    assert expected.o.value != source.card.score.o.value
    assert [D(str(round(moved[key], 6))) for key in ("T", "Q", "O")] == [
        level.value for level in (expected.t, expected.q, expected.o)
    ]  # fmt: skip
    assert {r["source"] for r in sheets["数据源 Sources"] if r["O difference"]} == {source.id}


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report folder of the synthetic city after its last wave."""
    root = tmp_path_factory.mktemp("city")
    make_city(root / "city", scale=0.05)
    for wave in json.loads((root / "city" / "schedule.json").read_text(encoding="utf-8")):
        with open_run(now=datetime.fromisoformat(wave["at"]), workspace=root / "workspace", catalog=SHIPPED) as run:
            for drop in wave["drops"]:
                landing = run.workspace.landing / drop["department"]
                landing.mkdir(parents=True, exist_ok=True)
                shutil.copy(root / "city" / drop["file"], landing / drop["name"])
            run_all(run)
    with open_run(now=run.now, workspace=root / "workspace", catalog=SHIPPED) as run:
        return report(run).parent


def test_every_score_of_the_synthetic_city_is_made_again_by_the_script_and_by_the_workbook(
    synthetic: Path, tmp_path: Path
) -> None:
    with recalculated(synthetic) as con:
        assert differences(con) == []
        sources = con.execute("SELECT count(DISTINCT subject) FROM compared WHERE level = 'source'").fetchall()[0][0]
    assert sources == 11
    compared, differing = verdict(calculated(synthetic / "recalculate.xlsx", tmp_path))
    assert compared > 500 and differing == 0
