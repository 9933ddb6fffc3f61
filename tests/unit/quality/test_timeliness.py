"""Due slots, lateness and punctuality as a contract states them and an auditor counts them."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal as D
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quality.calendar import load_calendar
from quality.policy import load_policy
from quality.scoring import Check, score_check
from quality.timeliness import (
    CYCLES,
    Arrival,
    Cycle,
    DueRule,
    Schedule,
    Slot,
    circular,
    compliance_rate,
    concealment_rate,
    judge,
    period_of,
    period_range,
    points,
    punctuality,
    record_is_timely,
    working_days_late,
)

CN = load_calendar("cn")
SHANGHAI = ZoneInfo("Asia/Shanghai")
DAILY = Schedule.of("daily", CN)


def at(text: str, zone: ZoneInfo = SHANGHAI) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone)


def due(cycle: Cycle, label: str, rule: str | None = None, calendar: str = "cn") -> str:
    slot = Schedule.of(cycle, load_calendar(calendar), rule).slots(label, label)[0]
    return f"{slot.due_at:%Y-%m-%d %H:%M}"


# --- periods --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cycle", "label", "first", "last"),
    [
        ("daily", "2026-03-02", "2026-03-02", "2026-03-02"),
        ("weekly", "2026-W10", "2026-03-02", "2026-03-08"),
        ("weekly", "2026-W53", "2026-12-28", "2027-01-03"),
        ("monthly", "2024-02", "2024-02-01", "2024-02-29"),
        ("monthly", "2026-12", "2026-12-01", "2026-12-31"),
        ("quarterly", "2026-Q1", "2026-01-01", "2026-03-31"),
        ("quarterly", "2026-Q4", "2026-10-01", "2026-12-31"),
        ("yearly", "2026", "2026-01-01", "2026-12-31"),
        ("event", "2026-03-02", "2026-03-02", "2026-03-02"),
    ],
)
def test_what_a_period_covers(cycle: Cycle, label: str, first: str, last: str) -> None:
    assert [day.isoformat() for day in period_range(cycle, label)] == [first, last]


@pytest.mark.parametrize(
    ("cycle", "label"),
    [
        ("daily", "2026-02-30"),
        ("daily", "2026-03"),
        ("weekly", "2025-W53"),
        ("weekly", "2026-03"),
        ("monthly", "2026-13"),
        ("monthly", "2026-3"),
        ("quarterly", "2026-Q5"),
        ("yearly", "２０２６"),
        ("yearly", ""),
    ],
)
def test_a_label_that_is_no_period_of_the_cycle_is_refused(cycle: Cycle, label: str) -> None:
    with pytest.raises(ValueError, match="expected a label like"):
        period_range(cycle, label)


@given(st.sampled_from(sorted(CYCLES)), st.dates(date(2000, 1, 1), date(2090, 12, 31)))
def test_every_day_lies_in_its_period_and_periods_leave_no_gap(cycle: Cycle, day: date) -> None:
    label = period_of(cycle, day)
    first, last = period_range(cycle, label)
    assert first <= day <= last
    assert period_of(cycle, first) == period_of(cycle, last) == label
    assert period_range(cycle, period_of(cycle, last + timedelta(days=1)))[0] == last + timedelta(days=1)


# --- due rules ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cycle", "label", "expected"),
    [
        ("daily", "2026-03-02", "2026-03-03 09:00"),
        ("daily", "2026-02-28", "2026-03-02 09:00"),  # a worked Saturday
        ("daily", "2026-09-30", "2026-10-08 09:00"),  # before the National Day week
        ("weekly", "2026-W10", "2026-03-09 18:00"),
        ("weekly", "2026-W07", "2026-02-24 18:00"),  # the whole next week is Spring Festival
        ("monthly", "2026-02", "2026-03-06 18:00"),
        ("monthly", "2026-09", "2026-10-13 18:00"),  # 8, 9, Saturday 10, 12, 13
        ("quarterly", "2026-Q1", "2026-04-15 18:00"),  # 6 April is off
        ("yearly", "2025", "2026-01-29 18:00"),  # 2 January off, Sunday 4 worked
    ],
)
def test_the_default_due_instant_of_each_cycle(cycle: Cycle, label: str, expected: str) -> None:
    assert due(cycle, label) == expected


@pytest.mark.parametrize(
    ("cycle", "label", "rule", "expected"),
    [
        ("daily", "2026-03-06", "09:00 next working day", "2026-03-09 09:00"),
        ("daily", "2026-03-06", "18:00 same day", "2026-03-06 18:00"),
        ("daily", "2026-03-06", "18:00 day+1", "2026-03-07 18:00"),
        ("daily", "2026-03-06", "8:30 next day", "2026-03-07 08:30"),
        ("daily", "2026-03-06", "24:00 same day", "2026-03-07 00:00"),
        ("monthly", "2026-02", "18:00 of the 5th working day of the next month", "2026-03-06 18:00"),
        ("monthly", "2026-02", "18:00 5th working day", "2026-03-06 18:00"),
        ("monthly", "2026-02", "  18:00  Fifth  Working Day ", "2026-03-06 18:00"),
        ("monthly", "2026-02", "12:00 day+10", "2026-03-10 12:00"),
        ("weekly", "2026-W10", "18:00 first working day of the next week", "2026-03-09 18:00"),
        ("quarterly", "2025-Q4", "18:00 10th working day", "2026-01-15 18:00"),
    ],
)
def test_due_rules_as_contracts_write_them(cycle: Cycle, label: str, rule: str, expected: str) -> None:
    assert due(cycle, label, rule) == expected


@pytest.mark.parametrize(
    ("cycle", "rule"),
    [
        ("daily", "tomorrow"),
        ("daily", "9 next working day"),
        ("daily", "25:00 same day"),
        ("daily", "24:01 same day"),
        ("daily", "18:60 same day"),
        ("daily", "18:00"),
        ("daily", ""),
        ("daily", "18:00 0th working day"),
        ("daily", "within 7 working days"),
        ("weekly", "18:00 first working day of the next month"),
        ("event", "18:00 same day"),
        ("event", "within 0 working days"),
    ],
)
def test_a_rule_that_is_not_understood_lists_the_forms_that_are(cycle: Cycle, rule: str) -> None:
    with pytest.raises(ValueError, match="expected one of the forms") as caught:
        DueRule.parse(rule, cycle)
    # The message is only useful when what it recommends works.
    forms = str(caught.value).split("forms ", 1)[1].split("; ")
    assert [DueRule.parse(form.strip('"'), cycle).text for form in forms] == [f.strip('"') for f in forms]


@pytest.mark.parametrize(
    ("cycle", "rule", "zh"),
    [
        ("daily", None, "期末后第1个工作日 09:00"),
        ("monthly", None, "期末后第5个工作日 18:00"),
        ("daily", "18:00 same day", "期末当日 18:00"),
        ("daily", "24:00 day+2", "期末后第2日 24:00"),
        ("event", None, "事件发生后7个工作日内"),
        ("event", "within 1 month", "事件发生后1个月内"),
    ],
)
def test_a_rule_reads_in_chinese(cycle: Cycle, rule: str | None, zh: str) -> None:
    assert DueRule.parse(rule, cycle).zh == zh


@pytest.mark.parametrize(
    ("rule", "event", "last_timely"),
    [
        ("within 7 working days", "2026-02-10", "2026-02-26"),  # 11 12 13 14 24 25 26 February
        ("within 3 days", "2026-02-27", "2026-03-02"),
        ("within 1 month", "2026-01-31", "2026-02-28"),
        ("within 1 month", "2025-12-15", "2026-01-15"),
    ],
)
def test_a_record_has_its_own_clock(rule: str, event: str, last_timely: str) -> None:
    parsed, end = DueRule.parse(rule, "event"), date.fromisoformat(last_timely)
    assert record_is_timely(date.fromisoformat(event), end, parsed, CN)
    assert not record_is_timely(date.fromisoformat(event), end + timedelta(days=1), parsed, CN)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"cycle": "hourly"}, "expected one of daily"),
        ({"cycle": "daily", "grace": "2 hours"}, "number of working days"),
        ({"cycle": "daily", "grace": -1}, "number of working days"),
        ({"cycle": "daily", "zone": "Beijing"}, "IANA"),
    ],
)
def test_a_schedule_that_is_declared_wrongly_is_refused(arguments: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Schedule.of(calendar=CN, **arguments)  # type: ignore[arg-type]


def test_grace_is_read_as_contracts_write_it() -> None:
    found = [Schedule.of("daily", CN, grace=grace).horizon for grace in (None, "2 working days", "1 working day", 5)]
    assert found == [2, 2, 1, 5]


# --- slots ----------------------------------------------------------------------------------------


def test_a_daily_source_has_a_slot_on_each_working_day() -> None:
    march = DAILY.slots("2026-03-01", "2026-03-31")
    assert len(march) == 22
    assert march[0].period == "2026-03-02"
    assert "2026-02-28" in [slot.period for slot in DAILY.slots("2026-02-01", "2026-02-28")]
    assert {slot.calendar for slot in march} == {"cn@2026-11-01"}


def test_a_calendar_of_every_day_gives_a_slot_every_day() -> None:
    schedule = Schedule.of("daily", load_calendar("every_day"))
    assert len(schedule.slots("2026-03-01", "2026-03-31")) == 31


def test_slots_of_longer_cycles_run_from_first_to_last_period() -> None:
    labels = [slot.period for slot in Schedule.of("monthly", CN).slots("2025-11", "2026-02")]
    assert labels == ["2025-11", "2025-12", "2026-01", "2026-02"]
    assert [slot.period for slot in Schedule.of("weekly", CN).slots("2026-W52", "2027-W01")] == [
        "2026-W52",
        "2026-W53",
        "2027-W01",
    ]


def test_the_slots_due_in_a_month_are_about_earlier_periods() -> None:
    first, last = date(2026, 3, 1), date(2026, 3, 31)
    assert [slot.period for slot in Schedule.of("monthly", CN).slots_due(first, last)] == ["2026-02"]
    daily = [slot.period for slot in DAILY.slots_due(first, last)]
    assert (daily[0], daily[-1], len(daily)) == ("2026-02-28", "2026-03-30", 22)


@given(
    st.sampled_from(["daily", "weekly", "monthly", "quarterly", "yearly"]),
    st.dates(date(2020, 1, 1), date(2026, 12, 31)),
    st.integers(0, 120),
)
def test_each_slot_falls_due_exactly_once(cycle: Cycle, start: date, length: int) -> None:
    schedule = Schedule.of(cycle, CN)
    end = start + timedelta(days=length)
    every = schedule.slots(period_of(cycle, start - timedelta(days=450)), period_of(cycle, end + timedelta(days=30)))
    assert schedule.slots_due(start, end) == [slot for slot in every if start <= slot.due_on <= end]


def test_an_event_source_has_no_slots() -> None:
    schedule = Schedule.of("event", CN)
    assert schedule.slots("2026-03-01", "2026-03-31") == []
    assert schedule.slots_due(date(2026, 3, 1), date(2026, 3, 31)) == []


# --- lateness -------------------------------------------------------------------------------------

FRIDAY = Schedule.of("daily", CN, "18:00 same day").slots("2026-03-06", "2026-03-06")[0]


@pytest.mark.parametrize(
    ("arrival", "late"),
    [
        ("2026-03-06 17:59", 0),
        ("2026-03-06 18:00", 0),
        ("2026-03-06 18:01", 1),
        ("2026-03-07 10:00", 1),
        ("2026-03-08 23:59", 1),
        ("2026-03-09 18:00", 1),
        ("2026-03-09 18:01", 2),
        ("2026-03-10 18:00", 2),
        ("2026-03-16 18:01", 7),
    ],
)
def test_lateness_counts_working_days_only_and_rounds_up(arrival: str, late: int) -> None:
    assert working_days_late(FRIDAY, at(arrival), CN) == late


@pytest.mark.parametrize(
    ("rule", "arrival", "late"),
    [
        ("24:00 same day", "2026-03-07 00:00", 0),
        ("24:00 same day", "2026-03-07 00:01", 1),
        ("24:00 same day", "2026-03-10 00:00", 1),
        ("24:00 same day", "2026-03-10 00:01", 2),
        ("18:00 day+1", "2026-03-08 12:00", 1),  # due on a Saturday
        ("18:00 day+1", "2026-03-09 18:00", 1),
        ("18:00 day+1", "2026-03-09 18:01", 2),
    ],
)
def test_lateness_of_rules_that_end_at_midnight_or_on_a_day_off(rule: str, arrival: str, late: int) -> None:
    slot = Schedule.of("daily", CN, rule).slots("2026-03-06", "2026-03-06")[0]
    assert working_days_late(slot, at(arrival), CN) == late


def test_an_arrival_counts_at_its_instant_whatever_zone_it_is_written_in() -> None:
    assert working_days_late(FRIDAY, datetime.fromisoformat("2026-03-06T10:00:00+00:00"), CN) == 0
    assert working_days_late(FRIDAY, datetime.fromisoformat("2026-03-06T10:00:01+00:00"), CN) == 1


def test_a_clock_that_is_set_back_does_not_hide_a_late_hour() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    every_day = load_calendar("every_day")
    schedule = Schedule.of("daily", every_day, "02:30 same day", zone="Europe/Berlin")
    slot = schedule.slots("2026-10-25", "2026-10-25")[0]  # 02:30 happens twice; due the first time
    second = datetime(2026, 10, 25, 2, 15, tzinfo=berlin, fold=1)
    assert working_days_late(slot, second, every_day) == 1


def test_an_instant_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="has no zone"):
        working_days_late(FRIDAY, datetime(2026, 3, 6, 18, 0), CN)


@pytest.mark.parametrize(
    ("late", "horizon", "p"),
    [(0, 2, "1"), (1, 2, "0.5"), (2, 2, "0"), (9, 2, "0"), (1, 3, "0.666667"), (0, 0, "1"), (1, 0, "0")],
)
def test_points_fall_to_zero_over_the_horizon(late: int, horizon: int, p: str) -> None:
    assert points(late, horizon) == D(p)


@given(st.datetimes(datetime(2026, 3, 1), datetime(2026, 12, 1)), st.integers(0, 10**6), st.integers(0, 40))
def test_a_later_arrival_never_scores_more(when: datetime, more_seconds: int, horizon: int) -> None:
    first = when.replace(tzinfo=SHANGHAI)
    later = first + timedelta(seconds=more_seconds)
    early, late = (working_days_late(FRIDAY, one, CN) for one in (first, later))
    assert early <= late
    assert points(early, horizon) >= points(late, horizon)


@given(st.datetimes(datetime(2026, 1, 1), datetime(2027, 6, 1)))
def test_lateness_is_the_first_moved_deadline_that_was_kept(when: datetime) -> None:
    """The definition, walked one calendar day at a time."""
    arrived = when.replace(tzinfo=SHANGHAI)
    day, deadline, late = FRIDAY.due_on, FRIDAY.due_at, 0
    while arrived > deadline:
        day += timedelta(days=1)
        while not CN.is_working_day(day):
            day += timedelta(days=1)
        deadline = datetime(day.year, day.month, day.day, 18, 0, tzinfo=SHANGHAI)
        late += 1
    assert working_days_late(FRIDAY, arrived, CN) == late


# --- judging --------------------------------------------------------------------------------------

APRIL = at("2026-04-30 00:00")


def on_time(slot: Slot) -> Arrival:
    return Arrival(slot.period, slot.due_at - timedelta(hours=1))


def test_the_worked_example_19_on_time_two_a_day_late_one_missing() -> None:
    march = DAILY.slots("2026-03-01", "2026-03-31")
    arrivals = [on_time(slot) for slot in march[:19]]
    arrivals += [Arrival(slot.period, slot.due_at + timedelta(hours=3)) for slot in march[19:21]]
    judged = judge(march, arrivals, APRIL, DAILY.horizon, CN)
    assert punctuality(judged) == (D("20.0"), 22)
    a, b = punctuality(judged)
    check = score_check(Check("punctuality", "0502", 3, a, b, kind="punctuality"), load_policy("2026-01"))
    assert (str(check.x), str(check.y)) == ("0.909091", "90.91")
    figures = circular(judged)
    assert (figures.due, figures.on_time, figures.late, figures.missing) == (22, 19, 2, 1)
    assert (str(figures.late_rate), str(figures.missing_rate)) == ("0.090909", "0.045455")


def test_the_first_accepted_submission_counts_and_attempts_are_shown() -> None:
    slot = DAILY.slots("2026-03-02", "2026-03-02")[0]  # due 3 March 09:00
    arrivals = [
        Arrival("2026-03-02", at("2026-03-03 12:00")),
        Arrival("2026-03-02", at("2026-03-03 08:00"), accepted=False),
        Arrival("2026-03-02", at("2026-03-04 12:00")),
        Arrival("2026-02-28", at("2026-03-03 07:00")),
    ]
    [one] = judge([slot], arrivals, APRIL, 2, CN)
    assert (one.state, one.arrived_at, one.attempts) == ("late", at("2026-03-03 12:00"), 2)
    assert (one.working_days_late, one.points) == (1, D("0.5"))


@pytest.mark.parametrize(
    ("as_of", "arrived", "state", "late"),
    [
        ("2026-03-03 08:59", None, "not_due", 0),
        ("2026-03-03 08:59", "2026-03-02 20:00", "not_due", 0),
        ("2026-03-03 09:00", None, "missing", 0),
        ("2026-03-03 09:01", None, "missing", 1),
        ("2026-03-05 09:01", None, "missing", 3),
        ("2026-03-05 09:00", "2026-03-02 20:00", "on_time", 0),
        ("2026-03-05 09:00", "2026-03-01 20:00", "early", 0),
        ("2026-03-05 09:00", "2026-03-04 09:00", "late", 1),
        ("2026-03-05 09:00", "2026-03-05 09:01", "missing", 2),  # not known yet at that instant
    ],
)
def test_a_slot_is_judged_by_what_was_known(as_of: str, arrived: str | None, state: str, late: int) -> None:
    slot = DAILY.slots("2026-03-02", "2026-03-02")[0]
    arrivals = [] if arrived is None else [Arrival("2026-03-02", at(arrived))]
    [one] = judge([slot], arrivals, at(as_of), 2, CN)
    assert (one.state, one.working_days_late) == (state, late)


def test_a_file_that_is_there_before_it_is_due_is_shown_and_not_counted() -> None:
    slot = DAILY.slots("2026-03-02", "2026-03-02")[0]
    judged = judge([slot], [on_time(slot)], slot.due_at - timedelta(minutes=1), 2, CN)
    assert judged[0].arrived_at == slot.due_at - timedelta(hours=1)
    assert punctuality(judged) == (D(0), 0)
    figures = circular(judged)
    assert (figures.due, figures.not_due, figures.late_rate) == (0, 1, None)


def test_a_monthly_file_before_the_month_is_over_is_early() -> None:
    schedule = Schedule.of("monthly", CN)
    slots = schedule.slots("2026-03", "2026-03")
    states = [
        judge(slots, [Arrival("2026-03", at(when))], APRIL, 10, CN)[0].state
        for when in ("2026-03-30 18:00", "2026-03-31 23:00", "2026-04-08 18:00", "2026-04-08 18:01")
    ]
    assert states == ["early", "on_time", "on_time", "late"]


def test_runs_of_missing_slots_and_first_pass_yield() -> None:
    week = DAILY.slots("2026-03-02", "2026-03-06")
    arrivals = [
        on_time(week[0]),
        Arrival(week[3].period, week[3].due_at - timedelta(hours=2), accepted=False),
        on_time(week[3]),
    ]
    figures = circular(judge(week, arrivals, APRIL, 2, CN))
    assert (figures.missing, figures.longest_missing_run) == (3, 2)
    assert str(figures.first_pass_yield) == "0.500000"


def test_rates_of_rows() -> None:
    assert str(compliance_rate(128_416, 128_854)) == "0.996601"
    assert compliance_rate(0, 0) is None
    assert str(concealment_rate(3, 1000)) == "0.003000"
    assert concealment_rate(0, 0) is None
