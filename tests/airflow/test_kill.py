"""SIGKILL on running task processes: the next try finishes, and the warehouse is that of an undisturbed run."""

from __future__ import annotations

import random
import time
from datetime import datetime
from pathlib import Path

import psutil
import pytest

from pipelines.flow import intake
from pipelines.run import open_run
from pipelines.verify import verify
from tests.support import Tables, tables
from warehouse.layout import Workspace

from .conftest import NOW, City, source_yaml

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.timeout(900)]

KILLS = 10
SOURCE = "statistics__survey"
DAG = f"intake__{SOURCE}"


def survey(day: int) -> str:
    """Enough rows that each stage takes a while to be killed in; a few of them refused."""
    lines = [f"{i if i % 500 else ''},调查对象{i}第{day}日" for i in range(30_000)]
    return "\n".join(["编号,名称", *lines]) + "\n"


def task_process(scheduler: int) -> psutil.Process | None:
    """The process that runs a task of this scheduler right now; an executor's idle worker has another title."""
    for process in psutil.Process(scheduler).children(recursive=True):
        try:
            title = " ".join(process.cmdline())
        except psutil.NoSuchProcess:
            continue
        if title.startswith("airflow worker -- ") and "LocalExecutor" not in title:
            return process
    return None


def comparable(found: Tables) -> Tables:
    """Tables of the source without what names the run: the run id, and the hashes and drop ids that it enters."""
    own = {}
    for name, rows in found.items():
        if name.startswith(("base.", "quality.score", "quality.slot", "ledger.fusion")) or SOURCE not in str(rows):
            continue
        kept = [{k: v for k, v in row.items() if k not in ("run", "hash", "previous_hash")} for row in rows if SOURCE in str(row)]
        own[name] = sorted(kept, key=str)
    return own


def test_ten_killed_tasks_leave_what_an_undisturbed_run_leaves(city: City, tmp_path: Path) -> None:
    text = source_yaml("statistics", "survey", "统计局", "抽样调查", "Survey").replace("entity: shop\n", "")
    (city.catalog / "sources" / f"{SOURCE}.yaml").write_text(text)
    city.handle.wait_for_dags({DAG})
    dice = random.Random(20260302)
    kills, day = 0, 0
    while kills < KILLS:
        day += 1
        city.land("statistics", f"survey_202602{day:02}.csv", survey(day))
        run_id = f"day{day}"
        city.handle.api.trigger(DAG, run_id)
        ended = False
        while not ended:
            process = task_process(city.handle.processes["scheduler"].pid) if kills < KILLS else None
            if process is not None:
                time.sleep(dice.uniform(0.1, 2.0))  # the moment of the kill is meant to be any moment
                if process.is_running():
                    process.kill()
                    kills += 1
            ended = settled(city, run_id)
    print(f"\n{kills} task processes killed over {day} runs")

    undisturbed = Workspace(tmp_path / "undisturbed")
    landing = undisturbed.landing / "statistics"
    landing.mkdir(parents=True)
    for number in range(1, day + 1):
        (landing / f"survey_202602{number:02}.csv").write_text(survey(number))
        with open_run(now=NOW, workspace=undisturbed.root, catalog=city.catalog) as run:
            assert len(intake(run, SOURCE)) == 1
    assert comparable(tables(city.workspace)) == comparable(tables(undisturbed))
    with open_run(now=datetime.fromisoformat(NOW.isoformat()), workspace=city.workspace.root, catalog=city.catalog) as run:
        assert verify(run) == []


def settled(city: City, run_id: str) -> bool:
    """Whether the run has ended; a task that waits for its next try is started at once, as an operator's `clear` does."""
    api = city.handle.api
    city.handle.check()
    state = next(r["state"] for r in api.runs([DAG]) if r["dag_run_id"] == run_id)
    waiting = [t["task_id"] for t in api.tasks(DAG, run_id) if t["state"] in ("up_for_retry", "failed")]
    if waiting:
        api.call(
            "POST",
            f"/dags/{DAG}/clearTaskInstances",
            {"dry_run": False, "dag_run_id": run_id, "task_ids": waiting, "only_failed": False, "include_downstream": True},
        )
        return False
    return state == "success"
