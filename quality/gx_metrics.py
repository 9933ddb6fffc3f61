"""Great Expectations' metrics on DuckDB: what an expectation needs, computed in few statements.

The validator of Great Expectations (GX) is not used: it wants a data context (temporary folders, process-wide
state), starts a thread for its progress bar, scans once per level of the metric graph, and forgets what it
has when one metric fails. What it does in between is short: an expectation names its metrics, and metrics
name the metrics they need. `Run` computes what is cheap first, then all aggregates of one domain in one
statement, and keeps failures apart.

GX counts some rows with NULLs differently in SQL and on pandas. Here they count as on pandas: a row is
unexpected unless it is proven expected, and two compound keys are also equal with NULLs in the same place.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import duckdb
import great_expectations.expectations.core  # noqa: F401  registers the gallery of expectations
import sqlalchemy as sa
from great_expectations.core.metric_domain_types import MetricDomainTypes
from great_expectations.exceptions.exceptions import GreatExpectationsError
from great_expectations.execution_engine.execution_engine import MetricComputationConfiguration
from great_expectations.execution_engine.sqlalchemy_batch_data import SqlAlchemyBatchData
from great_expectations.execution_engine.sqlalchemy_execution_engine import SqlAlchemyExecutionEngine
from great_expectations.expectations.expectation import Expectation as GxExpectation
from great_expectations.expectations.metrics.column_aggregate_metric_provider import ColumnAggregateMetricProvider
from great_expectations.expectations.metrics.map_metric_provider.column_condition_partial import (
    column_condition_partial,
)
from great_expectations.expectations.metrics.map_metric_provider.column_map_metric_provider import (
    ColumnMapMetricProvider,
)
from great_expectations.expectations.metrics.metric_provider import metric_value
from great_expectations.util import get_sqlalchemy_selectable
from great_expectations.validator.metric_configuration import MetricConfiguration
from great_expectations.validator.validation_graph import ValidationGraph

from quality import gx_dialect

BATCH = "relation"
RUNTIME = {
    "catch_exceptions": True,
    "result_format": {"result_format": "BASIC", "partial_unexpected_count": 0},
}
# these would bring rows or values back, and no verdict needs them
_FETCHES_ROWS = (
    ".unexpected_values",
    ".unexpected_rows",
    ".unexpected_index_list",
    ".distinct_values.not_in_set",
    ".distinct_values.missing_from_column",
    "unexpected_rows_query.table",
)
# these are NULL when one side is, which GX in SQL then takes for expected
_NULL_IS_UNEXPECTED = (
    "column_pair_values.a_greater_than_b.condition",
    "column_pair_values.in_set.condition",
    "multicolumn_sum.equal.condition",
)
# GX numbers every row with a window to count these, and joins compound keys on equality, which loses NULLs
_COUNTS_DOUBLES = ("column_values.unique.unexpected_count", "compound_columns.unique.unexpected_count")
_MOST_TIES = 1000
# of pairs and groups of columns GX asks these in a statement each; they fit into the scan of the others
_OF_SEVERAL_COLUMNS = ("column_pair_", "compound_columns.", "multicolumn_", "select_column_")
_COUNTS = (".unexpected_count", ".filtered_row_count")


class DuckDBEngine(SqlAlchemyExecutionEngine):
    """GX's SQL engine, under a name by which GX finds the metrics that only DuckDB has."""

    def get_domain_records(self, domain_kwargs: dict[str, Any]) -> Any:
        """The name of another table is taken as it is, like the relation's own; what has conditions can be selected from."""
        if other := domain_kwargs.get("table"):
            domain_kwargs = {**domain_kwargs, "table": sa.sql.quoted_name(other, quote=False)}
        return get_sqlalchemy_selectable(super().get_domain_records(domain_kwargs))


class _MatchesStrftime(ColumnMapMetricProvider):
    condition_metric_name = "column_values.match_strftime_format"
    condition_value_keys = ("strftime_format",)

    @column_condition_partial(engine=DuckDBEngine)
    def _duckdb(cls, column: Any, strftime_format: str, **_: Any) -> Any:
        shaped = sa.func.regexp_full_match(column, _shape(strftime_format))
        return sa.and_(shaped, sa.func.try_strptime(column, strftime_format).is_not(None))


def _shape(strftime_format: str) -> str:
    """A pattern for what DuckDB's parser is too lenient about: blanks around the value, years of fewer than four digits."""
    shapes = {"%Y": r"\d{4}", "%%": "%"}
    parts = re.findall(r"%-?.|\s+|[^%\s]+", strftime_format)
    return "".join(
        shapes.get(part) or (r"\S(?:.*\S)?" if part[0] == "%" else r"\s+" if part.isspace() else re.escape(part))
        for part in parts
    )


class _IsJson(ColumnMapMetricProvider):
    condition_metric_name = "column_values.json_parseable"

    @column_condition_partial(engine=DuckDBEngine)
    def _duckdb(cls, column: Any, **_: Any) -> Any:
        return sa.func.json_valid(column)


class _MostCommonValue(ColumnAggregateMetricProvider):
    """GX's own fetches every distinct value of the column with its count."""

    metric_name = "column.most_common_value"

    @metric_value(engine=DuckDBEngine)
    def _duckdb(cls, execution_engine: DuckDBEngine, metric_domain_kwargs: dict[str, Any], **_: Any) -> list[Any]:
        rows, _domain, accessor = execution_engine.get_compute_domain(metric_domain_kwargs, MetricDomainTypes.COLUMN)
        column: Any = sa.column(accessor["column"])
        size = sa.func.count().label("size")
        groups = (
            sa.select(column.label("value"), size).select_from(rows).where(column.is_not(None)).group_by(column).cte("groups")
        )
        largest = sa.select(sa.func.max(groups.c.size)).scalar_subquery()
        common = sa.select(groups.c.value).where(groups.c.size == largest).order_by(groups.c.value).limit(_MOST_TIES + 1)
        values = [row[0] for row in execution_engine.execute_query(common)]
        if len(values) > _MOST_TIES:
            raise GreatExpectationsError(f"more than {_MOST_TIES} values are equally common")
        return values


def open_engine(con: duckdb.DuckDBPyConnection, relation: str) -> tuple[DuckDBEngine, gx_dialect.BorrowedConnection]:
    """An engine whose one batch is `relation`, and the log of what it runs."""
    sql_engine, borrowed = gx_dialect.borrow(con)
    engine = DuckDBEngine(engine=sql_engine)
    table = sa.sql.quoted_name(relation, quote=False)
    engine.batch_manager.save_batch_data(BATCH, SqlAlchemyBatchData(engine, table_name=table))
    return engine, borrowed


def metrics_of(expectation: GxExpectation, engine: DuckDBEngine) -> dict[Any, MetricConfiguration]:
    """Every metric that the expectation needs, directly or through another, by its id. Runs nothing."""
    graph = ValidationGraph(execution_engine=engine)
    wanted = expectation.get_validation_dependencies(execution_engine=engine, runtime_configuration=RUNTIME)
    for metric in wanted.get_metric_configurations():
        graph.build_metric_dependency_graph(metric, runtime_configuration=RUNTIME)
    if expectation.expectation_type == "unexpected_rows_expectation":
        # GX counts the rows that the query finds; a score also needs the rows it looked at
        graph.build_metric_dependency_graph(MetricConfiguration("table.row_count", {"batch_id": BATCH}, {}))
    nodes = [node for edge in graph.edges for node in (edge.left, edge.right) if node is not None]
    return {node.id: node for node in nodes}


class Run:
    """The metrics of one suite on one relation: their values, or why there is none, and the SQL of each."""

    def __init__(self, engine: DuckDBEngine, borrowed: gx_dialect.BorrowedConnection) -> None:
        self._engine = engine
        self._borrowed = borrowed
        self.values: dict[Any, Any] = {}
        self.errors: dict[Any, str] = {}
        self.statements: dict[Any, list[str]] = {}

    def resolve(self, metrics: Mapping[Any, MetricConfiguration]) -> None:
        pending = dict(metrics)
        while pending:
            aggregates: dict[str, list[Any]] = {}
            left = len(pending)
            for key, metric in list(pending.items()):
                needs = [need.id for need in metric.metric_dependencies.values() if need.id != key]
                if broken := [need for need in needs if need in self.errors]:
                    self.errors[key] = self.errors[broken[0]]
                elif any(need in pending for need in needs):
                    continue
                elif aggregate := self._compute(key, metric):
                    aggregates.setdefault(repr(aggregate.compute_domain_kwargs), []).append(aggregate)
                    continue
                del pending[key]
            if len(pending) < left:
                continue  # something may be ready now that joins the aggregates
            for group in aggregates.values():
                self._compute_together(group)
                for aggregate in group:
                    del pending[aggregate.metric_configuration.id]

    def _compute(self, key: Any, metric: MetricConfiguration) -> Any:
        """Compute one metric now; an aggregate is returned instead, to be computed with others."""
        mark = len(self._borrowed.statements)
        try:
            direct, bundled = self._engine._build_direct_and_bundled_metric_computation_configurations(
                [metric], self.values, RUNTIME
            )
            if bundled:
                return dataclasses.replace(bundled[0], compute_domain_kwargs=_given(bundled[0].compute_domain_kwargs or {}))
            provide: Any = direct[0].metric_fn
            inputs = direct[0].metric_provider_kwargs
            if metric.metric_name.endswith(_FETCHES_ROWS):
                self.values[key] = []
            elif metric.metric_name in _COUNTS_DOUBLES:
                self.values[key] = self._count_doubles(*inputs["metrics"]["unexpected_condition"][1:])
            elif metric.metric_name.startswith(_OF_SEVERAL_COLUMNS) and metric.metric_name.endswith(_COUNTS):
                return _in_the_scan(metric, *inputs["metrics"]["unexpected_condition"])
            elif metric.metric_name in _NULL_IS_UNEXPECTED:
                condition, *where = provide(**inputs)
                self.values[key] = (condition.is_not(sa.false()), *where)
            else:
                self.values[key] = _sound(metric, provide(**inputs))
        except Exception as error:  # GX raises anything; one check must not stop the others
            about_rows = not metric.metric_name.endswith((".condition", ".map"))
            self.errors[key] = self.describe(error, about_rows=about_rows)
        self.statements[key] = self._borrowed.statements[mark:]
        return None

    def _compute_together(self, group: Sequence[Any]) -> None:
        mark = len(self._borrowed.statements)
        try:
            self.values.update(self._engine.resolve_metric_bundle(group))
        except Exception as error:  # as above
            if len(group) > 1:
                for aggregate in group:
                    self._compute_together([aggregate])
                return
            self.errors[group[0].metric_configuration.id] = self.describe(error)
        for aggregate in group:
            self.statements[aggregate.metric_configuration.id] = self._borrowed.statements[mark:]

    def _count_doubles(self, domain: Mapping[str, Any], columns: Mapping[str, Any]) -> int:
        key = _key(columns)
        size = sa.func.count().label("size")
        groups = sa.select(size).select_from(self.rows(domain, columns)).group_by(*key)
        if len(key) == 1:
            groups = groups.where(key[0].is_not(None))
        repeated = groups.having(sa.func.count() > 1).subquery("repeated")
        total = sa.select(sa.func.coalesce(sa.func.sum(repeated.c.size), 0).label("doubles"))
        return int(self._engine.execute_query(total).scalar_one())

    def rows(self, domain: Mapping[str, Any], columns: Mapping[str, Any]) -> Any:
        """What GX judges: the relation less the rows excluded by `row_condition` or `ignore_row_if`."""
        return self._engine.get_domain_records({**domain, **columns})

    def doubles(self, domain: Mapping[str, Any], columns: Mapping[str, Any]) -> Any:
        """Those of `rows` that share their key with another."""
        key = _key(columns)
        size = sa.func.count().over(partition_by=key).label("_size")
        counted = sa.select(sa.text("*"), size).select_from(self.rows(domain, columns)).subquery("counted")
        doubled = sa.select(sa.text("*")).select_from(counted).where(counted.c["_size"] > 1)
        return (doubled.where(key[0].is_not(None)) if len(key) == 1 else doubled).subquery("doubled")

    def value(self, metrics: Mapping[Any, MetricConfiguration], name: str) -> Any:
        """The value of the first of `metrics` called `name`; None when there is none."""
        return next((self.values[key] for key in metrics if key[0] == name and key in self.values), None)

    def describe(self, error: BaseException, *, about_rows: bool = True) -> str:
        """Why a check did not run. Of what may quote a row, only the kind of error is passed on."""
        found: BaseException | None = error
        while found is not None and not isinstance(found, duckdb.Error):
            found = found.__cause__ or found.__context__
        if found is None:
            if not about_rows or isinstance(error, GreatExpectationsError | NotImplementedError):
                return str(error)
            return misfit(error)
        try:  # planning reads no row: what fails here is the statement's own fault, and may be quoted
            self._borrowed.duckdb.execute(f"EXPLAIN {self._borrowed.statements[-1]}").fetchall()
        except duckdb.Error as planning:
            return str(planning).partition("\n")[0]
        return (
            f"{type(found).__name__}: a value did not convert; compare the column's type with the arguments "
            "of this check (the database's own message is withheld, because it quotes the value)"
        )


def misfit(error: BaseException) -> str:
    return f"{type(error).__name__}: the column's type does not fit the arguments of this check"


def _sound(metric: MetricConfiguration, value: Any) -> Any:
    """A metric's value as GX's expectations can work with it."""
    if metric.metric_name == "column.histogram" and None in value:  # sums over no rows
        raise GreatExpectationsError("there is no value to compare")
    if metric.metric_name == "column.outlier_statistics" and metric.metric_value_kwargs["method"] == "std" and value.spread == 0:
        # All values are equal and none is an outlier; GX would compare exact decimals with their mean in floating point.
        return value._replace(spread=None)
    return value


def _in_the_scan(
    metric: MetricConfiguration, condition: Any, domain: Mapping[str, Any], columns: Mapping[str, Any]
) -> MetricComputationConfiguration:
    """A count over the rows that `ignore_row_if` leaves in, as an aggregate over all rows."""
    judged = _is_judged(domain, columns)
    counted = judged if metric.metric_name.endswith(".filtered_row_count") else sa.and_(judged, condition)
    total = sa.func.coalesce(sa.func.sum(sa.case((counted, 1), else_=0)), 0)
    rows = _given({name: value for name, value in domain.items() if name != "ignore_row_if"})
    return MetricComputationConfiguration(metric, total, {}, compute_domain_kwargs=rows)


def _given(domain: Mapping[str, Any]) -> dict[str, Any]:
    return {name: domain[name] for name in sorted(domain) if domain[name] is not None}


def _is_judged(domain: Mapping[str, Any], columns: Mapping[str, Any]) -> Any:
    """Whether `ignore_row_if` leaves a row in, as GX reads it."""
    names = columns.get("column_list") or [columns["column_A"], columns["column_B"]]
    missing = [sa.column(name).is_(None) for name in names]
    match domain.get("ignore_row_if"):
        case "both_values_are_missing" | "all_values_are_missing":
            return sa.not_(sa.and_(*missing))
        case "either_value_is_missing" | "any_value_is_missing":
            return sa.not_(sa.or_(*missing))
    return sa.true()


def _key(columns: Mapping[str, Any]) -> list[Any]:
    return [sa.column(name) for name in columns.get("column_list") or [columns["column"]]]
