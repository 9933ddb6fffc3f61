"""Tells at once, and once, which delivery did not come: every five minutes a look for slots whose due instant is over.

Airflow's own deadline alerts are about runs that do not end, and a source that sends nothing has no run. So the look is
a small DAG, and a deadline alert watches the look (docs/decisions/0016-telling-a-missed-deadline.md).
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import AsyncCallback, DeadlineAlert, DeadlineReference, dag, task  # type: ignore[attr-defined]  # not in its stub

from catalog.contract import Contract
from dags._common import TASK_HABITS, at, contracts, task_run
from dags._overdue import look_is_late

#: Two minutes after the full hour, at which most deliveries are due, what came in time has mostly been judged.
EVERY_FIVE_MINUTES = at("2-59/5 * * * *")

#: Beyond the retries of a look, which take 13 minutes. Whether it hangs or waits for a worker, a person must see to it.
WATCH = DeadlineAlert(
    DeadlineReference.DAGRUN_LOGICAL_DATE, timedelta(minutes=30), AsyncCallback(look_is_late), name="look for missed deadlines"
)


@dag(
    dag_id="deadlines",
    description="到期未报提醒 · deadlines that passed without a delivery",
    doc_md="""# 到期未报提醒 · deadlines
每五分钟查看一次：截止时刻已过而没有收到合格数据的，立即写入 `notices/notices.txt` 与 `.jsonl`，每期只提醒一次；缺报、拦下、
文件已到而平台尚未判定分别说明；后来到达的也写一条。运行为绿色表示检查已完成，不表示没有缺报。
A look every five minutes: a slot whose due instant is over with nothing accepted is told in `notices/notices.txt` and
`.jsonl`, once each, as missing, as held, or as arrived and not judged yet; and once more when it is filled after all. Green means that the look was made, not that
nothing is missing.""",
    schedule=EVERY_FIVE_MINUTES,
    catchup=False,
    max_active_runs=1,
    deadline=WATCH if EVERY_FIVE_MINUTES else None,
    tags={"deadlines"},
    default_args=TASK_HABITS | {"owner": "dmp"},
)
def deadlines() -> None:
    @task(priority_weight=20)  # before the intake of a busy hour: half a second of work
    def look() -> list[str]:
        """The slots that were told by this look."""
        from dags._overdue import FILLED, OVERDUE, UNJUDGED, slots_told, tell, tell_filled
        from pipelines.deadlines import filled, overdue

        readable = [c for c in contracts().values() if isinstance(c, Contract)]
        with task_run() as run:
            new = [one.id for one in overdue(run, readable, slots_told(*OVERDUE)) if tell(one, run.now)]
            open_ = slots_told(*OVERDUE, UNJUDGED) - slots_told(FILLED)
            return new + [one.id for one in filled(run, readable, open_) if tell_filled(one, run.now)]

    look()


deadlines()
