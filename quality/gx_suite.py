"""Expectations in, outcomes out, with Great Expectations imported; `quality.gx` imports this when needed."""

from __future__ import annotations

import copy
import dataclasses
import datetime as dt
import decimal
import difflib
import functools
import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import duckdb
import sqlalchemy as sa
from great_expectations.compatibility import pydantic
from great_expectations.exceptions.exceptions import GreatExpectationsError, MetricProviderError
from great_expectations.expectations import registry
from great_expectations.expectations.expectation import Expectation as GxExpectation
from great_expectations.expectations.row_conditions import deserialize_row_condition
from great_expectations.validator.metric_configuration import MetricConfiguration

from quality.gx import Expectation, Outcome
from quality.gx_condition import read_condition
from quality.gx_metrics import BATCH, RUNTIME, DuckDBEngine, Run, metrics_of, misfit, open_engine

_ADDRESS = ("_sheet", "_row")
_REFUSED = {
    "expect_query_results_to_match_comparison": "it compares two data sources, and a contract has one",
}
_DIVERGENCE = "expect_column_kl_divergence_to_be_less_than"
_ABOUT_COLUMNS = re.compile(r"expect_table_|expect_column_values_to_be_(of_type|in_type_list)|.*_type_to_be$")


Built = tuple[GxExpectation, dict[Any, MetricConfiguration]]


def build(expectation: Expectation) -> Built:
    """The GX object and the metrics it needs; ValueError when GX on DuckDB has no such expectation, or not with these
    arguments.

    Kept for the next batch: the same contract asks the same, and GX takes milliseconds to see it.
    """
    return _built(_Asked(expectation))


class _Asked:
    """An expectation as the key of what was built for it: equal where type and arguments are, also by their types."""

    def __init__(self, expectation: Expectation) -> None:
        self.expectation = expectation
        self.text = repr((expectation.type, sorted(expectation.kwargs.items())))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Asked) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)


@functools.lru_cache(maxsize=4096)
def _built(asked: _Asked) -> Built:
    expectation = asked.expectation
    names = registry.list_registered_expectation_implementations()
    if expectation.type not in names:
        near = difflib.get_close_matches(expectation.type, names, n=1, cutoff=0.0)[0]
        raise _invalid(expectation, f"there is no such expectation; the nearest is {near}", near)
    if reason := _REFUSED.get(expectation.type):
        raise _invalid(expectation, f"not available here: {reason}")
    kwargs = dict(expectation.kwargs)
    if query := kwargs.get("unexpected_rows_query"):
        _check_query(expectation, query)
        # SQLAlchemy would take the colon in {'a':1} for a parameter
        kwargs["unexpected_rows_query"] = re.sub(r"(?<![:\w\\]):(?=\w+(?!:))", r"\\:", query)
    if expectation.type == _DIVERGENCE and not {"bins", "weights"} <= {*(kwargs.get("partition_object") or ())}:
        raise _invalid(expectation, "partition_object needs bins and weights; with values, or without it, GX fetches the column")
    if "distinct_values" in expectation.type and None in (kwargs.get("value_set") or ()):
        raise _invalid(
            expectation, "value_set has a null, and NULL is no value; expect_column_values_to_not_be_null judges those"
        )
    implementation: Any = registry.get_expectation_impl(expectation.type)
    try:
        if isinstance(condition := kwargs.get("row_condition"), str):
            kwargs |= {"row_condition": deserialize_row_condition(read_condition(condition)), "condition_parser": None}
        built: GxExpectation = implementation(**kwargs, batch_id=BATCH)
        metrics = metrics_of(built, _engine_that_runs_nothing())
    except pydantic.ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise _invalid(expectation, problems) from None
    except MetricProviderError:
        raise _invalid(expectation, "Great Expectations has it for pandas only, not for SQL") from None
    except (GreatExpectationsError, TypeError, ValueError) as error:
        raise _invalid(expectation, str(error)) from None
    return built, metrics


def _check_query(expectation: Expectation, query: object) -> None:
    expected = 'expected SQL text like SELECT * FROM {batch} WHERE "a" > "b", other braces doubled: {{ }}'
    try:
        placeholders = {name for _, name, _, _ in string.Formatter().parse(str(query)) if name is not None}
    except ValueError as error:
        raise _invalid(expectation, f"unexpected_rows_query: {error}; {expected}") from None
    if not isinstance(query, str) or placeholders != {"batch"}:
        found = ", ".join(f"{{{name}}}" for name in sorted(placeholders)) or "none"
        raise _invalid(expectation, f"unexpected_rows_query has the placeholders {found}; {expected}")


def _invalid(expectation: Expectation, problem: str, described: str | None = None) -> ValueError:
    name = described or expectation.type
    accepted = ", ".join(_arguments(name))
    return ValueError(f"expectation {expectation.id!r} ({expectation.type}): {problem}. {name} accepts: {accepted}")


def _arguments(name: str) -> list[str]:
    fields = registry.get_expectation_impl(name).__fields__
    internal = {*GxExpectation.__fields__, "batch_id", "library_metadata"}
    own = {key: field for key, field in fields.items() if key not in internal}
    return [f"{key} (required)" if field.required else key for key, field in own.items()]


@functools.cache
def _engine_that_runs_nothing() -> DuckDBEngine:
    con = duckdb.connect()
    con.close()
    return open_engine(con, BATCH)[0]


def validate(con: duckdb.DuckDBPyConnection, relation: str, expectations: Sequence[Expectation]) -> list[Outcome]:
    """See `quality.gx.validate`."""
    _refuse_open_transaction(con)
    if repeated := [i for i, count in Counter(e.id for e in expectations).items() if count > 1]:
        raise ValueError(f"expectation ids used more than once: {', '.join(repeated)}; give each its own")
    con.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()  # raises when there is none
    built = [build(expectation) for expectation in expectations]
    engine, borrowed = open_engine(con, relation)
    run = Run(engine, borrowed)
    run.resolve({key: metric for _, metrics in built for key, metric in metrics.items()})
    outcomes = []
    for expectation, (gx_object, metrics) in zip(expectations, built, strict=True):
        outcome = _judge(expectation, gx_object, metrics, run, engine)
        if outcome.error is None:
            rows_sql = (
                _found_rows_sql(con, relation, expectation.kwargs["unexpected_rows_query"])
                if expectation.type == "unexpected_rows_expectation"
                else _failing_rows_sql(gx_object, metrics, run, engine)
            )
            outcome = dataclasses.replace(outcome, failing_rows_sql=rows_sql)
        outcomes.append(outcome)
    return outcomes


def _refuse_open_transaction(con: duckdb.DuckDBPyConnection) -> None:
    try:
        con.begin()
    except duckdb.TransactionException:
        raise ValueError(
            "the connection has a transaction open, which DuckDB would abort at the first check that "
            "cannot run; commit or roll back before validating"
        ) from None
    con.rollback()


def _judge(
    expectation: Expectation,
    gx_object: GxExpectation,
    metrics: Mapping[Any, MetricConfiguration],
    run: Run,
    engine: DuckDBEngine,
) -> Outcome:
    ran = dict.fromkeys(statement for key in metrics for statement in run.statements.get(key, ()))
    outcome = Outcome(expectation.id, expectation.type, success=False, statements=tuple(ran))
    if errors := [run.errors[key] for key in metrics if key in run.errors]:
        return dataclasses.replace(outcome, error=errors[0])
    try:
        runtime = copy.deepcopy(RUNTIME)
        verdict = gx_object.metrics_validate(run.values, runtime, execution_engine=engine)
    except Exception as error:  # GX raises anything, TypeError for a limit of the wrong type among them
        return dataclasses.replace(outcome, error=misfit(error))
    result = dict(verdict.result)
    if expectation.type == "unexpected_rows_expectation":
        result["element_count"] = run.value(metrics, "table.row_count")
        result["unexpected_count"] = result["observed_value"]
    elif result.get("element_count") == 0:
        result["unexpected_count"] = 0  # a sum over no rows is NULL
    return dataclasses.replace(
        outcome,
        success=bool(verdict.success),
        element_count=result.get("element_count"),
        missing_count=result.get("missing_count"),
        unexpected_count=result.get("unexpected_count"),
        observed_value=_observed(expectation.type, result.get("observed_value")),
    )


def _observed(kind: str, value: Any) -> Any:
    """GX's observed value as far as it quotes no text of a row: see `Outcome`."""
    if value is None or isinstance(value, bool | int | float | decimal.Decimal | dt.date):
        return value
    if _ABOUT_COLUMNS.match(kind):
        return [str(item) for item in value] if isinstance(value, list) else str(value)
    if isinstance(value, Mapping):
        return {key: [_observed(kind, item) for item in items] for key, items in value.items()}
    if isinstance(value, str):  # GX hands dates over as text
        return value if re.match(r"\d{4}-\d\d-\d\d(T|$)", value) else None
    return len(value) if isinstance(value, Sequence | set) else None


def _failing_rows_sql(
    gx_object: GxExpectation, metrics: Mapping[Any, MetricConfiguration], run: Run, engine: DuckDBEngine
) -> str | None:
    name = getattr(gx_object, "map_metric", None)
    judged = run.value(metrics, f"{name}.condition")
    if judged is None or not set(_ADDRESS) <= {str(column) for column in run.value(metrics, "table.columns")}:
        return None
    condition, domain, columns = judged
    addresses: Any = sa.select(*map(sa.column, _ADDRESS))
    if name in ("column_values.unique", "compound_columns.unique"):
        wrong = addresses.select_from(run.doubles(domain, columns))
    else:
        wrong = addresses.select_from(run.rows(domain, columns)).where(condition)
    return str(wrong.compile(engine.engine))


def _found_rows_sql(con: duckdb.DuckDBPyConnection, relation: str, query: str) -> str | None:
    query = query.rstrip("; \n").format(batch=relation)
    found = f'(\n{query}\n) AS "unexpected"'
    names = {row[0] for row in con.execute(f"DESCRIBE SELECT * FROM {found}").fetchall()}
    return f'SELECT "_sheet", "_row" FROM {found}' if set(_ADDRESS) <= names else None
