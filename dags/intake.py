"""One DAG per contract: collect what was dropped, then clean and gate each batch. An accepted batch wakes the fusion.

Every batch is a mapped task group of its own, so a held one turns the run red and stops none of the others.
"""

from __future__ import annotations

from airflow.sdk import DAG, CronTriggerTimetable, dag, get_current_context, get_parsing_context, task, task_group

from catalog.contract import Contract
from catalog.yaml_file import CatalogError
from dags._common import COMMIT_POOL, TASK_HABITS, contracts, hourly, std_asset, task_run, unreadable
from dags._notice import BatchHeld
from dags._page import page

#: Batches that one run takes; Airflow maps 1024 at most, and the next run takes the rest.
AT_ONCE = 1000


def intake(contract: Contract) -> DAG:
    source, asset = contract.id, std_asset(contract.id)

    @dag(
        dag_id=f"intake__{source}",
        description=f"{contract.title.zh} · {contract.title.en}",
        doc_md=page(contract),
        schedule=CronTriggerTimetable(hourly(source), timezone=contract.arrival.timezone),
        catchup=False,
        max_active_runs=1,
        tags={"intake", contract.department.id, contract.arrival.cycle},
        default_args=TASK_HABITS | {"owner": contract.department.zh},
    )
    def flow() -> None:
        @task
        def collect() -> list[str]:
            from pipelines.collect import collect

            with task_run() as run:
                return collect(run, source)[:AT_ONCE]

        @task(map_index_template="{{ task.op_kwargs['batch'] }}")
        def clean(batch: str) -> str:
            from pipelines.clean import clean

            with task_run() as run:
                clean(run, batch)
            return batch

        @task(map_index_template="{{ task.op_kwargs['batch'] }}", pool=COMMIT_POOL, outlets=[asset])
        def gate(batch: str) -> str:
            from pipelines.gate import gate

            with task_run() as run:
                verdict = gate(run, batch)
            if verdict.state == "hold":
                raise BatchHeld(verdict.sentence)
            get_current_context()["outlet_events"][asset].extra = {"batch": batch, "verdict": verdict.state}
            return verdict.state

        @task_group
        def each(batch: str) -> None:
            gate(batch=clean(batch=batch))

        each.expand(batch=collect())

    return flow()


# A task reads its own contract only; the DAG processor reads them all.
asked = (get_parsing_context().dag_id or "").removeprefix("intake__")
for source, contract in contracts(only=asked).items():
    if isinstance(contract, CatalogError):
        unreadable(f"intake__{source}", contract)
    else:
        intake(contract)
