"""Great Expectations on DuckDB: a contract's expectations in, counts and SQL out, no row in between.

Only this module, `gx_suite` and `gx_metrics` know Great Expectations (GX); `gx_dialect` is the DuckDB half,
and says why it is written here. GX takes seconds to import, so that happens inside the functions below:
importing `quality.gx` costs nothing, and a scheduler calls `warm_up` once before it forks.

GX's own sample of failing values is capped and carries personal data, so it is never fetched. In its place
each outcome has `failing_rows_sql`, which lists every failing row by its address in the delivered file.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True)
class Expectation:
    """One line of a contract's `expect:` list in GX's terms.

    `type` is GX's snake_case name. `kwargs` are GX's arguments, with one convenience: a `row_condition` may be given
    as text, such as `col("kind") == "1"`; see `gx_condition`. `mostly` decides `success`, no count.
    """

    id: str
    type: str
    kwargs: Mapping[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What one expectation found. Counts are rows of the relation (those that meet `row_condition`, if any).

    `missing_count`: rows that are not judged, because the checked column is NULL or `ignore_row_if` says so.
    `unexpected_count`: rows judged and found wrong; for the distinct-values expectations, distinct values.
    `observed_value`: GX's, where it is a number, a date, or about column names and types. A value of a text
    column is withheld (None); a list of values becomes its length.
    `error`: why the check did not run, never quoting a row; then `success` is False and the counts are None.
    `statements`: the SQL behind the verdict, complete: it can be run again as it stands. One statement may
    serve several outcomes.
    `failing_rows_sql`: a query for the `_sheet` and `_row` of all wrong rows; None for checks of something
    other than rows, and for relations without these columns.
    """

    id: str
    type: str
    success: bool
    element_count: int | None = None
    missing_count: int | None = None
    unexpected_count: int | None = None
    observed_value: Any = None
    error: str | None = None
    statements: tuple[str, ...] = ()
    failing_rows_sql: str | None = None


def check_expectation(expectation: Expectation) -> None:
    """Raise ValueError, naming id and accepted arguments, unless GX on DuckDB can run this expectation."""
    _suite().build(expectation)


def validate(con: duckdb.DuckDBPyConnection, relation: str, expectations: Sequence[Expectation]) -> list[Outcome]:
    """Run `expectations` on a table or view of `con`; one outcome each, in the same order.

    `relation` goes into the SQL as it is: quote and qualify it as DuckDB needs it. Writes nothing, creates
    nothing, and leaves no result or transaction open; a result still open on `con` before the call is lost.
    A check that cannot run on this data (no such column, a pattern that RE2 refuses, a value that does not
    convert) is an outcome with `error`, and the other checks run.
    Raises ValueError as `check_expectation` does, for an id used twice, and when `con` has a transaction
    open; duckdb.CatalogException when there is no such relation.
    """
    outcomes: list[Outcome] = _suite().validate(con, relation, expectations)
    return outcomes


def warm_up() -> None:
    """Import GX and run one expectation on an empty table, so that later calls, in forks too, start at once.

    Leaves no thread and no open connection. A second call costs milliseconds.
    """
    import duckdb

    with duckdb.connect() as con:
        con.execute('CREATE TABLE warm_up ("_sheet" VARCHAR, "_row" BIGINT)')
        any_check = Expectation("warm_up", "expect_column_values_to_not_be_null", {"column": "_row"})
        validate(con, "warm_up", [any_check])


def _suite() -> ModuleType:
    warnings_were_logged = getattr(logging, "_warnings_showwarning", None) is not None
    from quality import gx_suite

    logging.captureWarnings(warnings_were_logged)  # GX turns this on for the whole process as it is imported
    logging.getLogger("great_expectations").setLevel(logging.CRITICAL + 1)  # its messages quote rows
    return gx_suite
