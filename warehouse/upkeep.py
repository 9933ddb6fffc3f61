"""Keeping the lake quick as it ages: the same rows in fewer and larger files, and nothing kept that nobody can ask for.

Every verb changes how rows are stored, never which: each proves that before its commit. Each holds the commit lock for one
table at a time and gives it back between two, so that a writer waits for one step at most. A kill leaves the state before or
after, and perhaps files that nobody names; those go a day later, by `remove_unnamed`.

Ages are those of the file system and of the catalogue, not of `Run.now`: a file must be old, not said to be old.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

from warehouse.commit import register
from warehouse.lake import INLINE_ROWS, INLINED, PARQUET, REPLACED, LakeError, few_rows, literal, one_moment, table, table_columns
from warehouse.layout import Workspace, sync_file, sync_folder

META = "__ducklake_metadata_lake"

#: What DuckLake calls the file of a row that is in the catalogue.
GATHERED = "starts_with(filename, 'ducklake_inlined_data_')"

#: Layers in which a file holds what many batches or fusions wrote. `raw` and `std` keep one file per batch.
LAYERS = ("ledger", "quality", "quarantine", "base")

#: Files that are made one at a time. More would make the statement that names them slow to read.
AT_ONCE = 1_000


@dataclass(frozen=True)
class Habits:
    """From when on a table is worth touching, and how long what is no longer in force is kept."""

    #: Rows in the catalogue; each thousand costs a look-up some 4 ms. Fewer than this are not worth a file.
    rows: int = 1_000
    #: Small files of one table that are made one.
    files: int = 8
    small: int = 16 << 20
    #: Share of a file's rows that are deleted, above which it is written again.
    deleted: float = 0.1
    #: Snapshots that a query under way may still read. As-of questions read times in the tables, not snapshots.
    snapshots: timedelta = timedelta(days=2)
    #: No file younger than this is removed: it may be on its way into a commit, or be read by a long query.
    unnamed: timedelta = timedelta(days=1)


HABITS = Habits()


@dataclass(frozen=True)
class Step:
    """What one verb did to one table. `before` and `after` are rows in the catalogue (flush, purge), files (compact, rewrite),
    snapshots (expire), files on disk (clean); `locked` is how long a writer had to wait at most."""

    verb: str
    subject: str
    before: int
    after: int
    seconds: float
    locked: float


@dataclass(frozen=True)
class Storage:
    """What a table is made of: rows in the catalogue that are in force and that no longer are, files, deleted rows of theirs."""

    gathered: int
    dead: int
    files: int
    small_files: int
    rows_deleted: int


def storage(con: duckdb.DuckDBPyConnection, habits: Habits = HABITS) -> dict[str, Storage]:
    """Table -> what it is made of, for every table of the lake. Reads the catalogue only, no file."""
    with few_rows(con), one_moment(con):
        return {name: _storage(con, number, habits) for name, number in _tables(con).items()}


def _tables(con: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Table -> its number in the catalogue."""
    return dict(
        con.execute(
            f"SELECT s.schema_name || '.' || t.table_name, t.table_id FROM {META}.ducklake_table t "
            f"JOIN {META}.ducklake_schema s USING (schema_id) "
            "WHERE t.end_snapshot IS NULL AND s.end_snapshot IS NULL ORDER BY 1"
        ).fetchall()
    )


def _storage(con: duckdb.DuckDBPyConnection, number: int, habits: Habits) -> Storage:
    in_force = f"SELECT data_file_id FROM {META}.ducklake_data_file WHERE end_snapshot IS NULL AND table_id = {number}"
    [(files, small, deleted)] = con.execute(
        f"SELECT count(*), count(*) FILTER (file_size_bytes < {habits.small}), (SELECT CAST(coalesce(sum(delete_count), 0) AS BIGINT) "
        f"FROM {META}.ducklake_delete_file WHERE end_snapshot IS NULL AND data_file_id IN ({in_force})) "
        f"FROM {META}.ducklake_data_file WHERE end_snapshot IS NULL AND table_id = {number}"
    ).fetchall()
    gathered = dead = 0
    for name in _gathered_in(con, number):
        [(live, ended)] = con.execute(
            f'SELECT count(*) FILTER (end_snapshot IS NULL), count(end_snapshot) FROM {META}."{name}"'
        ).fetchall()
        gathered, dead = gathered + live, dead + ended
    return Storage(gathered, dead, files, small, deleted + _marks(con, number))


def _gathered_in(con: duckdb.DuckDBPyConnection, number: int | None = None) -> list[str]:
    """The SQLite tables with the rows of one table that are in the catalogue, or of all."""
    only = "" if number is None else f" WHERE table_id = {number}"
    return [n for (n,) in con.execute(f"SELECT table_name FROM {META}.ducklake_inlined_data_tables{only} ORDER BY 1").fetchall()]


def _marks(con: duckdb.DuckDBPyConnection, number: int) -> int:
    """Rows of the files in force that are marked as deleted in the catalogue instead of in a file."""
    in_force = f"SELECT data_file_id FROM {META}.ducklake_data_file WHERE end_snapshot IS NULL"
    marked = f"SELECT count(*) FROM {META}.ducklake_inlined_delete_{number} WHERE file_id IN ({in_force})"
    try:
        return int(con.execute(marked).fetchall()[0][0])
    except duckdb.CatalogException:  # made with the first mark, and a list of tables may be older
        return 0


def flush(con: duckdb.DuckDBPyConnection, workspace: Workspace, name: str, habits: Habits = HABITS) -> Step | None:
    """Copy the rows of a table that are in the catalogue into a Parquet file, in whose place they then stand. None: too few.

    An ordinary commit: the rows in the catalogue end, those in the file begin, and who reads an older snapshot finds them where
    they were until `purge`. DuckLake's own `ducklake_flush_inlined_data` takes them away at once, and a reader whose transaction
    began before then misses rows, without an error.
    """
    layer, _ = name.split(".", 1)
    if layer not in INLINED:
        return None
    before = _storage_of(con, name, habits).gathered
    if before < habits.rows:
        return None
    started = time.monotonic()
    with _locked(workspace) as held, _transaction(con) as commit:
        if not _moved(con, workspace, name, GATHERED):
            raise LakeError(
                f"{name}: the rows that were copied out of the catalogue are not those that went; nothing was changed"
            )
        commit()
    return Step("flush", name, before, _storage_of(con, name, habits).gathered, time.monotonic() - started, held())


def _storage_of(con: duckdb.DuckDBPyConnection, name: str, habits: Habits) -> Storage:
    with few_rows(con), one_moment(con):
        return _storage(con, _tables(con)[name], habits)


def _moved(con: duckdb.DuckDBPyConnection, workspace: Workspace, name: str, which: str) -> bool:
    """Copy, delete and register those rows, within a transaction. Whether as many went as were copied."""
    new = workspace.new_file(name, "upkeep")
    copied = _copied(con, workspace, name, which, new)
    return _replaced(con, name, which, new, copied)


def purge(con: duckdb.DuckDBPyConnection, workspace: Workspace) -> Step | None:
    """Remove rows from the catalogue that ended before its oldest snapshot: no query can see them. None: there are none.

    DuckLake does not do that by itself, and every look-up reads them.
    """
    started, locked, before, after = time.monotonic(), 0.0, 0, 0
    ended = f"end_snapshot <= (SELECT min(snapshot_id) FROM {META}.ducklake_snapshot)"
    for name in _gathered_in(con):
        [(dead, gone)] = con.execute(f'SELECT count(end_snapshot), count(*) FILTER ({ended}) FROM {META}."{name}"').fetchall()
        before, after = before + dead, after + dead - gone
        if gone:
            with _locked(workspace) as held:
                con.execute(f'DELETE FROM {META}."{name}" WHERE {ended}')
            locked = max(locked, held())
    return Step("purge", "lake", before, after, time.monotonic() - started, locked) if after < before else None


def compact(con: duckdb.DuckDBPyConnection, workspace: Workspace, name: str, habits: Habits = HABITS) -> Step | None:
    """Make one file of the small files of a table and of those with many deleted rows. None: nothing is worth it.

    A golden table may have hundreds of millions of rows, so the new file is written before the lock is taken; under it the
    old files go and the new one comes. A file never changes, only rows of it can be deleted: where as many rows go as were
    copied, they are the same rows. Where a commit came in between they are not, and the next upkeep does it.
    """
    started, locked = time.monotonic(), 0.0
    _prepare(con, workspace, name)
    worn, before = _worn(con, name, habits)
    left = before + 1
    now = before
    while worn and now < left:
        done, held = _compacted(con, workspace, name, worn)
        if not done:
            break
        locked, left = max(locked, held), now
        worn, now = _worn(con, name, habits)
    return Step("compact", name, before, now, time.monotonic() - started, locked) if locked else None


def _compacted(con: duckdb.DuckDBPyConnection, workspace: Workspace, name: str, files: list[str]) -> tuple[bool, float]:
    which = f"filename IN ({', '.join(literal(f) for f in files)})"
    columns = table_columns(con, name)
    new = workspace.new_file(name, "upkeep")
    copied = _copied(con, workspace, name, which, new)
    with _locked(workspace) as held, _files_go_whole(con, name), _transaction(con) as commit:
        same = table_columns(con, name) == columns and _replaced(con, name, which, new, copied)
        if same:
            commit()
    if not same or not copied:
        new.unlink()
    return same, held()


@contextlib.contextmanager
def _files_go_whole(con: duckdb.DuckDBPyConnection, name: str) -> Iterator[None]:
    """Where rows may stand in the catalogue DuckLake marks deleted rows there too, and keeps a file none of whose rows is left.

    A kill within leaves a table whose small inserts become files, until the next upkeep.
    """
    layer, _ = name.split(".", 1)
    inlined = layer in INLINED and name not in REPLACED
    if inlined:
        _inline(con, name, 0)
    try:
        yield
    finally:
        if inlined:
            _inline(con, name, INLINE_ROWS)


def _inline(con: duckdb.DuckDBPyConnection, name: str, rows: int) -> None:
    layer, rest = name.split(".", 1)
    con.execute(
        f"CALL lake.set_option('data_inlining_row_limit', {rows}, schema => {literal(layer)}, table_name => {literal(rest)})"
    )


def _prepare(con: duckdb.DuckDBPyConnection, workspace: Workspace, name: str) -> None:
    """What a kill or an older version of the software left: the right inlining, no deleted rows that are marked in the catalogue."""
    layer, rest = name.split(".", 1)
    if layer not in INLINED:
        return
    wanted = 0 if name in REPLACED else INLINE_ROWS
    found = con.execute(
        "SELECT value FROM lake.options() WHERE option_name = 'data_inlining_row_limit' AND scope_entry IN (?, ?) ORDER BY scope = 'TABLE' DESC",
        [layer, name],
    ).fetchall()
    if int(found[0][0]) != wanted:
        with _locked(workspace):
            _inline(con, name, wanted)
    with few_rows(con), one_moment(con):
        marks = _marks(con, _tables(con)[name])
    if marks:
        with _locked(workspace), _transaction(con) as commit:
            content = f"SELECT count(*), bit_xor(hash(t)), sum(hash(t)) FROM {table(name)} t"
            folder = workspace.lake_data / layer / rest
            before, present = con.execute(content).fetchall(), set(folder.glob("*.parquet"))
            con.execute(
                f"CALL ducklake_rewrite_data_files('lake', {literal(rest)}, schema => {literal(layer)}, delete_threshold => 0)"
            )
            if con.execute(content).fetchall() != before:
                raise LakeError(f"{name}: DuckLake would have changed rows when it wrote its files again; nothing was changed")
            for path in set(folder.glob("*.parquet")) - present:
                sync_file(path)
            commit()


def _copied(con: duckdb.DuckDBPyConnection, workspace: Workspace, name: str, which: str, new: Path) -> int:
    [(copied,)] = con.execute(f"COPY (SELECT * FROM {table(name)} WHERE {which}) TO {literal(str(new))} {PARQUET}").fetchall()
    sync_file(new)
    sync_folder(new.parent)
    return int(copied)


def _replaced(con: duckdb.DuckDBPyConnection, name: str, which: str, new: Path, copied: int) -> bool:
    [(gone,)] = con.execute(f"DELETE FROM {table(name)} WHERE {which}").fetchall()
    if gone == copied and copied:
        register(con, name, new)
    return bool(gone == copied)


def _worn(con: duckdb.DuckDBPyConnection, name: str, habits: Habits) -> tuple[list[str], int]:
    """The files of a table that are worth a new one, and how many it has in all."""
    files = _files(con, name)
    many_small = sum(size < habits.small for _, size, _, _ in files) >= habits.files
    worn = [
        path
        for path, size, rows, deleted in files
        if (deleted and deleted >= habits.deleted * rows) or (many_small and size < habits.small)
    ]
    return worn[:AT_ONCE], len(files)


def _files(con: duckdb.DuckDBPyConnection, name: str) -> list[tuple[str, int, int, int]]:
    """Path, bytes, rows, deleted rows of each file of a table; by the name alone, which no two files share."""
    layer, rest = name.split(".", 1)
    return con.execute(
        "SELECT l.data_file, f.file_size_bytes, f.record_count, coalesce(d.delete_count, 0) "
        f"FROM ducklake_list_files('lake', {literal(rest)}, schema => {literal(layer)}) l "
        f"JOIN {META}.ducklake_data_file f ON parse_filename(f.path) = parse_filename(l.data_file) AND f.end_snapshot IS NULL "
        f"LEFT JOIN {META}.ducklake_delete_file d ON d.data_file_id = f.data_file_id AND d.end_snapshot IS NULL "
        "ORDER BY f.data_file_id"
    ).fetchall()


def expire(con: duckdb.DuckDBPyConnection, workspace: Workspace, habits: Habits = HABITS) -> Step | None:
    """Forget the snapshots that are older than `habits.snapshots`, but for the newest. None: there are none.

    A few hundred at a time: the work grows with their number.
    """
    started, locked, before = time.monotonic(), 0.0, _snapshots(con)
    oldest = datetime.now(UTC) - habits.snapshots
    times = con.execute(
        "SELECT snapshot_time FROM ducklake_snapshots('lake') WHERE snapshot_time < ? "
        f"AND snapshot_id < (SELECT max(snapshot_id) FROM {META}.ducklake_snapshot) ORDER BY snapshot_id",
        [oldest],
    ).fetchall()
    for (until,) in [*times[500::500], *times[-1:]]:
        with _locked(workspace) as held:
            con.execute(f"CALL ducklake_expire_snapshots('lake', older_than => {_instant(until)} + INTERVAL 1 MICROSECOND)")
        locked = max(locked, held())
    return Step("expire", "lake", before, _snapshots(con), time.monotonic() - started, locked) if times else None


def remove_unnamed(con: duckdb.DuckDBPyConnection, workspace: Workspace, habits: Habits = HABITS) -> Step | None:
    """Remove files that no snapshot names: those DuckLake put on its list a day ago, and those of killed runs. None: there are none.

    A file that a kill left unregistered cannot be told from one on its way into a commit but by its age.
    """
    started = time.monotonic()
    oldest = datetime.now(UTC) - habits.unnamed
    found = [p for p in workspace.lake_data.rglob("*.parquet") if p.stat().st_mtime < oldest.timestamp()]
    with _locked(workspace) as held:
        listed = con.execute(f"CALL ducklake_cleanup_old_files('lake', older_than => {_instant(oldest)})").fetchall()
        named = _named(con)
        unnamed = [p for p in found if p.name not in named and p.exists()]
        for path in unnamed:
            path.unlink()
    removed = len(listed) + len(unnamed)
    if not removed:
        return None
    left = sum(1 for _ in workspace.lake_data.rglob("*.parquet"))
    return Step("clean", "lake", left + removed, left, time.monotonic() - started, held())


def _snapshots(con: duckdb.DuckDBPyConnection) -> int:
    return int(con.execute(f"SELECT count(*) FROM {META}.ducklake_snapshot").fetchall()[0][0])


def _named(con: duckdb.DuckDBPyConnection) -> set[str]:
    """Names of all files that the catalogue knows, in force or not."""
    lists = ("ducklake_data_file", "ducklake_delete_file", "ducklake_files_scheduled_for_deletion")
    sql = " UNION ALL ".join(f"SELECT parse_filename(path) FROM {META}.{name}" for name in lists)
    return {name for (name,) in con.execute(sql).fetchall()}


def _instant(value: datetime) -> str:
    return f"TIMESTAMPTZ {literal(value.astimezone(UTC).isoformat())}"


@contextlib.contextmanager
def _locked(workspace: Workspace) -> Iterator[Callable[[], float]]:
    """The commit lock, and afterwards how many seconds it was held."""
    with workspace.locked("commit"):
        started = time.monotonic()
        ended: list[float] = []
        try:
            yield lambda: (ended[0] if ended else time.monotonic()) - started
        finally:
            ended.append(time.monotonic())


@contextlib.contextmanager
def _transaction(con: duckdb.DuckDBPyConnection) -> Iterator[Callable[[], None]]:
    """A transaction that is rolled back unless its body commits it."""
    with few_rows(con):
        con.execute("BEGIN TRANSACTION")
        open_ = True

        def commit() -> None:
            nonlocal open_
            con.execute("COMMIT")
            open_ = False

        try:
            yield commit
        finally:
            if open_:
                with contextlib.suppress(duckdb.Error):
                    con.execute("ROLLBACK")
