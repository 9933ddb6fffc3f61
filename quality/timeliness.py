"""Due slots, lateness and punctuality: date arithmetic on a working-day calendar, from a contract's words.

A slot is one period of one source (a day, week, month, quarter or year) with the instant its file is due.
The arrival of a slot is its first accepted submission. Everything is measured on the wall clock of the
source's own time zone.

**Working days late.** Move the due instant forward by n working days, at the same time of day. A file is n
working days late when it came after the due instant moved by n - 1 and not after the due instant moved by
n. So one minute late is one day late, and days nobody works add nothing: due Friday 18:00, arrived
Saturday, Sunday or Monday before 18:00, is one day late; Monday 18:01 is two. An auditor needs the printed
calendar and two fingers.

**Points.** p = 1 - d/h for d days late, not below 0; a missing slot has 0. h is the horizon, the contract's
`grace`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Literal
from zoneinfo import ZoneInfo

from quality.calendar import Calendar
from quality.rounding import ratio

Cycle = Literal["daily", "weekly", "monthly", "quarterly", "yearly", "event"]
State = Literal["early", "on_time", "late", "missing", "not_due"]

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class CycleKind:
    """A cycle with its ISO 8601 repetition, and the due rule and horizon of a contract that names none."""

    zh: str
    iso: str
    period: str
    due: str
    horizon: int


CYCLES: dict[Cycle, CycleKind] = {
    "daily": CycleKind("每日", "R/P1D", "day", "09:00 next working day", 2),
    "weekly": CycleKind("每周", "R/P1W", "week", "18:00 of the first working day of the next week", 5),
    "monthly": CycleKind("每月", "R/P1M", "month", "18:00 of the 5th working day of the next month", 10),
    "quarterly": CycleKind("每季度", "R/P3M", "quarter", "18:00 of the 10th working day of the next quarter", 20),
    "yearly": CycleKind("每年", "R/P1Y", "year", "18:00 of the 20th working day of the next year", 40),
    "event": CycleKind("事件", "", "day", "within 7 working days", 7),
}

# --- periods --------------------------------------------------------------------------------------

_LABELS: dict[str, tuple[re.Pattern[str], str]] = {
    "day": (re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII), "2026-03-02"),
    "week": (re.compile(r"(\d{4})-W(\d{2})", re.ASCII), "2026-W10"),
    "month": (re.compile(r"(\d{4})-(\d{2})", re.ASCII), "2026-03"),
    "quarter": (re.compile(r"(\d{4})-Q([1-4])", re.ASCII), "2026-Q1"),
    "year": (re.compile(r"(\d{4})", re.ASCII), "2026"),
}


def period_of(cycle: Cycle, day: date) -> str:
    """The label of the period a date lies in: 2026-03-02, 2026-W10 (ISO week), 2026-03, 2026-Q1 or 2026."""
    match CYCLES[cycle].period:
        case "week":
            year, week, _ = day.isocalendar()
            return f"{year:04}-W{week:02}"
        case "month":
            return f"{day.year:04}-{day.month:02}"
        case "quarter":
            return f"{day.year:04}-Q{(day.month + 2) // 3}"
        case "year":
            return f"{day.year:04}"
        case _:
            return day.isoformat()


def period_range(cycle: Cycle, label: str) -> tuple[date, date]:
    """First and last day of a period. Raises ValueError for a label that is none of the cycle's."""
    kind = CYCLES[cycle].period
    pattern, example = _LABELS[kind]
    wrong = ValueError(f"period {label!r} of a {cycle} source; expected a label like {example}")
    found = pattern.fullmatch(label)
    if not found:
        raise wrong
    try:
        match kind:
            case "week":
                first = date.fromisocalendar(int(found[1]), int(found[2]), 1)
                return first, first + timedelta(days=6)
            case "month":
                return _months(int(found[1]), int(found[2]), 1)
            case "quarter":
                return _months(int(found[1]), 3 * int(found[2]) - 2, 3)
            case "year":
                return _months(int(found[1]), 1, 12)
            case _:
                day = date.fromisoformat(label)
                return day, day
    except ValueError:
        raise wrong from None


def _months(year: int, month: int, count: int) -> tuple[date, date]:
    first = date(year, month, 1)
    months = year * 12 + month - 1 + count
    return first, date(months // 12, months % 12 + 1, 1) - DAY


# --- due rules ------------------------------------------------------------------------------------

_ORDINALS = {"first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5}
_NTH = rf"(?P<nth>{'|'.join(_ORDINALS)}|[1-9]\d?(?:st|nd|rd|th))"
_TIMED = re.compile(
    r"(?P<hour>\d{1,2}):(?P<minute>\d{2}) (?:of )?(?:the )?(?:"
    r"(?P<same>same day)|(?P<nextday>next day)|day ?\+ ?(?P<plus>\d{1,3})|(?P<next>next working day)"
    rf"|{_NTH} working day(?: of the next (?P<unit>week|month|quarter|year))?)",
    re.ASCII,
)
_WITHIN = re.compile(r"within (?P<count>[1-9]\d{0,2}) (?P<unit>working day|day|month)s?", re.ASCII)


def _forms(cycle: Cycle) -> list[str]:
    if cycle == "event":
        return ["within 7 working days", "within 3 days", "within 1 month"]
    forms = ["18:00 same day", "18:00 next day", "18:00 day+3", "09:00 next working day"]
    forms.append("18:00 of the 5th working day")
    if cycle != "daily":
        forms.append(f"18:00 of the first working day of the next {CYCLES[cycle].period}")
    return forms


@dataclass(frozen=True, slots=True)
class DueRule:
    """When the file of a period is due, counted from the last day of the period.

    `unit` working_day: on the `count`-th working day after the period; day: `count` calendar days after its
    last day. `minutes` is the time of day; 24:00 (1440) is the end of the due day. For the event cycle the
    rule is a clock per record, from the day of the event to the end of the due day (`per_record`); only
    there `unit` can be month, which counts calendar months.
    """

    unit: Literal["working_day", "day", "month"]
    count: int
    minutes: int
    text: str
    per_record: bool = False

    @classmethod
    def parse(cls, text: str | None, cycle: Cycle) -> DueRule:
        """Read a rule as contracts write it; None gives the default of the cycle (`CYCLES`).

        "The 5th working day of the next month" and "the 5th working day" after a month are the same day,
        since the next period starts where this one ends. Where a holiday week has no working day, the count
        runs on into the week after.

        Raises ValueError that lists the accepted forms.
        """
        text = CYCLES[cycle].due if text is None else text
        words = " ".join(text.lower().split())
        rule = cls._within(words, text) if cycle == "event" else cls._timed(words, text, cycle)
        if rule is None:
            forms = "; ".join(f'"{form}"' for form in _forms(cycle))
            raise ValueError(f"due rule {text!r} of a {cycle} source is not understood; expected one of the forms {forms}")
        return rule

    @classmethod
    def _within(cls, words: str, text: str) -> DueRule | None:
        found = _WITHIN.fullmatch(words)
        if not found:
            return None
        units: dict[str, Literal["working_day", "day", "month"]] = {
            "working day": "working_day",
            "day": "day",
            "month": "month",
        }
        return cls(units[found["unit"]], int(found["count"]), 24 * 60, text, per_record=True)

    @classmethod
    def _timed(cls, words: str, text: str, cycle: Cycle) -> DueRule | None:
        found = _TIMED.fullmatch(words)
        if not found or (found["unit"] and found["unit"] != CYCLES[cycle].period):
            return None
        minutes = int(found["hour"]) * 60 + int(found["minute"])
        if int(found["minute"]) > 59 or minutes > 24 * 60:
            return None
        if found["same"]:
            return cls("day", 0, minutes, text)
        if found["nextday"]:
            return cls("day", 1, minutes, text)
        if found["plus"]:
            return cls("day", int(found["plus"]), minutes, text)
        if found["next"]:
            return cls("working_day", 1, minutes, text)
        nth = found["nth"]
        return cls("working_day", _ORDINALS.get(nth) or int(nth[:-2]), minutes, text)

    def due_on(self, last_day: date, calendar: Calendar) -> date:
        """The due day of a period that ends on `last_day`, or of a record whose event was on that day."""
        if self.unit == "working_day":
            return calendar.add_working_days(last_day, self.count)
        if self.unit == "day":
            return last_day + self.count * DAY
        # One month after 31 January is the last day of February.
        months = last_day.year * 12 + last_day.month - 1 + self.count
        _, end = _months(months // 12, months % 12 + 1, 1)
        return end.replace(day=min(last_day.day, end.day))

    @property
    def zh(self) -> str:
        """The rule in Chinese, for reports."""
        clock = f"{self.minutes // 60:02}:{self.minutes % 60:02}"
        if self.per_record:
            unit = {"working_day": "个工作日", "day": "日", "month": "个月"}[self.unit]
            return f"事件发生后{self.count}{unit}内"
        if self.unit == "working_day":
            return f"期末后第{self.count}个工作日 {clock}"
        return f"期末当日 {clock}" if self.count == 0 else f"期末后第{self.count}日 {clock}"


def _grace(grace: str | int) -> int:
    found = re.fullmatch(r"(\d{1,3})(?: working days?)?", " ".join(str(grace).lower().split()), re.ASCII)
    if not found:
        raise ValueError(f'grace {grace!r}; expected a number of working days, such as "2 working days"')
    return int(found[1])


def record_is_timely(event_on: date, arrived_on: date, rule: DueRule, calendar: Calendar) -> bool:
    """Whether a record arrived within its own clock, such as 7 working days after a permit was decided."""
    return arrived_on <= rule.due_on(event_on, calendar)


# --- slots ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Slot:
    """One period whose file is due. `due_at` carries the source's zone; `due_on` is the day the rule names.

    The two differ by a day for a rule that says 24:00.
    """

    period: str
    first_day: date
    last_day: date
    due_on: date
    due_at: datetime
    calendar: str


@dataclass(frozen=True)
class Schedule:
    """When a source delivers: its cycle, due rule, horizon in working days, calendar and IANA time zone."""

    cycle: Cycle
    due: DueRule
    horizon: int
    calendar: Calendar
    zone: str = "Asia/Shanghai"

    @classmethod
    def of(
        cls,
        cycle: Cycle,
        calendar: Calendar,
        due: str | None = None,
        grace: str | int | None = None,
        zone: str = "Asia/Shanghai",
    ) -> Schedule:
        """From the words of a contract (grace: `2 working days` or 2); the rest comes from `CYCLES`.

        Raises ValueError for a cycle, rule, grace or zone that is not understood, with what was expected.
        """
        if cycle not in CYCLES:
            raise ValueError(f"cycle {cycle!r}; expected one of {', '.join(CYCLES)}")
        horizon = CYCLES[cycle].horizon if grace is None else _grace(grace)
        try:
            ZoneInfo(zone)
        except (KeyError, ValueError, OSError):
            raise ValueError(f"time zone {zone!r}; expected an IANA name such as Asia/Shanghai") from None
        return cls(cycle, DueRule.parse(due, cycle), horizon, calendar, zone)

    @cached_property
    def tz(self) -> ZoneInfo:
        return ZoneInfo(self.zone)

    def slots(self, first: str, last: str) -> list[Slot]:
        """The slots of the periods from label `first` to label `last`, both included, in order.

        A daily source has a slot on each working day of its calendar (on every day when the calendar is
        `every_day`). The event cycle has no slots: its records carry their own clocks.
        """
        if self.cycle == "event":
            return []
        day, end = period_range(self.cycle, first)[0], period_range(self.cycle, last)[0]
        found = []
        while day <= end:
            slot = self._slot(period_of(self.cycle, day))
            if self._counts(slot):
                found.append(slot)
            day = slot.last_day + DAY
        return found

    def slots_due(self, first_day: date, last_day: date) -> list[Slot]:
        """The slots that fall due from `first_day` to `last_day`, both included, whatever their period.

        This is what a report over a calendar month judges: the February file of a monthly source is due in
        March.
        """
        if self.cycle == "event":
            return []
        found = []
        day = last_day
        # Due days never run backwards from one period to the next, so walking back can stop at the first
        # one too old.
        while (slot := self._slot(period_of(self.cycle, day))).due_on >= first_day:
            if slot.due_on <= last_day and self._counts(slot):
                found.append(slot)
            day = slot.first_day - DAY
        return found[::-1]

    def _counts(self, slot: Slot) -> bool:
        return self.cycle != "daily" or self.calendar.is_working_day(slot.first_day)

    def _slot(self, label: str) -> Slot:
        first_day, last_day = period_range(self.cycle, label)
        due_on = self.due.due_on(last_day, self.calendar)
        due_at = datetime.combine(due_on, time()) + timedelta(minutes=self.due.minutes)
        return Slot(label, first_day, last_day, due_on, due_at.replace(tzinfo=self.tz), self.calendar.id)


# --- judging --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Arrival:
    """One submission for one period. `arrived_at` needs a zone; any zone will do."""

    period: str
    arrived_at: datetime
    accepted: bool = True


@dataclass(frozen=True, slots=True)
class JudgedSlot:
    """What became of a slot, as known at one instant.

    state     early: accepted before the last day of the period, so it cannot cover it; full points
              on_time, late: by the due instant
              missing: due, and nothing accepted yet; `working_days_late` counts on to the as-of instant
              not_due: the due instant is still to come; listed, not counted, even if the file is there
    points    p, to 6 places; None for not_due
    attempts  submissions up to and including the accepted one, or all of them when none was
    """

    slot: Slot
    state: State
    arrived_at: datetime | None
    working_days_late: int
    points: Decimal | None
    attempts: int

    @property
    def is_due(self) -> bool:
        return self.state != "not_due"


def working_days_late(slot: Slot, arrived_at: datetime, calendar: Calendar) -> int:
    """0 when not after the due instant, else the working days late, as defined at the head of this module."""
    if _utc(arrived_at) <= _utc(slot.due_at):
        return 0
    # Python compares instants that share a zone by wall clock, which is wrong in the hour a clock is set
    # back.
    arrived_on = arrived_at.astimezone(slot.due_at.tzinfo).date()
    days = max(1, calendar.working_days_between(slot.due_on, arrived_on) - 1)
    while _utc(arrived_at) > _utc(_moved(slot, days, calendar)):
        days += 1
    return days


def earns_until(slot: Slot, horizon: int, calendar: Calendar) -> datetime | None:
    """The last instant at which a late file still earns points; None where lateness earns none (a horizon of 0 or 1)."""
    return _moved(slot, horizon - 1, calendar) if horizon > 1 else None


def _moved(slot: Slot, days: int, calendar: Calendar) -> datetime:
    # Adding a timedelta to an aware datetime moves the wall clock and keeps the zone.
    return slot.due_at + (calendar.add_working_days(slot.due_on, days) - slot.due_on)


def _utc(instant: datetime) -> datetime:
    if instant.tzinfo is None:
        raise ValueError(f"instant {instant.isoformat()} has no zone; expected one like {instant.isoformat()}+08:00")
    return instant.astimezone(UTC)


def points(days_late: int, horizon: int) -> Decimal:
    """p = max(0, 1 - d/h), to 6 places. With a horizon of 0 any lateness gives 0."""
    if days_late == 0:
        return Decimal(1)
    if days_late >= horizon:
        return Decimal(0)
    return ratio(horizon - days_late, horizon)


def judge(
    slots: Iterable[Slot], arrivals: Iterable[Arrival], as_of: datetime, horizon: int, calendar: Calendar
) -> list[JudgedSlot]:
    """Judge each slot by what had arrived at `as_of`. Later arrivals and periods without a slot are left out.

    Again: the same arguments give the same answer, so a past report can be made again from the arrival
    ledger. Raises ValueError for an instant without a zone.
    """
    by_period: dict[str, list[Arrival]] = {}
    for arrival in sorted(arrivals, key=lambda one: _utc(one.arrived_at)):
        if _utc(arrival.arrived_at) <= _utc(as_of):
            by_period.setdefault(arrival.period, []).append(arrival)
    return [_judged(slot, by_period.get(slot.period, []), as_of, horizon, calendar) for slot in slots]


def _judged(slot: Slot, submissions: Sequence[Arrival], as_of: datetime, horizon: int, calendar: Calendar) -> JudgedSlot:
    at = next((index for index, one in enumerate(submissions) if one.accepted), None)
    arrived_at = None if at is None else submissions[at].arrived_at
    attempts = len(submissions) if at is None else at + 1
    if _utc(as_of) < _utc(slot.due_at):
        return JudgedSlot(slot, "not_due", arrived_at, 0, None, attempts)
    if arrived_at is None:
        return JudgedSlot(slot, "missing", None, working_days_late(slot, as_of, calendar), Decimal(0), attempts)
    late = working_days_late(slot, arrived_at, calendar)
    state: State = "late" if late else "early" if _is_early(slot, arrived_at) else "on_time"
    return JudgedSlot(slot, state, arrived_at, late, points(late, horizon), attempts)


def _is_early(slot: Slot, arrived_at: datetime) -> bool:
    return arrived_at.astimezone(slot.due_at.tzinfo).date() < slot.last_day


# --- figures --------------------------------------------------------------------------------------


def punctuality(judged: Iterable[JudgedSlot]) -> tuple[Decimal, int]:
    """A and B of the punctuality check (0502): the sum of p and the number of due slots."""
    due = [one.points for one in judged if one.points is not None]
    return sum(due, Decimal(0)).normalize(), len(due)


@dataclass(frozen=True, slots=True)
class Circular:
    """The slot columns of a monthly circular (通报). Rates are 0 to 1; None where nothing was due."""

    due: int
    on_time: int
    late: int
    missing: int
    not_due: int
    late_rate: Decimal | None
    missing_rate: Decimal | None
    first_pass_yield: Decimal | None
    longest_missing_run: int


def circular(judged: Iterable[JudgedSlot]) -> Circular:
    """Count judged slots, given in order of their periods.

    late_rate (迟报率) is late / due and leaves missing slots to `missing_rate`; on_time includes early.
    first_pass_yield is the share of delivered slots whose first submission was accepted.
    """
    rows = list(judged)
    due = [one for one in rows if one.is_due]
    late = sum(one.state == "late" for one in due)
    missing = sum(one.state == "missing" for one in due)
    delivered = [one for one in due if one.arrived_at is not None]
    longest = run = 0
    for one in due:
        run = run + 1 if one.state == "missing" else 0
        longest = max(longest, run)
    return Circular(
        due=len(due),
        on_time=len(due) - late - missing,
        late=late,
        missing=missing,
        not_due=len(rows) - len(due),
        late_rate=ratio(late, len(due)) if due else None,
        missing_rate=ratio(missing, len(due)) if due else None,
        first_pass_yield=ratio(sum(one.attempts == 1 for one in delivered), len(delivered)) if delivered else None,
        longest_missing_run=longest,
    )


def compliance_rate(accepted_rows: int, reported_rows: int) -> Decimal | None:
    """合规率: accepted rows over rows reported. None when nothing was reported."""
    return ratio(accepted_rows, reported_rows) if reported_rows else None


def concealment_rate(found_but_not_reported: int, should_be_reported: int) -> Decimal | None:
    """瞒报率: rows found by cross-comparison but not reported, over the rows that should have been."""
    return ratio(found_but_not_reported, should_be_reported) if should_be_reported else None
