"""Read dags/ as the DAG processor does and print what it made, as JSON. Run as a process of its own by the tests."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from airflow.dag_processing.dagbag import BundleDagBag

HEAVY = ("great_expectations", "splink", "duckdb", "pandas", "pyarrow")


def main() -> None:
    folder = Path(os.environ["AIRFLOW_HOME"]) / "dags"
    began = time.perf_counter()
    bag = BundleDagBag(folder, bundle_path=folder)
    seconds = time.perf_counter() - began
    files = {Path(s.file).name: s.duration.total_seconds() for s in bag.dagbag_stats}
    told = {
        "seconds": seconds,
        "files": files,
        "errors": bag.import_errors,
        "heavy": [m for m in HEAVY if m in sys.modules],
        "dags": {dag_id: describe(dag) for dag_id, dag in bag.dags.items()},
    }
    print(json.dumps(told, ensure_ascii=False))


def describe(dag: Any) -> dict[str, Any]:
    return {
        "owners": sorted({t.owner for t in dag.tasks}),
        "tags": sorted(dag.tags),
        "doc": dag.doc_md or "",
        "description": dag.description,
        "max_active_runs": dag.max_active_runs,
        "catchup": dag.catchup,
        "deadline": dag.deadline[0].callback.path if dag.deadline else None,
        "cron": getattr(getattr(dag.timetable, "timetable", dag.timetable), "expression", None),
        "timetable": type(dag.timetable).__name__,
        "tasks": {
            t.task_id: {
                "retries": t.retries,
                "backoff": t.retry_exponential_backoff,
                "pool": t.pool,
                "notifies": bool(t.on_failure_callback),
                "outlets": [o.name for o in t.outlets],
                "downstream": sorted(t.downstream_task_ids),
            }
            for t in dag.tasks
        },
    }


if __name__ == "__main__":
    main()
