"""SIGKILL at every kind of moment. The next process goes on, and the warehouse is that of an undisturbed run, row for row."""

from __future__ import annotations

import multiprocessing
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.crash import child
from tests.crash.child import Death
from tests.support import Town, town

FORKS = multiprocessing.get_context("forkserver")

#: Instant -> what lands just before it, per department.
DAYS: dict[str, list[tuple[str, str, bytes]]] = {
    "2026-03-03T08:30:00+08:00": [
        ("market", "shop_20260302.csv", "编号,名称,成立日期\n1,甲,2020-01-02\n2,乙,没有\n3,丙,2021-05-06\n".encode()),
        ("tax", "payer_20260302.csv", "编号,电话\n1,057188880001\n4,057188880004\n".encode("gb18030")),
        ("fire", "permit_20260302.txt", "编号|等级\n1|A\n2|B\n".encode()),
    ],
    "2026-03-04T08:30:00+08:00": [
        ("market", "shop_20260303.csv", "编号,名称,成立日期\n5,戊,2022-02-02\n".encode()),
        ("market", "shop_20260302.csv", "编号,名称,成立日期\n1,甲,2020-01-02\n2,乙,2020-02-02\n".encode()),  # corrected
        ("tax", "payer_20260302.csv", "编号,电话\n1,057188880001\n4,057188880004\n".encode("gb18030")),  # once more
        ("tax", "payer_20260303.csv", "编号,电话\n1,057188880001\n4,057188880004\n".encode("gb18030")),  # a new day, the same
        ("tax", "payer_20260303_b.csv", "编号,电话\n1,057188880001\n4,057188880004\n".encode("gb18030")),  # and once more
        ("fire", "permit_20260303.txt", "编号|级别\n1|A\n".encode()),  # a header nobody agreed on
    ],
}

#: One death in each part of a commit; the first commit that is left to do is the one that meets it.
IN_COMMIT = [
    *(Death("BEGIN", 1, when) for when in ("before", "after")),
    *(Death("CREATE TABLE", n, "after") for n in (1, 2)),
    *(Death("CALL ducklake_add_data_files", n, "after") for n in (1, 2, 3)),
    *(Death("INSERT INTO", n) for n in (1, 2, 4, 5, 6)),
    *(Death("COMMIT", n, when) for n, when in ((1, "before"), (2, "before"), (1, "after"))),
    *(Death("COMMIT", 1, seconds) for seconds in (0.0, 0.002, 0.005, 0.01, 0.02, 0.04)),
]


def land(place: Town, when: str) -> None:
    for department, name, data in DAYS[when]:
        place.drop(department, name, data)


class Killed(Counter[str]):
    """How many processes died, and how many of them inside a transaction."""

    def step(self, place: Town, when: str, death: Death) -> bool:
        """A process that dies at a step. False: nothing was left to do where it would have died."""
        diary = place.workspace.root.parent / "diary"
        process = FORKS.Process(target=child.play, args=(place, when, death, diary))
        process.start()
        process.join()
        assert process.exitcode in (0, -9)
        if process.exitcode == 0:
            return False
        self.update(["any", *(["critical"] if "critical" in diary.read_text().splitlines()[-1] else [])])
        return True

    def moment(self, place: Town, when: str, seconds: float) -> None:
        """A `dmp run` that is killed from outside after so many seconds."""
        process = FORKS.Process(target=child.command, args=(place.workspace, place.catalog, "run", "--json", "--now", when))
        process.start()
        process.join(seconds)
        process.kill()
        process.join()
        self.update(["any"] if process.exitcode == -9 else [])


def undisturbed(place: Town, when: str) -> float:
    start = time.monotonic()
    process = FORKS.Process(target=child.command, args=(place.workspace, place.catalog, "run", "--json", "--now", when))
    process.start()
    process.join()
    assert process.exitcode == 0
    return time.monotonic() - start


@pytest.fixture(scope="module", autouse=True)
def warm() -> Iterator[None]:
    FORKS.set_forkserver_preload(["tests.crash.child"])
    yield


def killed_in_commits(place: Town, killed: Killed) -> None:
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
            killed.step(place, when, Death("any", chance.randint(1, 120)))
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
            pool.submit(killed_at_steps, places[1], killed, random.Random(5), 8),
            pool.submit(killed_at_moments, places[2], killed, random.Random(7), 5, length),
        ]
    for work in works:
        work.result()

    assert killed["any"] >= 40, killed
    assert killed["critical"] >= 10, killed
    for place in places:
        found = place.tables()
        assert found.keys() == wanted.keys()
        for table, rows in wanted.items():
            assert found[table] == rows, f"{place.workspace.root}: {table}"
    for place in places:
        names = {"DMP_WORKSPACE": str(place.workspace.root), "DMP_CATALOG": str(place.catalog)}
        done = subprocess.run([sys.executable, "-m", "pipelines.cli", "verify"], env=os.environ | names, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        assert not list(place.workspace.staging.glob("*@*")), "a finished run leaves no copies of the departments' rows behind"
