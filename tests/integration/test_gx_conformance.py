"""Great Expectations on DuckDB counts what Great Expectations counts on its own engines, but for what is declared."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import json
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import duckdb
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, example, given, settings

from quality.gx import Expectation, Outcome, check_expectation, validate
from quality.gx_condition import read_condition
from quality.gx_conformance import Oracle, Shown, conformance
from quality.gx_result import validation_result
from tests.gx_tables import COLUMNS, EVERY_VALUE, ROWS, SUITE, Row, Suite, loaded, numbered, row

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning", "ignore::RuntimeWarning"
)

COUNTS = ("element_count", "missing_count", "unexpected_count")
FACTS = conformance()
SHOWN = {f"{name}-{i}": shown for name, difference in FACTS.differences.items() for i, shown in enumerate(difference.shown)}


class Oracles:
    """The same expectations through Great Expectations' own public path: on a data frame, on a table of SQLite."""

    def __init__(self, folder: Path) -> None:
        import great_expectations as gx

        self._context = gx.get_context(mode="ephemeral")
        self._context.variables.progress_bars = {"globally": False}  # type: ignore[assignment]
        asset = self._context.data_sources.add_pandas("pandas").add_dataframe_asset("rows")
        self._frames = asset.add_batch_definition_whole_dataframe("all")
        url = f"sqlite:///{folder / 'oracle.db'}"
        self._sqlite = sa.create_engine(url)
        self._tables = self._context.data_sources.add_sqlite("sqlite", connection_string=url)
        self._number = count()
        with self._sqlite.begin() as con:
            con.execute(sa.text("CREATE TABLE other AS SELECT value AS a FROM json_each('[1,2,3,4,5,6,7]')"))

    def run(self, oracle: Oracle, rows: Sequence[Row], columns: Mapping[str, str], suite: Suite) -> list[Any]:
        from great_expectations.core.expectation_suite import ExpectationSuite
        from great_expectations.expectations import registry

        asked = []
        for number, (kind, kwargs) in enumerate(suite):
            implementation: Any = registry.get_expectation_impl(kind)
            condition = {"row_condition": read_condition(kwargs["row_condition"])} if "row_condition" in kwargs else {}
            asked.append(implementation(**{**kwargs, **condition}, meta={"number": number}))
        batch = self._frame(rows, columns) if oracle == "pandas" else self._table(rows, columns)
        results = batch.validate(ExpectationSuite(name=f"suite {next(self._number)}", expectations=asked)).results
        return sorted(results, key=lambda result: result.expectation_config.meta["number"])

    def _frame(self, rows: Sequence[Row], columns: Mapping[str, str]) -> Any:
        import pandas as pd

        frame = pd.DataFrame(
            [("s", i, *row) for i, row in enumerate(rows, 2)], columns=["_sheet", "_row", *columns], dtype=object
        )
        numbers = {name: "float64" for name, kind in columns.items() if kind in ("INTEGER", "DOUBLE")}
        return self._frames.get_batch({"dataframe": frame.astype(numbers)})

    def _table(self, rows: Sequence[Row], columns: Mapping[str, str]) -> Any:
        name = f"t{next(self._number)}"
        types: dict[str, Any] = {
            "VARCHAR": sa.VARCHAR, "DATE": sa.DATE, "TIMESTAMP": sa.TIMESTAMP, "INTEGER": sa.INTEGER, "DOUBLE": sa.FLOAT,
            "BIGINT": sa.BIGINT, "DECIMAL(12,2)": sa.DECIMAL(12, 2),
        }  # fmt: skip
        declared = {"_sheet": "VARCHAR", "_row": "BIGINT", **columns}
        table = sa.Table(name, sa.MetaData(), *(sa.Column(column, types[kind]) for column, kind in declared.items()))
        with self._sqlite.begin() as con:
            table.create(con)
            if rows:
                con.execute(table.insert(), [dict(zip(declared, ("s", i, *row), strict=True)) for i, row in enumerate(rows, 2)])
        return self._tables.add_table_asset(name, table_name=name).add_batch_definition_whole_table("all").get_batch()


@pytest.fixture(scope="module")
def oracles(tmp_path_factory: pytest.TempPathFactory) -> Oracles:
    return Oracles(tmp_path_factory.mktemp("oracles"))


def test_every_expectation_of_the_installed_version_is_accounted_for() -> None:
    from great_expectations.exceptions import MetricProviderError
    from great_expectations.execution_engine import SqlAlchemyExecutionEngine
    from great_expectations.expectations import registry

    engine = SqlAlchemyExecutionEngine(connection_string="sqlite://")

    def is_for_sql(name: str) -> bool:
        implementation: Any = registry.get_expectation_impl(name)
        if compared := FACTS.compared.get(name):
            needs = implementation(**compared.cases[0]).get_validation_dependencies(engine, {"result_format": "BASIC"})
            metrics = [metric.metric_name for metric in needs.get_metric_configurations()]
        else:
            metrics = list(getattr(implementation, "metric_dependencies", ())) or [f"{implementation.map_metric}.condition"]
        try:
            return all(registry.get_metric_provider(metric, engine) for metric in metrics)
        except MetricProviderError:
            return False

    assert importlib.metadata.version("great-expectations") == FACTS.great_expectations
    registered = set(registry.list_registered_expectation_implementations())
    entered = {*FACTS.compared, *FACTS.pandas_only, *FACTS.not_covered}
    assert registered == entered, "enter the new ones in quality/gx_conformance.yaml: with cases, or with a reason"
    assert {name for name in registered if is_for_sql(name)} == FACTS.in_sql


@pytest.mark.parametrize("name", FACTS.not_covered)
def test_what_is_not_covered_is_refused_with_the_declared_reason(name: str) -> None:
    with pytest.raises(ValueError, match=FACTS.not_covered[name].en):
        check_expectation(Expectation("it", name, {}))


@settings(max_examples=2, database=None, phases=[Phase.explicit, Phase.generate],
          suppress_health_check=list(HealthCheck))  # fmt: skip  # shrinking 200 runs on two engines would take minutes
@example(rows=EVERY_VALUE)
@given(rows=ROWS)
def test_counts_and_verdicts_are_those_of_the_oracle_and_failing_rows_add_up(oracles: Oracles, rows: list[Row]) -> None:
    con = loaded(rows)
    outcomes = hold_against(oracles, con, rows, by_oracle())
    by_row = 0
    for line, mine in outcomes:
        if mine.failing_rows_sql is not None:
            failing = con.execute(mine.failing_rows_sql).fetchall()
            assert len(set(failing)) == len(failing) == mine.unexpected_count, line
            by_row += 1
    assert by_row == sum(mine.element_count is not None for _, mine in outcomes) > 30


@pytest.mark.parametrize(
    ("amounts", "method", "multiplier"), [(["0.10"] * 3, "std", 1.5), (["1.10", "-3.00"], "iqr", 0.5)], ids=["all equal", "two"]
)
def test_exact_decimals_are_held_against_limits_in_floating_point(
    oracles: Oracles, amounts: list[str], method: str, multiplier: float
) -> None:
    """The mean of equal decimals is not exactly their value, and a quartile may lie between two decimals."""
    rows = [row(amount=Decimal(amount)) for amount in amounts]
    asked = {"column": "amount", "method": method, "multiplier": multiplier}
    hold_against(oracles, loaded(rows), rows, {"pandas": [("expect_column_values_to_not_be_outliers", asked)]})


def hold_against(
    oracles: Oracles, con: duckdb.DuckDBPyConnection, rows: list[Row], suites: Mapping[Oracle, Suite]
) -> list[tuple[tuple[str, Any], Outcome]]:
    """Compare each expectation with its oracle; the outcomes here, all suites as one."""
    suite = [line for lines in suites.values() for line in lines]
    outcomes = list(zip(suite, validate(con, "t", numbered(suite)), strict=True))
    there = [theirs for oracle, lines in suites.items() for theirs in oracles.run(oracle, for_oracle(rows), COLUMNS, lines)]
    for (line, mine), theirs in zip(outcomes, there, strict=True):
        assert not raised(theirs), (line, theirs.exception_info)
        assert mine.error is None, line
        differ = [name for name in ("success", *COUNTS) if getattr(mine, name) != counted(line[0], theirs, mine)[name]]
        assert differ == [], (line, mine, theirs.result)
        assert agrees(mine.observed_value, theirs.result.get("observed_value")), (line, mine, theirs.result)
    return outcomes


def by_oracle() -> dict[Oracle, Suite]:
    suites: dict[Oracle, Suite] = {"pandas": [], "sqlite": []}
    for kind, compared in FACTS.compared.items():
        suites[compared.oracle] += [(kind, kwargs) for kwargs in compared.cases]
    return suites


def for_oracle(rows: Sequence[Row]) -> list[Row]:
    """As the declared differences have it: NaN is the greatest number (here: infinity), and a decimal is no Decimal."""

    def cell(value: Any) -> Any:
        if isinstance(value, float) and math.isnan(value):
            return math.inf
        return float(value) if isinstance(value, Decimal) else value

    return [tuple(map(cell, row)) for row in rows]


def counted(kind: str, theirs: Any, mine: Outcome) -> dict[str, Any]:
    found = {"success": theirs.success, **{name: theirs.result.get(name) for name in COUNTS}}
    if kind == "unexpected_rows_expectation":  # the difference `rows_of_a_query`
        found |= {"unexpected_count": theirs.result["observed_value"], "element_count": mine.element_count}
    if found["element_count"] == 0:  # the difference `counts_of_an_empty_table`
        found["unexpected_count"] = found["unexpected_count"] or 0
    return found


def raised(result: Any) -> bool:
    told = result.exception_info or {}
    return bool(told.get("raised_exception")) or any(isinstance(v, dict) and v.get("raised_exception") for v in told.values())


def agrees(mine: Any, theirs: Any) -> bool:
    """Where we give an observed value at all, it is theirs; of a list of values we give the length."""
    match mine, theirs:
        case None, _:
            return True
        case int() | float() | Decimal(), int() | float() | Decimal():
            return math.isclose(float(mine), float(theirs), rel_tol=1e-9, abs_tol=1e-9)
        case int(), list() | set():
            return mine == len(theirs)
        case {"values": list() as found}, {"values": list() as expected}:
            return len(found) == len(expected) and all(map(agrees, found, expected))
    return str(mine) == str(theirs)


@pytest.mark.parametrize("shown", SHOWN.values(), ids=SHOWN)
def test_a_declared_difference_is_there(oracles: Oracles, shown: Shown) -> None:
    columns = dict(head.split(" ", 1) for head in shown.table)
    decimals = [kind.startswith("DECIMAL") for kind in columns.values()]
    rows = [
        tuple(Decimal(v) if is_decimal and v is not None else v for v, is_decimal in zip(row, decimals, strict=True))
        for row in zip(*shown.table.values(), strict=True)
    ]
    (here,) = validate(loaded(rows, columns), "t", [Expectation("it", shown.type, shown.kwargs)])
    (there,) = oracles.run(shown.oracle, rows, columns, [(shown.type, shown.kwargs)])
    mine = {"error": shown.here.get("error", "") in (here.error or "-") and here.error is not None}
    mine |= {name: getattr(here, name) for name in ("success", *COUNTS)}
    theirs = {"error": raised(there), "success": there.success, **{name: there.result.get(name) for name in COUNTS}}
    for side, found in ((shown.here, mine), (shown.there, theirs)):
        declared = {"error": False, **side, **({"error": True} if "error" in side else {})}
        assert {name: found[name] for name in declared} == declared, (here, there)
    named = ("error", *{**shown.here, **shown.there})
    assert [mine[name] for name in named] != [theirs[name] for name in named], "no difference any more"


def test_results_as_json_are_those_of_great_expectations_less_the_values_of_rows(oracles: Oracles) -> None:
    suite: Suite = [*by_oracle()["pandas"], ("expect_column_mean_to_be_between", {"column": "nope", "min_value": 1})]
    asked = numbered(suite)
    outcomes = validate(loaded(EVERY_VALUE), "t", asked)
    text = validation_result(list(zip(asked, outcomes, strict=True)), "people", {"batch": "people@1"})
    assert "欧阳修" not in text  # a value of the table, which no argument of the suite names
    written = json.loads(text)
    results = oracles.run("pandas", for_oracle(EVERY_VALUE), COLUMNS, suite)
    for line, mine, theirs in zip(suite, written["results"], results, strict=True):
        expected = json.loads(json.dumps(theirs.to_json_dict(), default=float))
        assert mine.keys() == expected.keys(), line
        assert mine["exception_info"]["raised_exception"] == raised(theirs), line
        quoted = {name for name in expected["result"] if name.startswith("partial_") or name == "details"}
        if mine["result"].get("observed_value", 0) is None:
            quoted |= {"observed_value", "unexpected_count"}
        for name in expected["result"].keys() - quoted:
            assert mine["result"].get(name) == pytest.approx(expected["result"][name]), (line, name)
        assert mine["result"].keys() - {"partial_unexpected_list"} <= expected["result"].keys(), line


def test_great_expectations_reads_the_json_and_its_suite_finds_the_same_again() -> None:
    from great_expectations.core import expectationSuiteValidationResultSchema

    with_dates = [line for line in SUITE if any(isinstance(value, dt.date) for value in line[1].get("value_set", ()))]
    suite = [line for line in SUITE if line not in with_dates]  # JSON has no dates, and a text is no most common date
    asked = numbered(suite)
    con = loaded(EVERY_VALUE)
    checked = list(zip(asked, validate(con, "t", asked), strict=True))
    text = validation_result(checked, "people", {"batch": "people@1"})
    result: Any = expectationSuiteValidationResultSchema.loads(text)
    assert (result.asset_name, result.success, len(result.results)) == ("people", False, len(suite))
    assert result.describe_dict()["statistics"]["successful_expectations"] == sum(outcome.success for _, outcome in checked)
    again = [
        Expectation(str(i), config.type, config.to_domain_obj().configuration.kwargs)
        for i, config in enumerate(r.expectation_config for r in result.results)
    ]

    def found(outcome: Outcome) -> list[Any]:
        return [getattr(outcome, name) for name in ("id", "type", "error", "success", *COUNTS)]

    assert [found(outcome) for outcome in validate(con, "t", again)] == [found(outcome) for _, outcome in checked]
