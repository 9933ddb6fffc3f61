"""Every night: the same rows in fewer files, and nothing kept that nobody can ask for."""

from __future__ import annotations

from airflow.sdk import dag, task

from dags._common import TASK_HABITS, at, task_run


@dag(
    dag_id="upkeep",
    description="仓库维护 · upkeep of the warehouse",
    doc_md="""# 仓库维护 · upkeep
每天 03:30（城市时区）：把目录数据库中积累的行写成文件，合并小文件，重写含大量已删行的文件，过期两天前的快照，删除一天前起无人引用的文件。
不改变任何一行数据；写入任务至多等待其中一步，读取不受影响。可随时手工触发。
Every night at 03:30, city time: rows that gathered in the catalogue become files, small files are merged, files with many
deleted rows are written again, snapshots older than two days are forgotten, files that nobody names for a day are removed.
No row changes; writers wait for one of these steps at most, readers never. By hand at any time.""",
    schedule=at("30 3 * * *"),
    catchup=False,
    max_active_runs=1,
    tags={"upkeep"},
    default_args=TASK_HABITS | {"owner": "dmp"},
)
def upkeep() -> None:
    # Not in the pool of those that commit: it would keep them out for the whole of it, instead of for one step.
    @task
    def keep() -> list[str]:
        """What was done, a line per step."""
        from pipelines.upkeep import told, upkeep

        with task_run() as run:
            return told(upkeep(run))

    keep()


upkeep()
