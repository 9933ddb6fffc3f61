"""SIGKILL at every kind of moment of upkeep: every table holds its rows, and the next upkeep ends what was begun."""

from __future__ import annotations

import os
import random
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from pipelines.run import open_run
from pipelines.upkeep import upkeep
from pipelines.verify import verify
from tests.crash import child
from tests.crash.child import Death
from tests.crash.days import DAYS, ended, fork, land
from tests.crash.test_two_writers import commit_many
from tests.support import Town, town
from warehouse import lake
from warehouse.commit import Commit, commit
from warehouse.layout import Workspace
from warehouse.upkeep import LAYERS, Habits, storage

pytestmark = pytest.mark.slow

#: Everything is worth it, and old at once.
EAGER = Habits(rows=1, files=2, snapshots=timedelta(0), unnamed=timedelta(0))
FIRST, SECOND = DAYS

#: One death in each part of each verb. There are nine tables to flush, so some are still to come after the first ones.
DEATHS = [
    *(Death("BEGIN", n, when) for n in (1, 7) for when in ("before", "after")),
    *(Death("COPY", n, when) for n in (1, 2, 8) for when in ("before", "after")),
    *(Death("DELETE", n, when) for n in (1, 2, 8) for when in ("before", "after")),
    *(Death("CALL ducklake_add_data_files", n, when) for n in (1, 2, 8) for when in ("before", "after")),
    *(Death("CALL lake.set_option", n, when) for n in (1, 2) for when in ("before", "after")),
    *(Death("CALL ducklake_expire", 1, when) for when in ("before", "after", 0.002, 0.01, 0.03)),
    *(Death("CALL ducklake_cleanup", 1, when) for when in ("before", "after", 0.001, 0.004, 0.01)),
    *(Death("COMMIT", n, when) for n in (1, 4, 7, 9) for when in ("after", 0.0, 0.002, 0.005, 0.01, 0.02)),
    *(Death("fsync", n, "before") for n in (1, 5)),
    *(Death("unlink", n, "after") for n in (1, 2)),
]


def keep(place: Town, death: Death | None, diary: Path) -> None:
    """Upkeep in a process that dies as told."""
    os.environ["DMP_THREADS"] = "1"
    with diary.open("w", buffering=1) as lines:
        child._watch(death, lambda line: print(line, file=lines))
        with place.run() as run:
            upkeep(run, EAGER)


def aged(root: Path) -> Town:
    """Two days, scores made again in rows and in files, golden files with deleted rows, files that nobody names."""
    place = town(root)
    for when in DAYS:
        land(place, when)
        place.run_at(when)
    scores = [{"subject": f"s{n % 9}", "item": str(n), "a": n} for n in range(700)]
    with lake.connect(place.workspace) as con:
        lake.attach(con, place.workspace, read_only=False)
        for subject in ("s1", "s2", "s3"):  # more rows than stay in the catalogue: files, whose rows are then deleted
            commit(
                con, place.workspace, Commit(None, rows={"quality.score": scores}, delete={"quality.score": ("subject", subject)})
            )
        for number in range(3):
            path = place.workspace.new_file("base.other", f"other#{number}")
            con.execute(
                f"COPY (SELECT i AS n, {number} AS fusion FROM range(9) r(i)) TO {lake.literal(str(path))} {lake.PARQUET}"
            )
            files = {"base.other": ({"n": "BIGINT", "fusion": "INTEGER"}, path)}
            commit(con, place.workspace, Commit(None, files, delete={"base.other": ("n", number)} if number else {}))
    for name in ("left", "behind"):
        (place.workspace.lake_data / "std" / "market__shop" / f"{name}.aaaaaaaaaaaa.parquet").write_bytes(b"PAR1 cut off")
    return place


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Town:
    return aged(tmp_path_factory.mktemp("aged"))


#: In parts, so that a machine that does other work as well ends each in time; `make kills` asks for all of them.
PARTS = 6


@pytest.mark.parametrize("part", range(PARTS if "DMP_KILLS" in os.environ else 2))
def test_tables_are_the_same_wherever_upkeep_is_killed(template: Town, tmp_path: Path, part: int) -> None:
    wanted = template.tables()
    chance = random.Random(11)
    deaths = [*DEATHS, *(Death("any", chance.randint(1, 60)) for _ in range(12))][part::PARTS]
    died = []
    for number, death in enumerate(deaths):
        place = Town(Workspace(tmp_path / f"copy{number}"), template.catalog)
        shutil.copytree(template.workspace.root, place.workspace.root)
        if ended(fork(keep, place, death, tmp_path / "diary")) == -9:
            died.append(death.what)
            assert place.tables() == wanted, death
            with place.run(SECOND) as run:
                assert verify(run) == [], death
                upkeep(run, EAGER)
        assert place.tables() == wanted, death
        with place.run(SECOND) as run:
            tended = {n: kept for n, kept in storage(run.con).items() if n.split(".")[0] in LAYERS}
        assert [n for n, k in tended.items() if k.gathered or k.dead or k.files > 1 or k.rows_deleted] == [], death
        shutil.rmtree(place.workspace.root)
    print(f"\n{len(died)} of {len(deaths)} killed: {sorted(set(died))}")
    assert len(died) >= len(deaths) - 3, "a process that ends before its death proves nothing"


def keep_often(workspace: Workspace, catalog: Path, times: int) -> None:
    with open_run(workspace=workspace.root, catalog=catalog) as run:
        for _ in range(times):
            upkeep(run, EAGER)


def test_writers_and_readers_beside_upkeep_lose_nothing_and_wait_for_one_step_at_most(tmp_path: Path) -> None:
    place = town(tmp_path)
    land(place, FIRST)
    place.run_at(FIRST)
    before = place.tables()
    habits_of_readers = "SELECT count(*), count(DISTINCT batch) FROM lake.ledger.batch"
    writers = [fork(commit_many, place.workspace, name, 12) for name in ("left", "right")]
    keeper = fork(keep_often, place.workspace, place.catalog, 4)
    seen = 0
    while any(p.is_alive() for p in (*writers, keeper)):
        with lake.reading(place.workspace) as con:
            [(rows, batches)] = con.execute(habits_of_readers).fetchall()
        assert rows == batches >= seen, "no batch doubles, none goes"
        seen = batches
    assert [ended(p) for p in (*writers, keeper)] == [0, 0, 0]
    found = place.tables()
    for name in ("left", "right"):
        assert sorted(r["n"] for r in found[f"raw.{name}"]) == list(range(12))
    for table, rows in before.items():
        ours = [r for r in found[table] if r.get("source") not in ("left", "right")]
        assert ours == rows, table
