"""Airflow's components never outlive the process that started them, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from pipelines.airflow_home import wait_until

from .conftest import make_catalog

pytestmark = pytest.mark.airflow

STARTER = """
import sys, time
from pathlib import Path
import psutil
from pipelines import airflow_home
from warehouse.layout import Workspace
handle = airflow_home.start(airflow_home.prepare(Workspace(Path(sys.argv[1])), Path(sys.argv[2])), ("api-server", "triggerer"))
triggerer = psutil.Process(handle.processes["triggerer"].pid)
airflow_home.wait_until(triggerer.children, 30, "the triggerer to start what runs its triggers")
print(*(p.pid for p in (*handle.processes.values(), *triggerer.children())), flush=True)
time.sleep(300)
"""


def test_components_end_when_their_starter_is_killed(tmp_path: Path) -> None:
    catalog = make_catalog(tmp_path / "catalog")
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, tmp_path / "workspace", catalog],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert starter.stdout is not None
    pids = [int(word) for word in starter.stdout.readline().split()]
    assert len(pids) >= 3 and all(psutil.pid_exists(pid) for pid in pids)
    os.kill(starter.pid, signal.SIGKILL)
    starter.wait()
    wait_until(lambda: not any(_lives(pid) for pid in pids), 30, "the components to end")


def _lives(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
