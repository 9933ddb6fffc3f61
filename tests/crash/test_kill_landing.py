"""SIGKILL while a file and its companions are taken out of the landing folder: taken once, and nothing is left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash import child
from tests.crash.child import Death
from tests.crash.days import fork, undisturbed
from tests.support import Town, town

pytestmark = pytest.mark.slow

WHEN, NEXT = "2026-03-03T08:30:00+08:00", "2026-03-03T08:40:00+08:00"
NAME = "shop_20260302.csv"
FIRST = ("编号,名称,成立日期\n1,甲,2020-01-02\n2,乙,\n", '{"rows": 2}')
SECOND = ("编号,名称,成立日期\n1,丙,2020-01-02\n", '{"rows": 1}')
#: Each goes one step further than the one before: bytes, contract, record; then the file goes, then the two companions.
DEATHS = [
    *(Death("replace", 2, "before") for _ in range(3)),
    Death("unlink", 3, "before"),  # two belong to the copy of the bytes
    Death("unlink", 1, "after"),
    Death("unlink", 1, "before"),
    Death("unlink", 1, "after"),
]


def land(place: Town, file: tuple[str, str]) -> None:
    place.drop("market", NAME, file[0])
    place.drop("market", f"{NAME}.manifest.json", file[1])
    place.drop("market", f"{NAME}.ok", "")


def left(place: Town) -> list[str]:
    return sorted(p.name.removeprefix(NAME) for p in (place.workspace.landing / "market").iterdir())


def test_a_kill_between_archive_and_landing_folder_gives_no_second_drop_and_no_wrong_manifest(tmp_path: Path) -> None:
    quiet, killed = town(tmp_path / "quiet"), town(tmp_path / "killed")
    for place in (quiet, killed):
        with place.run(WHEN):
            pass  # the workspace is made
        land(place, FIRST)
    undisturbed(quiet, WHEN)
    seen = []
    for death in DEATHS:
        process = fork(child.play, killed, WHEN, death, tmp_path / "diary")
        process.join()
        assert process.exitcode == -9, death
        seen.append(left(killed))
    assert [len(names) for names in seen] == [3, 3, 3, 3, 2, 2, 1], "each kill fell where it was meant to"
    undisturbed(killed, WHEN)
    for place in (quiet, killed):
        assert left(place) == []
        land(place, SECOND)
        undisturbed(place, NEXT)
        assert left(place) == []
    assert killed.tables() == quiet.tables()
    assert [r["verdict"] for r in killed.tables()["ledger.batch"]] == ["pass", "pass"]
