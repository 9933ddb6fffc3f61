"""The lake: the only module that says ATTACH, LOAD or knows that DuckLake is behind the tables."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import duckdb

from warehouse.layout import Workspace, sync_folder, write_atomically
from warehouse.tables import TABLES, Columns

LAYERS = ("raw", "std", "quarantine", "base", "quality", "ledger")

#: How DuckDB writes the files of the lake and those on their way into it.
PARQUET = "(FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)"

INLINED = ("quality", "ledger")

#: Tables of those layers whose rows are made again, and go for it: DuckLake is sure of deleted rows in files only.
REPLACED = ("quality.clash", "quality.score", "quality.slot")

#: Rows up to this many per insert stay in the catalogue instead of becoming a tiny Parquet file each.
INLINE_ROWS = 500


class LakeError(Exception):
    """The warehouse cannot be opened. The message says what to do."""

    exit_code = 20


def quoted(*names: str) -> str:
    """`"a"."b"`: an identifier that can hold anything a department may write into a header."""
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


def literal(value: str | None) -> str:
    """A string as an SQL literal, for the statements (COPY, ATTACH) that take no parameters."""
    return "NULL" if value is None else "'" + value.replace("'", "''") + "'"


def table(name: str) -> str:
    """`std.police__resident` as a quoted name in the lake."""
    layer, rest = name.split(".", 1)
    return quoted("lake", layer, rest)


def connect(workspace: Workspace) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB that spills into a folder of its own. No network, no automatic extensions.

    Two DuckDBs that spill into one folder write over each other's files, whose names are the same in every process.
    """
    settings: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "temp_directory": str(workspace.new_scratch()),
    }
    if os.environ.get("DMP_MEMORY"):
        settings["memory_limit"] = os.environ["DMP_MEMORY"]
    if os.environ.get("DMP_THREADS"):
        settings["threads"] = os.environ["DMP_THREADS"]
    _check_signatures()
    con = duckdb.connect(config=settings | {"allow_unsigned_extensions": "true"})
    _load_extensions(con)
    con.execute("SET allow_unsigned_extensions = false; SET TimeZone = 'UTC'; SET enable_progress_bar = false")
    return con


@cache
def _check_signatures() -> None:
    """DuckDB tells by their signatures that its makers built the extensions: once per process, an eighth of a second.

    A process that loads a library again gets the one that it has; a later check would look at what nobody runs.
    """
    with duckdb.connect() as con:
        try:
            _load_extensions(con)
        except duckdb.IOException as error:
            raise LakeError(f"{error}\nDuckDB's makers did not sign this; remove .venv and run `make setup`") from error


def _load_extensions(con: duckdb.DuckDBPyConnection) -> None:
    for path in _extensions():
        con.execute(f"LOAD {literal(str(path))}")


def attach(con: duckdb.DuckDBPyConnection, workspace: Workspace, *, read_only: bool) -> None:
    """Attach the lake of `workspace` as `lake`.

    The WAL journal lets readers and the one writer work at the same time, and lets a read-only attach open a
    catalogue whose writer was killed in mid-commit; with SQLite's default journal neither holds. The catalogue names
    its files relative to the data path, so a workspace may be moved.
    """
    if read_only and not workspace.lake_catalog.is_file():
        raise LakeError(f"{workspace.root} holds no warehouse yet. Run `dmp init` first.")
    _attach(con, workspace.lake_catalog, workspace.lake_data, "READ_ONLY, " if read_only else "")


def _attach(con: duckdb.DuckDBPyConnection, catalog: Path, data: Path, mode: str = "") -> None:
    con.execute(
        f"ATTACH {literal('ducklake:sqlite:' + str(catalog))} AS lake "
        f"({mode}DATA_PATH {literal(str(data) + '/')}, OVERRIDE_DATA_PATH true, META_JOURNAL_MODE 'WAL')"
    )


@contextmanager
def reading(workspace: Workspace) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that can only read; sees one snapshot per statement, never waits for a writer."""
    con = connect(workspace)
    try:
        attach(con, workspace, read_only=True)
        yield con
    finally:
        con.close()


@contextmanager
def one_moment(con: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Several reads that see one moment of the lake, whoever commits meanwhile. No commit within.

    A statement that stands alone loads the catalogue for itself, which takes longer than most reads.
    """
    con.begin()
    try:
        yield
    finally:
        con.rollback()


@contextmanager
def few_rows(con: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """For statements that look up or add some rows of the platform's own tables: on one thread, each table read once.

    To each of them DuckLake puts five to twenty questions to its catalogue, which two threads answer no sooner than one, with
    twice the work; and two of DuckDB's optimizers read a table a second time to spare columns of rows that are left out. All
    of `con` runs like that until the end: nothing that reads many rows within.
    """
    with con.cursor() as own:  # of its own, because a transaction that failed takes no SET
        [(threads, off)] = own.execute("SELECT current_setting('threads'), current_setting('disabled_optimizers')").fetchall()
        own.execute("SET threads = 1; SET disabled_optimizers = 'late_materialization,top_n_window_elimination'")
        try:
            yield
        finally:
            own.execute(f"SET threads = {threads}; SET disabled_optimizers = {literal(off)}")


def is_ready(workspace: Workspace) -> bool:
    """Whether the lake is there with every table and column that this version of the software keeps."""
    mark = _mark(workspace)
    return workspace.lake_catalog.is_file() and mark.is_file() and mark.read_text() == _tables_digest()


def _mark(workspace: Workspace) -> Path:
    return workspace.lake / "tables.sha256"


def _tables_digest() -> str:
    return hashlib.sha256(
        json.dumps([LAYERS, {name: dict(columns) for name, (_, columns) in TABLES.items()}]).encode()
    ).hexdigest()


def create(workspace: Workspace) -> None:
    """Make the lake with its layers and the platform's own tables. A second call adds what is missing.

    A new catalogue is made under another name and renamed when it is complete: one that exists can be used.
    """
    with workspace.locked("commit"):
        workspace.create()
        final = workspace.lake_catalog
        catalog = final if final.is_file() else final.with_name("new.sqlite")
        if catalog != final:
            for left in workspace.lake.glob("new.sqlite*"):
                left.unlink()
        con = connect(workspace)
        try:
            _attach(con, catalog, workspace.lake_data)
            con.execute("BEGIN TRANSACTION")
            for layer in LAYERS:
                con.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted('lake', layer)}")
            for name, (_, columns) in TABLES.items():
                ensure_table(con, name, columns)
            con.execute("COMMIT")
            # Inlining reserves names such as row_id, which a department may well use: only for our own tables.
            con.execute("CALL lake.set_option('data_inlining_row_limit', 0)")
            for layer in INLINED:
                con.execute(f"CALL lake.set_option('data_inlining_row_limit', {INLINE_ROWS}, schema => {literal(layer)})")
            for name in REPLACED:
                layer, rest = name.split(".", 1)
                con.execute(
                    f"CALL lake.set_option('data_inlining_row_limit', 0, schema => {literal(layer)}, table_name => {literal(rest)})"
                )
        finally:
            con.close()
        catalog.chmod(0o600)
        catalog.replace(final)
        sync_folder(workspace.lake)
        write_atomically(_mark(workspace), _tables_digest().encode(), mode=0o600)


def ensure_table(con: duckdb.DuckDBPyConnection, name: str, columns: Columns) -> dict[str, str]:
    """Make the table, or add the columns it lacks: a contract may grow, older rows then hold NULL there.

    Returns what the table has now: a column that was there keeps its type, `commit` sees to those that changed.
    """
    existing = table_columns(con, name)
    if not existing:
        body = ", ".join(f"{quoted(column)} {kind}" for column, kind in columns.items())
        con.execute(f"CREATE TABLE IF NOT EXISTS {table(name)} ({body})")
        return dict(columns)
    known = {column.casefold() for column in existing}
    added = {column: kind for column, kind in columns.items() if column.casefold() not in known}
    for column, kind in added.items():
        con.execute(f"ALTER TABLE {table(name)} ADD COLUMN {quoted(column)} {kind}")
    return existing | added


def table_columns(con: duckdb.DuckDBPyConnection, name: str) -> dict[str, str]:
    """Column -> type of a table in the lake; empty where there is no such table."""
    layer, rest = name.split(".", 1)
    rows = con.execute(
        "SELECT column_name, data_type FROM duckdb_columns() "
        "WHERE database_name = 'lake' AND schema_name = ? AND table_name = ? ORDER BY column_index",
        [layer, rest],
    ).fetchall()
    return dict(rows)


@cache
def _extensions() -> tuple[Path, ...]:
    """Paths of the extensions, which came as wheels: LOAD by path needs no network."""
    return tuple(_extension(name) for name in ("sqlite_scanner", "ducklake"))


def _extension(name: str) -> Path:
    module = f"duckdb_extension_{name}"
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise LakeError(f"package {module.replace('_', '-')} is missing; `make setup` installs it")
    path = Path(spec.origin).parent / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
    if not path.is_file():
        raise LakeError(f"{module} does not fit duckdb {duckdb.__version__}; both must have the same version")
    return path
