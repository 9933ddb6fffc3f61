"""Great Expectations on DuckDB brings no row along, says what went wrong, and leaves the connection as it was."""

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
import pytest

from quality.gx import Expectation, Outcome, check_expectation, validate
from tests.gx_tables import SUITE, Suite, loaded, numbered, row


def one(con: duckdb.DuckDBPyConnection, kind: str, relation: str = "t", **kwargs: Any) -> Outcome:
    (outcome,) = validate(con, relation, [Expectation("it", kind, kwargs)])
    return outcome


@pytest.fixture
def people() -> duckdb.DuckDBPyConnection:
    return loaded(
        [
            row(
                name="王小明", code="4401", day="2024-02-29", born=dt.date(2000, 1, 1), n=1, m=1, total=2, amount=Decimal("0.10")
            ),
            row(name="王小明", code="440103", day="", n=2, total=3, amount=Decimal("0.20")),
            row(name="50%_x", total=3, amount=Decimal("0.30")),
            row(code="44010X", day="[1, {}]", n=3, m=2, total=5),
        ]
    )


def test_a_row_with_a_null_is_wrong_unless_it_is_ignored() -> None:
    rows = [row(name="王", n=n, m=m, total=1) for n, m in [(2, 1), (1, 2), (None, 1), (1, None), (None, None)]]
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
    con = loaded([row(code="x", n=i, m=i, total=i) for i in range(1000)])
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


def test_numbers_are_not_rounded_to_four_bytes() -> None:
    far = [*range(100_000_000, 100_000_008), 100_000_014]
    con = loaded([row(n=n) for n in far])
    outcome = one(con, "expect_column_values_to_not_be_outliers", column="n", method="std", multiplier=2)
    assert (outcome.error, outcome.unexpected_count) == (None, 1)


def test_values_that_are_all_equally_common_are_not_fetched() -> None:
    kind = "expect_column_most_common_value_to_be_in_set"
    con = loaded([row(n=i) for i in range(1001)])
    outcome = one(con, kind, column="n", value_set=[1], ties_okay=True)
    assert (outcome.success, outcome.error) == (False, "more than 1000 values are equally common")
    con.execute('DELETE FROM kept WHERE "n" = 7')
    assert one(con, kind, column="n", value_set=[1], ties_okay=True).success


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
    assert {o.error for o in outcomes} == {None, "there is no value to compare"}  # with a distribution, that is
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
    con = loaded([row(name=f"{secret}{i}", code=f"{secret}X", day=secret, js=secret, n=1, m=2, total=3) for i in range(50)])
    texts: Suite = [(kind, kwargs) for kind, kwargs in SUITE if kwargs.get("column") in {"name", "code", "day", "js"}]
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
    together = [o.statements for o in outcomes[:10] if o.type != "expect_column_values_to_be_unique"]
    assert len(set.intersection(*map(set, together))) == 3  # the schema, the number of rows, and one scan for all their counts
    assert len(statements) == 5  # besides: one grouping for uniqueness, and the query


def test_the_connection_stays_usable(people: duckdb.DuckDBPyConnection) -> None:
    broken = one(people, "unexpected_rows_expectation", unexpected_rows_query="FROM {batch} WHERE day::INT > 1")
    assert broken.error is not None
    people.begin()  # fails when a transaction was left open
    with pytest.raises(ValueError, match="transaction open"):
        one(people, "expect_column_values_to_not_be_null", column="name")
    people.rollback()
    tables = people.execute("SELECT table_name FROM duckdb_tables() ORDER BY 1").fetchall()
    assert tables == [("kept",), ("other",)]  # no temporary table of ours
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
        ("expect_column_kl_divergence_to_be_less_than", {"column": "n", "threshold": 1}, ["bins and weights"]),
        (
            "expect_column_kl_divergence_to_be_less_than",
            {"column": "code", "partition_object": {"values": ["4401"], "weights": [1]}},
            ["bins and weights"],
        ),
        ("expect_column_distinct_values_to_be_in_set", {"column": "code", "value_set": ["4401", None]}, ["no value"]),
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
