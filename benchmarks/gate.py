"""The gate's engine on a day of a whole city: 37 million rows, twelve checks, beside one hand-written scan; and many small sources.

    python -m benchmarks.gate [--rows 37000000] [--pandas-rows 2000000] [--sources 151] [--keep DIR]

Each side is a process of its own with the same memory limit (3 GiB for DuckDB). By hand: one scan that counts eleven of the
checks, one grouping for the key. Ours: the same checks as Great Expectations through `quality.gx`, with the SQL that lists the failing
rows. Great Expectations on pandas does the same on fewer rows, because the whole does not fit.
Small sources: as many as a city joins, each with one file of a hundred rows, from drop to committed verdict and receipt in one
process, as a scheduler's warm worker does it.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import duckdb

from benchmarks.measure import measured, table

LIMIT = "3GiB"
ROWS = """
SELECT NULL::VARCHAR AS _sheet, i + 2 AS _row, 'P' || lpad(CAST(i AS VARCHAR), 10, '0') AS person_no,
  CASE WHEN i % 1000 <> 0 THEN ['张','王','李','赵'][1 + i % 4] || ['伟','芳','娜','敏','静'][1 + (i // 4) % 5] END AS person_name,
  CASE WHEN i % 997 = 0 THEN 'x' ELSE CAST(1 + i % 2 AS VARCHAR) END AS sex_code,
  DATE '1950-01-01' + CAST(i % 20000 AS INTEGER) AS birth_date,
  CASE WHEN i % 991 = 0 THEN '123' ELSE '13' || lpad(CAST((i * 7919) % 1000000000 AS VARCHAR), 9, '0') END AS phone,
  CASE WHEN i % 50 <> 0 THEN '中山大道' || CAST(i % 900 AS VARCHAR) || '号' END AS address,
  CAST(i % 90000 AS DECIMAL(18, 2)) AS amount, '4401' || lpad(CAST(i % 12 AS VARCHAR), 2, '0') AS division_code,
  DATE '2020-01-01' + CAST(i % 365 AS INTEGER) AS registered_on,
  CASE WHEN i % 50 = 0 THEN '注销' ELSE '有效' END AS status
FROM range({rows}) AS t(i)
"""
CHECKS: dict[str, dict[str, Any]] = {
    "expect_column_values_to_not_be_null": {"column": "person_name"},
    "expect_column_values_to_be_unique": {"column": "person_no"},
    "expect_column_values_to_be_in_set": {"column": "sex_code", "value_set": ["1", "2"]},
    "expect_column_values_to_match_regex": {"column": "phone", "regex": "^1[3-9][0-9]{9}$"},
    "expect_column_values_to_be_between": {"column": "amount", "min_value": 0, "max_value": 80000},
    "expect_column_value_lengths_to_equal": {"column": "division_code", "value": 6},
    "expect_column_pair_values_a_to_be_greater_than_b": {"column_A": "registered_on", "column_B": "birth_date"},
    "expect_column_values_to_not_match_regex": {"column": "address", "regex": "测试"},
    "expect_column_value_lengths_to_be_between": {"column": "address", "min_value": 4, "max_value": 60},
    "expect_column_values_to_not_be_in_set": {"column": "status", "value_set": ["未知"]},
    "expect_column_max_to_be_between": {"column": "amount", "max_value": 100000},
    "expect_table_row_count_to_be_between": {"min_value": 1},
}
BY_HAND = """
SELECT count(*), count(*) - count(person_name), count(*) FILTER (sex_code NOT IN ('1', '2')),
  count(*) FILTER (NOT regexp_matches(phone, '^1[3-9][0-9]{9}$')), count(*) FILTER (amount NOT BETWEEN 0 AND 80000),
  count(*) FILTER (length(division_code) <> 6), count(*) FILTER (registered_on <= birth_date),
  count(*) FILTER (regexp_matches(address, '测试')), count(*) FILTER (length(address) NOT BETWEEN 4 AND 60),
  count(*) FILTER (status IN ('未知')), max(amount), count(sex_code), count(phone), count(amount), count(division_code), count(address),
  count(status)
FROM rows;
SELECT coalesce(sum(n), 0) FROM (SELECT count(*) AS n FROM rows GROUP BY person_no HAVING count(*) > 1);
"""


def opened(path: Path, spill: Path) -> duckdb.DuckDBPyConnection:
    con = duckdb.connect(config={"memory_limit": LIMIT, "temp_directory": str(spill)})
    con.execute(f"CREATE VIEW rows AS FROM read_parquet('{path}')")
    return con


def by_hand(path: Path, work: Path) -> None:
    with opened(path, work) as con:
        for statement in BY_HAND.split(";"):
            if statement.strip():
                con.execute(statement).fetchall()


def by_dmp(path: Path, work: Path) -> None:
    from quality.gx import Expectation, validate, warm_up

    warm_up()
    with opened(path, work) as con:
        started = time.perf_counter()
        outcomes = validate(con, "rows", [Expectation(kind, kind, kwargs) for kind, kwargs in CHECKS.items()])
        statements = {s for o in outcomes for s in o.statements}
        print(f"    validation alone: {time.perf_counter() - started:.1f} s, {len(statements)} statements", flush=True)
        assert not [o.error for o in outcomes if o.error]


def by_gx_on_pandas(path: Path, work: Path) -> None:
    import great_expectations as gx
    import pandas as pd

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}  # type: ignore[assignment]  # GX types it as its own class
    asset = context.data_sources.add_pandas("pandas").add_dataframe_asset("rows")
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": pd.read_parquet(path)})
    suite = gx.ExpectationSuite("suite")
    for kind, kwargs in CHECKS.items():
        suite.add_expectation_configuration(
            gx.expectations.expectation_configuration.ExpectationConfiguration(type=kind, kwargs=kwargs)
        )
    batch.validate(suite, result_format="BASIC")


def small_sources(count: int, work: Path) -> None:
    from pipelines.airflow_home import warm_up
    from pipelines.flow import intake
    from pipelines.run import open_run
    from tests.support import SOURCES, make_catalog

    shop = SOURCES["market__shop"].replace("entity: shop\n", "")
    catalog = make_catalog(work / "catalog", {f"market__shop{i:03}": shop.replace("shop_", f"shop{i:03}_") for i in range(count)})
    landing = work / "workspace" / "landing" / "market"
    landing.mkdir(parents=True)
    lines = "".join(f"{i},店铺{i},2020-01-{1 + i % 28:02}\n" for i in range(100))
    for i in range(count):
        (landing / f"shop{i:03}_20260302.csv").write_text("编号,名称,成立日期\n" + lines, encoding="utf-8")
    warm_up()
    os.environ["DMP_NOW"] = "2026-03-03T08:30:00+08:00"
    with open_run(workspace=work / "workspace", catalog=catalog) as run:
        started = time.perf_counter()
        for source in run.catalog.contracts:
            intake(run, source)
        spent = time.perf_counter() - started
    print(f"    {count} sources, 100 rows each: {spent:.1f} s, {spent / count:.2f} s each, archive to receipt", flush=True)


SIDES = {"hand-written DuckDB": by_hand, "dmp (GX on DuckDB)": by_dmp, "GX on pandas": by_gx_on_pandas}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=37_000_000)
    parser.add_argument("--pandas-rows", type=int, default=2_000_000)
    parser.add_argument("--sources", type=int, default=151)
    parser.add_argument("--keep", type=Path, help="a folder for the tables, so that they are made once")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--table", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if given.side == "small":
            small_sources(given.sources, Path(folder))
            return
        if given.side:
            SIDES[given.side](given.table, Path(folder))
            return
        kept = given.keep or Path(folder)
        kept.mkdir(parents=True, exist_ok=True)
        print(f"{os.cpu_count()} cores, duckdb {duckdb.__version__}, {len(CHECKS)} checks, DuckDB limited to {LIMIT}")
        for rows, sides in ((given.rows, list(SIDES)[:2]), (given.pandas_rows, list(SIDES))):
            path = kept / f"judged{rows}.parquet"
            if not path.is_file():
                with duckdb.connect() as con:
                    con.execute(f"COPY ({ROWS.format(rows=rows)}) TO '{path}' (FORMAT parquet)")
            print(f"{rows:,} rows, {path.stat().st_size / 1e6:.0f} MB of Parquet")
            table({side: measured("benchmarks.gate", "--side", side, "--table", str(path)) for side in sides})
        measured("benchmarks.gate", "--side", "small", "--sources", str(given.sources))


if __name__ == "__main__":
    main()
