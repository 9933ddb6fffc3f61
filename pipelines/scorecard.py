"""Scorecards: for each source the slots that were due, the checks of what was sent, and the scores made of them.

A and B of a check are summed over the batches that arrived in the window, one batch per period: the version in force,
or the last one sent where none was accepted. Punctuality is counted over the slots due in the window, so a source
that sends nothing is scored too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa

from catalog.contract import Contract
from pipelines.clean import working
from pipelines.run import Run
from pipelines.slots import schedule_of
from quality.expectations import prepare
from quality.gx import validate
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
from quality.timeliness import Arrival, JudgedSlot, circular, judge, period_of, period_range, punctuality
from warehouse.lake import one_moment

#: How far back a scorecard looks unless told: at least one slot of each cycle falls due in it.
WINDOW_DAYS: Mapping[str, int] = {"quarterly": 92, "yearly": 366}
USUAL_WINDOW = 31


@dataclass(frozen=True)
class CheckLine:
    """One check of a source over the window, with the words a reader needs."""

    id: str
    kind: str
    zh: str
    en: str
    severity: str
    expectation: str
    failing_rows_sql: str | None
    batches: int


@dataclass(frozen=True)
class BatchLine:
    """One batch of the source, as the ledger has it."""

    batch: str
    period: str
    version: int
    file_name: str
    sha256: str
    arrived_at: datetime
    encoding: str | None
    rows_read: int
    rows_accepted: int
    rows_refused: int
    verdict: str
    reason_zh: str
    reason_en: str
    in_force: bool


@dataclass(frozen=True)
class FindingLine:
    """All findings of one code in one column over the window, with examples (values masked where personal)."""

    code: str
    severity: str
    header: str | None
    count: int
    examples: tuple[tuple[str, str | None, int | None, str, str], ...]  # file, sheet, row, message_zh, message_en


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
    drops: tuple[tuple[datetime, str, str, str], ...]  # arrived_at, file_name, outcome, batch
    findings: tuple[FindingLine, ...]
    rows_read: int
    rows_accepted: int
    rows_refused: int
    merged: int | None

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


def scorecard(run: Run, window: tuple[date, date] | None = None) -> Scorecard:
    """The scorecard as of `run.now`. Reads the warehouse and the catalogue, writes nothing."""
    policy = load_policy()
    with working(run) as con, one_moment(run.con):
        cards = tuple(_card(run, con, contract, policy, window) for contract in run.catalog.contracts.values())
        entities = _entities(run)
    departments = _departments(cards, policy)
    return Scorecard(run.now, policy, cards, departments, rank_departments(departments, policy), entities)


def _card(
    run: Run, con: duckdb.DuckDBPyConnection, contract: Contract, policy: Policy, window: tuple[date, date] | None
) -> SourceCard:
    today = run.now.astimezone(contract.arrival.zone).date()
    first, last = window or (today - timedelta(days=WINDOW_DAYS.get(contract.arrival.cycle, USUAL_WINDOW) - 1), today)
    batches = _batches(run, contract)
    slots = _slots(run, contract, batches, (first, last))
    zone = contract.arrival.zone
    arrived = [b for b in batches if first <= b.arrived_at.astimezone(zone).date() <= last]
    judged = _judged_batches(arrived)
    lines, checks = _checks(run, contract, judged)
    due = [s for s in slots if s.is_due]
    if due:
        checks.append(_punctuality(con, contract, due, lines))
    return SourceCard(
        contract=contract, window=(first, last), score=score_source(checks, load_policy(contract.policy) if contract.policy else policy),
        checks=lines, slots=tuple(slots), slot_batches={b.period: b.batch for b in batches if b.in_force},
        batches=tuple(batches), drops=_drops(run, contract), findings=_findings(run, [b.batch for b in judged]),
        rows_read=sum(b.rows_read for b in judged), rows_accepted=sum(b.rows_accepted for b in judged if b.verdict != "hold"),
        rows_refused=sum(b.rows_refused for b in judged), merged=_merged(run, contract),
    )  # fmt: skip


def _batches(run: Run, contract: Contract) -> list[BatchLine]:
    rows = run.con.execute(
        "SELECT batch, period, version, file_name, sha256, arrived_at, encoding, rows_read, rows_accepted, rows_refused, verdict, "
        "reason_zh, reason_en, verdict <> 'hold' AND version = max(version) FILTER (verdict <> 'hold') OVER (PARTITION BY period) "
        "FROM lake.ledger.batch WHERE source = ? ORDER BY arrived_at, batch",
        [contract.id],
    ).fetchall()
    return [BatchLine(*(*row[:5], row[5].astimezone(UTC), *row[6:])) for row in rows]


def _judged_batches(batches: Sequence[BatchLine]) -> list[BatchLine]:
    """One batch per period: the version in force, or the last one sent where none was accepted."""
    chosen: dict[str, BatchLine] = {}
    for batch in sorted(batches, key=lambda b: (b.in_force, b.version)):
        chosen[batch.period] = batch
    return [chosen[period] for period in sorted(chosen)]


def _slots(run: Run, contract: Contract, batches: Sequence[BatchLine], window: tuple[date, date]) -> list[JudgedSlot]:
    schedule = schedule_of(contract)
    begin = contract.arrival.since
    if begin is None:
        if not batches:
            return []
        cycle = contract.arrival.cycle
        readable = [b.period for b in batches if b.period[:1].isdigit()]
        local = min(b.arrived_at for b in batches).astimezone(contract.arrival.zone).date()
        begin = min([period_range(cycle, p)[0] for p in readable] or [period_range(cycle, period_of(cycle, local))[0]])
    slots = [
        s
        for s in schedule.slots_due(*window)
        if s.first_day >= begin and (contract.arrival.until is None or s.first_day <= contract.arrival.until)
    ]
    arrivals = [Arrival(b.period, b.arrived_at, b.verdict != "hold") for b in batches]
    return judge(slots, arrivals, run.now, schedule.horizon, schedule.calendar)


def _checks(run: Run, contract: Contract, batches: Sequence[BatchLine]) -> tuple[dict[str, CheckLine], list[Check]]:
    """A and B summed per check over the batches; text and weights are those of the newest batch that has the check."""
    if not batches:
        return {}, []
    rows = run.con.execute(
        "SELECT check_id, arg_max(kind, b.n), arg_max(title_zh, b.n), arg_max(title_en, b.n), arg_max(severity, b.n), "
        "arg_max(expectation, b.n), arg_max(failing_rows_sql, b.n), count(*), arg_max(sub_indicator, b.n), arg_max(weight, b.n), "
        "sum(c.a), sum(c.b), arg_max(floor, b.n), arg_max(target, b.n), bool_or(major), bool_or(error IS NOT NULL) "
        "FROM lake.quality.check AS c JOIN (SELECT unnest($1) AS batch, unnest($2) AS n) AS b ON b.batch = c.batch "
        "WHERE c.source = $3 AND kind <> 'punctuality' GROUP BY check_id ORDER BY check_id",
        [[b.batch for b in batches], list(range(len(batches))), contract.id],
    ).fetchall()
    lines, checks = {}, []
    for (
        check_id,
        kind,
        zh,
        en,
        severity,
        expectation,
        failing,
        count,
        indicator,
        weight,
        a,
        b,
        floor,
        target,
        major,
        broken,
    ) in rows:
        lines[check_id] = CheckLine(check_id, kind, zh, en, severity, expectation, failing, count)
        checks.append(
            Check(
                check_id,
                indicator,
                weight,
                _whole(a),
                _whole(b),
                _ratio(floor),
                _ratio(target),
                major=bool(major),
                failed_to_run=bool(broken),
                kind=kind,
            )
        )
    return lines, checks


def _punctuality(
    con: duckdb.DuckDBPyConnection, contract: Contract, due: Sequence[JudgedSlot], lines: dict[str, CheckLine]
) -> Check:
    """The punctuality expectation of the source's suite, run on all slots due in the window."""
    prepared = next((p for p in prepare(contract) if p.kind == "punctuality"), None)
    a, b = punctuality(due)
    weight, check_id = (prepared.weight, prepared.id) if prepared else (3, "punctuality")
    broken = False
    if prepared:
        table = pa.table({"period": [s.slot.period for s in due], "points": [s.points for s in due]})
        con.register("_slots", table)
        con.execute("CREATE OR REPLACE TEMP TABLE slots AS FROM _slots")
        con.unregister("_slots")
        outcome = validate(con, "slots", [prepared.expectation])[0]
        broken = outcome.error is not None
        text = str(prepared.expectation.kwargs.get("unexpected_rows_query", ""))
        lines[check_id] = CheckLine(check_id, "punctuality", prepared.zh, prepared.en, prepared.severity, text, None, len(due))
    return Check(check_id, "0502", weight, a, b, plain=True, failed_to_run=broken, kind="punctuality")


def _whole(value: Any) -> Decimal:
    number = Decimal(value or 0)
    return number.quantize(Decimal(1)) if number == number.to_integral_value() else number


def _ratio(value: Any) -> Decimal | None:
    return None if value is None else Decimal(value).normalize()


def _drops(run: Run, contract: Contract) -> tuple[tuple[datetime, str, str, str], ...]:
    rows = run.con.execute(
        "SELECT arrived_at, file_name, outcome, batch FROM lake.ledger.drop WHERE source = ? ORDER BY arrived_at, drop_id",
        [contract.id],
    ).fetchall()
    return tuple((row[0].astimezone(UTC), row[1], row[2], row[3]) for row in rows)


def _findings(run: Run, batches: Sequence[str], examples: int = 5) -> tuple[FindingLine, ...]:
    rows = run.con.execute(
        "SELECT code, severity, header, count(*) AS n, "
        '(array_agg(struct_pack(f := file_name, s := sheet, r := "row", z := message_zh, e := message_en) ORDER BY batch, sheet, "row"))'
        f"[:{examples}] FROM lake.quality.finding WHERE batch IN (SELECT unnest($1)) GROUP BY ALL ORDER BY n DESC, code, header",
        [list(batches)],
    ).fetchall()
    return tuple(
        FindingLine(code, severity, header, n, tuple((e["f"], e["s"], e["r"], e["z"], e["e"]) for e in some))
        for code, severity, header, n, some in rows
    )


def _merged(run: Run, contract: Contract) -> int | None:
    """Entities in which a row of this source stands; None where it feeds no entity or none was merged yet."""
    if contract.entity is None or not _exists(run, f"{contract.entity}__member"):
        return None
    return int(
        run.con.execute(
            f'SELECT count(DISTINCT _entity) FROM lake.base."{contract.entity}__member" WHERE _source = ?', [contract.id]
        ).fetchall()[0][0]
    )


def _exists(run: Run, name: str) -> bool:
    return bool(
        run.con.execute(
            "SELECT 1 FROM duckdb_tables() WHERE database_name = 'lake' AND schema_name = 'base' AND table_name = ?", [name]
        ).fetchall()
    )


def _entities(run: Run) -> tuple[Mapping[str, Any], ...]:
    """Per entity of the catalogue: records, entities, and how each field was decided."""
    found = []
    for entity in run.catalog.entities.values():
        if not _exists(run, entity.id):
            continue
        records, entities, linked = run.con.execute(
            f"SELECT count(*), count(DISTINCT _entity), count(*) FILTER (_link = 'matched') FROM lake.base.\"{entity.id}__member\""
        ).fetchall()[0]
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
