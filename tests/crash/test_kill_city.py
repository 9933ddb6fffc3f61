"""SIGKILL at random moments of `dmp run` over the three days of the synthetic city, all formats and the linking included.

Slower than the other crash tests: `make test-slow` runs it. `DMP_KILLS` says how many processes are killed (default 48).
"""

from __future__ import annotations

import os
import random
from datetime import datetime
from pathlib import Path

import pytest

from catalog.registry import SHIPPED
from examples.city.city import make_city
from pipelines.demo import Wave, drop, read_schedule
from pipelines.run import open_run
from pipelines.verify import verify
from tests.crash.child import Death
from tests.crash.days import undisturbed
from tests.crash.test_kill import Killed
from tests.support import Town
from warehouse.layout import Workspace

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

KILLS = int(os.environ.get("DMP_KILLS", "48"))


def place(root: Path) -> Town:
    workspace = Workspace(root)
    (workspace.root / "secrets").mkdir(parents=True, mode=0o700)
    (workspace.root / "secrets" / "digest.key").write_bytes(b"k" * 32)
    return Town(workspace, SHIPPED)


def test_the_city_after_kills_is_the_city_of_an_undisturbed_run(tmp_path: Path) -> None:
    make_city(tmp_path / "city", scale=0.15)
    waves: list[Wave] = read_schedule(tmp_path / "city")
    quiet, struck = place(tmp_path / "quiet"), place(tmp_path / "struck")
    dice = random.Random(20261122)
    killed = Killed()
    for number, wave in enumerate(waves, 1):
        when = wave.at.isoformat()
        drop(quiet.workspace, tmp_path / "city", wave.drops)
        length = undisturbed(quiet, when)
        drop(struck.workspace, tmp_path / "city", wave.drops)
        left = True
        while killed["any"] < KILLS * number // len(waves):
            # One in four dies just before the end of a transaction, as long as there is anything to commit; others inside one or
            # anywhere.
            if left and 4 * killed["in a commit"] < killed["any"]:
                left = killed.step(struck, when, Death("COMMIT", 1))
                continue
            if dice.random() < 1 / 4 and killed.step(struck, when, Death("BEGIN", 1, dice.uniform(0, 0.05))):
                continue
            killed.moment(struck, when, dice.uniform(0, length))
        undisturbed(struck, when)
    print(f"\n{killed['any']} processes killed, {killed['in a commit']} of them inside a commit")

    wanted, found = quiet.tables(), struck.tables()
    assert found.keys() == wanted.keys()
    for table, rows in wanted.items():
        assert found[table] == rows, table
    drops = [d for wave in waves for d in wave.drops]
    assert len(found["ledger.drop"]) == len(drops), "no drop is lost, none is taken twice"
    assert len({d["drop_id"] for d in found["ledger.drop"]}) == len(drops)
    assert killed["any"] >= KILLS
    assert killed["in a commit"] >= KILLS // 12
    with open_run(now=datetime.fromisoformat(waves[-1].at.isoformat()), workspace=struck.workspace.root, catalog=SHIPPED) as run:
        assert verify(run) == []
