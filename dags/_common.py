"""What the DAG files share: habits of a task, the run behind a task, the assets, when to look into the landing folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import (
    DAG,
    Asset,
    AssetOrTimeSchedule,
    AssetWatcher,
    CronTriggerTimetable,
    ExceptionRetryPolicy,
    RetryAction,
    RetryRule,
    conf,
    dag,
    get_current_context,
    task,
)

from catalog.contract import Contract, load_contract
from catalog.registry import open_catalog
from catalog.yaml_file import CatalogError
from dags._arrival import Arrival
from dags._notice import notify
from warehouse.layout import open_workspace

if TYPE_CHECKING:
    from airflow.triggers.base import BaseEventTrigger

    from pipelines.run import Run

#: One slot: commits queue in the scheduler. The lock in `warehouse/commit.py` is what makes them safe.
COMMIT_POOL = "warehouse_commit"

#: A full disk, a share that is gone, a killed worker: worth another try. A wrong contract or rows that do not add up
#: are the same an hour later.
TASK_HABITS: dict[str, Any] = {
    "retries": 3,
    "retry_delay": timedelta(minutes=1),
    "retry_exponential_backoff": 3,
    "max_retry_delay": timedelta(minutes=30),
    "retry_policy": ExceptionRetryPolicy(
        rules=[
            RetryRule(
                exception=["catalog.yaml_file.CatalogError", "pipelines.errors.StageError"],
                action=RetryAction.FAIL,
                reason="the same again would fail the same way",
            ),
        ]
    ),
    # A task that hangs on a dead network share must not keep its source waiting for ever.
    "execution_timeout": timedelta(hours=6),
    "on_failure_callback": notify,
    # Where slots are short, intake goes before fusion: a fusion that starts later takes more sources in at once.
    "weight_rule": "absolute",
}
INTAKE_FIRST = {"priority_weight": 10}


def landing_asset(source: str, trigger: BaseEventTrigger) -> Asset:
    """Files of a source that wait to be taken. `trigger` watches the place where they arrive."""
    watcher = AssetWatcher(name=f"landing/{source}", trigger=trigger)
    return Asset(name=f"landing/{source}", uri=f"dmp://landing/{source}", group="landing", watchers=[watcher])


def std_asset(source: str) -> Asset:
    """Accepted rows of a source."""
    return Asset(name=f"std/{source}", uri=f"dmp://std/{source}", group="std")


def base_asset(entity: str) -> Asset:
    """Golden records of an entity."""
    return Asset(name=f"base/{entity}", uri=f"dmp://base/{entity}", group="base")


def at(cron: str, timezone: str = "") -> CronTriggerTimetable | None:
    """By the wall clock of the city. None in a simulated workspace: whoever moves its clock triggers the runs."""
    if open_workspace().clock.is_file():
        return None
    return CronTriggerTimetable(cron, timezone=timezone or conf.get("core", "default_timezone"))


def on_arrival(contract: Contract) -> AssetOrTimeSchedule | None:
    """When a file for this source is finished in its landing folder, and by the hourly look. None as with `at`."""
    look = at(hourly(contract.id), contract.arrival.timezone)
    if look is None:
        return None
    folder = open_workspace().landing / contract.department.id
    complete = "manifest" if contract.period.from_ == "manifest" else contract.arrival.complete
    trigger = Arrival(str(folder), list(contract.arrival.drop), complete)
    return AssetOrTimeSchedule(timetable=look, assets=landing_asset(contract.id, trigger))


def hourly(source: str) -> str:
    """A look every hour, day and night, at a minute that depends on the source's name only.

    The safety net under `on_arrival`: an event may get lost, the triggerer may be down, a share may hang. Every hour,
    because resends come at any time, for a yearly source too, and a look that finds nothing is one task of half a
    second. At a minute of its own, because 151 sources at the full hour would queue, and spread out they are two or
    three a minute. Lateness does not depend on when we look: the file system tells when a file came.
    """
    return f"{int(hashlib.sha256(source.encode()).hexdigest(), 16) % 60} * * * *"


def contracts(only: str = "") -> dict[str, Contract | CatalogError]:
    """Source id -> its contract, or what is wrong with it: one unreadable file must not take 150 DAGs away."""
    found: dict[str, Contract | CatalogError] = {}
    for path in sorted((open_catalog().root / "sources").glob(f"{only or '*'}.yaml")):
        if not path.stem.startswith("_"):
            try:
                found[path.stem] = load_contract(path)
            except CatalogError as error:
                found[path.stem] = error
    return found


def unreadable(dag_id: str, problem: CatalogError) -> DAG:
    """In the place of a DAG whose YAML cannot be read: red every morning until somebody mends it."""

    @dag(
        dag_id=dag_id,
        description="目录文件无法读取 · the catalogue file cannot be read",
        doc_md=f"```\n{problem}\n```",
        schedule=at("0 8 * * *"),
        catchup=False,
        max_active_runs=1,
        tags={"unreadable"},
        default_args=TASK_HABITS | {"owner": "dmp"},
    )
    def flow() -> None:
        @task
        def read_yaml() -> None:
            raise problem

        read_yaml()

    return flow()


@contextmanager
def task_run() -> Iterator[Run]:
    """The pipeline run behind the current Airflow run; the ledger names it, so that both can be found from either."""
    from pipelines.run import open_run

    context = get_current_context()
    run = open_run(run_id=f"{context['ti'].dag_id}.{context['ti'].run_id}")
    with run:
        yield run
