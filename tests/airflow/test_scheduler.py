"""Files through a real Airflow: what a department and a data engineer see when one is good, bad, absent or new."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines import airflow_home
from pipelines.run import open_run
from pipelines.status import scoreboard
from warehouse.lake import reading

from .conftest import City, source_yaml

pytestmark = pytest.mark.airflow

GOOD = "编号,名称\n1,东风商店\n2,西街书店\n"
HEADER_GONE = "编号\n1\n"


def rows(city: City, sql: str) -> list[tuple[Any, ...]]:
    with reading(city.workspace) as con:
        return con.execute(sql).fetchall()


def notices(city: City) -> list[dict[str, str]]:
    path = city.workspace.notices / "notices.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def test_a_good_file_becomes_golden_records_without_anybody_touching_the_fusion(city: City) -> None:
    city.land("market", "shop_20260302.csv", GOOD)
    states = city.run("intake__market__shop", "good")
    assert states == {"": "success", "collect": "success", "clean": "success", "gate": "success", "held": "skipped"}
    event = city.handle.api.asset_events("std/market__shop")[0]
    assert event["extra"] == {"market__shop@2026-03-02.v1": "pass"}
    city.settle("fusion__shop")
    assert {r["state"] for r in city.handle.api.runs(["fusion__shop"])} == {"success"}
    assert rows(city, "SELECT shop_no, shop_name FROM lake.base.shop ORDER BY 1") == [("1", "东风商店"), ("2", "西街书店")]
    assert city.handle.api.asset_events("base/shop")


def test_a_held_batch_turns_the_run_red_and_an_accepted_one_in_the_same_run_goes_on(city: City) -> None:
    city.land("tax", "payer_20260301.csv", HEADER_GONE)
    city.land("tax", "payer_20260302.csv", GOOD)
    states = city.run("intake__tax__payer", "mixed")
    assert states == {"": "failed", "collect": "success", "clean": "success", "gate": "success", "held": "failed"}
    verdicts = dict(rows(city, "SELECT period, verdict FROM lake.ledger.batch WHERE source = 'tax__payer'"))
    assert verdicts == {"2026-03-01": "hold", "2026-03-02": "pass"}
    assert city.handle.api.asset_events("std/tax__payer")
    held = next(t for t in city.handle.api.tasks("intake__tax__payer", "mixed") if t["task_id"] == "held")
    assert held["try_number"] == 1, "a held batch is never tried again"


def test_the_notice_of_a_held_batch_says_in_two_languages_what_to_mend(city: City) -> None:
    city.land("tax", "payer_20260228.csv", HEADER_GONE)
    states = city.run("intake__tax__payer", "held")
    assert (states["gate"], states["held"]) == ("skipped", "failed"), "nothing was accepted, so no fusion is woken"
    told = notices(city)[-1]
    assert (told["kind"], told["about"], told["dag"]) == ("held", "tax__payer", "intake__tax__payer")
    assert "tax__payer@2026-02-28.v1" in told["zh"] and "tax__payer@2026-02-28.v1" in told["en"]
    assert "重新报送" in told["zh"] and "名称" in told["zh"]
    assert "sends it again" in told["en"]
    assert told["at"].startswith("2026-03-03"), "the workspace's clock, not the machine's"
    assert told["zh"] in (city.workspace.notices / "notices.txt").read_text()


def test_where_nothing_arrived_the_run_is_green_and_writes_nothing(city: City) -> None:
    before = rows(city, "SELECT count(*) FROM lake.ledger.batch")
    states = city.run("intake__market__shop", "quiet")
    assert states == {"": "success", "collect": "success", "clean": "skipped", "gate": "skipped", "held": "skipped"}
    assert rows(city, "SELECT count(*) FROM lake.ledger.batch") == before


def test_one_new_yaml_and_one_file_give_a_dag_a_scored_batch_and_a_line_in_the_report(city: City) -> None:
    text = source_yaml("culture", "venue", "文旅局", "文化场馆", "Venues")
    (city.catalog / "sources" / "culture__venue.yaml").write_text(text)
    city.handle.wait_for_dags({"intake__culture__venue"})
    city.land("culture", "venue_20260302.csv", GOOD)
    assert city.run("intake__culture__venue", "first")[""] == "success"
    with open_run(workspace=city.workspace.root, catalog=city.catalog) as run:
        line = next(s for s in scoreboard(run) if s["source"] == "culture__venue")
    assert line["verdict"] == "pass" and line["rows_in"] == 2 and line["Q"] is not None
    assert city.run("scorecard", "after_first")[""] == "success"
    site = city.workspace.reports
    assert "文化场馆" in "".join(p.read_text() for p in site.rglob("*.html"))
    city.settle("fusion__shop")


def test_tasks_find_great_expectations_imported_and_take_a_second_not_ten(city: City) -> None:
    city.land("market", "shop_20260303.csv", GOOD)
    assert city.run("intake__market__shop", "timed")[""] == "success"
    seconds = {t["task_id"]: t["duration"] for t in city.handle.api.tasks("intake__market__shop", "timed")}
    print(f"\nseconds per task: {seconds}")
    assert seconds["gate"] < 6
    city.settle("fusion__shop")


def test_a_second_airflow_on_the_same_workspace_is_refused(city: City) -> None:
    with pytest.raises(airflow_home.AirflowError, match=city.handle.url):
        airflow_home.start(city.handle.environment, ("api-server",))


def test_secrets_are_readable_by_their_owner_only_and_stay(city: City) -> None:
    folder = city.workspace.airflow / "secrets"
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    assert set(before) == {"fernet_key", "jwt_secret", "api_secret_key", "passwords.json"}
    assert {oct(p.stat().st_mode & 0o777) for p in folder.iterdir()} == {"0o600"}
    airflow_home.prepare(city.workspace, city.catalog)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    config = (Path(airflow_home.ROOT) / "airflow.cfg").read_text()
    assert not any(secret.decode() in config for secret in before.values())
