"""Findings over time and waivers: since when, how often, and what is no news. A waiver quiets a verdict and changes nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.batch import load
from pipelines.check_file import check_file
from pipelines.clean import clean
from pipelines.collect import collect
from pipelines.findings_over_time import OverTime, Recurring, WaiverState, over_time
from pipelines.findings_table import as_data, bars
from pipelines.flow import intake
from pipelines.gate import gate, judge_batch
from pipelines.rebuild import rebuild
from pipelines.report import report
from pipelines.run import Run
from pipelines.scorecard import scorecard
from pipelines.waivers import OF_CHECKS, OF_FUSIONS
from quality.dimensions import SUB_INDICATORS
from quality.expectations import prepare
from quality.finding import kinds
from tests.support import Town, tables, town

SOURCE = "office__register"
FORM = """\
title: {zh: 登记, en: Register}
department: {id: office, zh: 登记处, en: Register office}
load: append
period: {from: file_name, pattern: "_(?P<date>\\\\d{8})"}
arrival: {drop: "register_*", cycle: daily, due: "09:00 next working day", since: 2026-03-02}
format: {delimiter: ","}
columns:
  - {from: 编号, to: number, key: true}
  - {from: 联系电话, to: phone, clean: mobile_number, personal: true}
  - {from: 日期, to: day, type: date, clean: date_any_format}
  - {from: 等级, to: level, optional: true}
expect:
  - {columns_as_declared: , severity: hold}
  - {value_in_set: level, values: [A, B], id: known_level}
"""
HEAD = "编号,联系电话,日期,等级\n"
GOOD, BAD = "13800138000", "400-800"


def register(*rows: str) -> str:
    return HEAD + "".join(f"{row}\n" for row in rows)


def office(root: Path, *waivers: str) -> Town:
    made = town(root, {SOURCE: FORM})
    if waivers:
        waive(made, *waivers)
    return made


def waive(place: Town, *waivers: str) -> None:
    """`code: x, column: y` and the like, with dates; reason and approver are the same for all."""
    said = "reason: {zh: 旧号码改造中, en: old numbers are being moved}, approver: 王主任"
    (place.catalog / "waivers").mkdir(exist_ok=True)
    lines = "".join(f"  - {{{w}, {said}}}\n" for w in waivers)
    (place.catalog / "waivers" / f"{SOURCE}.yaml").write_text(f"waivers:\n{lines}", encoding="utf-8")


def send(place: Town, period: str, data: str, when: str) -> tuple[str, str]:
    """Drop and judge one file: its verdict and sentence."""
    place.drop("office", f"register_{period.replace('-', '')}.csv", data)
    with place.run(when) as run:
        (verdict,) = intake(run, SOURCE)
    return verdict.state, verdict.zh


def seen(place: Town, when: str) -> OverTime:
    with place.run(when) as run:
        return over_time(run, SOURCE)[SOURCE]


def one(found: OverTime, code: str) -> Recurring:
    (line,) = [f for f in found.findings if f.code == code]
    return line


# --- since when, when last, how often -------------------------------------------------------------


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> Town:
    """Monday has two bad phones; Tuesday's first version three and a bad date, its second one phone; Wednesday is clean; Thursday
    is held; Friday has a bad date again. A late file of the Sunday before comes last and brings a bad phone."""
    place = office(tmp_path_factory.mktemp("week"))
    send(place, "2026-03-02", register(f"1,{BAD},2026-03-02,A", f"2,{BAD},2026-03-02,A"), "2026-03-03T08:30:00+08:00")
    three = [f"{n},{BAD},2026-03-03,A" for n in (3, 4, 5)]
    send(place, "2026-03-03", register(*three, f"6,{GOOD},gestern,A"), "2026-03-04T08:30:00+08:00")
    send(place, "2026-03-03", register(f"3,{BAD},2026-03-03,A", f"4,{GOOD},2026-03-03,A"), "2026-03-04T15:00:00+08:00")
    send(place, "2026-03-04", register(f"7,{GOOD},2026-03-04,A"), "2026-03-05T08:30:00+08:00")
    send(place, "2026-03-05", "编号;联系电话;日期;等级\n8;1;2;3\n", "2026-03-06T08:30:00+08:00")
    send(place, "2026-03-06", register(f"9,{GOOD},heute,A"), "2026-03-09T08:30:00+08:00")
    send(place, "2026-03-01", register(f"0,{BAD},2026-03-01,A"), "2026-03-09T09:30:00+08:00")
    return place


def test_a_finding_is_told_with_first_and_last_sight_count_and_trend(week: Town) -> None:
    phone = one(seen(week, "2026-03-09T12:00:00+08:00"), "phone_unreadable")
    assert (phone.column_name, phone.header, phone.severity) == ("phone", "联系电话", "warn")
    # Sunday's file came last, and stands first among the periods.
    assert phone.first_batch == f"{SOURCE}@2026-03-01.v1" and phone.first_seen.isoformat() == "2026-03-09T01:30:00+00:00"
    assert phone.last_batch == f"{SOURCE}@2026-03-03.v2" and phone.last_seen.isoformat() == "2026-03-04T07:00:00+00:00"
    assert [int(n) for n in phone.trend] == [1, 2, 1, 0, 0, 0]
    assert (phone.batches, phone.total, phone.last_count, phone.direction) == (3, 4, 0, "gone")


def test_what_a_superseded_file_had_is_no_longer_counted(week: Town) -> None:
    bad_date = one(seen(week, "2026-03-09T12:00:00+08:00"), "date_unreadable")
    assert bad_date.first_batch == bad_date.last_batch == f"{SOURCE}@2026-03-06.v1"
    assert [int(n) for n in bad_date.trend] == [0, 0, 0, 0, 0, 1] and bad_date.direction == "new"
    stored = [f["batch"] for f in week.tables()["quality.finding"] if f["code"] == "date_unreadable"]
    assert f"{SOURCE}@2026-03-03.v1" in stored, "nothing is deleted"


def test_what_held_a_file_is_told_too(week: Town) -> None:
    held = one(seen(week, "2026-03-09T12:00:00+08:00"), "delimiter_differs")
    assert (held.severity, held.header, [int(n) for n in held.trend]) == ("hold", None, [0, 0, 0, 0, 1, 0])


def test_checks_that_fail_stand_beside_findings_with_what_they_count_wrong(week: Town) -> None:
    found = seen(week, "2026-03-09T12:00:00+08:00")
    valid = one(found, "value_is_valid_phone")
    assert (valid.kind, [int(n) for n in valid.trend]) == ("check", [1, 2, 1, 0, 0, 0])
    assert not any(f.code == "known_level" for f in found.findings), "a check that passed is no finding"
    assert one(found, "columns_as_declared").last_batch.endswith("2026-03-05.v1")


def test_what_the_last_batch_has_comes_first_and_notes_come_last(week: Town) -> None:
    found = seen(week, "2026-03-09T12:00:00+08:00").findings
    assert [bool(f.last_count) for f in found if f.severity != "note"] == sorted(
        (bool(f.last_count) for f in found if f.severity != "note"), reverse=True
    )
    assert [f.severity == "note" for f in found] == sorted(f.severity == "note" for f in found)


def test_machines_get_plain_numbers_and_terminals_a_drawing(week: Town) -> None:
    with week.run("2026-03-09T12:00:00+08:00") as run:
        (told,) = json.loads(json.dumps(as_data(over_time(run)), default=str))
    phone = next(f for f in told["findings"] if f["code"] == "phone_unreadable")
    assert (
        phone["trend"] == [1, 2, 1, 0, 0, 0] and phone["last_count"] == 0 and phone["first_seen"] == "2026-03-09T01:30:00+00:00"
    )
    assert bars(one(seen(week, "2026-03-09T12:00:00+08:00"), "phone_unreadable").trend) == "▄█▄   "


# --- waivers at the gate --------------------------------------------------------------------------

MARCH = "from: 2026-03-01, until: 2026-03-31"
PHONES = f"code: phone_unreadable, column: phone, {MARCH}"


@pytest.mark.parametrize(
    ("waivers", "rows", "verdict"),
    [
        ([PHONES], [f"1,{BAD},2026-03-02,A"], "pass"),
        ([PHONES], [f"1,{BAD},2026-03-02,A", f"2,{GOOD},gestern,A"], "warn"),  # a bad date is news
        ([f"code: phone_unreadable, column: day, {MARCH}"], [f"1,{BAD},2026-03-02,A"], "warn"),
        ([f"code: date_unreadable, column: day, value: 待定, {MARCH}"], [f"1,{GOOD},待定,A"], "pass"),
        ([f"code: date_unreadable, column: day, value: 待定, {MARCH}"], [f"1,{GOOD},待定,A", f"2,{GOOD},gestern,A"], "warn"),
        ([f"code: total_row, {MARCH}"], [f"1,{GOOD},2026-03-02,A", "合计,,,"], "pass"),
        ([f"code: total_row, {MARCH}"], [f"1,{GOOD},2026-03-02,A", f",{GOOD},2026-03-02,A", "合计,,,"], "warn"),
        ([f"code: value_missing, {MARCH}"], [f"1,{GOOD},2026-03-02,A", f",{GOOD},2026-03-02,A"], "pass"),
        ([PHONES], [f"1,{BAD},2026-03-02,A", f"1,{BAD},2026-03-02,B"], "warn"),  # the repeated key is another matter
        ([f"check: known_level, {MARCH}"], [f"1,{GOOD},2026-03-02,C"], "pass"),
        ([PHONES.replace("03-31", "03-02")], [f"1,{BAD},2026-03-02,A"], "warn"),  # it arrived on the third
        ([PHONES.replace("03-31", "03-03")], [f"1,{BAD},2026-03-02,A"], "pass"),
    ],
)
def test_only_what_is_waived_does_not_turn_a_verdict(
    third_of_march: tuple[Town, Run], periods: Iterator[date], waivers: list[str], rows: list[str], verdict: str
) -> None:
    place, run = third_of_march
    waive(place, *waivers)
    place.drop("office", f"register_{next(periods):%Y%m%d}.csv", register(*rows))
    (batch,) = collect(run, SOURCE)
    clean(run, batch)
    assert gate(run, batch).state == verdict


@pytest.fixture(scope="module")
def third_of_march(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Town, Run]]:
    place = office(tmp_path_factory.mktemp("one"))
    with place.run("2026-03-03T08:30:00+08:00") as run:
        yield place, run


@pytest.fixture(scope="module")
def periods() -> Iterator[date]:
    """Periods not yet sent, all due after the third of March."""
    return iter(date(2026, 3, 3) + timedelta(days=n) for n in range(10_000))


def test_a_held_file_stays_held_and_a_refused_row_refused(tmp_path: Path) -> None:
    codes = ("total_row", "value_missing", "row_too_short", "column_undeclared")
    place = office(tmp_path, *(f"code: {code}, {MARCH}" for code in codes))
    state, said = send(place, "2026-03-02", register(f"1,{GOOD},2026-03-02,A", "合计,,,"), "2026-03-03T08:30:00+08:00")
    assert (state, "接收 1 行，拒收 1 行" in said) == ("pass", True)
    assert [r["codes"] for r in place.tables()["quarantine.row"]] == ['["total_row"]']
    assert send(place, "2026-03-03", "编号;联系电话\n8;1\n", "2026-03-04T08:30:00+08:00")[0] == "hold"
    place.contract(SOURCE, FORM.replace("load: append", "load: append\ndrift: hold"))
    more = f"编号,联系电话,日期,等级,新列\n1,{GOOD},2026-03-04,A,x\n"
    assert send(place, "2026-03-04", more, "2026-03-05T08:30:00+08:00")[0] == "hold", (
        "this contract holds what others only warn of"
    )
    assert one(seen(place, "2026-03-05T12:00:00+08:00"), "column_undeclared").waived == 0


CELLS = st.tuples(
    st.sampled_from(["1", "2", "3", "合计", ""]), st.sampled_from([GOOD, BAD, ""]), st.sampled_from(["2026-03-02", "待定", ""]),
    st.sampled_from(["A", "C", ""]),
)  # fmt: skip


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(CELLS, min_size=1, max_size=6), chosen=st.sets(st.integers(0, 200), max_size=60))
def test_no_waiver_ever_changes_a_count(
    third_of_march: tuple[Town, Run], periods: Iterator[date], rows: list[tuple[str, ...]], chosen: set[int]
) -> None:
    """A and B, and with them every score, are those of a town without waivers; refused rows and held files stay."""
    place, run = third_of_march
    contract = run.catalog.contract(SOURCE)
    names = [f"code: {c}" for c, k in kinds().items() if k.severity != "hold" and c not in OF_CHECKS | OF_FUSIONS]
    names += [f"check: {p.id}" for p in prepare(contract) if p.severity != "hold"]
    waive(place, *(f"{names[n]}, {MARCH}" for n in sorted({n % len(names) for n in {0} | chosen})))
    place.drop("office", f"register_{next(periods):%Y%m%d}.csv", register(*(",".join(r) for r in rows)))
    (batch,) = collect(run, SOURCE)
    clean(run, batch)
    staged = load(run.workspace, batch)
    assert len(staged.waivers) >= 1
    plain, waived = (judge_batch(run, one, contract) for one in (replace(staged, waivers=()), staged))
    assert [(c.check.id, c.a, c.b, c.x, c.outcome.success) for c in waived] == [
        (c.check.id, c.a, c.b, c.x, c.outcome.success) for c in plain
    ]
    assert not any(c.waived_by for c in plain) and not any(c.waived_by for c in waived if c.outcome.success or c.holds_back)
    state = gate(run, batch).state
    refused = run.con.execute('SELECT count(*) FROM lake.quarantine.row WHERE "_batch" = ?', [batch]).fetchall()[0][0]
    accepted = next(s["rows_out"]["accepted"] for s in staged.stages if s["stage"] == "clean")
    assert refused == staged.rows - accepted
    assert state == "hold" if not accepted else state in ("pass", "warn")


def test_the_score_of_a_town_with_waivers_is_that_of_one_without(tmp_path: Path) -> None:
    scores, both = [], [PHONES, f"check: known_level, {MARCH}"]
    for folder, waivers in (("with", both), ("without", [])):
        place = office(tmp_path / folder, *waivers)
        verdict, _ = send(place, "2026-03-02", register(f"1,{BAD},2026-03-02,C"), "2026-03-03T08:30:00+08:00")
        assert verdict == ("pass" if waivers else "warn")
        with place.run("2026-03-03T12:00:00+08:00") as run:
            (card,) = scorecard(run).sources
        found = place.tables()
        scores.append((card.score, found["quality.check"], found["quality.finding"], found["std.office__register"]))
    assert scores[0] == scores[1]


def test_waiving_makes_no_new_version_and_no_other_verdict_of_what_was_judged(tmp_path: Path) -> None:
    place, file = office(tmp_path), register(f"1,{BAD},2026-03-02,A")
    send(place, "2026-03-02", file, "2026-03-03T08:30:00+08:00")
    waive(place, PHONES)
    place.drop("office", "register_20260302.csv", file)
    with place.run("2026-03-03T10:00:00+08:00") as run:
        assert intake(run, SOURCE) == []
    found = place.tables()
    assert [(b["version"], b["verdict"]) for b in found["ledger.batch"]] == [(1, "warn")]
    assert sorted(d["outcome"] for d in found["ledger.drop"]) == ["batch", "unchanged"]


def test_a_rebuild_gives_the_verdicts_of_the_day_whatever_the_catalogue_says_now(tmp_path: Path) -> None:
    place = office(tmp_path, PHONES)
    assert send(place, "2026-03-02", register(f"1,{BAD},2026-03-02,A"), "2026-03-03T08:30:00+08:00")[0] == "pass"
    (place.catalog / "waivers" / f"{SOURCE}.yaml").unlink()
    assert send(place, "2026-03-03", register(f"2,{BAD},2026-03-03,A"), "2026-03-04T08:30:00+08:00")[0] == "warn"
    with place.run("2026-03-05T08:30:00+08:00") as run:
        target = rebuild(run, tmp_path / "again")
    before, after = place.tables(), tables(target)
    for name in ("ledger.batch", "quality.waiver", "quality.check", "quality.finding"):
        assert after[name] == before[name], name
    assert len(after["quality.waiver"]) == 1


def test_receipt_and_check_before_sending_show_what_is_waived(tmp_path: Path) -> None:
    place = office(tmp_path, PHONES)
    waive(place, PHONES, f"check: known_level, {MARCH}")
    rows = register(f"1,{BAD},2026-03-02,A", f"2,{GOOD},gestern,C")
    send(place, "2026-03-02", rows, "2026-03-03T08:30:00+08:00")
    (path,) = place.workspace.outbox.rglob("receipt.json")
    receipt = json.loads(path.read_text(encoding="utf-8"))
    assert {f["code"]: (f["count"], f["waived"]) for f in receipt["findings"]} == {
        "phone_unreadable": (1, 1),
        "date_unreadable": (1, 0),
        "check_failed": (1, 1),
    }
    assert {c["id"] for c in receipt["checks"] if c["waived"]} == {"value_is_valid_phone", "known_level"}
    (_, waiver) = receipt["waivers"]
    assert (waiver["approver"], waiver["until"], waiver["findings"]) == ("王主任", "2026-03-31", 1)
    page = path.with_name("receipt.html").read_text(encoding="utf-8")
    assert "旧号码改造中" in page and "王主任" in page and "已豁免" in page and "2026-03-31" in page
    file = tmp_path / "register_20260302.csv"
    file.write_text(register(f"1,{BAD},2026-03-02,A"), encoding="utf-8")
    for day, code in (("2026-03-03", 0), ("2026-04-01", 1)):
        now = datetime.fromisoformat(f"{day}T08:30:00+08:00")
        assert check_file(file, SOURCE, now=now, catalog=place.catalog).exit_code == code


# --- what people see of waivers -------------------------------------------------------------------


@pytest.fixture(scope="module")
def spring(tmp_path_factory: pytest.TempPathFactory) -> Town:
    """Two bad phones each day; they are waived until 4 March, bad dates until 31 March, a level until 18 March."""
    place = office(
        tmp_path_factory.mktemp("spring"),
        PHONES.replace("03-31", "03-04"),
        f"code: date_unreadable, column: day, {MARCH}",
        f"check: known_level, {MARCH.replace('03-31', '03-18')}",
        f"code: total_row, {MARCH.replace('03-01', '03-20')}",
    )
    for day in (2, 3, 4, 5):
        rows = register(*(f"{n},{BAD},{'待定' if n else '2026-03-02'},{'AC'[n]}" for n in (0, 1)))
        send(place, f"2026-03-{day:02}", rows, f"2026-03-{day + 1:02}T08:30:00+08:00")
    return place


def states(place: Town, when: str) -> dict[str, WaiverState]:
    return {w.waiver.name: w for w in seen(place, when).waivers}


def test_a_waiver_covers_what_arrived_while_it_stood_and_nothing_after_its_end(spring: Town) -> None:
    batches = {b["batch"].split("@")[1]: b["verdict"] for b in spring.tables()["ledger.batch"]}
    assert batches == {"2026-03-02.v1": "pass", "2026-03-03.v1": "pass", "2026-03-04.v1": "warn", "2026-03-05.v1": "warn"}
    on_sixth = states(spring, "2026-03-06T12:00:00+08:00")
    phones = on_sixth["phone_unreadable_phone"]
    assert (phones.state, phones.covered, phones.last, phones.again, phones.is_urgent) == ("expired", 4, 0, 2, True)
    dates = on_sixth["date_unreadable_day"]
    assert (dates.state, dates.covered, dates.last, dates.again) == ("standing", 4, 1, 0)
    assert (on_sixth["known_level"].state, on_sixth["known_level"].covered) == ("ending", 4)
    assert on_sixth["total_row"].state == "coming"


@pytest.mark.parametrize(
    ("when", "state", "days_left"),
    [("2026-03-16", "standing", 15), ("2026-03-17", "ending", 14), ("2026-03-31", "ending", 0), ("2026-04-01", "expired", -1)],
)
def test_a_waiver_is_announced_fourteen_days_before_its_end(spring: Town, when: str, state: str, days_left: int) -> None:
    dates = states(spring, f"{when}T00:30:00+08:00")["date_unreadable_day"]
    assert (dates.state, dates.days_left) == (state, days_left)


def test_what_stands_today_marks_the_findings_of_the_last_batch(spring: Town) -> None:
    found = seen(spring, "2026-03-06T12:00:00+08:00")
    assert {f.code: int(f.waived) for f in found.findings if f.waived} == {
        "date_unreadable": 1, "value_is_valid_day": 1, "known_level": 1,
    }  # fmt: skip
    assert not any(f.code == "check_failed" for f in found.findings), "the check itself is told, once"
    assert not any(f.waived for f in seen(spring, "2026-04-20T12:00:00+08:00").findings)


def test_a_renewed_waiver_is_no_trouble_that_came_back(spring: Town) -> None:
    path = spring.catalog / "waivers" / f"{SOURCE}.yaml"
    before = path.read_text(encoding="utf-8")
    try:
        waive(spring, PHONES.replace("03-31", "03-04"), f"{PHONES.replace('03-01', '03-05')}, id: renewed")
        found = states(spring, "2026-03-06T12:00:00+08:00")
        assert (found["phone_unreadable_phone"].again, found["renewed"].covered) == (0, 4)
    finally:
        path.write_text(before, encoding="utf-8")


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("zh", ["已于 2026-03-04 到期，最近一批又有 2 处", "12 天后到期（2026-03-18）", "旧号码改造中", "王主任", "最近 4 批的数量，由旧到新：2、2、2、2"]),
        ("en", ["expired on 2026-03-04, 2 findings again in the last batch", "ends in 12 days (2026-03-18)",
                "old numbers are being moved", "王主任", "counts of the last 4 batches, oldest first: 2, 2, 2, 2"]),
    ],
)  # fmt: skip
def test_the_pages_say_who_why_until_when_and_what_came_back(spring: Town, language: str, said: list[str]) -> None:
    with spring.run("2026-03-06T12:00:00+08:00") as run:
        folder = report(run).parent
    index = (folder / f"index.{language}.html").read_text(encoding="utf-8")
    source = (folder / "source" / f"{SOURCE}.{language}.html").read_text(encoding="utf-8")
    assert [s for s in said[:4] if s not in index] == [] and [s for s in said if s not in source] == []
    remarks = re.findall(r'<ul class="remarks">.*?</ul>', index, re.S)
    assert said[0] in remarks[0] and said[1] in remarks[0] and "2026-03-31" not in remarks[0]


# --- the catalogue of codes -----------------------------------------------------------------------


def test_every_code_has_a_title_and_says_what_to_do() -> None:
    for code, kind in kinds().items():
        assert kind.title_zh != code and kind.title_en != code, f"{code} has no title"
        assert len(kind.title_zh) <= 16 and len(kind.title_en) <= 48, f"the title of {code} is long"
        # What to do about a check is for its title to say.
        assert kind.severity == "note" or code == "check_failed" or (kind.advice_zh and kind.advice_en), f"{code} gives no advice"
        assert kind.zh.endswith(kind.advice_zh) and kind.en.endswith(kind.advice_en)
        assert kind.indicator is None or kind.indicator in SUB_INDICATORS, f"{code}: {kind.indicator}"
    titles = [k.title_en for k in kinds().values()]
    assert len(set(titles)) == len(titles) and len({k.title_zh for k in kinds().values()}) == len(titles)
