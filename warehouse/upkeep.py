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
from warehouse.lake import INLINED, PARQUET, LakeError, few_rows, literal, one_moment, table, table_columns
from warehouse.layout import Workspace, sync_file, sync_folder

META = "__ducklake_metadata_lake"

#: Layers in which a file holds what many batches or fusions wrote. `raw` and `std` keep one file per batch.
OWN = ("ledger", "quality", "quarantine")


@dataclass(frozen=True)
class Habits:
    """From when on a table is worth touching, and how long what is no longer in force is kept."""

    #: Rows in the catalogue; each thousand costs a look-up some 4 ms. Fewer than this are not worth a file.
    rows: int = 1_000
    #: Small files of one table that are merged into one.
    files: int = 8
    small: int = 16 << 20
    #: Share of a file's rows that are deleted, above which it is written again.
    deleted: float = 0.1
    #: As-of questions read valid and recorded times in the tables; nothing reads an old snapshot but a query under way.
    snapshots: timedelta = timedelta(days=7)
    #: No file younger than this is removed: it may be on its way into a commit, or be read by a long query.
    unnamed: timedelta = timedelta(days=1)
    #: Tables of up to so many rows are compared in every value before and after; larger ones in the number of rows.
    compared: int = 2_000_000


HABITS = Habits()


@dataclass(frozen=True)
class Step:
    """What one verb did to one table. `before` and `after` are rows in the catalogue (flush), files (rewrite, merge, compact),
    snapshots (expire), files on disk (clean); `locked` is how long a writer had to wait at most."""

    verb: str
    subject: str
    before: int
    after: int
    seconds: float
    locked: float


@dataclass(frozen=True)
class Storage:
    """What a table is made of."""

    inlined: int
    files: int
    small_files: int
    rows_deleted: int


def storage(con: duckdb.DuckDBPyConnection, habits: Habits = HABITS) -> dict[str, Storage]:
    """Table -> what it is made of, for every table of the lake. Reads the catalogue only, no file."""
    with few_rows(con), one_moment(con):
        names = con.execute(
            f"SELECT s.schema_name || '.' || t.table_name, t.table_id FROM {META}.ducklake_table t "
            f"JOIN {META}.ducklake_schema s USING (schema_id) "
            "WHERE t.end_snapshot IS NULL AND s.end_snapshot IS NULL ORDER BY 1"
        ).fetchall()
        return {name: _storage(con, table_id, habits) for name, table_id in names}


def _storage_of(con: duckdb.DuckDBPyConnection, name: str, habits: Habits) -> Storage:
    layer, rest = name.split(".", 1)
    with few_rows(con), one_moment(con):
        [(table_id,)] = con.execute(
            f"SELECT t.table_id FROM {META}.ducklake_table t JOIN {META}.ducklake_schema s USING (schema_id) "
            "WHERE t.end_snapshot IS NULL AND s.end_snapshot IS NULL AND s.schema_name = ? AND t.table_name = ?",
            [layer, rest],
        ).fetchall()
        return _storage(con, table_id, habits)


def _storage(con: duckdb.DuckDBPyConnection, table_id: int, habits: Habits) -> Storage:
    [(files, small, deleted)] = con.execute(
        f"SELECT count(*), count(*) FILTER (file_size_bytes < {habits.small}), (SELECT CAST(coalesce(sum(delete_count), 0) AS BIGINT) "
        f"FROM {META}.ducklake_delete_file WHERE end_snapshot IS NULL AND table_id = {table_id}) "
        f"FROM {META}.ducklake_data_file WHERE end_snapshot IS NULL AND table_id = {table_id}"
    ).fetchall()
    gathered = con.execute(f"SELECT table_name FROM {META}.ducklake_inlined_data_tables WHERE table_id = {table_id}").fetchall()
    marks = con.execute(
        "SELECT table_name FROM duckdb_tables() WHERE database_name = ? AND table_name = ?",
        [META, f"ducklake_inlined_delete_{table_id}"],
    ).fetchall()
    return Storage(
        sum(_count(con, name) for (name,) in gathered), files, small, deleted + sum(_count(con, name) for (name,) in marks)
    )


def _count(con: duckdb.DuckDBPyConnection, name: str) -> int:
    return int(con.execute(f'SELECT count(*) FROM {META}."{name}"').fetchall()[0][0])


def snapshots(con: duckdb.DuckDBPyConnection) -> int:
    return _count(con, "ducklake_snapshot")


def flush(con: duckdb.DuckDBPyConnection, workspace: Workspace, name: str, habits: Habits = HABITS) -> Step | None:
    """Move the rows of one of the platform's own tables out of the catalogue into a Parquet file. None: too few to bother."""
    layer, rest = name.split(".", 1)
    if layer not in INLINED or (before := _storage_of(con, name, habits).inlined) < habits.rows:
        return None
    call = f"CALL ducklake_flush_inlined_data('lake', schema_name => {literal(layer)}, table_name => {literal(rest)})"
    started = time.monotonic()
    _, locked = _rearranged(con, workspace, name, call, habits)
    return Step("flush", name, before, _storage_of(con, name, habits).inlined, time.monotonic() - started, locked)


def rewrite(con: duckdb.DuckDBPyConnection, workspace: Workspace, name: str, habits: Habits = HABITS) -> Step | None:
    """Write those files of one of the platform's own tables again of which many rows are deleted. None: there are none."""
    layer, rest = name.split(".", 1)
    if not _storage_of(con, name, habits).rows_deleted:
        return None
    call = (
        f"CALL ducklake_rewrite_data_files('lake', {literal(rest)}, schema => {literal(layer)}, "
        f"delete_threshold => {habits.deleted})"
    )
    started = time.monotonic()
    before = _storage_of(con, name, habits).files
    did, locked = _rearranged(con, workspace, name, call, habits)
    after = _storage_of(con, name, habits).files
    return Step("rewrite", name, before, after, time.monotonic() - started, locked) if did else None


def merge(con: duckdb.DuckDBPyConnection, workspace: Workspace, name: str, habits: Habits = HABITS) -> Step | None:
    """Make few files of the many small ones of one of the platform's own tables. None: there are not many."""
    layer, rest = name.split(".", 1)
    before = _storage_of(con, name, habits)
    if before.small_files < habits.files:
        return None
    call = (
        f"CALL ducklake_merge_adjacent_files('lake', {literal(rest)}, schema => {literal(layer)}, "
        f"max_compacted_files => 1, max_file_size => {habits.small})"
    )
    started, locked, left = time.monotonic(), 0.0, before.files
    while True:
        did, held = _rearranged(con, workspace, name, call, habits)
        locked, now = max(locked, held), _storage_of(con, name, habits).files
        if not did or now >= left:
            break
        left = now
    return Step("merge", name, before.files, now, time.monotonic() - started, locked) if now < before.files else None


def compact(con: duckdb.DuckDBPyConnection, workspace: Workspace, name: str, habits: Habits = HABITS) -> Step | None:
    """Make one file of the small files of a golden table and of those with many deleted rows. None: there are too few.

    A golden table may have hundreds of millions of rows, so the new file is written before the lock is taken; under it the
    old files go and the new one comes. A file never changes, only rows of it can be deleted: where as many rows go as were
    copied, they are the same rows. Where a fusion came in between they are not, and the next upkeep does it.
    """
    worn, before = _worn(con, name, habits)
    if not worn:
        return None
    started = time.monotonic()
    listed = ", ".join(literal(f) for f in worn)
    columns = table_columns(con, name)
    new = workspace.new_file(name, "upkeep")
    [(copied,)] = con.execute(
        f"COPY (SELECT * FROM {table(name)} WHERE filename IN ({listed})) TO {literal(str(new))} {PARQUET}"
    ).fetchall()
    sync_file(new)
    sync_folder(new.parent)
    with _locked(workspace) as held, _transaction(con) as commit:
        [(gone,)] = con.execute(f"DELETE FROM {table(name)} WHERE filename IN ({listed})").fetchall()
        same = gone == copied and table_columns(con, name) == columns
        if same:
            if copied:
                register(con, name, new)
            commit()
    if not same or not copied:
        new.unlink()
    return Step("compact", name, before, len(_files(con, name)), time.monotonic() - started, held()) if same else None


def _worn(con: duckdb.DuckDBPyConnection, name: str, habits: Habits) -> tuple[list[str], int]:
    """The files of a table that are worth a new one, and how many it has in all."""
    files = _files(con, name)
    worn = [path for path, _, rows, deleted in files if deleted and deleted >= habits.deleted * rows]
    small = [path for path, size, _, _ in files if size < habits.small and path not in set(worn)]
    return worn + (small if len(small) >= habits.files else []), len(files)


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
    started, locked, before = time.monotonic(), 0.0, snapshots(con)
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
    return Step("expire", "lake", before, snapshots(con), time.monotonic() - started, locked) if times else None


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


def _named(con: duckdb.DuckDBPyConnection) -> set[str]:
    """Names of all files that the catalogue knows, in force or not."""
    lists = ("ducklake_data_file", "ducklake_delete_file", "ducklake_files_scheduled_for_deletion")
    sql = " UNION ALL ".join(f"SELECT parse_filename(path) FROM {META}.{name}" for name in lists)
    return {name for (name,) in con.execute(sql).fetchall()}


def _instant(value: datetime) -> str:
    return f"TIMESTAMPTZ {literal(value.astimezone(UTC).isoformat())}"


def _rearranged(con: duckdb.DuckDBPyConnection, workspace: Workspace, name: str, call: str, habits: Habits) -> tuple[bool, float]:
    """Run a statement of DuckLake that stores the rows of `name` otherwise, and prove that they are the same rows.

    Whether it did something, and for how long the lock was held. Raises LakeError, the table as it was, where the rows differ
    afterwards: DuckLake has open reports of rows lost or come back when it moves deleted rows (duckdb/ducklake 1084, 1364).
    """
    with _locked(workspace) as held:
        _options(con)
        with _transaction(con) as commit:
            content = f"SELECT count(*), bit_xor(hash(t)), sum(hash(t)) FROM {table(name)} t"
            [(rows,)] = con.execute(f"SELECT count(*) FROM {table(name)}").fetchall()
            if rows > habits.compared:
                content = f"SELECT count(*) FROM {table(name)}"
            folder = workspace.lake_data / name.replace(".", "/", 1)
            before, present = con.execute(content).fetchall(), _parquet(folder)
            done = con.execute(call).fetchall()
            if done and con.execute(content).fetchall() != before:
                raise LakeError(f"{name}: `{call}` would have changed its rows; nothing was changed. Please report it.")
            written = _parquet(folder) - present
            for path in written:
                sync_file(path)
            if written:
                sync_folder(folder)
            commit()
    return bool(done), held()


def _parquet(folder: Path) -> set[Path]:
    return set(folder.glob("*.parquet"))


def _options(con: duckdb.DuckDBPyConnection) -> None:
    """Files that DuckLake writes are compressed like ours, and none grows beyond what is merged in some seconds."""
    wanted = {"parquet_compression": "zstd", "target_file_size": "64MB"}
    known = {name for (name,) in con.execute("SELECT option_name FROM lake.options()").fetchall()}
    for name in sorted(wanted.keys() - known):
        con.execute(f"CALL lake.set_option({literal(name)}, {literal(wanted[name])})")


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
