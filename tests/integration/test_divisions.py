"""Abolished divisions: which code goes for them on which day, and that nothing is invented where the lists do not tell."""

from __future__ import annotations

import csv
from collections.abc import Iterator

import duckdb
import pytest

from catalog.registry import SHIPPED
from pipelines.compile import ColumnSpec, RuleCall, compile_select
from pipelines.reference import OPEN_END, attach_reference
from warehouse.layout import Workspace


@pytest.fixture(scope="module")
def con(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as con:
        attach_reference(con, Workspace(tmp_path_factory.mktemp("divisions")), "ref_division ref_division_successor")
        yield con


def now_and_then(con: duckdb.DuckDBPyConnection, code: str, as_of: str | None) -> tuple[str, list[str] | None]:
    """What `division_current` and then `division_known` make of a code on a day: the code, and what is still wrong with it."""
    arguments = {"as_of": f"'{as_of}'"} if as_of else {}
    column = ColumnSpec(
        "sent", "v", (RuleCall("division_code"), RuleCall("division_current", arguments)), (RuleCall("division_known", arguments),),
        on_fail="keep",
    )  # fmt: skip
    compiled = compile_select([column], "raw")
    con.execute(f"CREATE OR REPLACE TABLE raw AS SELECT 'b' AS _batch, NULL AS _sheet, 1 AS _row, '{code}' AS sent")
    [row] = con.execute(f'SELECT "v", "v__failed" FROM ({compiled.judged_sql})').fetchall()
    return row[0], row[1]


@pytest.mark.parametrize(
    ("code", "as_of", "current"),
    [
        ("440524", "2024-05-01", "440513"),  # 潮阳县, city 潮阳市, district 潮阳区
        ("440524", "1999-05-01", "440582"),
        ("440524", "1990-05-01", "440524"),
        ("510122", None, "510116"),  # 双流县 became a district of the same name
        ("110103", "2015-01-01", "110101"),  # 崇文区 is part of 东城区
        ("310225", "2024-05-01", "310115"),  # 南汇县, district 南汇区, part of 浦东新区
        ("512301", None, "500102"),  # 涪陵 came to Chongqing
        ("440106", "2024-05-01", "440106"),
    ],
)
def test_an_abolished_code_becomes_the_one_of_the_day(
    con: duckdb.DuckDBPyConnection, code: str, as_of: str | None, current: str
) -> None:
    assert now_and_then(con, code, as_of) == (current, None)


@pytest.mark.parametrize("code", ["330104", "469999"])  # 江干区 was divided in 2021; the other never was
def test_a_code_without_one_successor_stays_and_is_reported(con: duckdb.DuckDBPyConnection, code: str) -> None:
    assert now_and_then(con, code, "2024-05-01") == (code, ["division_unknown"])


def test_a_code_has_one_successor_a_year_and_never_while_it_is_on_the_list_itself(con: duckdb.DuckDBPyConnection) -> None:
    twice = con.execute(
        "SELECT a.code FROM ref_division_successor a JOIN ref_division_successor b ON a.code = b.code "
        "AND a.successor <> b.successor AND a.first_year <= b.last_year AND b.first_year <= a.last_year"
    ).fetchall()
    itself = con.execute(
        "SELECT s.code FROM ref_division_successor s JOIN ref_division d ON d.code = s.code WHERE s.first_year <= d.last_year"
    ).fetchall()
    gone = con.execute(
        "SELECT s.successor FROM ref_division_successor s LEFT JOIN ref_division d ON d.code = s.successor "
        f"WHERE s.last_year = {OPEN_END} AND d.last_year IS DISTINCT FROM {OPEN_END}"
    ).fetchall()
    assert twice == itself == gone == []


def test_the_table_of_mergers_agrees_with_the_yearly_lists(con: duckdb.DuckDBPyConnection) -> None:
    with (SHIPPED / "standards" / "division_successor.csv").open(encoding="utf-8", newline="") as file:
        merged = list(csv.DictReader(file))
    years = {code: (name, last) for code, name, last in con.execute("SELECT code, name, last_year FROM ref_division").fetchall()}
    for row in merged:
        name, last = years[row["code"]]
        assert row["zh"].startswith(name) and row["zh"].endswith(years[row["successor"]][0]), row
        assert last == int(row["since"]) - 1, row
        assert years[row["successor"]][1] == OPEN_END, row
