"""The small files of a whole city, each from drop to receipt; and how soon a gate task asks its first question.

    python -m benchmarks.small_files [--sources 151] [--tasks 5]

Files: as many as a city joins, one each of a hundred rows, every tenth with a date that cannot be read, in one warm process, as
`dmp run` does it; two days, because the first one also makes two tables for each source.
Tasks: a process that has imported what the scheduler imports before it forks (`warm_up`) forks; from there to the first
query of the first check, in which the task opens its run, loads the staged batch and its contract, and prepares the checks.
What Airflow does before it calls the task's function is not in it.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

from pipelines import flow, gate
from pipelines.airflow_home import warm_up
from pipelines.clean import clean
from pipelines.collect import collect
from pipelines.run import open_run
from quality.gx import validate
from tests.support import SOURCES, Town, town

STAGES = ("collect", "clean", "gate", "deliver")
ROWS = 100
DAYS = ("20260302", "20260303", "20260304")
LOOKED = ("2026-03-03T08:30:00+08:00", "2026-03-04T08:30:00+08:00", "2026-03-05T08:30:00+08:00")


def drop(place: Town, sources: int, day: str) -> None:
    for number in range(sources):
        dates = [f"2020-01-{1 + row % 28:02}" for row in range(ROWS)]
        if number % 10 == 0:
            dates[7] = "不详"
        lines = "".join(f"{row},店铺{row},{date}\n" for row, date in enumerate(dates))
        place.drop("market", f"shop{number:03}_{day}.csv", f"编号,名称,成立日期\n{lines}")


def timed(name: str, spent: dict[str, list[tuple[float, float]]]) -> None:
    """From now on each call of the stage adds its wall and processor seconds to `spent`."""
    stage: Callable[..., Any] = getattr(flow, name)

    def run_stage(*arguments: Any) -> Any:
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            return stage(*arguments)
        finally:
            spent[name].append((time.perf_counter() - wall, time.process_time() - cpu))

    setattr(flow, name, run_stage)


def whole_days(place: Town) -> None:
    """Two days of drops, from the landing folder to the last receipt."""
    spent: dict[str, list[tuple[float, float]]] = {}
    for name in STAGES:
        timed(name, spent)
    for day, now in zip(DAYS[:2], LOOKED, strict=False):
        spent.update({name: [] for name in STAGES})
        with place.run(now) as run:
            sources = list(run.catalog.contracts)
            drop(place, len(sources), day)
            states = [verdict.state for source in sources for verdict in flow.intake(run, source)]
        assert sorted(set(states)) == ["pass", "warn"] and len(states) == len(sources)
        print(f"{day}: {len(sources)} sources, {ROWS} rows each{'wall s':>20}{'cpu s':>10}{'ms each':>10}")
        report("gate alone", spent["gate"], len(sources))
        report("drop to receipt", [call for calls in spent.values() for call in calls], len(sources))


def report(what: str, calls: Sequence[tuple[float, float]], sources: int) -> None:
    wall, cpu = (sum(numbers) for numbers in zip(*calls, strict=True))
    print(f"    {what:36}{wall:>16.1f}{cpu:>10.1f}{1000 * wall / sources:>10.0f}", flush=True)


def tasks(place: Town, count: int) -> None:
    """Stage batches, then gate each in a fork of this process, which says how long its first query took to come."""
    drop(place, count, DAYS[2])
    with place.run(LOOKED[2]) as run:
        staged = [batch for source in list(run.catalog.contracts)[:count] for batch in collect(run, source)]
        for batch in staged:
            clean(run, batch)
    waits = [forked(place, batch) for batch in staged]
    print(
        f"gate task in a warm worker: first query of a check after {median(waits):.3f} s (median of {len(waits)}), "
        f"{max(waits):.3f} s at most",
        flush=True,
    )


def forked(place: Town, batch: str) -> float:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        started = time.perf_counter()

        def first(*arguments: Any) -> Any:
            waiting.stop()
            os.write(write, str(time.perf_counter() - started).encode())
            return validate(*arguments)

        waiting = patch.object(gate, "validate", first)
        waiting.start()
        status = 1
        try:
            with open_run(workspace=place.workspace.root, catalog=place.catalog) as run:
                status = 0 if gate.gate(run, batch).accepted else 1
        finally:
            os._exit(status)
    os.close(write)
    with os.fdopen(read) as told:
        said = told.read()
    _, status = os.waitpid(child, 0)
    if status:
        raise SystemExit(f"the gate of {batch} failed in its fork")
    return float(said)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sources", type=int, default=151)
    parser.add_argument("--tasks", type=int, default=5)
    given = parser.parse_args()
    shop = SOURCES["market__shop"].replace("entity: shop\n", "")
    contracts = {f"market__shop{i:03}": shop.replace("shop_", f"shop{i:03}_") for i in range(given.sources)}
    with tempfile.TemporaryDirectory() as folder:
        place = town(Path(folder), contracts)
        os.environ["DMP_NOW"] = LOOKED[2]
        warm_up()
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before the start")
        whole_days(place)
        tasks(place, min(given.tasks, given.sources))


if __name__ == "__main__":
    main()
