"""The one way to change the warehouse: heavy files first, then one short transaction that names them.

Workers write immutable Parquet files in parallel, outside the catalogue. A commit registers them together with the
ledger rows and the checks in ONE transaction, one process at a time (DuckLake loses updates of concurrent writers:
duckdb/ducklake issues 1094 and 1404). The guard is a file lock that the kernel frees when its process dies. A file
that was written and never registered is garbage, not data.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from warehouse.lake import PARQUET, ensure_table, few_rows, literal, quoted, table, table_columns
from warehouse.layout import Workspace, sync_file, sync_folder
from warehouse.tables import TABLES, Columns

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Commit:
    """Everything one batch or one fusion adds.

    `absent` is a (table, column, value) that must not be there yet: files have no keys, and registering one twice
    would double its rows. None where a second commit does no harm because of the next two. `replace` names tables whose
    rows go first (a golden table is rewritten whole); `delete` names the rows that go first, table -> (column, value)
    (the scores of a day are made again); `erase` those whose column stands among the values of a Parquet file of one column,
    table -> (column, file) (the golden records that a fusion makes again).
    """

    absent: tuple[str, str, str] | None
    files: Mapping[str, tuple[Columns, Path]] = field(default_factory=dict)
    rows: Mapping[str, Rows] = field(default_factory=dict)
    replace: frozenset[str] = frozenset()
    delete: Mapping[str, tuple[str, Any]] = field(default_factory=dict)
    erase: Mapping[str, tuple[str, Path]] = field(default_factory=dict)


def commit(con: duckdb.DuckDBPyConnection, workspace: Workspace, change: Commit) -> bool:
    """Apply `change` whole or not at all. False: it was there already, and nothing changed.

    `con` has the lake attached for writing. A kill or a power cut at any moment leaves the state before or after.
    """
    for _, path in change.files.values():
        sync_file(path)
        sync_folder(path.parent)
    started = time.time()
    with workspace.locked("commit"):
        con.execute("BEGIN TRANSACTION")
        try:
            with few_rows(con):
                if change.absent and _is_there(con, *change.absent):
                    con.execute("ROLLBACK")
                    return False
                existing = {name: ensure_table(con, name, columns) for name, (columns, _) in change.files.items()}
            for name, (columns, _) in change.files.items():
                if changed := _changed_types(con, existing[name], columns):
                    _retype(con, workspace, name, existing[name] | changed, keep=name not in change.replace)
            for name, (column, path) in change.erase.items():
                if table_columns(con, name):
                    gone = f"SELECT * FROM read_parquet({literal(str(path))})"
                    con.execute(f"DELETE FROM {table(name)} WHERE {quoted(column)} IN ({gone})")
            with few_rows(con):
                for name, (column, value) in change.delete.items():
                    con.execute(f"DELETE FROM {table(name)} WHERE {quoted(column)} = ?", [value])
                for name, (_, path) in change.files.items():
                    if name in change.replace:
                        con.execute(f"DELETE FROM {table(name)}")
                    register(con, name, path)
                for name, rows in change.rows.items():
                    insert(con, name, rows)
                _sync_written(workspace, {*change.erase, *change.delete, *change.replace, *change.rows}, started)
                con.execute("COMMIT")
        except BaseException:
            # A transaction that failed at COMMIT is gone already; the first error is the one to tell.
            with contextlib.suppress(duckdb.Error):
                con.execute("ROLLBACK")
            raise
    return True


def _sync_written(workspace: Workspace, names: Collection[str], started: float) -> None:
    """Bring to the disk what DuckLake itself wrote for these tables since `started`: which rows of a file are deleted, many rows at once.

    It does not; and a catalogue that names a file which a power cut took cannot be read.
    """
    for name in names:
        folder = workspace.lake_data / name.replace(".", "/", 1)
        written = [path for path in folder.glob("ducklake-*.parquet") if path.stat().st_mtime >= started - 2]
        for path in written:
            sync_file(path)
        if written:
            sync_folder(folder)


def _is_there(con: duckdb.DuckDBPyConnection, name: str, column: str, value: Any) -> bool:
    return bool(con.execute(f"SELECT 1 FROM {table(name)} WHERE {quoted(column)} = ? LIMIT 1", [value]).fetchall())


def insert(con: duckdb.DuckDBPyConnection, name: str, rows: Rows) -> None:
    """Append rows to one of the platform's own tables; keys that a row lacks are NULL."""
    if not rows:
        return
    columns = TABLES[name][1]
    arrow = pa.table({c: _column([row.get(c) for row in rows], kind) for c, kind in columns.items()})
    con.register("_incoming", arrow)
    select = ", ".join(f"CAST({quoted(c)} AS {kind}) AS {quoted(c)}" for c, kind in columns.items())
    con.execute(f"INSERT INTO {table(name)} SELECT {select} FROM _incoming")
    con.unregister("_incoming")


def _column(values: Sequence[Any], kind: str) -> pa.Array:
    """Numbers for a DECIMAL column travel as text: Arrow guesses the digits of decimals, and refuses a column where ten is 1E+1."""
    if not kind.startswith("DECIMAL"):
        return pa.array(values)
    return pa.array([None if v is None else f"{Decimal(v):f}" for v in values], pa.string())


def _changed_types(con: duckdb.DuckDBPyConnection, existing: Columns, columns: Columns) -> dict[str, str]:
    """Column -> type, for those that `columns` declares with another type than the table has."""
    wanted = {column.casefold(): kind for column, kind in columns.items()}
    different = {c: wanted[c.casefold()] for c, kind in existing.items() if wanted.get(c.casefold(), kind) != kind}
    if different:  # perhaps another spelling of the same type
        select = ", ".join(f"typeof(CAST(NULL AS {kind}))" for kind in different.values())
        different = dict(zip(different, con.execute(f"SELECT {select}").fetchall()[0], strict=True))
    return {c: kind for c, kind in different.items() if kind != existing[c]}


def _retype(con: duckdb.DuckDBPyConnection, workspace: Workspace, name: str, columns: Columns, *, keep: bool) -> None:
    """Write the table again with these columns, one file per batch; DuckLake itself only widens types.

    A value that does not fit its new type becomes NULL; the raw layer keeps what was sent. Rare and slow: it runs
    inside the critical section.
    """
    paths = []
    if keep:
        cast = ", ".join(f"TRY_CAST({quoted(c)} AS {kind}) AS {quoted(c)}" for c, kind in columns.items())
        for (batch,) in con.execute(f"SELECT DISTINCT _batch FROM {table(name)} ORDER BY _batch").fetchall():
            paths.append(workspace.new_file(name, batch))
            con.execute(
                f"COPY (SELECT {cast} FROM {table(name)} WHERE _batch = {literal(batch)}) TO {literal(str(paths[-1]))} {PARQUET}"
            )
            sync_file(paths[-1])
    con.execute(f"DROP TABLE {table(name)}")
    ensure_table(con, name, columns)
    for path in paths:
        register(con, name, path)


def register(con: duckdb.DuckDBPyConnection, name: str, path: Path) -> None:
    """Name a written file as part of a table. Within a transaction, under the lock; a second time would double its rows."""
    layer, rest = name.split(".", 1)
    con.execute(
        f"CALL ducklake_add_data_files('lake', {literal(rest)}, {literal(str(path))}, "
        f"schema => {literal(layer)}, allow_missing => true)"
    )
