"""SIGKILL at every kind of moment. The next process goes on, and the warehouse is that of an undisturbed run, row for row."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.crash import child
from tests.crash.child import Death
from tests.crash.days import DAYS, ended, fork, land, undisturbed
from tests.support import Town, town
from warehouse import lake

pytestmark = pytest.mark.slow

#: One death in each part of a commit; the first commit that is left to do is the one that meets it.
IN_COMMIT = [
    *(Death("BEGIN", 1, when) for when in ("before", "after")),
    *(Death("CREATE TABLE", n, "after") for n in (1, 2)),
    *(Death("CALL ducklake_add_data_files", n, "after") for n in (1, 2, 3)),
    *(Death("INSERT INTO", n) for n in (1, 2, 4, 5, 6)),
    *(Death("COMMIT", n, when) for n, when in ((1, "before"), (2, "before"), (1, "after"))),
    *(Death("COMMIT", 1, seconds) for seconds in (0.0, 0.002, 0.005, 0.01, 0.02, 0.04)),
]


class Killed(Counter[str]):
    """How many processes died, and how many of them inside a transaction."""

    def step(self, place: Town, when: str, death: Death, source: str | None = None) -> bool:
        """A process that dies at a step. False: nothing was left to do where it would have died."""
        diary = place.workspace.root.parent / "diary"
        made = place.workspace.lake_catalog.is_file()
        process = fork(child.play, place, when, death, diary, source)
        exit_code = ended(process)
        assert exit_code in (0, -9)
        if exit_code == 0:
            return False
        self["any"] += 1
        self["in a commit"] += made and "critical" in diary.read_text().splitlines()[-1]
        return True

    def moment(self, place: Town, when: str, seconds: float, *more: str) -> bool:
        """A `dmp run` that is killed from outside after so many seconds. False: it had ended before."""
        process = fork(child.command, place, "run", "--now", when, *more)
        killed = ended(process, seconds) == -9
        self["any"] += killed
        return killed


def killed_in_commits(place: Town, killed: Killed) -> None:
    lake.create(place.workspace)
    for when in DAYS:
        land(place, when)
        for death in IN_COMMIT:
            killed.step(place, when, death)
        undisturbed(place, when)


def killed_at_steps(place: Town, killed: Killed, chance: random.Random, each: int) -> None:
    """Before any step at all, the making of the workspace included."""
    for when in DAYS:
        land(place, when)
        for _ in range(each):
            killed.step(place, when, Death("any", chance.randint(1, 60)))
        undisturbed(place, when)


def killed_at_moments(place: Town, killed: Killed, chance: random.Random, each: int, length: float) -> None:
    for when in DAYS:
        land(place, when)
        for _ in range(each):
            killed.moment(place, when, chance.uniform(0, length))
        undisturbed(place, when)


def test_tables_after_kills_equal_those_of_an_undisturbed_run(tmp_path: Path) -> None:
    quiet = town(tmp_path / "quiet")
    length = 0.0
    for when in DAYS:
        land(quiet, when)
        length = max(length, undisturbed(quiet, when))
    wanted = quiet.tables()
    assert [r["file_name"] for r in wanted["ledger.drop"]].count("payer_20260303_b.csv") == 1

    killed = Killed()
    places = [town(tmp_path / name) for name in ("commits", "steps", "moments")]
    with ThreadPoolExecutor(2) as pool:
        works = [
            pool.submit(killed_in_commits, places[0], killed),
            pool.submit(killed_at_steps, places[1], killed, random.Random(5), 12),
            pool.submit(killed_at_moments, places[2], killed, random.Random(7), 6, length),
        ]
    for work in works:
        work.result()

    for place in places:
        found = place.tables()
        assert found.keys() == wanted.keys()
        for table, rows in wanted.items():
            assert found[table] == rows, f"{place.workspace.root}: {table}"
    for place in places:
        names = {"DMP_WORKSPACE": str(place.workspace.root), "DMP_CATALOG": str(place.catalog)}
        verify = [sys.executable, "-m", "pipelines.cli", "verify"]
        done = subprocess.run(verify, env=os.environ | names, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        assert not list(place.workspace.staging.glob("*@*")), "a finished run leaves no copies of the departments' rows behind"
    assert killed["any"] >= 40, killed
    assert killed["in a commit"] >= 10, killed
