"""What the DAG files make of a catalogue: every source and entity, with an owner, a page and sound habits, quickly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from catalog.registry import SHIPPED, open_catalog

from .conftest import make_catalog, source_yaml

pytestmark = pytest.mark.airflow

Parse = Callable[[Path], dict[str, Any]]


@pytest.fixture(scope="module")
def shipped(parse: Parse) -> dict[str, Any]:
    return parse(SHIPPED)


def test_every_source_and_entity_of_the_shipped_catalogue_has_its_dag(shipped: dict[str, Any]) -> None:
    catalog = open_catalog(SHIPPED)
    assert shipped["errors"] == {}
    assert set(shipped["dags"]) == {
        *(f"intake__{s}" for s in catalog.contracts),
        *(f"fusion__{e}" for e in catalog.entities),
        *(f"review__{e}" for e in catalog.entities),
        "scorecard",
        "deadlines",
        "upkeep",
    }


def test_every_dag_has_owner_tags_page_and_a_notice_for_each_task_that_fails(shipped: dict[str, Any]) -> None:
    for name, dag in shipped["dags"].items():
        assert dag["owners"] not in ([], ["airflow"]), name
        assert dag["tags"] and dag["doc"] and dag["description"], name
        assert dag["max_active_runs"] == 1 and not dag["catchup"], name
        for task, habits in dag["tasks"].items():
            assert habits["retries"] >= 2 and habits["backoff"] > 1 and habits["notifies"], (name, task)


def test_tasks_that_commit_share_one_pool_and_tell_what_they_made(shipped: dict[str, Any]) -> None:
    gate = shipped["dags"]["intake__taxation__taxpayer"]["tasks"]["gate"]
    merge = shipped["dags"]["fusion__person"]["tasks"]["merge"]
    assert (gate["pool"], merge["pool"]) == ("warehouse_commit", "warehouse_commit")
    assert (gate["outlets"], merge["outlets"]) == (["std/taxation__taxpayer"], ["base/person"])


def test_every_dag_wakes_by_the_clock_and_intake_and_fusion_by_news_as_well(shipped: dict[str, Any]) -> None:
    kinds = {name.split("__")[0]: dag["timetable"] for name, dag in shipped["dags"].items()}
    both, clock = "AssetOrTimeSchedule", "CronTriggerTimetable"
    assert kinds == {
        "intake": both,
        "fusion": both,
        "review": clock,
        "scorecard": clock,
        "deadlines": clock,
        "upkeep": clock,
    }


def test_missed_deadlines_are_looked_for_every_five_minutes_and_somebody_learns_when_the_look_hangs(
    shipped: dict[str, Any],
) -> None:
    deadlines = shipped["dags"]["deadlines"]
    assert deadlines["cron"] == "2-59/5 * * * *"
    assert deadlines["deadline"] == "dags._overdue.look_is_late"


def test_the_page_of_a_source_tells_what_to_drop_where_and_every_column(shipped: dict[str, Any]) -> None:
    contract = open_catalog(SHIPPED).contract("taxation__taxpayer")
    page = shipped["dags"]["intake__taxation__taxpayer"]["doc"]
    for word in (contract.title.zh, contract.title.en, contract.arrival.drop[0], *contract.format.encoding):
        assert word in page
    assert all(header in page for column in contract.columns for header in column.from_)


def test_parsing_151_contracts_is_quick_and_imports_nothing_heavy(parse: Parse, tmp_path: Path) -> None:
    """Guangzhou's platform connects 151 units. Airflow gives up on a file after 30 seconds."""
    catalog = make_catalog(tmp_path)
    columns = "".join(f"  - {{from: 列{i}, to: column_{i}, clean: [trim_text, half_width]}}\n" for i in range(20))
    for number in range(149):
        text = source_yaml(f"office{number}", "shop", f"第{number}局", "店铺", "Shops").replace("expect:", f"{columns}expect:")
        (catalog / "sources" / f"office{number}__shop.yaml").write_text(text)
    told = parse(catalog)
    print(f"\n151 contracts: {told['files']} seconds, together {told['seconds']:.1f}")
    assert told["errors"] == {}
    assert len([d for d in told["dags"] if d.startswith("intake__")]) == 151
    assert max(told["files"].values()) < 15
    assert told["heavy"] == []
    minutes = Counter(int(d["cron"].split()[0]) for n, d in told["dags"].items() if n.startswith("intake__"))
    assert max(minutes.values()) <= 12, "looks of many sources fall on one minute"


def test_an_unreadable_contract_is_red_by_itself_and_takes_no_other_dag_away(parse: Parse, tmp_path: Path) -> None:
    catalog = make_catalog(tmp_path)
    (catalog / "sources" / "tax__payer.yaml").write_text("title: Payers\ncolums: []\n")
    told = parse(catalog)
    assert told["errors"] == {}
    assert {"intake__market__shop", "intake__tax__payer", "fusion__shop"} <= set(told["dags"])
    broken = told["dags"]["intake__tax__payer"]
    assert "unreadable" in broken["tags"]
    assert "tax__payer.yaml:2" in broken["doc"] and "columns" in broken["doc"]


def test_the_same_catalogue_gives_the_same_dags_at_every_parse(parse: Parse, shipped: dict[str, Any]) -> None:
    """Anything that varies would be a new version of the DAG every half minute."""
    assert parse(SHIPPED)["dags"] == shipped["dags"]
