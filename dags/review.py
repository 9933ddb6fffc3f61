"""One DAG per entity: every morning its most pressing doubts, one task each, wait for a person under *Required Actions*.

An answer is kept as soon as it is given, by the same way as a workbook's (`pipelines.review.take`), and the next fusion obeys.
What nobody answers within `ANSWER_WITHIN` is no answer, and is asked again the next morning.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import DAG, Param, dag, get_current_context, get_parsing_context, task, task_group

from catalog.entity import Entity, load_entity
from catalog.registry import open_catalog
from catalog.yaml_file import CatalogError
from dags._common import TASK_HABITS, at, task_run, unreadable
from dags._notice import AnswerRefused

#: Questions of one morning: what somebody can look into beside his work. Whoever has more time takes the workbook.
MOST = 20

#: Before the next morning's run, for which this one has to be over.
ANSWER_WITHIN = timedelta(hours=20)

SAME, DIFFERENT, UNSURE = "是同一个 same", "不是 different", "不确定 unsure"
REASON = "理由，例如核对了什么档案；不要写号码等个人信息 · the reason, such as the file you have seen; no personal values"


def review(entity: Entity) -> DAG:
    @dag(
        dag_id=f"review__{entity.id}",
        description=f"人工判定：{entity.title.zh} · clerical review: {entity.title.en}",
        doc_md=f"""# 人工判定：{entity.title.zh} · clerical review: {entity.title.en}
每天早上把最要紧的疑问（最多 {MOST} 个）各作为一个任务，在“Required Actions”页等人判定：是同一个、不是、不确定，并写理由。
判定立即存档，下一次合并起遵守；{ANSWER_WITHIN.total_seconds() / 3600:.0f} 小时内无人回答的，第二天再问。个人信息一律隐去中间；要看全部差异，请用
`dmp review export {entity.id}` 导出工作簿。
Every morning the most pressing doubts (at most {MOST}), one task each, wait for a person under *Required Actions*: same, different or unsure,
with the reason. An answer is kept at once and obeyed from the next fusion on; what nobody answers in time is asked again the next day. Personal values are
masked; to see in full what differs, take the workbook: `dmp review export {entity.id}`.""",
        schedule=at("30 7 * * *"),
        catchup=False,
        max_active_runs=1,
        tags={"review", entity.library or entity.id},
        default_args=TASK_HABITS | {"owner": "dmp"},
    )
    def flow() -> None:
        @task
        def doubts() -> list[dict[str, Any]]:
            from pipelines.review_page import pages

            with task_run() as run:
                return pages(run, entity.id, MOST)

        @task
        def keep(doubt: dict[str, str], answer: Any) -> str:
            from pipelines.review_page import Refused, keep

            context = get_current_context()
            ti = context["ti"]
            with task_run() as run:
                try:
                    return keep(run, entity.id, doubt, answer, f"{ti.dag_id}/{ti.run_id}/{ti.map_index}")
                except Refused as error:
                    raise AnswerRefused(error.zh, error.en) from None

        @task_group
        def one(subject: str, body: str, doubt: dict[str, str]) -> None:
            ask = HITLOperator(
                task_id="ask",
                subject=subject,
                body=body,
                options=[SAME, DIFFERENT, UNSURE],
                defaults=UNSURE,
                params={"reason": Param("", type="string", title="理由 Reason", description=REASON)},
                response_timeout=ANSWER_WITHIN,
                # The page asks for the reason; `keep` refuses what a program answers without one, and the doubt comes again.
            )
            keep(doubt, ask.output)

        one.expand_kwargs(doubts())

    return flow()


# A task needs no other entity.
asked = get_parsing_context().dag_id
for path in sorted((open_catalog().root / "entities").glob(f"{(asked or '*').removeprefix('review__')}.yaml")):
    try:
        review(load_entity(path))
    except CatalogError as error:
        unreadable(f"review__{path.stem}", error)
