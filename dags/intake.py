"""One DAG per contract: collect what was dropped, clean it, gate it. An accepted batch wakes the fusion of its entity.

Batches of one source go through in order of arrival, in one task each stage: the version of a period follows from what
was committed before. A held batch is committed as held and the next one goes on; the task `held` then turns the run red.
"""

from __future__ import annotations

from airflow.sdk import DAG, TriggerRule, dag, get_current_context, get_parsing_context, task
from airflow.sdk.exceptions import AirflowSkipException

from catalog.contract import Contract
from catalog.yaml_file import CatalogError
from dags._common import COMMIT_POOL, INTAKE_FIRST, TASK_HABITS, contracts, on_arrival, std_asset, task_run, unreadable
from dags._notice import BatchHeld
from dags._page import page


def intake(contract: Contract) -> DAG:
    source, asset = contract.id, std_asset(contract.id)

    @dag(
        dag_id=f"intake__{source}",
        description=f"{contract.title.zh} · {contract.title.en}",
        doc_md=page(contract),
        schedule=on_arrival(contract),
        catchup=False,
        max_active_runs=1,
        tags={"intake", contract.department.id, contract.arrival.cycle},
        default_args=TASK_HABITS | INTAKE_FIRST | {"owner": contract.department.zh},
    )
    def flow() -> None:
        @task.short_circuit
        def collect() -> list[str]:
            """Nothing has come: the rest is skipped."""
            from pipelines.collect import collect

            with task_run() as run:
                if not (batches := collect(run, source)):
                    from pipelines.receipt import deliver

                    deliver(run, source)  # for files that brought nothing new
                return batches

        @task
        def clean(batches: list[str]) -> list[str]:
            from pipelines.clean import clean

            with task_run() as run:
                for batch in batches:
                    clean(run, batch)
            return batches

        @task.branch(pool=COMMIT_POOL, outlets=[asset])
        def gate(batches: list[str]) -> str | None:
            """Accepted batches make an event of the asset; where none was, the task is skipped and makes none."""
            from pipelines.flow import intake
            from pipelines.gate import gate

            with task_run() as run:
                verdicts = [gate(run, batch) for batch in batches]
                verdicts += intake(run, source)  # what waited for these verdicts, and every receipt
            held = [v for v in verdicts if v.state == "hold"]
            context = get_current_context()
            context["ti"].xcom_push(key="held", value=[{"batch": v.batch, "zh": v.zh, "en": v.en} for v in held])
            if len(held) == len(verdicts):
                raise AirflowSkipException("no batch was accepted")
            context["outlet_events"][asset].extra = {v.batch: v.state for v in verdicts}
            return "held" if held else None

        @task(trigger_rule=TriggerRule.NONE_FAILED)
        def held() -> None:
            """Red, with the reasons; in a run without a held batch it is skipped."""
            raise BatchHeld(get_current_context()["ti"].xcom_pull(task_ids="gate", key="held"))

        gate(clean(collect())) >> held()  # type: ignore[arg-type]  # at this time a reference, at run time the value

    return flow()


# A task reads its own contract only; the DAG processor reads them all.
asked = (get_parsing_context().dag_id or "").removeprefix("intake__")
for name, contract in contracts(only=asked).items():
    if isinstance(contract, CatalogError):
        unreadable(f"intake__{name}", contract)
    else:
        intake(contract)
