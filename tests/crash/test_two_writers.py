"""Two processes at once: the second waits, nothing is lost and nothing doubles. What a dead writer leaves can be read."""

from __future__ import annotations

from multiprocessing.synchronize import Event
from pathlib import Path

import duckdb
import pytest

from pipelines.verify import verify
from tests.crash import child
from tests.crash.child import Death
from tests.crash.days import DAYS, FORKS, fork, land, undisturbed
from tests.support import Tables, Town, tables, town
from warehouse import lake
from warehouse.commit import Commit, commit
from warehouse.layout import Workspace

pytestmark = pytest.mark.slow

FIRST, SECOND = DAYS


def subjects(found: Tables) -> list[str]:
    return [r["batch"] for r in found["ledger.batch"]] + [r["fusion"] for r in found["ledger.fusion"]]


def change(workspace: Workspace, name: str, n: int) -> Commit:
    """A batch of one row."""
    batch = f"{name}@{n}"
    path = workspace.new_file(f"raw.{name}", batch)
    with lake.connect(workspace) as con:
        con.execute(f"COPY (SELECT {lake.literal(batch)} AS _batch, {n} AS n) TO {lake.literal(str(path))} (FORMAT parquet)")
    return Commit(
        absent=("ledger.batch", "batch", batch),
        files={f"raw.{name}": ({"_batch": "VARCHAR", "n": "INTEGER"}, path)},
        rows={"ledger.batch": [{"batch": batch, "source": name}]},
    )


def commit_many(workspace: Workspace, name: str, count: int, ready: Event | None = None) -> None:
    """So many batches, one commit each; `ready` is set when nothing but the first commit is left to do."""
    with lake.connect(workspace) as con:
        lake.attach(con, workspace, read_only=False)
        for n in range(count):
            one = change(workspace, name, n)
            if ready:
                ready.set()
            assert commit(con, workspace, one)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    place = Workspace(tmp_path)
    lake.create(place)
    return place


def test_two_runs_of_the_same_workspace_do_the_work_once(tmp_path: Path) -> None:
    alone, shared = town(tmp_path / "alone"), town(tmp_path / "shared")
    lake.create(shared.workspace)
    for when in DAYS:
        land(alone, when)
        undisturbed(alone, when)
        land(shared, when)
        both = [fork(child.command, shared, "run", "--now", when) for _ in range(2)]
        with shared.run(when) as run:
            while any(p.is_alive() for p in both):
                assert verify(run) == [], "at every moment of two runs the warehouse is content"
        assert [p.exitcode for p in both] == [0, 0]
    wanted, found = alone.tables(), shared.tables()
    assert found.keys() == wanted.keys()
    for table, rows in wanted.items():
        assert found[table] == rows, table


def test_two_writers_of_different_sources_lose_no_update(workspace: Workspace) -> None:
    writers = [fork(commit_many, workspace, name, 8) for name in ("left", "right")]
    for writer in writers:
        writer.join()
    assert [w.exitcode for w in writers] == [0, 0]
    found = tables(workspace)
    for name in ("left", "right"):
        assert [r["n"] for r in found[f"raw.{name}"]] == list(range(8))
    assert len(found["ledger.batch"]) == 16


def test_a_second_writer_waits_for_the_first(workspace: Workspace) -> None:
    ready = FORKS.Event()
    with workspace.locked("commit"):
        waiting = fork(commit_many, workspace, "left", 1, ready)
        assert ready.wait(60)
        waiting.join(1)
        assert waiting.is_alive()
        assert tables(workspace)["ledger.batch"] == []
    waiting.join()
    assert waiting.exitcode == 0
    assert len(tables(workspace)["ledger.batch"]) == 1


def test_a_file_is_not_registered_twice(workspace: Workspace) -> None:
    once = change(workspace, "left", 1)
    with lake.connect(workspace) as con:
        lake.attach(con, workspace, read_only=False)
        assert commit(con, workspace, once)
        before = tables(workspace)
        assert not commit(con, workspace, once)
        assert not commit(con, workspace, change(workspace, "left", 1)), "a second run made its own file of the same batch"
    assert tables(workspace) == before


def test_an_open_result_of_a_reader_blocks_no_commit(workspace: Workspace) -> None:
    commit_many(workspace, "left", 3)
    with lake.reading(workspace) as reader:
        reader.execute("BEGIN")
        result = reader.execute("SELECT n FROM lake.raw.left ORDER BY n")
        assert result.fetchone() == (0,)
        commit_many(workspace, "right", 1)
        assert result.fetchall() == [(1,), (2,)]
        assert reader.execute("SELECT count(*) FROM lake.ledger.batch").fetchall() == [(3,)], "one snapshot to its end"
        reader.execute("COMMIT")
        assert reader.execute("SELECT count(*) FROM lake.ledger.batch").fetchall() == [(4,)]


def test_a_failed_commit_changes_nothing(workspace: Workspace) -> None:
    commit_many(workspace, "left", 1)
    before = tables(workspace)
    good = change(workspace, "right", 1)
    (spoilt := workspace.new_file("raw.left", "left@2")).write_bytes(b"PAR1 cut off")
    broken = Commit(good.absent, {**good.files, "raw.left": ({"_batch": "VARCHAR"}, spoilt)}, good.rows)
    with lake.connect(workspace) as con:
        lake.attach(con, workspace, read_only=False)
        with pytest.raises(duckdb.Error):
            commit(con, workspace, broken)
        assert tables(workspace) == before
        assert commit(con, workspace, good), "connection and files can be used afterwards"


def test_a_reader_opens_what_a_writer_left_that_was_killed_in_mid_commit(tmp_path: Path) -> None:
    """Read-only and first: no writer has been there to repair anything."""
    place = town(tmp_path)
    land(place, FIRST)
    undisturbed(place, FIRST)
    before = place.tables()
    land(place, SECOND)
    for death in (Death("INSERT INTO", 2), Death("COMMIT", 1, "before")):
        assert dies(place, death)
        assert place.tables() == before
    for seconds in (0.001, 0.004, 0.008, 0.016):
        count = len(subjects(place.tables()))
        assert dies(place, Death("COMMIT", 1, seconds))
        assert len(subjects(place.tables())) >= count
        with place.run(SECOND) as run:
            assert verify(run) == []


def dies(place: Town, death: Death) -> bool:
    process = fork(child.play, place, SECOND, death, place.workspace.root / "diary")
    process.join()
    return process.exitcode == -9


def test_a_file_that_was_never_registered_is_garbage(tmp_path: Path) -> None:
    place = town(tmp_path)
    land(place, FIRST)
    place.run_at(FIRST)
    before = place.tables()
    [registered] = (place.workspace.lake_data / "std" / "market__shop").glob("*.parquet")
    registered.with_name("market__shop@2026-03-09.v1.0123456789ab.parquet").write_bytes(registered.read_bytes())
    registered.with_name("market__shop@2026-03-10.v1.0123456789ab.parquet").write_bytes(b"PAR1 cut off")
    assert place.tables() == before
    land(place, SECOND)
    place.run_at(SECOND)
    with place.run(SECOND) as run:
        assert verify(run) == []
