"""Scorecards: for each source the slots that were due, the checks of what was sent, and the scores made of them.

A and B of a check are summed over the batches that arrived in the window, one batch per period: the version in force,
or the last one sent where none was accepted. Punctuality is counted over the slots due in the window, so a source
that sends nothing is scored too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa

from catalog.contract import Contract
from catalog.entity import Entity
from pipelines import score_facts as facts
from pipelines.clean import working
from pipelines.dedupe import is_fused
from pipelines.run import Run
from pipelines.score_facts import BatchLine, CheckLine, Clashes, FindingLine
from pipelines.slots import is_owed, owed_since, schedule_of
from quality.expectations import Prepared, prepare
from quality.gx import Expectation, validate
from quality.policy import Policy, load_policy
from quality.scoring import (
    CatalogueFields,
    Check,
    Corrections,
    DepartmentScore,
    DepartmentSource,
    Ranked,
    SourceScore,
    rank_departments,
    score_department,
    score_source,
)
from quality.timeliness import Arrival, JudgedSlot, circular, judge, punctuality
from warehouse.lake import literal, one_moment

#: How far back a scorecard looks unless told: at least one slot of each cycle falls due in it.
WINDOW_DAYS: Mapping[str, int] = {"quarterly": 92, "yearly": 366}
USUAL_WINDOW = 31

#: The name under which the batches of the window are summed; other names are months.
WINDOW = "window"


@dataclass(frozen=True)
class MonthScore:
    """The scores of one calendar month, with the slots that fell due in it."""

    month: str
    t: Decimal | None
    q: Decimal | None
    o: Decimal | None
    slots: tuple[JudgedSlot, ...]
    rows_read: int
    rows_accepted: int


@dataclass(frozen=True)
class SourceCard:
    """Everything one page about a source shows."""

    contract: Contract
    window: tuple[date, date]
    score: SourceScore
    checks: Mapping[str, CheckLine]
    slots: tuple[JudgedSlot, ...]
    slot_batches: Mapping[str, str]
    batches: tuple[BatchLine, ...]
    unchanged: tuple[tuple[datetime, str, str], ...]  # arrived_at, file_name, batch in force
    findings: tuple[FindingLine, ...]
    rows_read: int
    rows_accepted: int
    rows_refused: int
    merged: int | None
    judged: tuple[BatchLine, ...] = ()  # that the score is made of, by period
    clashes: Clashes | None = None
    months: tuple[MonthScore, ...] = ()

    @property
    def missing(self) -> tuple[JudgedSlot, ...]:
        return tuple(s for s in self.slots if s.state == "missing")


@dataclass(frozen=True)
class Scorecard:
    """One day's view of the whole city."""

    as_of: datetime
    policy: Policy
    sources: tuple[SourceCard, ...]
    departments: tuple[DepartmentScore, ...]
    ranking: tuple[Ranked, ...]
    entities: tuple[Mapping[str, Any], ...] = field(default=())


def scorecard(run: Run, window: tuple[date, date] | None = None, months: int = 0) -> Scorecard:
    """The scorecard as of `run.now`, with the scores of so many calendar months, the running one included.

    Reads the warehouse and the catalogue, writes nothing; a handful of statements, whatever the number of sources. The score
    of a month is that of a scorecard with the month as its window: punctuality and versions as known today.
    """
    policy = load_policy()
    with working(run) as con:
        with one_moment(run.con):
            known = facts.batches(run.con)
            plans = [_plan(run, c, known.get(c.id, []), window, months) for c in run.catalog.contracts.values()]
            judged = {(p.contract.id, name): some for p in plans for name, some in p.judged.items()}
            checks = facts.checks(run.con, judged)
            in_window = {key: some for key, some in judged.items() if key[1] == WINDOW}
            lines = facts.check_lines(run.con, in_window)
            findings = facts.findings(run.con, in_window)
            unchanged = facts.unchanged(run.con)
            clashes = facts.clashes(run.con)
            fused = [entity for entity in run.catalog.entities.values() if is_fused(run, entity.id)]
            merged = facts.merged(run.con, fused)
            entities = _entities(run, fused)
        broken = _punctuality_problems(con, plans)
    cards = []
    for plan in plans:
        contract, source, sent = plan.contract, plan.contract.id, plan.judged[WINDOW]
        own = policy if contract.policy is None else load_policy(contract.policy)
        punctual = _punctual(plan, plan.slots, source in broken)
        stands = merged.get(contract.entity) if contract.entity else None
        cards.append(SourceCard(
            contract=contract, window=plan.window, score=score_source([*checks.get((source, WINDOW), ()), *punctual], own),
            checks={line.id: line for line in [*lines.get(source, ()), *_punctuality_words(plan)]}, slots=plan.slots,
            slot_batches={b.period: b.batch for b in plan.batches if b.in_force}, batches=tuple(plan.batches),
            unchanged=tuple(unchanged.get(source, ())), findings=tuple(findings.get((source, WINDOW), ())),
            rows_read=sum(b.rows_read for b in sent), rows_accepted=_accepted(sent),
            rows_refused=sum(b.rows_refused for b in sent), merged=None if stands is None else stands.get(source, 0),
            judged=tuple(sent), clashes=clashes.get(source),
            months=tuple(_month(plan, month, checks.get((source, month), ()), own) for month in plan.months),
        ))  # fmt: skip
    departments = _departments(cards, policy)
    return Scorecard(run.now, policy, tuple(cards), departments, rank_departments(departments, policy), entities)


@dataclass(frozen=True)
class _Plan:
    """Of one source: what is judged under which name, `WINDOW` or a month such as 2026-03."""

    contract: Contract
    window: tuple[date, date]
    punctuality: Prepared | None
    batches: Sequence[BatchLine]
    slots: tuple[JudgedSlot, ...]
    months: Mapping[str, tuple[JudgedSlot, ...]]
    judged: Mapping[str, Sequence[BatchLine]]


def _plan(run: Run, contract: Contract, batches: Sequence[BatchLine], window: tuple[date, date] | None, months: int) -> _Plan:
    zone = contract.arrival.zone
    today = run.now.astimezone(zone).date()
    first, last = window or (today - timedelta(days=WINDOW_DAYS.get(contract.arrival.cycle, USUAL_WINDOW) - 1), today)
    begin = _first_of_months(today, months)
    slots = _slots(run, contract, batches, (min(first, begin), max(last, today)))
    by_month: dict[str, list[JudgedSlot]] = {}
    for slot in slots:
        if begin <= slot.slot.due_on <= today and months:
            by_month.setdefault(f"{slot.slot.due_on:%Y-%m}", []).append(slot)
    arrived = [(b.arrived_at.astimezone(zone).date(), b) for b in batches]
    judged: dict[str, list[BatchLine]] = {WINDOW: [b for day, b in arrived if first <= day <= last]}
    for day, batch in arrived:
        if begin <= day <= today and months:
            judged.setdefault(f"{day:%Y-%m}", []).append(batch)
    there = sorted({*by_month, *judged} - {WINDOW})
    punctuality = next((p for p in prepare(contract) if p.kind == "punctuality"), None)
    return _Plan(
        contract, (first, last), punctuality, batches, tuple(s for s in slots if first <= s.slot.due_on <= last),
        {month: tuple(by_month.get(month, ())) for month in there},
        {name: _one_per_period(some) for name, some in judged.items()},
    )  # fmt: skip


def _first_of_months(today: date, months: int) -> date:
    """The first day of so many calendar months, that of `today` included; `today` itself for none."""
    count = today.year * 12 + today.month - max(months, 1)
    return date(count // 12, count % 12 + 1, 1) if months else today


def _one_per_period(batches: Sequence[BatchLine]) -> list[BatchLine]:
    """One batch per period: the version in force, or the last one sent where none was accepted."""
    chosen: dict[str, BatchLine] = {}
    for batch in sorted(batches, key=lambda b: (b.in_force, b.version)):
        chosen[batch.period] = batch
    return [chosen[period] for period in sorted(chosen)]


def _slots(run: Run, contract: Contract, batches: Sequence[BatchLine], window: tuple[date, date]) -> list[JudgedSlot]:
    schedule = schedule_of(contract)
    begin = owed_since(contract, (b.period for b in batches), min((b.arrived_at for b in batches), default=None))
    if begin is None:
        return []
    slots = [s for s in schedule.slots_due(*window) if is_owed(contract, s, begin)]
    arrivals = [Arrival(b.period, b.arrived_at, b.verdict != "hold") for b in batches]
    return judge(slots, arrivals, run.now, schedule.horizon, schedule.calendar)


def _month(plan: _Plan, month: str, checks: Sequence[Check], policy: Policy) -> MonthScore:
    slots, batches = plan.months[month], plan.judged.get(month, ())
    score = score_source([*checks, *_punctual(plan, slots)], policy)
    return MonthScore(
        month, score.t.value, score.q.value, score.o.value, slots, sum(b.rows_read for b in batches), _accepted(batches)
    )


def _accepted(batches: Sequence[BatchLine]) -> int:
    return sum(b.rows_accepted for b in batches if b.verdict != "hold")


def _punctual(plan: _Plan, slots: Sequence[JudgedSlot], broken: bool = False) -> list[Check]:
    """The punctuality check over these slots; none where nothing was due."""
    due = [s for s in slots if s.is_due]
    if not due:
        return []
    weight, check_id = (plan.punctuality.weight, plan.punctuality.id) if plan.punctuality else (3, "punctuality")
    return [Check(check_id, "0502", weight, *punctuality(due), plain=True, failed_to_run=broken, kind="punctuality")]


def _punctuality_words(plan: _Plan) -> list[CheckLine]:
    due, p = sum(s.is_due for s in plan.slots), plan.punctuality
    if not due or p is None:
        return []
    text = str(p.expectation.kwargs.get("unexpected_rows_query", ""))
    return [CheckLine(p.id, "punctuality", p.zh, p.en, p.severity, text, None, due)]


def _punctuality_problems(con: duckdb.DuckDBPyConnection, plans: Sequence[_Plan]) -> set[str]:
    """Sources whose punctuality expectation does not run on the slots due in the window: one validation for all of them."""
    due = [(p.contract.id, s.slot.period, s.points) for p in plans for s in p.slots if s.is_due]
    there = {source for source, *_ in due}
    asked = [_of_source(p.contract.id, p.punctuality.expectation) for p in plans if p.punctuality and p.contract.id in there]
    if not asked:
        return set()
    sources, periods, points = zip(*due, strict=True)
    # Left to itself Arrow takes the digits of the first number for those of all.
    exact = pa.array(points, pa.decimal128(9, 6))
    con.register("_slots", pa.table({"source": list(sources), "period": list(periods), "points": exact}))
    con.execute("CREATE OR REPLACE TEMP TABLE slots AS FROM _slots")
    con.unregister("_slots")
    return {outcome.id for outcome in validate(con, "slots", asked) if outcome.error is not None}


def _of_source(source: str, expectation: Expectation) -> Expectation:
    """The expectation of one source on the slots of all."""
    own = f"(SELECT * FROM {{batch}} WHERE source = {literal(source)})"
    query = str(expectation.kwargs["unexpected_rows_query"]).replace("{batch}", own)
    return Expectation(source, expectation.type, {**expectation.kwargs, "unexpected_rows_query": query})


def _entities(run: Run, fused: Sequence[Entity]) -> tuple[Mapping[str, Any], ...]:
    """Per entity: records, golden records, and how each field was decided."""
    found = []
    for entity in fused:
        records, entities, linked = run.con.execute(
            f"SELECT count(*), count(DISTINCT _entity), count(*) FILTER (_link = 'matched') FROM lake.base.\"{entity.id}__member\""
        ).fetchall()[0]
        [(clashing,)] = run.con.execute(
            "SELECT count(DISTINCT clash) FROM lake.quality.clash WHERE entity = ?", [entity.id]
        ).fetchall()
        fields = run.con.execute(
            f"SELECT attribute, count(*), count(*) FILTER (status = 'authority'), count(*) FILTER (status = 'stale'), "
            f"count(*) FILTER (status = 'unconfirmed'), count(*) FILTER (values_seen > 1) "
            f'FROM lake.base."{entity.id}__origin" GROUP BY attribute ORDER BY attribute'
        ).fetchall()
        found.append(
            {
                "entity": entity,
                "records": records,
                "entities": entities,
                "matched": linked,
                "clashes": clashing,
                "fields": [
                    dict(zip(("attribute", "filled", "authority", "stale", "unconfirmed", "contradicted"), f, strict=True))
                    for f in fields
                ],
            }
        )
    return tuple(found)


def _departments(cards: Sequence[SourceCard], policy: Policy) -> tuple[DepartmentScore, ...]:
    found = []
    for department in sorted({c.contract.department.id for c in cards}):
        own = [c for c in cards if c.contract.department.id == department]
        sources = [
            DepartmentSource(
                source=c.contract.id,
                o=c.score.o.value,
                role=c.contract.tier,
                due_slots=sum(s.is_due for s in c.slots),
                missing_running=circular(c.slots).longest_missing_run,
            )
            for c in own
        ]
        fields = CatalogueFields(*_catalogue_fields(own))
        found.append(score_department(department, sources, Corrections(0, 0), fields, policy))
    return tuple(found)


def _catalogue_fields(cards: Sequence[SourceCard]) -> tuple[int, int]:
    """Catalogue fields that are filled, of those a resource should have: title in both languages, steward, entity, due, since."""
    filled = sum(
        bool(x)
        for c in cards
        for x in (c.contract.title.zh, c.contract.title.en, c.contract.steward, c.contract.arrival.due, c.contract.arrival.since)
    )
    return filled, 5 * len(cards)
