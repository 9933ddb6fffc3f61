"""Every morning, also when nothing arrived: scores of every source and the report site. By hand at any time."""

from __future__ import annotations

from airflow.sdk import dag, task

from dags._common import TASK_HABITS, at, task_run


@dag(
    dag_id="scorecard",
    description="质量评分与报告 · scores and report",
    doc_md="""# 质量评分 · scorecard
每天 09:30（城市时区）为每个来源评分并生成报告；没有收到文件也照常进行，因为缺报本身就要计入及时性。
Every day at 09:30, city time, half an hour after most deliveries are due: scores and the report site. It runs when
nothing arrived as well, for not arriving is what timeliness measures.""",
    schedule=at("30 9 * * *"),
    catchup=False,
    max_active_runs=1,
    tags={"scorecard"},
    default_args=TASK_HABITS | {"owner": "dmp"},
)
def scorecard() -> None:
    @task
    def report() -> str:
        from pipelines.report import report

        with task_run() as run:
            return str(report(run))

    report()


scorecard()
