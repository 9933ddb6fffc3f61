"""Great Expectations on DuckDB counts what Great Expectations on pandas counts, and brings no row along."""

from __future__ import annotations

import datetime as dt
import logging
import subprocess
import sys
import textwrap
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from quality.gx import Expectation, Outcome, check_expectation, validate

Suite = list[tuple[str, dict[str, Any]]]
Row = tuple[Any, ...]

COLUMNS = {
    "name": "VARCHAR",
    "code": "VARCHAR",
    "day": "VARCHAR",
    "born": "DATE",
    "n": "INTEGER",
    "m": "INTEGER",
    "total": "INTEGER",
    "amount": "DECIMAL(12,2)",
}
ROWS = st.lists(
    st.tuples(
        st.sampled_from(["王小明", "欧阳修", "Li Wei", "", " ", "O'Neil", "𠮷野", "50%_x", None]),
        st.sampled_from(["4401", "440103", "44010X", "", None]),
        st.sampled_from(["2024-02-29", "2023-02-29", "20240101", "2024-1-5", "", None]),
        st.sampled_from([dt.date(1949, 10, 1), dt.date(2000, 1, 1), dt.date(2024, 2, 29), None]),
        st.sampled_from([1, 2, 3, -1, None]),
        st.sampled_from([1, 2, 3, 0, None]),
        st.sampled_from([2, 3, 4, 6, None]),
        st.sampled_from([Decimal("1.10"), Decimal("-3.00"), Decimal("99.99"), Decimal("0.10"), None]),
    ),
    min_size=1,
    max_size=25,
)

SUITE: Suite = [
    ("expect_column_values_to_not_be_null", {"column": "name"}),
    ("expect_column_values_to_not_be_null", {"column": "name", "mostly": 0.5}),
    ("expect_column_values_to_be_null", {"column": "name"}),
    ("expect_column_values_to_be_unique", {"column": "name"}),
    ("expect_column_values_to_be_unique", {"column": "born"}),
    ("expect_column_values_to_be_unique", {"column": "amount"}),
    ("expect_column_values_to_be_in_set", {"column": "code", "value_set": ["4401", ""]}),
    ("expect_column_values_to_be_in_set", {"column": "name", "value_set": ["O'Neil", "王小明", "50%_x"]}),
    ("expect_column_values_to_be_in_set", {"column": "n", "value_set": [1, 2]}),
    ("expect_column_values_to_not_be_in_set", {"column": "code", "value_set": ["4401", "x"]}),
    ("expect_column_values_to_be_between", {"column": "n", "min_value": 1, "max_value": 2}),
    ("expect_column_values_to_be_between", {"column": "n", "min_value": 1, "strict_min": True}),
    ("expect_column_values_to_be_between", {"column": "born", "min_value": dt.date(1950, 1, 1)}),
    ("expect_column_values_to_be_between", {"column": "amount", "min_value": -1, "max_value": 50}),
    ("expect_column_value_lengths_to_be_between", {"column": "name", "min_value": 1, "max_value": 3}),
    ("expect_column_value_lengths_to_equal", {"column": "name", "value": 2}),
    ("expect_column_values_to_match_regex", {"column": "code", "regex": r"^\d{6}$"}),
    ("expect_column_values_to_match_regex", {"column": "code", "regex": "0"}),
    ("expect_column_values_to_match_regex", {"column": "name", "regex": "^[\u4e00-\u9fa5]+$"}),
    ("expect_column_values_to_not_match_regex", {"column": "name", "regex": "王|[a-z]'?"}),
    ("expect_column_values_to_match_regex_list", {"column": "code", "regex_list": [r"^\d{4}$", "X"]}),
    (
        "expect_column_values_to_match_regex_list",
        {"column": "code", "regex_list": ["^44", "X$"], "match_on": "all"},
    ),
    ("expect_column_values_to_not_match_regex_list", {"column": "code", "regex_list": ["X", "^$"]}),
    ("expect_column_values_to_match_strftime_format", {"column": "day", "strftime_format": "%Y-%m-%d"}),
    ("expect_column_pair_values_to_be_equal", {"column_A": "n", "column_B": "m"}),
    (
        "expect_column_pair_values_to_be_equal",
        {"column_A": "n", "column_B": "m", "ignore_row_if": "either_value_is_missing"},
    ),
    ("expect_column_pair_values_a_to_be_greater_than_b", {"column_A": "n", "column_B": "m"}),
    (
        "expect_column_pair_values_a_to_be_greater_than_b",
        {"column_A": "n", "column_B": "m", "or_equal": True, "ignore_row_if": "either_value_is_missing"},
    ),
    (
        "expect_column_pair_values_to_be_in_set",
        {"column_A": "n", "column_B": "m", "value_pairs_set": [(1, 1), (2, 3)]},
    ),
    ("expect_compound_columns_to_be_unique", {"column_list": ["name", "code"]}),
    (
        "expect_compound_columns_to_be_unique",
        {"column_list": ["name", "code"], "ignore_row_if": "any_value_is_missing"},
    ),
    ("expect_multicolumn_sum_to_equal", {"column_list": ["n", "m"], "sum_total": 4}),
    ("expect_multicolumn_values_to_be_equal", {"column_list": ["n", "m", "total"]}),
    ("expect_select_column_values_to_be_unique_within_record", {"column_list": ["n", "m", "total"]}),
    ("expect_table_row_count_to_be_between", {"min_value": 2, "max_value": 20}),
    ("expect_table_row_count_to_equal", {"value": 7}),
    ("expect_table_column_count_to_equal", {"value": 10}),
    ("expect_table_column_count_to_be_between", {"max_value": 3}),
    ("expect_table_columns_to_match_set", {"column_set": ["n", "m"], "exact_match": False}),
    ("expect_table_columns_to_match_ordered_list", {"column_list": ["_sheet", "_row", *COLUMNS]}),
    ("expect_column_to_exist", {"column": "n"}),
    ("expect_column_to_exist", {"column": "nope"}),
    ("expect_column_min_to_be_between", {"column": "n", "min_value": 0}),
    ("expect_column_max_to_be_between", {"column": "amount", "max_value": 50}),
    ("expect_column_max_to_be_between", {"column": "born", "max_value": dt.date(2020, 1, 1)}),
    ("expect_column_mean_to_be_between", {"column": "n", "min_value": 1, "max_value": 2}),
    ("expect_column_median_to_be_between", {"column": "n", "min_value": 1, "max_value": 2}),
    ("expect_column_sum_to_be_between", {"column": "n", "min_value": 6}),
    ("expect_column_stdev_to_be_between", {"column": "n", "min_value": 0.45, "max_value": 1.45}),
    ("expect_column_distinct_values_to_be_in_set", {"column": "code", "value_set": ["4401", ""]}),
    ("expect_column_distinct_values_to_equal_set", {"column": "code", "value_set": ["4401", "440103"]}),
    ("expect_column_distinct_values_to_contain_set", {"column": "code", "value_set": ["4401", ""]}),
    ("expect_column_unique_value_count_to_be_between", {"column": "code", "min_value": 2, "max_value": 3}),
    ("expect_column_proportion_of_unique_values_to_be_between", {"column": "name", "min_value": 0.5}),
    ("expect_column_proportion_of_non_null_values_to_be_between", {"column": "name", "min_value": 0.8}),
    ("expect_column_most_common_value_to_be_in_set", {"column": "code", "value_set": ["4401"]}),
    (
        "expect_column_values_to_be_in_set",
        {"column": "code", "value_set": ["4401"], "row_condition": 'col("n") > 0'},
    ),
    ("expect_column_values_to_be_unique", {"column": "name", "row_condition": 'col("n") > 0'}),
    (
        "expect_compound_columns_to_be_unique",
        {"column_list": ["name", "code"], "row_condition": 'col("code").notnull()'},
    ),
]


def numbered(suite: Suite) -> list[Expectation]:
    return [Expectation(str(i), *line) for i, line in enumerate(suite)]


def one(con: duckdb.DuckDBPyConnection, kind: str, relation: str = "t", **kwargs: Any) -> Outcome:
    (outcome,) = validate(con, relation, [Expectation("it", kind, kwargs)])
    return outcome


def loaded(rows: list[Row]) -> duckdb.DuckDBPyConnection:
    """A connection with a temporary view `t` of the rows, which no other connection can see."""
    con = duckdb.connect()
    columns = ", ".join(f'"{name}" {kind}' for name, kind in COLUMNS.items())
    con.execute(f'CREATE TABLE kept ("_sheet" VARCHAR, "_row" BIGINT, {columns})')
    if rows:
        marks = ", ".join("?" * (len(COLUMNS) + 2))
        con.executemany(f"INSERT INTO kept VALUES ({marks})", [("s", i, *row) for i, row in enumerate(rows, 2)])
    con.execute("CREATE TEMP VIEW t AS SELECT * FROM kept")
    return con


@pytest.fixture
def people() -> duckdb.DuckDBPyConnection:
    return loaded(
        [
            ("王小明", "4401", "2024-02-29", dt.date(2000, 1, 1), 1, 1, 2, Decimal("0.10")),
            ("王小明", "440103", "", None, 2, None, 3, Decimal("0.20")),
            ("50%_x", None, None, None, None, None, 3, Decimal("0.30")),
            (None, "44010X", "[1, {}]", None, 3, 2, 5, None),
        ]
    )


class PandasOracle:
    """The same expectations through Great Expectations' own public path, on a data frame."""

    def __init__(self) -> None:
        import great_expectations as gx

        self._context = gx.get_context(mode="ephemeral")
        self._context.variables.progress_bars = {"globally": False}  # type: ignore[assignment]
        asset = self._context.data_sources.add_pandas("oracle").add_dataframe_asset("rows")
        self._batches = asset.add_batch_definition_whole_dataframe("all")

    def run(self, rows: list[Row], suite: Suite) -> list[Any]:
        from great_expectations.expectations import registry

        frame = pd.DataFrame([("s", i, *row) for i, row in enumerate(rows, 2)], dtype=object)
        frame.columns = pd.Index(["_sheet", "_row", *COLUMNS])
        frame = frame.astype({"n": "float64", "m": "float64", "total": "float64"})
        batch = self._batches.get_batch({"dataframe": frame})
        results = []
        for kind, kwargs in suite:
            parser = {"condition_parser": "great_expectations"} if "row_condition" in kwargs else {}
            implementation: Any = registry.get_expectation_impl(kind)
            results.append(batch.validate(implementation(**kwargs, **parser)))
        return results


@pytest.fixture(scope="module")
def oracle() -> PandasOracle:
    return PandasOracle()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
@settings(
    max_examples=5,
    deadline=None,
    database=None,
    phases=[Phase.generate],  # shrinking 59 expectations on pandas would take minutes
    suppress_health_check=list(HealthCheck),
)
@given(rows=ROWS)
def test_counts_and_verdicts_are_those_of_pandas_and_failing_rows_add_up(oracle: PandasOracle, rows: list[Row]) -> None:
    con = loaded(rows)
    ours = validate(con, "t", numbered(SUITE))
    for line, mine, theirs in zip(SUITE, ours, oracle.run(rows, SUITE), strict=True):
        found = (mine.error, mine.success, mine.element_count, mine.missing_count, mine.unexpected_count)
        result = theirs.result
        counts = [result.get(name) for name in ("element_count", "missing_count", "unexpected_count")]
        assert found == (None, theirs.success, *counts), line
        if mine.failing_rows_sql is not None:
            failing = con.execute(mine.failing_rows_sql).fetchall()
            assert len(set(failing)) == len(failing) == mine.unexpected_count, line
    by_row = [line for line, mine in zip(SUITE, ours, strict=True) if mine.element_count is not None]
    assert len(by_row) == len([mine for mine in ours if mine.failing_rows_sql is not None]) > 30


def test_a_row_with_a_null_is_wrong_unless_it_is_ignored() -> None:
    rows = [("王", None, None, None, n, m, 1, None) for n, m in [(2, 1), (1, 2), (None, 1), (1, None), (None, None)]]
    pair = {"column_A": "n", "column_B": "m"}
    either = {"ignore_row_if": "either_value_is_missing"}
    greater = "expect_column_pair_values_a_to_be_greater_than_b"
    suite: Suite = [
        (greater, pair),
        (greater, pair | either),
        ("expect_column_pair_values_to_be_in_set", pair | {"value_pairs_set": [(2, 1)]}),
        ("expect_multicolumn_sum_to_equal", {"column_list": ["n", "m"], "sum_total": 3}),
        ("expect_compound_columns_to_be_unique", {"column_list": ["name", "code"]}),
        ("expect_compound_columns_to_be_unique", {"column_list": ["n", "code"]}),
    ]
    counts = [(o.missing_count, o.unexpected_count) for o in validate(loaded(rows), "t", numbered(suite))]
    assert counts == [(1, 3), (3, 1), (1, 3), (1, 2), (0, 5), (2, 2)]


def test_failing_rows_are_addressed_and_uncapped() -> None:
    con = loaded([(None, "x", None, None, i, i, i, None) for i in range(1000)])
    outcome = one(con, "expect_column_values_to_be_between", column="n", max_value=2)
    assert outcome.unexpected_count == 997
    assert outcome.failing_rows_sql is not None
    failing = con.execute(f"{outcome.failing_rows_sql} ORDER BY 2").fetchall()
    assert failing == [("s", row) for row in range(5, 1002)]  # the first data row is row 2 of its sheet


def test_the_verdict_of_a_relation_without_addresses_has_no_failing_rows() -> None:
    con = duckdb.connect()
    con.execute("CREATE TABLE t AS SELECT NULL AS a")
    outcome = one(con, "expect_column_values_to_not_be_null", column="a")
    assert (outcome.unexpected_count, outcome.failing_rows_sql) == (1, None)


@pytest.mark.parametrize(
    ("kind", "kwargs", "unexpected"),
    [
        ("match_like_pattern", {"like_pattern": "王%"}, 1),
        ("match_like_pattern", {"like_pattern": "%!%%", "escape": "!"}, 2),
        ("not_match_like_pattern", {"like_pattern": "_小_"}, 2),
        ("match_like_pattern_list", {"like_pattern_list": ["王%", "%x"]}, 0),
        ("match_like_pattern_list", {"like_pattern_list": ["王%", "%x"], "match_on": "all"}, 3),
        ("not_match_like_pattern_list", {"like_pattern_list": ["zz", "%x"]}, 1),
    ],
)
def test_like_patterns_which_pandas_does_not_have(
    people: duckdb.DuckDBPyConnection, kind: str, kwargs: dict[str, Any], unexpected: int
) -> None:
    outcome = one(people, f"expect_column_values_to_{kind}", column="name", **kwargs)
    assert (outcome.error, outcome.unexpected_count, outcome.missing_count) == (None, unexpected, 1)


@pytest.mark.parametrize(
    ("kind", "kwargs", "success"),
    [
        ("expect_column_values_to_be_of_type", {"column": "name", "type_": "VARCHAR"}, True),
        ("expect_column_values_to_be_of_type", {"column": "amount", "type_": "decimal(12,2)"}, True),
        ("expect_column_values_to_be_of_type", {"column": "amount", "type_": "DOUBLE"}, False),
        (
            "expect_column_values_to_be_in_type_list",
            {"column": "n", "type_list": ["BIGINT", "INTEGER"]},
            True,
        ),
        ("expect_column_values_to_be_in_type_list", {"column": "born", "type_list": ["TIMESTAMP"]}, False),
        ("expect_column_type_to_be", {"column": "born", "type_": "DATE"}, True),
    ],
)
def test_types_go_by_their_duckdb_names(
    people: duckdb.DuckDBPyConnection, kind: str, kwargs: dict[str, Any], success: bool
) -> None:
    outcome = one(people, kind, **kwargs)
    assert (outcome.error, outcome.success) == (None, success)
    assert outcome.observed_value in {"VARCHAR", "DECIMAL(12,2)", "INTEGER", "DATE"}


def test_a_decimal_equal_to_its_limit_is_inside(people: duckdb.DuckDBPyConnection) -> None:
    outcome = one(people, "expect_column_values_to_be_between", column="amount", min_value=0.1, max_value=0.3)
    assert (outcome.unexpected_count, outcome.success) == (0, True)


def test_numbers_are_not_rounded_to_four_bytes() -> None:
    far = [*range(100_000_000, 100_000_008), 100_000_014]
    con = loaded([(None, None, None, None, n, None, None, None) for n in far])
    outcome = one(con, "expect_column_values_to_not_be_outliers", column="n", method="std", multiplier=2)
    assert (outcome.error, outcome.unexpected_count) == (None, 1)


def test_text_that_is_json(people: duckdb.DuckDBPyConnection) -> None:
    outcome = one(people, "expect_column_values_to_be_json_parseable", column="day")
    assert (outcome.missing_count, outcome.unexpected_count) == (1, 2)


def test_quantiles_and_outliers_run(people: duckdb.DuckDBPyConnection) -> None:
    ranges = {"quantiles": [0.5, 1.0], "value_ranges": [[2, 2], [3, 3]]}
    suite: Suite = [
        ("expect_column_quantile_values_to_be_between", {"column": "n", "quantile_ranges": ranges}),
        ("expect_column_values_to_not_be_outliers", {"column": "n", "method": "iqr", "multiplier": 1.5}),
        (
            "expect_column_value_z_scores_to_be_less_than",
            {"column": "n", "threshold": 3, "double_sided": True},
        ),
    ]
    outcomes = validate(people, "t", numbered(suite))
    assert [(o.error, o.success) for o in outcomes] == [(None, True)] * 3
    assert outcomes[0].observed_value == {"quantiles": [0.5, 1.0], "values": [2, 3]}


def test_rows_found_by_a_query(people: duckdb.DuckDBPyConnection) -> None:
    query = """SELECT * FROM {batch} WHERE "n" >= 2 AND {{'a':1}}.a = 1 AND regexp_matches("code", '.{{6}}');"""
    outcome = one(people, "unexpected_rows_expectation", unexpected_rows_query=query)
    assert (outcome.error, outcome.success) == (None, False)
    assert (outcome.element_count, outcome.unexpected_count) == (4, 2)
    assert outcome.failing_rows_sql is not None
    assert sorted(people.execute(outcome.failing_rows_sql).fetchall()) == [("s", 3), ("s", 5)]


def test_a_query_over_groups_has_no_failing_rows(people: duckdb.DuckDBPyConnection) -> None:
    query = 'SELECT "name", count(*) FROM {batch} GROUP BY ALL HAVING count(*) > 1 -- repeated'
    outcome = one(people, "unexpected_rows_expectation", unexpected_rows_query=query.removesuffix(" -- repeated"))
    assert (outcome.unexpected_count, outcome.failing_rows_sql) == (1, None)


def test_row_count_of_another_table(people: duckdb.DuckDBPyConnection) -> None:
    people.execute('CREATE SCHEMA "旧"; CREATE TABLE "旧"."the copy" AS FROM kept')
    kind = "expect_table_row_count_to_equal_other_table"
    assert one(people, kind, other_table_name='memory."旧"."the copy"').success
    people.execute('DELETE FROM "旧"."the copy" WHERE "n" = 1')
    assert not one(people, kind, other_table_name='memory."旧"."the copy"').success


def test_names_that_need_quotes() -> None:
    con = duckdb.connect()
    con.execute('CREATE SCHEMA "s p"; CREATE TABLE "s p"."Größe.表" ("select" INT, "企业 名称" TEXT, "a""b" TEXT)')
    con.execute("""INSERT INTO "s p"."Größe.表" VALUES (1, 'x', 'y'), (NULL, 'x', '%s'), (1, NULL, ':a')""")
    relation = 'memory."s p"."Größe.表"'
    suite: Suite = [
        ("expect_column_values_to_not_be_null", {"column": "select"}),
        ("expect_column_values_to_be_unique", {"column": "企业 名称"}),
        ("expect_column_values_to_be_in_set", {"column": 'a"b', "value_set": ["%s", ":a", "a'--"]}),
        ("expect_compound_columns_to_be_unique", {"column_list": ["select", "企业 名称"]}),
    ]
    outcomes = validate(con, relation, numbered(suite))
    assert [(o.error, o.unexpected_count) for o in outcomes] == [(None, 1), (None, 2), (None, 1), (None, 0)]


def test_an_empty_relation_is_judged() -> None:
    outcomes = validate(loaded([]), "t", numbered(SUITE))
    assert {o.error for o in outcomes} == {None}
    rowwise = [o for o in outcomes if o.element_count is not None]
    assert all(o.success and o.unexpected_count == o.element_count == 0 for o in rowwise)
    assert len(rowwise) > 30


def test_a_check_that_cannot_run_says_why_and_stops_no_other(people: duckdb.DuckDBPyConnection) -> None:
    suite: Suite = [
        ("expect_column_values_to_match_regex", {"column": "name", "regex": r"(?<=王)小"}),
        ("expect_column_values_to_match_regex", {"column": "n", "regex": "1"}),
        ("expect_column_values_to_not_be_null", {"column": "nope"}),
        ("expect_column_mean_to_be_between", {"column": "name", "min_value": 0}),
        ("expect_column_values_to_be_between", {"column": "n", "min_value": 3, "max_value": 1}),
        ("unexpected_rows_expectation", {"unexpected_rows_query": "SELECT * FROM {batch} WHERE nope"}),
        ("expect_column_values_to_match_regex", {"column": "name", "regex": "王"}),
    ]
    *broken, fine = validate(people, "t", numbered(suite))
    said = ["(?<", "regexp_matches(INTEGER", '"nope"', "VARCHAR", "min_value", '"nope"']
    for outcome, part in zip(broken, said, strict=True):
        assert outcome.error is not None
        assert part in outcome.error
        assert "\n" not in outcome.error
        assert (outcome.success, outcome.element_count, outcome.failing_rows_sql) == (False, None, None)
    assert (fine.error, fine.unexpected_count) == (None, 1)


def test_nothing_of_a_row_is_in_outcomes_logs_or_output(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    secret = "王SECRET"
    con = loaded([(f"{secret}{i}", f"{secret}X", secret, None, 1, 2, 3, None) for i in range(50)])
    texts: Suite = [(kind, kwargs) for kind, kwargs in SUITE if kwargs.get("column") in {"name", "code", "day"}]
    harmful: Suite = [
        ("unexpected_rows_expectation", {"unexpected_rows_query": "SELECT * FROM {batch}"}),
        ("unexpected_rows_expectation", {"unexpected_rows_query": "SELECT name::INT FROM {batch}"}),
        (
            "unexpected_rows_expectation",
            {"unexpected_rows_query": "SELECT * FROM {batch} WHERE name::INT > 1"},
        ),
        (
            "unexpected_rows_expectation",
            {"unexpected_rows_query": "SELECT * FROM {batch} WHERE strptime(name, '%Y') IS NULL"},
        ),
        ("expect_column_max_to_be_between", {"column": "name", "max_value": 3}),
        ("expect_column_max_to_be_between", {"column": "name", "max_value": dt.date(2020, 1, 1)}),
        ("expect_column_min_to_be_between", {"column": "name"}),
        ("expect_column_median_to_be_between", {"column": "name", "max_value": 3}),
        ("expect_column_values_to_be_in_set", {"column": "name", "value_set": [1]}),
    ]
    with caplog.at_level(logging.DEBUG):
        outcomes = validate(con, "t", numbered(texts + harmful))
    assert "SECRET" not in repr(outcomes)
    assert "SECRET" not in caplog.text
    assert capfd.readouterr() == ("", "")
    conversion = outcomes[len(texts) + 2]
    assert conversion.error is not None
    assert "ConversionException" in conversion.error


def test_statements_can_be_run_again_and_bring_back_one_row_each(people: duckdb.DuckDBPyConnection) -> None:
    without = {"expect_column_most_common_value_to_be_in_set", "expect_column_median_to_be_between"}
    suite = [line for line in SUITE if line[0] not in without]
    outcomes = validate(people, "t", numbered(suite))
    statements = {sql for outcome in outcomes for sql in outcome.statements if not sql.startswith("DESCRIBE")}
    assert statements
    for sql in statements:
        assert len(people.execute(sql).fetchall()) == 1, sql
    assert all(outcome.statements for outcome in outcomes)


def test_a_suite_of_twelve_takes_few_statements(people: duckdb.DuckDBPyConnection) -> None:
    suite: Suite = [
        ("expect_column_values_to_not_be_null", {"column": "name"}),
        ("expect_column_values_to_match_regex", {"column": "code", "regex": r"^\d{6}$"}),
        ("expect_column_values_to_not_match_regex", {"column": "name", "regex": "x"}),
        ("expect_column_values_to_be_unique", {"column": "name"}),
        ("expect_column_values_to_be_in_set", {"column": "n", "value_set": [1, 2]}),
        ("expect_column_values_to_be_between", {"column": "born", "min_value": "2001-01-01"}),
        ("expect_column_value_lengths_to_be_between", {"column": "name", "min_value": 2, "max_value": 7}),
        ("expect_column_values_to_match_strftime_format", {"column": "day", "strftime_format": "%Y-%m-%d"}),
        ("expect_column_pair_values_a_to_be_greater_than_b", {"column_A": "n", "column_B": "m"}),
        ("expect_column_mean_to_be_between", {"column": "amount", "min_value": 0}),
        ("expect_table_row_count_to_be_between", {"min_value": 1}),
        ("unexpected_rows_expectation", {"unexpected_rows_query": "SELECT * FROM {batch} WHERE n > m"}),
    ]
    began = time.perf_counter()
    outcomes = validate(people, "t", numbered(suite))
    took = time.perf_counter() - began
    assert [o.error for o in outcomes] == [None] * 12
    statements = {sql for outcome in outcomes for sql in outcome.statements}
    print(f"\n12 expectations on 4 rows: {len(statements)} statements, {took * 1000:.0f} ms")
    together = [o.statements for o in outcomes[:8] if o.type != "expect_column_values_to_be_unique"]
    assert len(set.intersection(*map(set, together))) >= 2  # the schema, and one scan for all their counts
    assert len(statements) <= 8


def test_the_connection_stays_usable(people: duckdb.DuckDBPyConnection) -> None:
    broken = one(people, "unexpected_rows_expectation", unexpected_rows_query="FROM {batch} WHERE day::INT > 1")
    assert broken.error is not None
    people.begin()  # fails when a transaction was left open
    with pytest.raises(ValueError, match="transaction open"):
        one(people, "expect_column_values_to_not_be_null", column="name")
    people.rollback()
    tables = people.execute("SELECT count(*) FROM duckdb_tables()").fetchone()
    assert tables == (1,)  # no temporary table of ours
    assert people.execute("SELECT count(*) FROM t").fetchone() == (4,)


@pytest.mark.parametrize(
    ("kind", "kwargs", "said"),
    [
        (
            "expect_colum_values_to_be_nul",
            {},
            ["expect_column_values_to_be_null", "column (required)", "mostly"],
        ),
        ("expect_column_values_to_be_null", {"colum": "a"}, ["column: field required", "colum:", "mostly"]),
        ("expect_column_values_to_be_between", {"column": "n"}, ["min_value and max_value", "strict_min"]),
        ("expect_column_values_to_be_dateutil_parseable", {"column": "day"}, ["pandas only"]),
        ("expect_column_values_to_be_null", {"column": "a", "row_condition": "a > 3"}, ["a > 3"]),
        ("unexpected_rows_expectation", {"unexpected_rows_query": "SELECT 1"}, ["{batch}"]),
        ("unexpected_rows_expectation", {"unexpected_rows_query": "FROM {batch} x{3}"}, ["{3}", "{{"]),
        ("unexpected_rows_expectation", {"unexpected_rows_query": "FROM {batch} }"}, ["{{"]),
        ("expect_query_results_to_match_comparison", {}, ["two data sources"]),
    ],
)
def test_a_wrong_expectation_is_refused_with_its_id_and_what_would_do(kind: str, kwargs: dict[str, Any], said: list[str]) -> None:
    with pytest.raises(ValueError, match="'phone_ok'") as refused:
        check_expectation(Expectation("phone_ok", kind, kwargs))
    assert [part for part in [kind, *said] if part not in str(refused.value)] == []


def test_a_right_expectation_is_accepted_without_data() -> None:
    for expectation in numbered(SUITE):
        check_expectation(expectation)


def test_ids_are_unique_and_the_relation_exists(people: duckdb.DuckDBPyConnection) -> None:
    twice = Expectation("a", "expect_column_to_exist", {"column": "n"})
    with pytest.raises(ValueError, match="more than once: a"):
        validate(people, "t", [twice, twice])
    with pytest.raises(duckdb.CatalogException, match="nowhere"):
        validate(people, "nowhere", [twice])


def test_import_is_lazy_and_a_warmed_process_can_fork(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import logging, os, pathlib, socket, sys, threading
        from quality import gx
        assert "great_expectations" not in sys.modules
        def refused(*_): raise AssertionError("network")
        socket.socket.connect = refused
        gx.warm_up()
        assert [t.name for t in threading.enumerate()] == ["MainThread"], threading.enumerate()
        assert logging._warnings_showwarning is None
        import duckdb
        if (child := os.fork()) == 0:
            con = duckdb.connect()
            con.execute("CREATE TABLE t AS SELECT 1 AS a")
            kind = "expect_column_values_to_be_unique"
            (outcome,) = gx.validate(con, "t", [gx.Expectation("a", kind, {"column": "a"})])
            os._exit(0 if outcome.success else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert list(pathlib.Path.cwd().iterdir()) == []
        """
    )
    home = {"HOME": str(tmp_path), "TMPDIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    ran = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=home, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
