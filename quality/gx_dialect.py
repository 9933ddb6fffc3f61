"""SQLAlchemy on a DuckDB connection that somebody else owns; the shape Great Expectations needs.

Why not the duckdb-engine package: it begins transactions on the connection it is given (and so fails when one
is open), closes that connection, leaves results open on it, and calls itself "duckdb", a name for which Great
Expectations has no regular expressions, no LIKE and no type comparison (great_expectations issues 10738 and
11579, pull request 12084). Here instead:

* the dialect presents itself as PostgreSQL, so that Great Expectations takes its PostgreSQL branch and needs
  no patch; where DuckDB means something else, the compiler below writes DuckDB's spelling;
* every value is written into the statement, so a logged statement can be run again as it stands;
* a cursor fetches its whole result at once: the result survives the hand-back of the connection, and nothing
  stays open on it. Only counts and other aggregates are asked for, so results are small;
* begin, commit, rollback and close do nothing: they are the caller's.
"""

from __future__ import annotations

import datetime as dt
import decimal
import math
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import duckdb
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import base as postgresql
from sqlalchemy.pool import StaticPool
from sqlalchemy.types import UserDefinedType


class _Cursor:
    """The part of a DB-API cursor that SQLAlchemy uses for SELECT."""

    arraysize = 1
    rowcount = -1

    def __init__(self, connection: BorrowedConnection) -> None:
        self._connection = connection
        self._rows: list[Any] = []
        self.description: list[Any] | None = None

    def execute(self, statement: str, _parameters: Sequence[object] = ()) -> None:
        self._connection.statements.append(statement)
        result = self._connection.duckdb.execute(statement)
        self.description = result.description
        self._rows = result.fetchall()

    def fetchone(self) -> Any:
        return self._rows.pop(0) if self._rows else None

    def fetchmany(self, size: int | None = None) -> list[Any]:
        count = size or self.arraysize
        rows, self._rows = self._rows[:count], self._rows[count:]
        return rows

    def fetchall(self) -> list[Any]:
        rows, self._rows = self._rows, []
        return rows

    def close(self) -> None:
        self._rows = []


class BorrowedConnection:
    """A DB-API connection over the caller's DuckDB connection, and the log of what ran on it."""

    def __init__(self, con: duckdb.DuckDBPyConnection) -> None:
        self.duckdb = con
        self.statements: list[str] = []

    def cursor(self) -> _Cursor:
        return _Cursor(self)

    def commit(self) -> None: ...

    def rollback(self) -> None: ...

    def close(self) -> None: ...


class _DuckDBType(UserDefinedType[Any]):
    """A column type under DuckDB's own name, for comparison with a `type_` such as DECIMAL(10,2)."""

    cache_ok = True

    def __init__(self, name: str) -> None:
        self.name = name

    def get_col_spec(self, **_: object) -> str:
        return self.name


class _Compiler(postgresql.PGCompiler):
    def visit_bindparam(self, bindparam: Any, *args: Any, **kw: Any) -> Any:
        kw["literal_binds"] = True
        return super().visit_bindparam(bindparam, *args, **kw)  # type: ignore[no-untyped-call]  # SQLAlchemy's compiler has no types

    def render_literal_value(self, value: Any, type_: Any) -> str:
        """By the Python type: SQLAlchemy does not know the type of most values that come from a contract."""
        return literal(value)

    def visit_custom_op_binary(self, element: Any, operator: Any, **kw: Any) -> Any:
        """PostgreSQL's ~ searches; DuckDB's ~ must match the whole value, its regexp_matches searches."""
        if operator.opstring not in ("~", "!~"):
            return super().visit_custom_op_binary(element, operator, **kw)  # type: ignore[no-untyped-call]
        call = f"regexp_matches({self.process(element.left, **kw)}, {self.process(element.right, **kw)})"
        return f"NOT {call}" if operator.opstring == "!~" else call

    def visit_withingroup(self, withingroup: Any, **kw: Any) -> str:
        """PostgreSQL interpolates in floating point; DuckDB rounds what lies between two decimals to their scale."""
        if withingroup.element.name != "percentile_cont":
            return str(super().visit_withingroup(withingroup, **kw))  # type: ignore[no-untyped-call]
        (ordered,) = withingroup.order_by.clauses
        function, value = self.process(withingroup.element, **kw), self.process(ordered.element, **kw)
        return f"{function} WITHIN GROUP (ORDER BY CAST({value} AS DOUBLE))"


class _TypeCompiler(postgresql.PGTypeCompiler):
    def visit_FLOAT(self, type_: Any, **kw: Any) -> str:
        return "DOUBLE"  # FLOAT has 8 bytes in PostgreSQL, 4 in DuckDB

    def visit_NUMERIC(self, type_: Any, **kw: Any) -> str:
        if type_.precision is None:
            return "DECIMAL(38, 0)"  # only ever around a 1 or 0 to be summed; DuckDB's default is (18, 3)
        return super().visit_NUMERIC(type_, **kw)


class _Preparer(postgresql.PGIdentifierPreparer):
    def _requires_quotes(self, value: str) -> bool:
        return True  # PostgreSQL's reserved words are not DuckDB's


class Dialect(postgresql.PGDialect):
    driver = "duckdb"
    default_paramstyle = "qmark"
    statement_compiler = _Compiler
    type_compiler_cls = _TypeCompiler
    preparer = _Preparer
    supports_statement_cache = False  # a compiled statement carries its values
    div_is_floordiv = False
    default_schema_name = "main"
    server_version_info = (16,)
    _backslash_escapes = False

    @classmethod
    def import_dbapi(cls) -> ModuleType:
        return duckdb

    def initialize(self, connection: Any) -> None:
        """Nothing to ask: PostgreSQL's questions on connect (version, isolation, escapes) have no meaning."""

    def get_columns(self, connection: Any, table_name: str, schema: str | None = None, **_: Any) -> Any:
        described = connection.exec_driver_sql(f"DESCRIBE SELECT * FROM {table_name}")
        return [
            {"name": name, "type": _DuckDBType(kind), "nullable": True, "default": None}
            for name, kind, *_rest in described.fetchall()
        ]

    def get_pk_constraint(self, connection: Any, table_name: str, schema: str | None = None, **_: Any) -> Any:
        return {"constrained_columns": [], "name": None}


def literal(value: object) -> str:
    """`value` as a DuckDB literal. ValueError for a type that has none."""
    match value:
        case None:
            return "NULL"
        case bool():
            return "TRUE" if value else "FALSE"
        case int():
            return str(int(value))
        case float() if math.isfinite(value):
            return repr(float(value))  # a decimal literal, so that 0.1 is 0.1
        case float():
            return f"'{float(value)}'::DOUBLE"
        case decimal.Decimal():
            return format(value, "f")
        case str():
            return "'" + str(value).replace("'", "''") + "'"
        case dt.datetime():
            kind = "TIMESTAMP" if value.tzinfo is None else "TIMESTAMPTZ"
            return f"{kind} '{value.isoformat(sep=' ')}'"
        case dt.date():
            return f"DATE '{value.isoformat()}'"
        case dt.time():
            return f"TIME '{value.isoformat()}'"
    kind = type(value).__name__
    raise ValueError(f"a {kind} has no SQL literal; expected text, a number, a date, a time or a boolean")


def borrow(con: duckdb.DuckDBPyConnection) -> tuple[sa.Engine, BorrowedConnection]:
    """An SQLAlchemy engine whose one connection is `con`, and that connection's statement log."""
    sa.dialects.registry.register("postgresql.borrowed_duckdb", __name__, "Dialect")
    borrowed = BorrowedConnection(con)
    engine = sa.create_engine("postgresql+borrowed_duckdb://", creator=lambda: borrowed, poolclass=StaticPool)
    return engine, borrowed
