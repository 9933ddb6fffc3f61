"""What the report shows beyond the scorecard itself: counts of slots, who stands where, the calendar of deliveries."""

from __future__ import annotations

from calendar import monthrange
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from zoneinfo import ZoneInfo

from catalog.contract import Contract
from catalog.registry import Catalog
from pipelines.score_facts import BatchLine
from pipelines.scorecard import USUAL_WINDOW, MonthScore, Scorecard, SourceCard
from pipelines.slots import is_owed, schedule_of
from quality.dimensions import DIMENSIONS
from quality.policy import Grade, Policy, load_policy
from quality.scoring import DepartmentScore, Ranked, ScoredCheck, Trigger, as_typed, triggers, weighted_mean
from quality.timeliness import JudgedSlot, Slot, circular

#: From the best to the worst; the calendar shows the worst of several slots on one day.
STATES = ("not_due", "early", "on_time", "late", "held", "missing")

#: So many days ahead the calendar shows what will fall due.
AHEAD = timedelta(days=7)

#: In these days something of the cycle falls due for certain.
NEXT_WITHIN = {"daily": 20, "weekly": 30, "monthly": 75, "quarterly": 200, "yearly": 800}


def shown_state(slot: JudgedSlot) -> str:
    """`held` where something was sent and nothing of it accepted; it scores like a missing slot."""
    return "held" if slot.state == "missing" and slot.attempts else slot.state


def grade_of(value: Decimal | None, policy: Policy) -> Grade | None:
    return None if value is None else policy.grade(value)


@dataclass(frozen=True)
class Tally:
    """Due slots by what became of them: due = early + on_time + late + missing + held."""

    due: int
    early: int
    on_time: int
    late: int
    missing: int
    held: int

    @property
    def in_time(self) -> int:
        return self.early + self.on_time

    @property
    def parts(self) -> tuple[tuple[str, int], ...]:
        return (("on_time", self.in_time), ("late", self.late), ("held", self.held), ("missing", self.missing))


def tally(slots: Iterable[JudgedSlot]) -> Tally:
    counts = Counter(shown_state(s) for s in slots if s.is_due)
    return Tally(counts.total(), *(counts[s] for s in ("early", "on_time", "late", "missing", "held")))


@dataclass(frozen=True)
class Month:
    """One calendar month of a source, a department or the city. Scores are means by the weight of the tiers, over the sources
    that have one; the running month counts up to the day of the report."""

    label: str
    t: Decimal | None
    q: Decimal | None
    o: Decimal | None
    tally: Tally
    rows_read: int
    rows_accepted: int
    slots: tuple[JudgedSlot, ...]

    @property
    def days(self) -> tuple[str, ...]:
        """Per day of the month the worst state of what fell due; empty where nothing did."""
        worst: dict[int, str] = {}
        for slot in self.slots:
            day, state = slot.slot.due_on.day, shown_state(slot)
            worst[day] = max(worst.get(day, state), state, key=STATES.index)
        return tuple(worst.get(day, "") for day in range(1, monthrange(*map(int, self.label.split("-")))[1] + 1))


def months_of(cards: Iterable[SourceCard], policy: Policy) -> tuple[Month, ...]:
    """The months of these sources, the oldest first, from the first in which something was due or sent."""
    weights = policy.source_weights.model_dump()
    found: dict[str, list[tuple[Decimal, MonthScore]]] = {}
    for card in cards:
        for month in card.months:
            found.setdefault(month.month, []).append((weights[card.contract.tier], month))
    made = []
    for label in sorted(found):
        there = found[label]
        t, q, o = (weighted_mean([(w, getattr(m, level)) for w, m in there])[0] for level in ("t", "q", "o"))
        slots = tuple(s for _, m in there for s in m.slots)
        read, accepted = sum(m.rows_read for _, m in there), sum(m.rows_accepted for _, m in there)
        made.append(Month(label, t, q, o, tally(slots), read, accepted, slots))
    return tuple(made)


@dataclass(frozen=True)
class SourceView:
    """One source as the lists and its own page show it."""

    card: SourceCard
    policy: Policy
    next_due: Slot | None
    upcoming: tuple[Slot, ...]

    @property
    def contract(self) -> Contract:
        return self.card.contract

    @property
    def id(self) -> str:
        return self.card.contract.id

    @property
    def zone(self) -> ZoneInfo:
        return self.card.contract.arrival.zone

    @cached_property
    def tally(self) -> Tally:
        return tally(self.card.slots)

    @cached_property
    def trend(self) -> tuple[Month, ...]:
        return months_of([self.card], self.policy)

    @property
    def last(self) -> BatchLine | None:
        return self.card.batches[-1] if self.card.batches else None

    @property
    def grade(self) -> Grade | None:
        return self.grade_of(self.card.score.o.value)

    def grade_of(self, value: Decimal | None) -> Grade | None:
        return grade_of(value, self.policy)

    @cached_property
    def batches(self) -> tuple[BatchLine, ...]:
        """Those that arrived in the window, newest first."""
        first, last = self.card.window
        return tuple(b for b in reversed(self.card.batches) if first <= b.arrived_at.astimezone(self.zone).date() <= last)

    @cached_property
    def unchanged(self) -> tuple[tuple[datetime, str, str], ...]:
        """Drops of the window whose bytes were those of the version in force: arrived_at, file name, batch."""
        first, last = self.card.window
        return tuple(
            (at, name, batch) for at, name, batch in self.card.unchanged if first <= at.astimezone(self.zone).date() <= last
        )

    @property
    def standing(self) -> str:
        due = [s for s in self.card.slots if s.is_due]
        if self.last is None:
            return "missing" if due else "never"
        if due and (state := shown_state(due[-1])) in ("missing", "held", "late"):
            return state
        if self.last.verdict == "hold":
            return "held"
        return "good" if due else "received"

    @cached_property
    def scored_checks(self) -> Mapping[str, Sequence[ScoredCheck]]:
        """The checks by sub-indicator."""
        found: dict[str, list[ScoredCheck]] = {}
        for one in self.card.score.checks:
            found.setdefault(one.check.sub_indicator, []).append(one)
        return found

    def held_reason(self, period: str) -> BatchLine | None:
        """The newest batch of a period that was held."""
        return next((b for b in reversed(self.card.batches) if b.period == period and b.verdict == "hold"), None)

    @cached_property
    def causes(self) -> tuple[tuple[str, str], ...]:
        """Why the score is not higher, in a few words: slots lost, a cap, the weakest dimension."""
        found: list[tuple[str, str]] = []
        score, slots = self.card.score, self.tally
        for state, zh, en in (("missing", "缺报", "missing"), ("held", "拦下", "held"), ("late", "迟报", "late")):
            if number := getattr(slots, state):
                found.append((f"{zh} {number} 期", f"{number} {en}"))
        if score.cap is not None and score.q.value != score.q_uncapped.value:
            found.append(
                (
                    f"{len(score.majors)} 项重要检查低于下限，质量得分封顶 {as_typed(score.cap)}",
                    f"{len(score.majors)} major checks below their floor cap Q at {as_typed(score.cap)}",
                )
            )
        weak = [d for d in score.dimensions if d.value is not None and d.code != "05"]
        if weak and (low := min(weak, key=lambda d: (d.value or 0, d.code))).value != 100:
            found.append((f"{DIMENSIONS[low.code].zh} {low.value}", f"{DIMENSIONS[low.code].en} {low.value}"))
        return tuple(found)


@dataclass(frozen=True)
class DepartmentView:
    """One department with its sources, worst first."""

    id: str
    zh: str
    en: str
    ranked: Ranked
    sources: tuple[SourceView, ...]
    triggers: tuple[Trigger, ...]
    policy: Policy

    @cached_property
    def trend(self) -> tuple[Month, ...]:
        return months_of([s.card for s in self.sources], self.policy)

    def grade_of(self, value: Decimal | None) -> Grade | None:
        return grade_of(value, self.policy)

    @property
    def score(self) -> DepartmentScore:
        return self.ranked.score

    @property
    def tally(self) -> Tally:
        return tally(s for source in self.sources for s in source.card.slots)

    @property
    def rows(self) -> tuple[int, int]:
        """Sent, accepted."""
        return sum(s.card.rows_read for s in self.sources), sum(s.card.rows_accepted for s in self.sources)

    @property
    def first_pass(self) -> Decimal | None:
        """Share of the slots delivered of which the first file was accepted."""
        return circular(s for source in self.sources for s in source.card.slots).first_pass_yield

    @property
    def worst(self) -> SourceView | None:
        worst = self.score.worst
        return next((s for s in self.sources if worst and s.id == worst.source), None)


@dataclass(frozen=True)
class Open:
    """A due slot with nothing accepted."""

    source: SourceView
    slot: JudgedSlot
    state: str
    held: BatchLine | None


@dataclass(frozen=True)
class CityFigure:
    """T, Q or O of all sources: their mean by the weight of their tier, over those that have it."""

    value: Decimal | None
    formula: str
    sources: int
    grade: Grade | None


@dataclass(frozen=True)
class City:
    """Everything the pages show."""

    card: Scorecard
    window: tuple[date, date]
    zone: ZoneInfo
    sources: tuple[SourceView, ...]
    departments: tuple[DepartmentView, ...]
    titles: Mapping[str, tuple[str, str]]

    @property
    def policy(self) -> Policy:
        return self.card.policy

    def grade_of(self, value: Decimal | None) -> Grade | None:
        return grade_of(value, self.policy)

    @property
    def as_of(self) -> date:
        return self.card.as_of.astimezone(self.zone).date()

    def source(self, wanted: str) -> SourceView:
        return next(s for s in self.sources if s.id == wanted)

    @cached_property
    def tally(self) -> Tally:
        return tally(s for source in self.sources for s in source.card.slots)

    @cached_property
    def trend(self) -> tuple[Month, ...]:
        return months_of(self.card.sources, self.policy)

    @property
    def best_first(self) -> tuple[SourceView, ...]:
        """Every source by overall score, those without one last."""
        return tuple(sorted(self.sources, key=lambda s: (s.card.score.o.value is None, -(s.card.score.o.value or 0), s.id)))

    def figure(self, level: str) -> CityFigure:
        weights = self.policy.source_weights.model_dump()
        parts = [(weights[s.contract.tier], getattr(s.card.score, level).value) for s in self.sources]
        value, formula = weighted_mean(parts)
        return CityFigure(value, formula, sum(v is not None for _, v in parts), self.grade_of(value))

    @property
    def rows(self) -> tuple[int, int, int]:
        """Sent, accepted, refused. What was held was sent and neither."""
        cards = [s.card for s in self.sources]
        return sum(c.rows_read for c in cards), sum(c.rows_accepted for c in cards), sum(c.rows_refused for c in cards)

    @property
    def worst(self) -> tuple[SourceView, ...]:
        """The five lowest scores below 100."""
        scored = [s for s in self.sources if s.card.score.o.value is not None and s.card.score.o.value < 100]
        return tuple(sorted(scored, key=lambda s: (s.card.score.o.value, s.id))[:5])

    @cached_property
    def open(self) -> tuple[Open, ...]:
        """Every due slot with nothing accepted, the longest overdue first."""
        found = [
            Open(source, slot, shown_state(slot), source.held_reason(slot.slot.period) if slot.attempts else None)
            for source in self.sources
            for slot in source.card.slots
            if slot.state == "missing"
        ]
        return tuple(sorted(found, key=lambda o: (o.slot.slot.due_at, o.source.id)))

    @property
    def due_next(self) -> tuple[tuple[SourceView, Slot], ...]:
        """What falls due in the days ahead, the soonest first."""
        ahead = [(source, slot) for source in self.sources for slot in source.upcoming]
        return tuple(sorted(ahead, key=lambda one: (one[1].due_at, one[0].id)))

    def open_of(self, department: str) -> tuple[Open, ...]:
        return tuple(o for o in self.open if o.source.contract.department.id == department)

    @cached_property
    def days(self) -> tuple[date, ...]:
        """Days of the window, and a few ahead, on which something falls due."""
        days = {s.slot.due_on for v in self.sources for s in v.card.slots} | {s.due_on for v in self.sources for s in v.upcoming}
        return tuple(d for d in sorted(days) if d >= self.window[0])

    @property
    def months(self) -> tuple[tuple[str, tuple[date, ...]], ...]:
        """`days` by month, in order."""
        labels = sorted({d.strftime("%Y-%m") for d in self.days})
        return tuple((label, tuple(d for d in self.days if d.strftime("%Y-%m") == label)) for label in labels)

    def cells(self, source: SourceView) -> list[tuple[str, int, int]]:
        """Per day of `days`: the worst state, how many slots, the most working days late."""
        found: dict[date, list[tuple[str, int]]] = {}
        for judged in source.card.slots:
            found.setdefault(judged.slot.due_on, []).append((shown_state(judged), judged.working_days_late))
        for slot in source.upcoming:
            found.setdefault(slot.due_on, []).append(("not_due", 0))
        cells = []
        for day in self.days:
            there = found.get(day, [])
            state = max((s for s, _ in there), key=STATES.index, default="")
            cells.append((state, len(there), max((late for _, late in there), default=0)))
        return cells


def view(card: Scorecard, catalog: Catalog, window: tuple[date, date] | None) -> City:
    """The city as the report shows it. Order: department, then source id; departments as ranked."""
    zone = _zone(card)
    today = card.as_of.astimezone(zone).date()
    sources = tuple(_source(c, card) for c in card.sources)
    titles = catalog.department_titles()
    departments = tuple(_department(r, sources, titles, card.policy) for r in card.ranking)
    return City(
        card,
        window or (today - timedelta(days=USUAL_WINDOW - 1), today),
        zone,
        tuple(sorted(sources, key=lambda s: (s.contract.department.id, s.id))),
        departments,
        titles,
    )


def _zone(card: Scorecard) -> ZoneInfo:
    """The zone of most sources: the wall clock of the city."""
    zones = Counter(c.contract.arrival.timezone for c in card.sources)
    return ZoneInfo(min(zones, key=lambda z: (-zones[z], z)) if zones else "Asia/Shanghai")


def _source(card: SourceCard, whole: Scorecard) -> SourceView:
    arrival = card.contract.arrival
    upcoming: list[Slot] = []
    if within := NEXT_WITHIN.get(arrival.cycle):
        today = whole.as_of.astimezone(arrival.zone).date()
        upcoming = [
            s
            for s in schedule_of(card.contract).slots_due(today, today + timedelta(days=within))
            if s.due_at > whole.as_of and is_owed(card.contract, s, arrival.since or date.min)
        ]
    known = {s.slot.period for s in card.slots}
    last = card.window[1]
    near = tuple(s for s in upcoming if last < s.due_on <= last + AHEAD and s.period not in known)
    policy = load_policy(card.contract.policy) if card.contract.policy else whole.policy
    return SourceView(card, policy, upcoming[0] if upcoming else None, near)


def _department(
    ranked: Ranked, sources: Sequence[SourceView], titles: Mapping[str, tuple[str, str]], policy: Policy
) -> DepartmentView:
    wanted = ranked.score.department
    own = [s for s in sources if s.contract.department.id == wanted]
    order = {one.source: place for place, one in enumerate(ranked.score.sources)}
    zh, en = titles[wanted]
    return DepartmentView(
        wanted, zh, en, ranked, tuple(sorted(own, key=lambda s: order[s.id])), triggers(ranked.score, (), policy), policy
    )
