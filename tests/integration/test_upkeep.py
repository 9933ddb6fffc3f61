"""Upkeep stores the same rows otherwise: nobody who reads or writes notices it but by the time that a look-up takes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pytest

from pipelines.upkeep import told, upkeep
from pipelines.verify import verify
from tests.crash.days import DAYS, land
from tests.support import Town, tables, town
from warehouse import lake
from warehouse import upkeep as verbs
from warehouse.commit import Commit, commit
from warehouse.layout import Workspace
from warehouse.upkeep import Habits, storage

#: Everything is worth it, and old at once.
EAGER = Habits(rows=1, files=2, snapshots=timedelta(0), unnamed=timedelta(0))
FIRST, SECOND = DAYS
Rows = dict[str, object]


@contextmanager
def writing(workspace: Workspace) -> Iterator[duckdb.DuckDBPyConnection]:
    with lake.connect(workspace) as con:
        lake.attach(con, workspace, read_only=False)
        yield con


def tend(place: Town, habits: Habits = EAGER) -> list[str]:
    with place.run() as run:
        return [step.verb for step in upkeep(run, habits)]


@pytest.mark.slow
def test_a_town_that_is_tended_after_every_run_has_the_tables_of_one_that_never_was(tmp_path: Path) -> None:
    tended, left_alone = town(tmp_path / "tended"), town(tmp_path / "left")
    for when in DAYS:
        for place in (tended, left_alone):
            land(place, when)
            place.run_at(when)
            score_again(place, when, 1)
            if place is tended:
                assert tend(tended)
            score_again(place, when, 2)
    assert tend(tended)
    found, wanted = tended.tables(), left_alone.tables()
    assert found.keys() == wanted.keys()
    for table, rows in wanted.items():
        assert found[table] == rows, table
    with tended.run(SECOND) as run:
        assert verify(run) == []
        own = {name: kept for name, kept in storage(run.con).items() if name.split(".")[0] in verbs.LAYERS}
        assert {name for name, kept in own.items() if kept.gathered or kept.dead or kept.files > 1 or kept.rows_deleted} == set()
        assert told(upkeep(run, EAGER)) == ["无需维护 · nothing to do"], "a second upkeep finds nothing to do"


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Town:
    """Two days; the tests below only change how its rows are stored."""
    place = town(tmp_path_factory.mktemp("played"))
    for when in DAYS:
        land(place, when)
        place.run_at(when)
    return place


def score_again(place: Town, when: str, attempt: int) -> None:
    """The scores of a day are made again: rows go, be they in the catalogue or in a file, and others come."""
    day = date.fromisoformat(when[:10])
    rows = [{"as_of": day, "subject": f"shop{n}", "item": "Q", "a": attempt + n} for n in range(40)]
    with writing(place.workspace) as con:
        commit(con, place.workspace, Commit(None, rows={"quality.score": rows}, delete={"quality.score": ("as_of", day)}))
        half = Commit(None, rows={"quality.score": rows[:1]}, delete={"quality.score": ("subject", "shop0")})
        commit(con, place.workspace, half)


def test_a_young_warehouse_is_left_as_it_is(played: Town) -> None:
    assert tend(played, Habits()) == []


# A golden table as fusions leave it: a file each, and former rows deleted.


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    place = Workspace(tmp_path)
    lake.create(place)
    return place


def fuse(con: duckdb.DuckDBPyConnection, workspace: Workspace, number: int, gone: str | None = None) -> None:
    """Ten golden records come; those of a former fusion go."""
    path = workspace.new_file("base.shop", f"shop#{number}")
    con.execute(
        f"COPY (SELECT {number} || '-' || i AS _entity, 'fusion{number}' AS fusion, "
        f"CASE WHEN i % 3 = 0 THEN 'even' || {number % 2} ELSE 'x' END AS kind FROM range(10) r(i)) "
        f"TO {lake.literal(str(path))} {lake.PARQUET}"
    )
    columns = {"_entity": "VARCHAR", "fusion": "VARCHAR", "kind": "VARCHAR"}
    delete = {"base.shop": ("kind", gone)} if gone else {}
    commit(con, workspace, Commit(None, {"base.shop": (columns, path)}, delete=delete))


def fused(workspace: Workspace, times: int = 9) -> None:
    with writing(workspace) as con:
        for number in range(times):
            fuse(con, workspace, number, f"even{number % 2}" if number % 4 == 3 else None)


def test_a_golden_table_of_many_small_files_and_deleted_rows_becomes_one_file_of_the_same_rows(workspace: Workspace) -> None:
    fused(workspace)
    before = tables(workspace)
    with writing(workspace) as con:
        was = storage(con)["base.shop"]
        assert was.files == 9 and was.rows_deleted > 0
        step = verbs.compact(con, workspace, "base.shop")
        assert step and (step.before, step.after) == (9, 1)
        kept = storage(con)["base.shop"]
        assert (kept.files, kept.rows_deleted) == (1, 0)
        assert verbs.compact(con, workspace, "base.shop") is None
    assert tables(workspace) == before


def test_only_files_that_are_small_or_worn_are_written_again(workspace: Workspace) -> None:
    fused(workspace, 4)
    with writing(workspace) as con:
        was = verbs._files(con, "base.shop")
        files = {Path(path).name for path, *_ in was}
        assert verbs.compact(con, workspace, "base.shop", Habits(small=0))
        left = {Path(path).name for path, *_ in verbs._files(con, "base.shop")}
        before = {Path(path).name for path, _, _, deleted in was if not deleted}
    assert left & files == before, "a file without deleted rows stays"
    assert len(left - files) == 1


def test_a_fusion_that_comes_while_a_golden_table_is_copied_wins(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    fused(workspace)
    locked = Workspace.locked
    state: list[dict[str, list[Rows]]] = []

    def first_a_fusion(self: Workspace, name: str) -> object:
        monkeypatch.setattr(Workspace, "locked", locked)
        with writing(workspace) as other:
            fuse(other, workspace, 20, "x")
        state.append(tables(workspace))
        return locked(self, name)

    with writing(workspace) as con:
        on_disk = set(workspace.lake_data.rglob("*.parquet"))
        monkeypatch.setattr(Workspace, "locked", first_a_fusion)
        assert verbs.compact(con, workspace, "base.shop") is None
        assert tables(workspace) == state[0]
        assert not [p for p in set(workspace.lake_data.rglob("*.parquet")) - on_disk if "upkeep" in p.name]
        assert verbs.compact(con, workspace, "base.shop"), "the next upkeep does it"
    assert tables(workspace) == state[0]


# What could go wrong.


def test_rows_that_are_not_those_that_were_copied_stay_where_they_are(played: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    before = played.tables()
    copied = verbs._copied
    monkeypatch.setattr(verbs, "_copied", lambda *arguments: copied(*arguments) - 1)
    with writing(played.workspace) as con, pytest.raises(lake.LakeError, match=r"ledger\.batch"):
        verbs.flush(con, played.workspace, "ledger.batch", EAGER)
    assert played.tables() == before


def test_a_table_that_fails_stops_no_other_and_is_told(played: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    flush: Callable[..., verbs.Step | None] = verbs.flush

    def broken(con: duckdb.DuckDBPyConnection, workspace: Workspace, name: str, habits: Habits) -> verbs.Step | None:
        if name == "ledger.batch":
            con.execute("SELECT error('out of order')")
        return flush(con, workspace, name, habits)

    before = played.tables()
    monkeypatch.setattr(verbs, "flush", broken)
    with played.run() as run:
        with pytest.raises(lake.LakeError, match="out of order"):
            upkeep(run, EAGER)
        kept = storage(run.con)
    assert kept["ledger.batch"].gathered and not kept["ledger.stage"].gathered
    assert played.tables() == before


def test_a_reader_sees_its_moment_to_the_end_while_the_tables_are_tended(workspace: Workspace) -> None:
    """With DuckLake's own `ducklake_flush_inlined_data` it misses rows in the second round, without an error."""
    patient = replace(EAGER, snapshots=timedelta(days=1), unnamed=timedelta(days=1))
    asked = "SELECT count(*), count(DISTINCT batch) FROM lake.ledger.batch"
    untouched = "SELECT count(*) FROM lake.ledger.drop"
    with writing(workspace) as con:
        for number in range(3):
            rows = [{"batch": f"b{number}", "drop_id": f"d{number}"}]
            commit(con, workspace, Commit(None, rows={"ledger.batch": rows, "ledger.drop": rows}))
            with lake.reading(workspace) as reader, lake.one_moment(reader):
                assert reader.execute(asked).fetchall() == [(number + 1, number + 1)]
                for name in ("ledger.batch", "ledger.drop"):
                    assert verbs.flush(con, workspace, name, patient)
                    verbs.compact(con, workspace, name, patient)
                verbs.expire(con, workspace, patient)
                verbs.purge(con, workspace)
                assert reader.execute(asked).fetchall() == [(number + 1, number + 1)]
                assert reader.execute(untouched).fetchall() == [(number + 1,)]
            assert con.execute(asked).fetchall() == [(number + 1, number + 1)]
        assert storage(con)["ledger.batch"].dead == 3, "kept for who reads an older snapshot"
        assert verbs.expire(con, workspace, EAGER) and verbs.purge(con, workspace)
        assert storage(con)["ledger.batch"].dead == 0
        assert con.execute(asked).fetchall() == [(3, 3)]


def test_only_files_that_nobody_names_and_that_are_a_day_old_are_removed(played: Town) -> None:
    place = played
    before = place.tables()
    folder = place.workspace.lake_data / "std" / "market__shop"
    young, old = (
        folder / "market__shop@2026-03-09.v1.aaaaaaaaaaaa.parquet",
        folder / "market__shop@2026-03-09.v1.bbbbbbbbbbbb.parquet",
    )
    for path in (young, old):
        path.write_bytes(b"PAR1 cut off")
    days_ago = time.time() - 3 * 86_400
    for path in place.workspace.lake_data.rglob("*.parquet"):
        if path != young:
            os.utime(path, (days_ago, days_ago))
    assert tend(place, Habits()) == ["clean"]
    assert young.exists() and not old.exists()
    assert place.tables() == before
