"""One DAG per entity: when any of its sources has new accepted rows, find who is who and merge golden records.

It also looks once a night, for an event may get lost (a gate that commits and is killed before it says so); where
nothing changed, that is one short task.
"""

from __future__ import annotations

from airflow.sdk import DAG, AssetAny, AssetOrTimeSchedule, dag, get_parsing_context, task

from catalog.contract import Contract
from catalog.entity import Entity, load_entity
from catalog.registry import open_catalog
from catalog.yaml_file import CatalogError
from dags._common import COMMIT_POOL, TASK_HABITS, at, base_asset, contracts, std_asset, task_run, unreadable


def fusion(entity: Entity, sources: list[str]) -> DAG:
    # Any, not all: one late department must not stop the merge of what the others sent.
    news, nightly = AssetAny(*(std_asset(s) for s in sources)), at("30 2 * * *")

    @dag(
        dag_id=f"fusion__{entity.id}",
        description=f"{entity.title.zh} · {entity.title.en}",
        doc_md=f"# {entity.title.zh} · {entity.title.en}\n\n" + "\n".join(f"- std/{s}" for s in sources),
        schedule=None if not sources else AssetOrTimeSchedule(timetable=nightly, assets=news) if nightly else news,
        catchup=False,
        max_active_runs=1,
        tags={"fusion", entity.library or entity.id},
        default_args=TASK_HABITS | {"owner": "dmp"},
    )
    def flow() -> None:
        @task.short_circuit
        def dedupe() -> bool:
            from pipelines.dedupe import dedupe

            with task_run() as run:
                return dedupe(run, entity.id)

        @task(pool=COMMIT_POOL, outlets=[base_asset(entity.id)])
        def merge() -> None:
            from pipelines.merge import merge

            with task_run() as run:
                merge(run, entity.id)

        dedupe() >> merge()

    return flow()


# A task needs neither the other entities nor, as it is awake already, what wakes it.
asked = get_parsing_context().dag_id
readable = [c for c in contracts().values() if isinstance(c, Contract)] if not asked else []
for path in sorted((open_catalog().root / "entities").glob(f"{(asked or '*').removeprefix('fusion__')}.yaml")):
    try:
        fusion(load_entity(path), [c.id for c in readable if c.entity == path.stem])
    except CatalogError as error:
        unreadable(f"fusion__{path.stem}", error)
