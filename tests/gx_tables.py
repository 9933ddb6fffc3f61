"""Tables for the tests of Great Expectations on DuckDB: one with a column of every kind, drawn or written by hand."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from decimal import Decimal
from math import nan
from typing import Any

import duckdb
from hypothesis import strategies as st

from quality.gx import Expectation
from quality.gx_conformance import conformance

Row = tuple[Any, ...]
Suite = list[tuple[str, dict[str, Any]]]

COLUMNS = {
    "name": "VARCHAR",
    "code": "VARCHAR",
    "day": "VARCHAR",
    "js": "VARCHAR",
    "born": "DATE",
    "at": "TIMESTAMP",
    "n": "INTEGER",
    "m": "INTEGER",
    "total": "INTEGER",
    "amount": "DECIMAL(12,2)",
    "x": "DOUBLE",
}
VALUES: Mapping[str, Sequence[Any]] = {
    "name": ["王小明", "欧阳修", "Li Wei", "", " ", "O'Neil", "𠮷野", "50%_x", "A\nB", "e\u0301", None],
    "code": ["4401", "440103", "44010X", "", None],
    "day": ["2024-02-29", "2023-02-29", "20240101", "2024-1-5", "", " 2024-02-29", "2024-02-29 ", "999-1-1", None],
    "js": ['{"a": 1}', '[1, "王"]', "{a:1}", '"x"', "1", "", " null ", "{} x", "NaN", None],
    "born": [dt.date(1949, 10, 1), dt.date(2000, 1, 1), dt.date(2024, 2, 29), None],
    "at": [dt.datetime(2000, 1, 1), dt.datetime(1999, 12, 31, 23, 59, 59), dt.datetime(2024, 2, 29, 12, 0, 0, 5), None],
    "n": [1, 2, 3, -1, None],
    "m": [1, 2, 3, 0, None],
    "total": [2, 3, 4, 6, None],
    "amount": [Decimal("1.10"), Decimal("-3.00"), Decimal("99.99"), Decimal("0.10"), None],
    "x": [0.1, -3.0, 2.5, nan, None],
}
_N, _AMOUNT = list(COLUMNS).index("n"), list(COLUMNS).index("amount")
#: Tables with at least one number to sum: over none, sums and distributions differ, as declared.
ROWS = st.lists(st.tuples(*map(st.sampled_from, VALUES.values())), min_size=1, max_size=25).filter(
    lambda rows: all(any(cells[i] is not None for cells in rows) for i in (_N, _AMOUNT))
)

#: Every value of every column, the shorter lists repeated: duplicates, blanks and NULLs in all of them.
EVERY_VALUE: list[Row] = [tuple(values[i % len(values)] for values in VALUES.values()) for i in range(20)]

#: Everything that is compared with an engine of Great Expectations.
SUITE: Suite = [(kind, kwargs) for kind, compared in conformance().compared.items() for kwargs in compared.cases]


def row(**values: Any) -> Row:
    """One row; columns that are not named are NULL."""
    return tuple(values.get(name) for name in COLUMNS)


def loaded(rows: Sequence[Row], columns: Mapping[str, str] | None = None) -> duckdb.DuckDBPyConnection:
    """A connection with a temporary view `t` of the rows, addressed from row 2 on, and a table `other` of 7 rows."""
    columns = columns or COLUMNS
    con = duckdb.connect()
    declared = ", ".join(f'"{name}" {kind}' for name, kind in columns.items())
    con.execute(f'CREATE TABLE kept ("_sheet" VARCHAR, "_row" BIGINT, {declared})')
    if rows:
        marks = ", ".join("?" * (len(columns) + 2))
        con.executemany(f"INSERT INTO kept VALUES ({marks})", [("s", i, *cells) for i, cells in enumerate(rows, 2)])
    con.execute("CREATE TEMP VIEW t AS SELECT * FROM kept")
    con.execute('CREATE TABLE other AS SELECT 1 AS "a" FROM range(7)')
    return con


def numbered(suite: Suite) -> list[Expectation]:
    return [Expectation(str(i), *line) for i, line in enumerate(suite)]
