"""Column lineage as a pure function of SQL text and schema. What cannot be proved is said to be unknown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.lineage import Node, lineage


@dataclass(frozen=True)
class Origin:
    """A stored column that a result column reads."""

    table: str
    column: str


def column_lineage(
    column: str, sql: str, schema: Mapping[str, Mapping[str, str]], dialect: str = "duckdb"
) -> frozenset[Origin] | None:
    """The stored columns that the output `column` of one SELECT is made of; None: it cannot be proved.

    `schema` maps each table the SELECT reads to its columns and types: a star over a table that is not in it loses
    every column, and then the answer is None rather than a guess.
    """
    try:
        root = lineage(exp.column(column, quoted=True), sql, schema={t: dict(c) for t, c in schema.items()}, dialect=dialect)
    except (SqlglotError, ValueError, RecursionError):
        return None
    found: set[Origin] = set()
    for node in root.walk():
        if node.downstream:
            continue
        if not isinstance(node.expression, exp.Table):
            continue  # a literal: it reads no column
        table = node.expression.name
        # DuckDB's names do not tell letter case apart, so sqlglot gives them in lower case.
        stored = {name.lower(): name for name in schema.get(table, {})}
        column_name = stored.get(_column_of(node).lower())
        if column_name is None:
            return None
        found.add(Origin(table, column_name))
    return frozenset(found)


def _column_of(node: Node) -> str:
    """The column a leaf reads, from its name such as `raw."Site name"`; `*` where it could not be resolved."""
    column: exp.Expr = exp.maybe_parse(node.name, dialect="duckdb")
    return str(column.name)
