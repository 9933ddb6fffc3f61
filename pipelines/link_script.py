"""The statements of a linking run, as they run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import duckdb
import pyarrow as pa

from warehouse.lake import quoted

Statement = tuple[str, str]


@dataclass
class Script:
    """Runs statements on a connection and keeps them with their titles, for the auditor."""

    con: duckdb.DuckDBPyConnection
    statements: list[Statement] = field(default_factory=list)

    def run(self, title: str, sql: str) -> None:
        self.statements.append((title, sql))
        self.con.execute(sql)

    def note(self, text: str) -> None:
        self.statements.append(("note", f"-- {text}"))

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        return self.con.execute(sql).fetchall()

    def number(self, sql: str) -> int:
        return int(self.ask(sql)[0][0] or 0)

    def load(self, table: str, columns: Mapping[str, Any]) -> None:
        """Arrays worked out outside SQL, as a table."""
        arrow = pa.table(dict(columns))
        self.con.register("_arrays", arrow)
        self.con.execute(f"CREATE TABLE {quoted(table)} AS SELECT * FROM _arrays")
        self.con.unregister("_arrays")
        self.note(f"table {table}: {arrow.num_rows} rows worked out outside SQL (connected components, average linkage)")
