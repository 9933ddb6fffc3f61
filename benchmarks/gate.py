"""The gate's engine on a day of a whole city: 37 million rows, twelve checks, beside one hand-written scan and other validators.

    python -m benchmarks.gate [--rows 37000000] [--frame-rows 2000000] [--keep DIR]

Each side is a process of its own; DuckDB has 3 GiB. By hand: one scan that counts eleven of the checks, one grouping for the
key. Ours: the same checks as Great Expectations through `quality.gx`; after its time is taken it also writes where every failing
row stands, as the gate does. `seconds` are those of the checks, with reading the table and without importing anything; `wall` and
`peak` are the operating system's account of the whole process.
Great Expectations on pandas, pandera and pointblank do the same checks on fewer rows, because they hold the table and
their findings in memory; the two sides on DuckDB do those too, for a ratio at the same number of rows. pandera and pointblank are
no part of the environment; `pip install pandera==0.35.* pointblank==1.1.*` adds them and changes no other version.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from benchmarks.measure import measured

if TYPE_CHECKING:
    import pandas as pd

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
#: What every side must find: in how many of the rows `i` of ROWS each of these is wrong.
WRONG: dict[str, Callable[[int], int]] = {
    "person_name": lambda rows: -(-rows // 1000),
    "sex_code": lambda rows: -(-rows // 997),
    "phone": lambda rows: -(-rows // 991),
    "amount": lambda rows: rows // 90000 * 9999 + max(0, rows % 90000 - 80001),
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


def by_hand(path: Path, work: Path) -> tuple[float, dict[str, int]]:
    with opened(path, work) as con:
        started = time.perf_counter()
        scanned, _doubles = (con.execute(statement).fetchall()[0] for statement in BY_HAND.split(";")[:2])
        seconds = time.perf_counter() - started
    return seconds, dict(zip(WRONG, scanned[1:5], strict=True))


def by_dmp(path: Path, work: Path) -> tuple[float, dict[str, int]]:
    from quality.gx import Expectation, validate, warm_up

    warm_up()
    with opened(path, work) as con:
        started = time.perf_counter()
        outcomes = validate(con, "rows", [Expectation(kind, kind, kwargs) for kind, kwargs in CHECKS.items()])
        seconds = time.perf_counter() - started
        assert not [o.error for o in outcomes if o.error]
        started = time.perf_counter()
        found = " UNION ALL ".join(f"SELECT '{o.id}', * FROM ({o.failing_rows_sql})" for o in outcomes if o.unexpected_count)
        [(failing,)] = con.execute(f"COPY ({found}) TO '{work / 'failing.parquet'}' (FORMAT parquet)").fetchall()
        print(f"    where {failing:,} failing rows stand, written: {time.perf_counter() - started:.1f} s more", flush=True)
    wrong = {str(CHECKS[o.type].get("column")): o.unexpected_count or 0 for o in outcomes if o.unexpected_count}
    return seconds, {name: wrong[name] for name in WRONG}


def frame(path: Path) -> pd.DataFrame:
    """The table as pandas likes it best: numbers and moments of its own instead of objects."""
    import pandas as pd

    table = pd.read_parquet(path)
    for column in ("birth_date", "registered_on"):
        table[column] = pd.to_datetime(table[column])
    table["amount"] = table["amount"].astype(float)
    return table


def by_gx_on_pandas(path: Path, work: Path) -> tuple[float, dict[str, int]]:
    import great_expectations as gx

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}  # type: ignore[assignment]  # GX types it as its own class
    started = time.perf_counter()
    asset = context.data_sources.add_pandas("pandas").add_dataframe_asset("rows")
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame(path)})
    suite = gx.ExpectationSuite("suite")
    for kind, kwargs in CHECKS.items():
        suite.add_expectation_configuration(
            gx.expectations.expectation_configuration.ExpectationConfiguration(type=kind, kwargs=kwargs)
        )
    results = batch.validate(suite, result_format="BASIC").results
    seconds = time.perf_counter() - started
    # GX types the configuration of a result as optional; every result of a suite has one.
    failed = [(r.expectation_config, r.result["unexpected_count"]) for r in results if not r.success]
    wrong = {asked.kwargs["column"]: count for asked, count in failed if asked}
    return seconds, {name: wrong[name] for name in WRONG}


def by_pandera(path: Path, work: Path) -> tuple[float, dict[str, int]]:
    import pandera.pandas as pa

    columns = {
        "person_no": pa.Column(nullable=True, unique=True),
        "person_name": pa.Column(nullable=False),
        "sex_code": pa.Column(checks=pa.Check.isin(["1", "2"]), nullable=True),
        "phone": pa.Column(checks=pa.Check.str_matches("^1[3-9][0-9]{9}$"), nullable=True),
        "amount": pa.Column(checks=[pa.Check.in_range(0, 80000), pa.Check(lambda s: s.max() <= 100000)], nullable=True),
        "division_code": pa.Column(checks=pa.Check.str_length(6, 6), nullable=True),
        "address": pa.Column(checks=[pa.Check(lambda s: ~s.str.contains("测试")), pa.Check.str_length(4, 60)], nullable=True),
        "status": pa.Column(checks=pa.Check.notin(["未知"]), nullable=True),
    }
    several = [pa.Check(lambda df: df["registered_on"] > df["birth_date"]), pa.Check(lambda df: len(df) >= 1)]
    schema = pa.DataFrameSchema(columns, checks=several)
    started = time.perf_counter()
    wrong: dict[str, int] = {}
    try:
        schema.validate(frame(path), lazy=True)
    except pa.errors.SchemaErrors as found:
        wrong = {str(column): len(cases) for column, cases in found.failure_cases.groupby("column")}
    return time.perf_counter() - started, {name: wrong[name] for name in WRONG}


def by_pointblank(path: Path, work: Path) -> tuple[float, dict[str, int]]:
    import pointblank as pb

    started = time.perf_counter()
    table = frame(path)
    steps = (
        pb.Validate(table)
        .col_vals_not_null("person_name")
        .col_vals_in_set("sex_code", ["1", "2", None])
        .col_vals_regex("phone", "^1[3-9][0-9]{9}$", na_pass=True)
        .col_vals_between("amount", 0, 80000, na_pass=True)
        .rows_distinct("person_no")
        .col_vals_expr(lambda df: df["division_code"].str.len() == 6)
        .col_vals_gt("registered_on", pb.col("birth_date"))
        .col_vals_regex("address", "测试", inverse=True, na_pass=True)
        .col_vals_expr(lambda df: df["address"].str.len().between(4, 60) | df["address"].isna())
        .col_vals_not_in_set("status", ["未知"])
        .col_vals_le("amount", 100000, na_pass=True)
        .specially(lambda df: len(df) >= 1)
        .interrogate(collect_extracts=False)
    )
    seconds = time.perf_counter() - started
    failed = steps.n_failed()
    return seconds, {name: int(failed[i]) for i, name in enumerate(WRONG, 1)}


Side = Callable[[Path, Path], tuple[float, dict[str, int]]]
ON_DUCKDB: dict[str, Side] = {"hand-written DuckDB": by_hand, "dmp (GX on DuckDB)": by_dmp}
IN_MEMORY: dict[str, Side] = {"GX on pandas": by_gx_on_pandas, "pandera": by_pandera, "pointblank": by_pointblank}


def compared(path: Path, rows: int, sides: list[str], work: Path) -> None:
    print(f"{rows:,} rows, {path.stat().st_size / 1e6:.0f} MB of Parquet")
    print(f"{'':26}{'seconds':>10}{'ratio':>8}{'rows/s':>14}{'wall s':>10}{'peak MiB':>10}")
    base = None
    for side in sides:
        if side in ("pandera", "pointblank") and importlib.util.find_spec(side) is None:
            print(f"{side:26}not installed: pip install pandera==0.35.* pointblank==1.1.*")
            continue
        said = work / "seconds"
        wall, peak = measured("benchmarks.gate", "--side", side, "--table", str(path), "--said", str(said), "--rows", str(rows))
        seconds = float(said.read_text())
        base = base or seconds
        print(f"{side:26}{seconds:>10.2f}{seconds / base:>8.2f}{rows / seconds:>14,.0f}{wall:>10.1f}{peak:>10.0f}", flush=True)


def one_side(side: str, path: Path, rows: int, said: Path) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent) as work:
        seconds, wrong = (ON_DUCKDB | IN_MEMORY)[side](path, Path(work))
    assert wrong == {name: count(rows) for name, count in WRONG.items()}, wrong
    said.write_text(str(seconds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=37_000_000)
    parser.add_argument("--frame-rows", type=int, default=2_000_000)
    parser.add_argument("--keep", type=Path, help="a folder for the tables, so that they are made once")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--table", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--said", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        one_side(given.side, given.table, given.rows, given.said)
        return
    with tempfile.TemporaryDirectory() as folder:
        kept = given.keep or Path(folder)
        kept.mkdir(parents=True, exist_ok=True)
        print(
            f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before the start, duckdb {duckdb.__version__}, "
            f"{len(CHECKS)} checks, DuckDB limited to {LIMIT}"
        )
        for rows, sides in ((given.rows, [*ON_DUCKDB]), (given.frame_rows, [*ON_DUCKDB, *IN_MEMORY])):
            path = kept / f"judged{rows}.parquet"
            if not path.is_file():
                with duckdb.connect() as con:
                    con.execute(f"COPY ({ROWS.format(rows=rows)}) TO '{path}.part' (FORMAT parquet)")
                Path(f"{path}.part").replace(path)
            compared(path, rows, sides, Path(folder))


if __name__ == "__main__":
    main()
