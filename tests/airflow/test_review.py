"""Doubts under Airflow: a person answers on a page, and the next fusion obeys."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipelines.flow import fuse, run_all
from pipelines.review import status
from pipelines.run import Run, open_run
from tests.integration.test_review import ENTITY, LENT, SCHOOL, SOURCES, TWINS
from tests.integration.test_review import HEAD as HEADER
from tests.integration.test_review import POLICE as RESIDENTS

from .conftest import City
from .test_scheduler import notices, rows

pytestmark = pytest.mark.airflow

DAG = "review__resident"


def opened(city: City) -> Run:
    return open_run(workspace=city.workspace.root, catalog=city.catalog)


def asked(city: City, run_id: str) -> list[dict[str, Any]]:
    return list(city.handle.api.call("GET", f"/dags/{DAG}/dagRuns/{run_id}/hitlDetails")["hitl_details"])


def answer(city: City, one: dict[str, Any], choice: str, reason: str) -> None:
    """As a user's browser does."""
    ti = one["task_instance"]
    path = f"/dags/{DAG}/dagRuns/{ti['dag_run_id']}/taskInstances/{ti['task_id']}/{ti['map_index']}/hitlDetails"
    city.handle.api.call("PATCH", path, {"chosen_options": [choice], "params_input": {"reason": reason}})


def read(city: City, run_id: str, count: int) -> list[dict[str, Any]]:
    """The questions of a run, once each of them waits and the scheduler knows that the process that asked has ended.

    Airflow takes a task that was answered before that, within seconds of its question, for one that died, and asks again
    (apache/airflow issues 67287, 71580 and 72716). Whoever reads before he answers never sees it; a test would.
    """
    found: list[dict[str, Any]] = []

    def all_wait() -> bool:
        found[:] = asked(city, run_id)
        log = city.handle.environment.log("scheduler").read_text(encoding="utf-8", errors="replace")
        return len(found) == count and all(waits(one["task_instance"], log) for one in found)

    city.handle.wait(all_wait, 120, f"{count} questions of {run_id}")
    return found


def waits(ti: dict[str, Any], log: str) -> bool:
    key = f"run_id='{ti['dag_run_id']}', try_number={ti['try_number']}, map_index={ti['map_index']})"
    ended = (
        f"Received executor event with state success for task instance TaskInstanceKey(dag_id='{DAG}', task_id='one.ask', {key}"
    )
    return ti["state"] == "awaiting_input" and ended in log


def test_what_people_answer_on_a_page_is_kept_and_the_next_fusion_obeys(city: City) -> None:
    for source, text in SOURCES.items():
        (city.catalog / "sources" / f"{source}.yaml").write_text(
            text.replace("entity: shop", "entity: resident"), encoding="utf-8"
        )
    (city.catalog / "entities" / "resident.yaml").write_text(ENTITY, encoding="utf-8")
    city.land("police", "resident_20260302.csv", HEADER + RESIDENTS)
    city.land("school", "pupil_20260302.csv", HEADER + SCHOOL)
    with opened(city) as run:
        assert run_all(run, list(SOURCES)).fused == ("resident",)
    city.handle.wait_for_dags({DAG})

    city.handle.api.trigger(DAG, "morning")
    questions = read(city, "morning", 2)
    first, second = sorted(questions, key=lambda one: "…123X" not in one["body"])
    shown = json.dumps(questions, ensure_ascii=False)
    for value in (TWINS, LENT, "王小明", "13800138000", "1949-12-31"):
        assert value not in shown
    assert "…123X" in first["body"] and "是同一个吗" in first["subject"] and "are A and B one" in first["subject"]
    answer(city, first, "是同一个 same", "改名，档案已核对")
    answer(city, second, "不是 different", "")
    city.handle.wait(lambda: city.handle.api.is_idle([DAG]), 120, "the answers to be taken")
    same, refused = (one["task_instance"]["map_index"] for one in (first, second))
    states = {(t["task_id"], t["map_index"]): t["state"] for t in city.handle.api.tasks(DAG, "morning")}
    assert (states["one.keep", same], states["one.keep", refused]) == ("success", "failed")
    assert "缺少理由" in notices(city)[-1]["zh"] and "reason is missing" in notices(city)[-1]["en"]

    with opened(city) as run:
        found = status(run, "resident")
        assert (found.open, found.same, found.reviewers) == (1, 1, {"admin": 1}), "the one without a reason is still open"
        assert fuse(run, "resident")
        assert not fuse(run, "resident")
    assert rows(city, "SELECT _records FROM lake.base.resident ORDER BY 1") == [(1,), (1,), (2,)]
    city.handle.api.trigger(DAG, "next_morning")
    (left,) = read(city, "next_morning", 1)
    answer(city, left, "不确定 unsure", "")
    city.handle.wait(lambda: city.handle.api.is_idle([DAG]), 120, "the answer to be taken")
    with opened(city) as run:
        assert status(run, "resident").open == 1
