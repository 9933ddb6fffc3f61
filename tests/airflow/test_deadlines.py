"""A delivery that does not come is told when its time is over: once, and for what it is."""

from __future__ import annotations

import asyncio
import html
import json
import re
from collections.abc import Collection, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from dags._overdue import FILLED, OVERDUE, look_is_late, slots_told, tell, tell_filled
from pipelines import archive
from pipelines.collect import collect
from pipelines.deadlines import Overdue, filled, overdue
from pipelines.demo import set_clock
from pipelines.flow import intake
from pipelines.run import Run
from pipelines.scorecard import scorecard
from tests.support import Town, town
from warehouse.lake import reading
from warehouse.layout import Workspace

from .conftest import NOW, City, source_yaml

GOOD = "编号,名称\n1,东风商店\n2,西街书店\n"
HEADER_GONE = "编号\n1\n"
#: Tuesday, when the file of Monday is due; as of then, and a moment later.
DUE = "2026-03-03T09:00:00+08:00"
JUST_OVER = "2026-03-03T09:00:01+08:00"
AN_HOUR_OVER = "2026-03-03T10:00:01+08:00"
MONDAY = "market__shop@2026-03-02"


def shop(arrival: str = "since: 2026-03-02, grace: 3 working days") -> str:
    text = source_yaml("market", "shop", "市监局", "店铺", "Shops").replace("entity: shop\n", "")
    return text.replace("cycle: daily", f"{arrival}, cycle: daily")


@pytest.fixture
def market(tmp_path: Path) -> Town:
    return town(tmp_path, {"market__shop": shop()})


def look(run: Run) -> list[Overdue]:
    return overdue(run, run.catalog.contracts.values())


def states(made: Town, when: str) -> dict[str, str]:
    with made.run(when) as run:
        return {one.id: one.state for one in look(run)}


def test_a_slot_is_overdue_when_its_due_instant_is_over_and_not_before(market: Town) -> None:
    assert states(market, DUE) == {}
    assert states(market, JUST_OVER) == {MONDAY: "missing"}


def test_what_was_accepted_in_time_or_late_is_not_overdue(market: Town) -> None:
    market.drop("market", "shop_20260302.csv", GOOD)
    market.run_at("2026-03-03T09:30:00+08:00")
    assert states(market, "2026-03-03T09:31:00+08:00") == {}


def test_what_was_held_is_held_and_not_missing_and_says_why(market: Town) -> None:
    market.drop("market", "shop_20260302.csv", HEADER_GONE)
    market.run_at(DUE)
    with market.run(JUST_OVER) as run:
        (one,) = look(run)
    assert (one.id, one.state, one.attempts) == (MONDAY, "held", 1)
    assert "名称" in one.reason[0] and "名称" in one.reason[1]


def test_a_file_that_came_is_given_an_hour_for_its_verdict_and_then_it_is_our_fault(market: Town) -> None:
    market.drop("market", "shop_20260302.csv", GOOD)
    assert states(market, JUST_OVER) == {}
    assert states(market, AN_HOUR_OVER) == {MONDAY: "unjudged"}


def test_a_file_that_a_killed_run_had_taken_still_waits_for_its_verdict(market: Town) -> None:
    market.drop("market", "shop_20260302.csv", GOOD)
    with market.run(DUE) as run:
        collect(run, "market__shop")  # and then it was killed
    assert not list((market.workspace.landing / "market").iterdir())
    assert states(market, JUST_OVER) == {}
    assert states(market, AN_HOUR_OVER) == {MONDAY: "unjudged"}


def test_a_file_that_comes_late_has_its_hour_from_then(market: Town) -> None:
    market.drop("market", "shop_20260303.csv", GOOD)
    with market.run("2026-03-04T14:00:00+08:00") as run:
        collect(run, "market__shop")
    assert states(market, "2026-03-04T14:59:59+08:00") == {}
    assert states(market, "2026-03-04T15:00:00+08:00") == {MONDAY: "unjudged", "market__shop@2026-03-03": "unjudged"}


def test_a_file_that_stays_in_a_folder_we_may_only_read_does_not_wait(market: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "_take_out", lambda path, known: None)
    market.drop("market", "shop_20260302.csv", HEADER_GONE)
    market.run_at(DUE)
    assert list((market.workspace.landing / "market").iterdir())
    assert states(market, JUST_OVER) == {MONDAY: "held"}


def test_a_file_without_its_manifest_has_not_come_but_is_mentioned(market: Town) -> None:
    market.contract("market__shop", shop("since: 2026-03-02, complete: manifest"))
    market.drop("market", "shop_20260302.csv", GOOD)
    with market.run(JUST_OVER) as run:
        (one,) = look(run)
    assert (one.state, one.unfinished) == ("missing", 1)


def test_after_its_grace_a_slot_is_left_to_the_scoreboard(market: Town) -> None:
    last = {"2026-03-05T09:00:00+08:00": "2026-03-05T09:00:00+08:00", "2026-03-06T09:00:00+08:00": None}
    for when, until in last.items():
        with market.run(when) as run:
            one = next(one for one in look(run) if one.id == MONDAY)
        assert (one.earns_until and one.earns_until.isoformat()) == until, "two of three working days late still earns a third"
    assert MONDAY not in states(market, "2026-03-06T09:00:01+08:00")


def test_with_a_source_whose_due_rule_is_not_understood_the_others_are_told(market: Town) -> None:
    market.contract(
        "tax__payer", source_yaml("tax", "payer", "税务局", "纳税人", "Payers").replace("09:00 next", "noonish, next")
    )
    assert states(market, JUST_OVER) == {MONDAY: "missing"}


def test_it_tells_what_the_scoreboard_counts_as_missing_for_as_long_as_the_grace(tmp_path: Path) -> None:
    arrivals = {"shop": "since: 2026-03-03", "stall": "until: 2026-03-03", "kiosk": "grace: 4 working days"}
    made = town(tmp_path, {f"market__{name}": shop(arrival).replace("shop_", f"{name}_") for name, arrival in arrivals.items()})
    for name in ("shop", "stall", "kiosk"):
        made.drop("market", f"{name}_20260302.csv", GOOD)
    made.run_at("2026-03-03T08:30:00+08:00")
    for day in (4, 6):
        with made.run(f"2026-03-{day:02}T09:30:00+08:00") as run:
            missing = {f"{card.contract.id}@{slot.slot.period}" for card in scorecard(run).sources for slot in card.missing}
            told = {one.id for one in look(run)}
        assert told == {slot for slot in missing if "kiosk" in slot or day - int(slot[-2:]) <= 2}
    assert told == {
        "market__shop@2026-03-04",
        "market__shop@2026-03-05",
        *(f"market__kiosk@2026-03-0{day}" for day in (3, 4, 5)),
    }


# --- what is told ---------------------------------------------------------------------------------


@pytest.fixture
def notices(market: Town, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DMP_WORKSPACE", str(market.workspace.root))
    return market.workspace.notices


def told(workspace: Workspace) -> list[dict[str, str]]:
    path = workspace.notices / "notices.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def test_a_notice_names_source_department_period_due_instant_and_the_next_step(market: Town, notices: Path) -> None:
    with market.run(JUST_OVER) as run:
        (one,) = look(run)
        assert tell(one, run.now)
    (notice,) = told(market.workspace)
    assert (notice["kind"], notice["about"], notice["department"]) == ("slot_missing", "market__shop", "market")
    assert (notice["period"], notice["due"], notice["at"]) == ("2026-03-02", "2026-03-03T09:00+08:00", JUST_OVER)
    # Three working days of grace: after two of them nothing is left to earn.
    said = ("市监局", "2026-03-02", "2026-03-03 09:00", "shop_*.csv", "landing/market/", "2026-03-05 09:00")
    assert all(word in notice["zh"] for word in ("缺报", "店铺", *said))
    assert all(word.replace("市监局", "Shops office") in notice["en"] for word in ("Missing", "Shops", *said))
    assert notice["zh"] in (notices / "notices.txt").read_text()


def test_each_slot_is_told_once_also_when_the_look_is_killed_between_its_two_files(market: Town, notices: Path) -> None:
    with market.run(JUST_OVER) as run:
        (one,) = look(run)
        assert tell(one, run.now) and not tell(one, run.now)
        assert slots_told(*OVERDUE) == {MONDAY}
        assert overdue(run, run.catalog.contracts.values(), slots_told(*OVERDUE)) == []
        whole = {path.name: path.read_bytes() for path in notices.iterdir()}
        (notices / "notices.jsonl").write_bytes(b"")
        assert tell(one, run.now)
    assert {path.name: path.read_bytes() for path in notices.iterdir()} == whole


def test_what_we_had_not_judged_is_told_again_once_it_is_known_what_it_is(market: Town, notices: Path) -> None:
    market.drop("market", "shop_20260302.csv", HEADER_GONE)
    for when in (AN_HOUR_OVER, "2026-03-03T10:05:00+08:00"):
        with market.run(when) as run:
            for one in overdue(run, run.catalog.contracts.values(), slots_told(*OVERDUE)):
                tell(one, run.now)
            intake(run, "market__shop")
    assert [notice["kind"] for notice in told(market.workspace)] == ["slot_unjudged", "slot_held"]


def test_what_is_filled_after_all_is_told_once_with_its_lateness(market: Town, notices: Path) -> None:
    with market.run(JUST_OVER) as run:
        contracts = list(run.catalog.contracts.values())
        assert all(tell(one, run.now) for one in look(run))
        assert filled(run, contracts, slots_told(*OVERDUE)) == []
    market.drop("market", "shop_20260302.csv", HEADER_GONE)
    market.run_at("2026-03-04T08:00:00+08:00")
    market.drop("market", "shop_20260302.csv", GOOD)
    market.run_at("2026-03-04T09:00:01+08:00")
    with market.run("2026-03-04T09:02:00+08:00") as run:
        (one,) = filled(run, contracts, {*slots_told(*OVERDUE), "gone__source@2026-03-02", "market__shop@2026-W09"})
        assert tell_filled(one, run.now) and not tell_filled(one, run.now)
    assert (one.id, one.working_days_late, slots_told(FILLED)) == (MONDAY, 2, {MONDAY})
    last = told(market.workspace)[-1]
    assert (
        "已到" in last["zh"] and "2026-03-04 09:00" in last["zh"] and "迟报 2 个工作日" in last["zh"] and "late: 2" in last["en"]
    )


def test_a_look_that_hangs_is_told_once_and_one_that_failed_not_twice(market: Town, notices: Path) -> None:
    run = {"dag_id": "deadlines", "dag_run_id": "scheduled__1", "state": "running"}
    for state in ("failed", "running", "running"):
        asyncio.run(look_is_late(context={"dag_run": run | {"state": state}}))
    assert [(notice["kind"], notice["run"]) for notice in told(market.workspace)] == [("look_late", "scheduled__1")]


# --- from the drop to the leader's page -----------------------------------------------------------

#: source -> its department, and its name as the report prints it.
CITY = {
    "fire__permit": ("消防局", "消防许可"),
    "traffic__bus": ("交通局", "公交客运"),
    "water__meter": ("水务局", "水表读数"),
    "health__clinic": ("卫健委", "诊所登记"),
}
NOISY = "编号,名称,电话\n1,东街诊所,13812345678\n2,西街诊所,待补\n"
WAIVER = """\
waivers:
  - code: phone_unreadable
    column: phone
    reason: {zh: 号码正在补录, en: numbers are being entered again}
    approver: 卫健委 李主任
    from: 2026-03-01
    until: 2026-03-03
"""


@pytest.fixture
def four_sources(city: City) -> Iterator[City]:
    """Sources that owe one day, and one that owes two and has a waiver for the first. The clock is put back afterwards."""
    for source, (department_zh, zh) in CITY.items():
        department, dataset = source.split("__")
        text = source_yaml(department, dataset, department_zh, zh, source).replace("entity: shop\n", "")
        owed = "since: 2026-03-02, until: " + ("2026-03-03" if source == "health__clinic" else "2026-03-02")
        text = text.replace("cycle: daily", f"{owed}, cycle: daily")
        if source == "health__clinic":
            text = text.replace("expect:", "  - {from: 电话, to: phone, clean: mobile_number}\nexpect:")
        (city.catalog / "sources" / f"{source}.yaml").write_text(text)
    (city.catalog / "waivers").mkdir()
    (city.catalog / "waivers" / "health__clinic.yaml").write_text(WAIVER)
    city.handle.wait_for_dags({"deadlines", *(f"intake__{source}" for source in CITY)})
    yield city
    set_clock(city.workspace, NOW)


def play(city: City, when: str, *dags: str) -> None:
    """The clock stands at `when`; each of these DAGs runs once, side by side."""
    set_clock(city.workspace, datetime.fromisoformat(when))
    for dag in dags:
        city.handle.api.trigger(dag, f"at_{when}")
    for dag in dags:
        city.run(dag, f"at_{when}")


def visible(page: Path) -> str:
    """The words of a page, without its markup."""
    text = re.sub(r"<(script|style|head)\b.*?</\1>", " ", page.read_text(), flags=re.S)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


def words_after(text: str, mention: str, words: str, others: Collection[str] = ()) -> set[str]:
    """Which of `words` a reader meets first after each mention, before one of `others` and within a line or two."""
    found = set()
    for after in text.split(mention)[1:]:
        line = min((after.partition(other)[0] for other in others if other != mention), key=len, default=after)[:80]
        if word := re.search(words, line):
            found.add(word[0])
    return found


@pytest.mark.airflow
def test_held_late_missing_and_a_waiver_that_ran_out_travel_from_the_drop_to_the_leaders_page(four_sources: City) -> None:
    city = four_sources
    city.land("fire", "permit_20260302.csv", HEADER_GONE)
    city.land("health", "clinic_20260302.csv", NOISY)
    play(city, "2026-03-03T08:30:00+08:00", "intake__fire__permit", "intake__health__clinic")

    play(city, "2026-03-03T09:02:00+08:00", "deadlines")
    play(city, "2026-03-03T09:07:00+08:00", "deadlines")
    slots = [n for n in told(city.workspace) if n["kind"].startswith("slot_") and n["about"] in CITY]
    assert [(n["kind"], n["about"], n["period"]) for n in slots] == [
        ("slot_held", "fire__permit", "2026-03-02"),
        ("slot_missing", "traffic__bus", "2026-03-02"),
        ("slot_missing", "water__meter", "2026-03-02"),
    ]
    assert "拦下" in slots[0]["zh"] and "名称" in slots[0]["zh"] and all("缺报" in n["zh"] for n in slots[1:])
    assert {r["run_type"] for r in city.handle.api.runs(["deadlines"])} == {"manual"}, "nothing wakes by the clock here"

    city.land("traffic", "bus_20260302.csv", GOOD)
    city.land("health", "clinic_20260303.csv", NOISY)
    play(city, "2026-03-04T08:30:00+08:00", "intake__traffic__bus", "intake__health__clinic")
    play(city, "2026-03-04T09:30:00+08:00", "deadlines", "scorecard")
    (arrived,) = [n for n in told(city.workspace) if n["kind"].startswith("slot_") and n["about"] in CITY][len(slots) :]
    assert (arrived["kind"], arrived["about"]) == ("slot_filled", "traffic__bus"), "and nothing is told a second time"
    assert "迟报 1 个工作日" in arrived["zh"]

    with reading(city.workspace) as con:
        verdicts = con.execute("SELECT verdict FROM lake.ledger.batch WHERE source = 'health__clinic' ORDER BY batch").fetchall()
    assert verdicts == [("pass",), ("warn",)], "the same noise, while the waiver stood and after its end"

    site, names, states = city.workspace.reports / "2026-03-04", [title for _, title in CITY.values()], "按时|迟报|拦下|缺报"
    leader = visible(site / "index.zh.html")
    source = {name: visible(site / "source" / f"{name}.zh.html") for name in CITY}
    for name, state in (("fire__permit", "拦下"), ("traffic__bus", "迟报"), ("water__meter", "缺报")):
        found = words_after(leader, CITY[name][1], states, names)
        assert state in found and not found & ({"拦下", "缺报"} - {state}), (name, found)
        assert state in words_after(source[name], "2026-03-02", states), name
    ended = words_after(leader, CITY["health__clinic"][1], "号码正在补录.*到期", names)
    assert ended and all("2026-03-03" in words for words in ended), "the first page says which waiver ran out, and when"
    assert "到期" in source["health__clinic"].partition("号码正在补录")[2]
