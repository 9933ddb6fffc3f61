"""A small city of two sources and one entity, and Airflow on it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from pipelines import airflow_home
from pipelines.airflow_home import Environment, Handle
from pipelines.demo import set_clock
from warehouse.layout import Workspace

# Whatever of Airflow the tests import into this process makes its home where it is imported; not in that of the developer.
_home = tempfile.TemporaryDirectory(prefix="airflow-of-the-tests-")
os.environ["AIRFLOW_HOME"] = _home.name

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime.fromisoformat("2026-03-03T08:30:00+08:00")

SOURCE = """\
title: {{zh: {zh}, en: {en}}}
department: {{id: {department}, zh: {department_zh}, en: {en} office}}
entity: shop
load: snapshot
period: {{from: file_name, pattern: "{dataset}_(?P<date>\\\\d{{8}})"}}
arrival: {{drop: "{dataset}_*.csv", cycle: daily, due: "09:00 next working day"}}
columns:
  - {{from: 编号, to: shop_no, key: true}}
  - {{from: 名称, to: shop_name, required: true}}
expect:
  - {{columns_as_declared: , severity: hold}}
"""

ENTITY = """\
title: {zh: 店铺, en: Shop}
identifiers: [shop_no]
authority: [market__shop, "*"]
attributes:
  - {name: shop_no, type: text, kind: code}
  - {name: shop_name, type: text, kind: organisation_name}
"""


def source_yaml(department: str, dataset: str, department_zh: str, zh: str, en: str) -> str:
    return SOURCE.format(department=department, dataset=dataset, department_zh=department_zh, zh=zh, en=en)


def make_catalog(root: Path) -> Path:
    (root / "sources").mkdir(parents=True)
    (root / "entities").mkdir()
    (root / "sources" / "market__shop.yaml").write_text(source_yaml("market", "shop", "市监局", "店铺", "Shops"))
    (root / "sources" / "tax__payer.yaml").write_text(source_yaml("tax", "payer", "税务局", "纳税人", "Payers"))
    (root / "entities" / "shop.yaml").write_text(ENTITY)
    return root


@dataclass(frozen=True)
class City:
    """A running Airflow with its landing folder."""

    handle: Handle
    workspace: Workspace
    catalog: Path

    def land(self, department: str, name: str, data: str | bytes) -> None:
        folder = self.workspace.landing / department
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data.encode() if isinstance(data, str) else data)

    def run(self, dag: str, run_id: str, seconds: float = 120) -> dict[str, str]:
        """Trigger, wait for the end; the state of each task, and of the run under the empty name."""
        api = self.handle.api
        api.trigger(dag, run_id)

        def state() -> str:
            return str(next(r["state"] for r in api.runs([dag]) if r["dag_run_id"] == run_id))

        self.handle.wait(lambda: state() in ("success", "failed"), seconds, f"{dag} {run_id}")
        return {"": state()} | {t["task_id"]: t["state"] for t in api.tasks(dag, run_id)}

    def settle(self, dag: str, seconds: float = 120) -> None:
        self.handle.wait(lambda: self.handle.api.is_idle([dag]), seconds, f"{dag} to be idle")


@pytest.fixture(scope="session")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    """Real scheduler, DAG processor and API servers on two sources; one for the whole session."""
    root = tmp_path_factory.mktemp("city")
    workspace, catalog = Workspace(root / "workspace"), make_catalog(root / "catalog")
    set_clock(workspace, NOW)
    with pytest.MonkeyPatch.context() as patch:
        # A new contract shall become a DAG in seconds, not in half a minute.
        patch.setenv("AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL", "2")
        environment = airflow_home.prepare(workspace, catalog)
    with airflow_home.start(environment) as handle:
        handle.wait_for_dags({"intake__market__shop", "intake__tax__payer", "fusion__shop", "scorecard"})
        yield City(handle, workspace, catalog)


@pytest.fixture(scope="session")
def parse(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], dict[str, Any]]:
    """Parse dags/ with a catalogue in a process of its own, as the DAG processor does."""
    root = tmp_path_factory.mktemp("parse")
    environment: Environment = airflow_home.prepare(Workspace(root / "workspace"), make_catalog(root / "catalog"))

    def parse(catalog: Path) -> dict[str, Any]:
        variables = dict(environment.variables) | {"DMP_CATALOG": str(catalog)}
        script = Path(__file__).with_name("parse_dags.py")
        done = subprocess.run([sys.executable, script], env=variables, capture_output=True, text=True, cwd=os.sep)
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout.splitlines()[-1]))

    return parse
