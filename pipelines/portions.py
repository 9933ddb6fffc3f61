"""Grouping a large table portion by portion.

DuckDB spills tables, sorts, joins, and groups whose state has one size. What an aggregate keeps of texts, lists and structs stays in
memory whatever the limit, about 2 kB for each row of a city. So such a grouping runs over one portion of the keys after the other, and its
memory is that of a portion.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import duckdb

#: The keys at which portions begin, and the one behind the last.
Bounds = Sequence[int | str]

#: Rows grouped at once.
ROWS = 500_000


def numbers(first: int, last: int, rows: int) -> Bounds:
    """Bounds of the portions of `rows` rows whose keys are numbers from `first` to `last`, evenly spread."""
    count = max(1, -(-rows // ROWS))
    return [first + (last - first + 1) * i // count for i in range(count)] + [last + 1]


def digests(rows: int) -> Bounds:
    """Bounds of the portions of `rows` rows whose keys are hexadecimal digests."""
    return [f"{bound:08x}" for bound in numbers(0, 0xFFFFFFFF, rows)[:-1]] + ["g"]


def of_text(rows: int) -> Bounds:
    """Bounds of the portions of `rows` rows whose keys are any text, each by `number_of_text`."""
    return numbers(0, 0xFFFF, rows)


def number_of_text(text: str) -> str:
    return f"hash({text}) >> 48"


def within(key: str) -> str:
    """The condition, in SQL, that a row belongs to the portion at hand."""
    return f"{key} >= getvariable('low') AND {key} < getvariable('high')"


def fill(con: duckdb.DuckDBPyConnection, table: str, sql: str, bounds: Bounds) -> None:
    """Insert into `table` what `sql`, which holds the condition `within`, finds in each portion."""
    for low, high in pairwise(bounds):
        _look_at(con, low, high)
        con.execute(f"INSERT INTO {table}\n{sql}")


def create(con: duckdb.DuckDBPyConnection, table: str, sql: str, bounds: Bounds) -> None:
    """The new table `table` of what `sql` finds in each portion."""
    _look_at(con, *bounds[:2])
    con.execute(f"CREATE TABLE {table} AS\n{sql}\nLIMIT 0")
    fill(con, table, sql, bounds)


def _look_at(con: duckdb.DuckDBPyConnection, low: int | str, high: int | str) -> None:
    con.execute("SET VARIABLE low = $1", [low])
    con.execute("SET VARIABLE high = $1", [high])
