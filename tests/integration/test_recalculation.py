"""The kit in the folder of a report: complete by itself, agrees with the report, notices what was changed, runs nothing foreign."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from openpyxl import load_workbook

from pipelines.formula import runs
from pipelines.recalculation import SCRIPT
from tests.recalculation import Book, differences, recalculated
from tests.report_town import PERSONAL, make, write_report

KIT = ("checks.csv", "sources.csv", "departments.csv", "policy.csv", "scores.csv", SCRIPT.name, "recalculate.xlsx")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(make(tmp_path_factory.mktemp("town")))


@pytest.fixture
def kit(site: Path, tmp_path: Path) -> Path:
    """The files of the kit alone, as somebody takes them away."""
    for name in KIT:
        shutil.copy(site / name, tmp_path / name)
    return tmp_path


def read(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline="")))


def edit(path: Path, change: Callable[[list[dict[str, str]]], None]) -> None:
    rows = read(path)
    change(rows)
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_the_script_needs_nothing_but_its_folder_and_duckdb(kit: Path) -> None:
    """As README says it, in a process that knows nothing of this software."""
    line = "import duckdb; print(duckdb.sql(open('recalculate.sql', encoding='utf-8').read()))"
    before = sorted(p.name for p in kit.iterdir())
    printed = subprocess.run([sys.executable, "-I", "-c", line], cwd=kit, capture_output=True, text=True, check=True).stdout
    verdict = re.search(r"合计 all\s*│\s*(\d+)\s*│\s*(\d+)", printed)
    assert verdict and int(verdict[1]) > 300 and verdict[2] == "0", printed
    assert sorted(p.name for p in kit.iterdir()) == before


def test_the_script_agrees_with_every_published_figure(kit: Path) -> None:
    with recalculated(kit) as con:
        assert differences(con) == []
        rows = con.execute(
            "SELECT count(*) FROM (SELECT DISTINCT level, subject, item FROM compared) WHERE item <> 'rank'"
        ).fetchall()
    assert rows[0][0] == len(read(kit / "checks.csv")) + len(read(kit / "scores.csv"))


def test_a_published_score_that_was_changed_is_named(kit: Path) -> None:
    def raise_it(rows: list[dict[str, str]]) -> None:
        row = next(r for r in rows if r["subject"] == "market__shop" and r["item"] == "O")
        row["score"] = "99.99"

    former = next(r["score"] for r in read(kit / "scores.csv") if r["subject"] == "market__shop" and r["item"] == "O")
    edit(kit / "scores.csv", raise_it)
    with recalculated(kit) as con:
        assert differences(con) == [("source", "market__shop", "O", "score", "99.99", former)]


def test_a_score_that_was_left_out_or_made_up_is_named(kit: Path) -> None:
    def swap(rows: list[dict[str, str]]) -> None:
        rows.remove(next(r for r in rows if r["subject"] == "fire__permit" and r["item"] == "T"))
        rows.append(rows[0] | {"subject": "nobody__nothing"})

    edit(kit / "scores.csv", swap)
    with recalculated(kit) as con:
        assert {row[:3] for row in differences(con)} == {
            ("source", "fire__permit", "T"), ("sub_indicator", "nobody__nothing", "0101"),
        }  # fmt: skip


def test_a_count_that_was_changed_shows_at_every_level_above(kit: Path) -> None:
    def fail_more(rows: list[dict[str, str]]) -> None:
        row = next(r for r in rows if r["source"] == "market__shop" and r["sub_indicator"] == "0502")
        row["a"] = "0"

    edit(kit / "checks.csv", fail_more)
    with recalculated(kit) as con:
        told = {(level, item) for level, _, item, figure, *_ in differences(con) if figure in ("x", "score")}
        assert {("sub_indicator", "0502"), ("dimension", "05"), ("source", "T"), ("source", "O"), ("department", "I")} <= told
        assert {subject for _, subject, _, figure, *_ in differences(con) if figure != "rank"} == {
            "market__shop",
            "market",
            "city",
        }


def test_a_figure_that_is_no_number_stops_the_script(kit: Path) -> None:
    edit(kit / "checks.csv", lambda rows: rows[0].update(a="many"))
    with pytest.raises(duckdb.ConversionException, match="many"):
        recalculated(kit)


# --- the workbook ---------------------------------------------------------------------------------


def test_the_formulas_of_the_workbook_agree_with_every_published_figure(site: Path) -> None:
    book = Book((site / "recalculate.xlsx").read_bytes())
    figures, different = book.verdict
    assert (different, book.differing()) == (0, [])
    assert figures > 100
    published = {(r["subject"], r["item"]): r for r in read(site / "scores.csv")}
    shown = {row["source"]: row for row in book.rows("数据源 Sources")}
    assert set(shown) == {"market__shop", "fire__permit"}
    for source, row in shown.items():
        for item in ("T", "Q", "O"):
            assert f"{row[item]:.2f}" == published[source, item]["score"]
        assert row["grade"] == f"{published[source, 'O']['grade_zh']} {published[source, 'O']['grade_en']}"
    ranks = {row["department"]: row["rank"] for row in book.rows("部门 Departments")}
    assert {d: str(int(rank)) for d, rank in ranks.items()} == {
        r["department"]: r["rank"] for r in read(site / "departments.csv")
    }


def test_every_formula_refers_to_cells_that_exist_and_no_formula_hides_a_figure(site: Path) -> None:
    book = Book((site / "recalculate.xlsx").read_bytes())
    assert len(book.formulas) > 400
    for at, formula in book.formulas.items():
        book.value(*at)  # LookupError where a cell is missing
        constants = {float(n) for n in re.findall(r"(?<![\w$.\"'])\d+(?:\.\d+)?(?![\w\"'!])", re.sub(r"\"[^\"]*\"", "", formula))}
        assert constants <= {0, 1, 6, 10**2, 10**4, 10**6, 10**8, 10**9, 4000, 6000}, (at, formula)


def test_a_changed_floor_of_the_policy_reaches_the_scores(site: Path) -> None:
    data = (site / "recalculate.xlsx").read_bytes()
    floor = next(
        f"F{number}" for number, row in enumerate(Book(data).rows("评分办法 Policy"), 4)
        if (row["part"], row["item"]) == ("floor", "0102")
    )  # fmt: skip
    lower = Book(data, {("评分办法 Policy", floor): 0.5})
    moved = {(name, cell) for name, cell, _ in lower.differing()}
    assert {name for name, _ in moved} == {
        "检查 Checks",
        "子指标 Sub-indicators",
        "维度 Dimensions",
        "数据源 Sources",
        "部门 Departments",
        "全市 City",
    }


def test_what_others_wrote_is_text_in_the_workbook_and_nothing_leads_outside(site: Path) -> None:
    path = site / "recalculate.xlsx"
    titles = []
    for sheet in load_workbook(path).worksheets:
        for row in sheet.iter_rows():
            for cell in row:
                assert cell.hyperlink is None
                if cell.data_type == "s":
                    assert not runs(str(cell.value)), f"{sheet.title}!{cell.coordinate}"
                    titles.append(cell.value)
                elif cell.data_type == "f":
                    assert not re.search(r"cmd|HYPERLINK|WEBSERVICE|DDE|http|\[", str(cell.value))
    assert "'=cmd|计算!A1 店铺登记" in titles
    with zipfile.ZipFile(path) as package:
        everything = b"".join(package.read(name) for name in package.namelist())
        assert not [name for name in package.namelist() if "externalLink" in name or name.endswith(".bin")]
    for value in PERSONAL:
        assert value.encode() not in everything


def test_headings_stand_in_both_languages(site: Path) -> None:
    for sheet in load_workbook(site / "recalculate.xlsx").worksheets[1:]:
        rows: list[Any] = [[c.value for c in row] for row in sheet.iter_rows(min_row=2, max_row=3)]
        assert len(rows[0]) == len(rows[1])
        for zh, en in zip(*rows, strict=True):
            assert zh and en and re.search(r"[\u4e00-\u9fff]|^[ABXYSDTQOMuvw x]+$", zh), (zh, en)
            assert not re.search(r"[\u4e00-\u9fff]", en), en
        assert len(set(rows[1])) == len(rows[1]), f"{sheet.title}: headings name columns"
