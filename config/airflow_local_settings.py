"""Import what is slow before the scheduler forks, so that no task has to: great_expectations alone takes seconds.

Airflow imports this module when a component starts. LocalExecutor forks its workers from the scheduler, and each
task from a worker, so a module imported here is already there in every task. The other components (DAG processor,
API server, command line) run none of our stages and stay light.
"""

from __future__ import annotations

import sys

#: Airflow takes settings and policies from this module by name; there are none.
__all__: list[str] = []

if sys.argv[1:2] == ["scheduler"] or sys.argv[1:3] == ["celery", "worker"]:
    from pipelines.airflow_home import warm_up

    warm_up()
