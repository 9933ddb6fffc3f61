"""Findings over time: since when each kind of trouble comes, when it came last, how often; and what waivers make of it.

All of it is counted anew from quality.finding, quality.check and ledger.batch. Nothing is kept that could drift from them: a
batch that is superseded takes its findings with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa

from catalog.contract import Contract
from catalog.waiver import Waiver
from pipelines.current import LAST_DAY
from pipelines.run import Run
from pipelines.waivers import matches_sql, waivers_of
from quality.dimensions import SUB_INDICATORS
from quality.finding import kinds
from warehouse.lake import literal

#: So many of the newest batches the trend shows.
TREND = 12

#: A waiver that ends within so many days is announced.
ANNOUNCED = timedelta(days=14)


@dataclass(frozen=True)
class Recurring:
    """One finding code in one column of a source, or one of its checks that failed, over all its periods.

    Batches are taken one per period: the version in force, or the last one sent where none was accepted. `trend` is the count in
    each of the newest batches, oldest first, zeros included, so its last number is `last_count`. `waived` of those of the last
    batch are covered by a waiver that stands today. The count of a check is what it counts wrong: rows, values or slots.
    """

    source: str
    kind: str  # finding | check
    code: str
    column_name: str | None
    header: str | None
    severity: str
    title_zh: str
    title_en: str
    first_batch: str
    first_seen: datetime
    last_batch: str
    last_seen: datetime
    batches: int
    total: Decimal
    trend: tuple[Decimal, ...]
    waived: Decimal

    @property
    def last_count(self) -> Decimal:
        return self.trend[-1]

    @property
    def direction(self) -> str:
        """How the last batch stands to the one before: new, more, fewer, same, gone."""
        before = self.trend[-2] if len(self.trend) > 1 else Decimal(0)
        if not self.last_count:
            return "gone"
        if self.batches == 1:
            return "new"
        return "more" if self.last_count > before else "fewer" if self.last_count < before else "same"


@dataclass(frozen=True)
class WaiverState:
    """One waiver as of a day. `covered` findings and failing checks of batches that arrived while it stood, `last` of them in the
    last batch; `again`: those of the last batch that it names and that no waiver covers today."""

    source: str
    waiver: Waiver
    state: str  # coming | standing | ending | expired
    days_left: int
    covered: int
    last: int
    again: int

    @property
    def is_urgent(self) -> bool:
        """Whether somebody has to decide: it ends soon, or it ended and what it named is still there."""
        return self.state == "ending" or (self.state == "expired" and self.again > 0)


@dataclass(frozen=True)
class OverTime:
    """Findings and waivers of one source."""

    findings: tuple[Recurring, ...] = ()
    waivers: tuple[WaiverState, ...] = ()


def over_time(run: Run, source: str | None = None) -> Mapping[str, OverTime]:
    """Source -> its findings and waivers as of `run.now`, for all sources of the catalogue or one. Reads only.

    Findings: what the last batch has first, notes last, then by count. Raises CatalogError for a waiver that is wrong.
    """
    contracts = [run.catalog.contract(source)] if source else list(run.catalog.contracts.values())
    waivers = {c.id: waivers_of(run.catalog, c) for c in contracts}
    con = run.con
    named = pa.table({
        "source": pa.array([c.id for c in contracts], pa.string()),
        "zone": pa.array([c.arrival.timezone for c in contracts], pa.string()),
    })  # fmt: skip
    con.register("_named", named)
    try:
        found = con.execute(_recurring_sql(contracts, waivers, run.now)).fetchall()
        states = _states(run, contracts, waivers)
    finally:
        con.unregister("_named")
    recurring: dict[str, list[Recurring]] = {c.id: [] for c in contracts}
    for row in found:
        recurring[row[0]].append(_recurring(row))
    return {
        c.id: OverTime(tuple(sorted(recurring[c.id], key=_order)), tuple(s for s in states if s.source == c.id))
        for c in contracts
    }


def _order(one: Recurring) -> Any:
    return (one.severity == "note", not one.last_count, -one.last_count, -one.total, one.kind, one.code, one.header or "")


#: One batch per period, `back` counted from the newest period (1): by the last day of the period, or of arrival where it has none.
JUDGED = f"""SELECT b.source, b.batch, b.arrived_at, CAST(b.arrived_at AT TIME ZONE s.zone AS DATE) AS arrived_on,
  row_number() OVER (PARTITION BY b.source ORDER BY coalesce({LAST_DAY}, CAST(b.arrived_at AS DATE)) DESC, b.arrived_at DESC, b.batch DESC)
    AS back
FROM (
  SELECT * FROM lake.ledger.batch
  QUALIFY row_number() OVER (PARTITION BY source, period ORDER BY verdict <> 'hold' DESC, version DESC) = 1
) AS b JOIN _named AS s ON s.source = b.source"""

#: What a check counts wrong: A for the rates that the standard counts the other way round, else what B has more than A.
WRONG = "CASE WHEN c.error IS NOT NULL THEN c.b WHEN c.sub_indicator IN ({}) THEN c.a ELSE c.b - c.a END".format(
    ", ".join(literal(s.code) for s in SUB_INDICATORS.values() if s.lower_is_better)
)


def _recurring_sql(contracts: Sequence[Contract], waivers: Mapping[str, Sequence[Waiver]], now: datetime) -> str:
    """One row per source, code (or check) and column: the whole history in one statement."""
    today = {c.id: now.astimezone(c.arrival.zone).date() for c in contracts}
    stand = [(c, w) for c in contracts for w in waivers[c.id] if w.stands_on(today[c.id])]
    by_code = " OR ".join(_covers_sql(c, w, "f") for c, w in stand if w.code) or "FALSE"
    by_check = " OR ".join(_names_check_sql(c, w) for c, w in stand if w.check) or "FALSE"
    names = ", ".join(literal(f"{c.id}/{w.name}") for c, w in stand) or "NULL"
    return f"""WITH judged AS MATERIALIZED (
{JUDGED}
), excused AS (
  SELECT DISTINCT batch, unnest(CAST(checks AS JSON)::VARCHAR[]) AS check_id
  FROM lake.quality.waiver WHERE source || '/' || waiver IN ({names})
), hits AS (
  SELECT j.source, 'finding' AS kind, f.code, f.column_name, f.header, j.batch, j.back, j.arrived_at,
    max(CASE f.severity WHEN 'hold' THEN 3 WHEN 'refuse' THEN 2 WHEN 'warn' THEN 1 ELSE 0 END) AS worst,
    NULL AS title_zh, NULL AS title_en, CAST(count(*) AS DECIMAL(24, 6)) AS n,
    CAST(count(*) FILTER ({by_code}) AS DECIMAL(24, 6)) AS waived
  FROM lake.quality.finding AS f JOIN judged AS j ON j.batch = f.batch
  GROUP BY ALL
  UNION ALL
  SELECT j.source, 'check', c.check_id, NULL, NULL, j.batch, j.back, j.arrived_at,
    CASE c.severity WHEN 'hold' THEN 3 WHEN 'warn' THEN 1 ELSE 0 END, c.title_zh, c.title_en, {WRONG},
    CASE WHEN e.check_id IS NOT NULL OR {by_check} THEN {WRONG} ELSE 0 END
  FROM lake.quality.check AS c JOIN judged AS j ON j.batch = c.batch
  LEFT JOIN excused AS e ON e.batch = c.batch AND e.check_id = c.check_id
  WHERE NOT c.passed
)
SELECT source, kind, code, column_name, header, arg_min(worst, back), arg_min(title_zh, back), arg_min(title_en, back),
  arg_max(batch, back), arg_max(arrived_at, back), arg_min(batch, back), arg_min(arrived_at, back), count(*), sum(n),
  list(back ORDER BY back) FILTER (back <= {TREND}), list(n ORDER BY back) FILTER (back <= {TREND}),
  coalesce(sum(waived) FILTER (back = 1), 0), (SELECT count(*) FROM judged AS j WHERE j.source = hits.source)
FROM hits GROUP BY ALL ORDER BY ALL"""


def _covers_sql(contract: Contract, waiver: Waiver, row: str) -> str:
    """Whether a waiver covers a finding: it names it, and the batch arrived while it stood."""
    stood = f"j.arrived_on BETWEEN DATE '{waiver.from_}' AND DATE '{waiver.until}'"
    return f"(j.source = {literal(contract.id)} AND {stood} AND {matches_sql(waiver, contract, row)})"


def _names_check_sql(contract: Contract, waiver: Waiver) -> str:
    if waiver.check is None:
        return "FALSE"
    stood = f"j.arrived_on BETWEEN DATE '{waiver.from_}' AND DATE '{waiver.until}'"
    held = "c.severity = 'hold' OR c.error IS NOT NULL"
    return f"(j.source = {literal(contract.id)} AND {stood} AND c.check_id = {literal(waiver.check)} AND NOT ({held}))"


def _is_check_sql(waiver: Waiver) -> str:
    return f"c.check_id = {literal(waiver.check)}" if waiver.check else "FALSE"


def _recurring(row: Sequence[Any]) -> Recurring:
    (
        source,
        kind,
        code,
        column,
        header,
        worst,
        zh,
        en,
        first,
        first_at,
        last,
        last_at,
        batches,
        total,
        back,
        counts,
        waived,
        all_,
    ) = row
    by_place = dict(zip(back or (), counts or (), strict=True))
    trend = tuple(by_place.get(place, Decimal(0)) for place in range(min(TREND, all_), 0, -1))
    if kind == "finding":
        known = kinds().get(code)
        zh, en = (known.title_zh, known.title_en) if known else (code, code)
    return Recurring(
        source, kind, code, column, header, ("note", "warn", "refuse", "hold")[worst], zh, en, first, first_at.astimezone(UTC),
        last, last_at.astimezone(UTC), batches, total, trend, waived,
    )  # fmt: skip


# --- waivers --------------------------------------------------------------------------------------


def state_of(waiver: Waiver, today: date) -> str:
    if today < waiver.from_:
        return "coming"
    if today > waiver.until:
        return "expired"
    return "ending" if waiver.until - today <= ANNOUNCED else "standing"


def _states(run: Run, contracts: Sequence[Contract], waivers: Mapping[str, Sequence[Waiver]]) -> list[WaiverState]:
    found = []
    for contract in contracts:
        if not waivers[contract.id]:
            continue
        today = run.now.astimezone(contract.arrival.zone).date()
        for waiver, counts in zip(waivers[contract.id], _counts(run, contract, waivers[contract.id], today), strict=True):
            covered, last, again = counts
            state = state_of(waiver, today)
            found.append(WaiverState(contract.id, waiver, state, (waiver.until - today).days, covered, last, again))
    return found


def _counts(run: Run, contract: Contract, waivers: Sequence[Waiver], today: date) -> list[tuple[int, int, int]]:
    """Per waiver: covered, in the last batch, named in the last batch and covered by none that stands today."""
    stand = [w for w in waivers if w.stands_on(today)]
    codes = ", ".join(literal(w.code) for w in waivers if w.code) or "NULL"
    checks = ", ".join(literal(w.check) for w in waivers if w.check) or "NULL"

    def counted(ones: Sequence[Waiver], covers: Any, names: Any) -> str:
        free = f"NOT ({' OR '.join(covers(contract, w) for w in stand) or 'FALSE'})"
        parts = []
        for w in ones:
            parts += [
                f"count(*) FILTER ({covers(contract, w)})",
                f"count(*) FILTER (j.back = 1 AND {covers(contract, w)})",
                f"count(*) FILTER (j.back = 1 AND {names(w)} AND {free})",
            ]
        return ", ".join(parts)

    def cells(contract: Contract, w: Waiver) -> str:
        return _covers_sql(contract, w, "f")

    found = run.con.execute(
        f"WITH judged AS MATERIALIZED ({JUDGED} AND b.source = {literal(contract.id)})\n"
        f"SELECT {counted(waivers, cells, lambda w: matches_sql(w, contract, 'f'))} FROM lake.quality.finding AS f "
        f"JOIN judged AS j ON j.batch = f.batch WHERE f.source = {literal(contract.id)} AND f.code IN ({codes})"
    ).fetchall()[0]
    failed = run.con.execute(
        f"WITH judged AS MATERIALIZED ({JUDGED} AND b.source = {literal(contract.id)})\n"
        f"SELECT {counted(waivers, _names_check_sql, _is_check_sql)} FROM lake.quality.check AS c "
        f"JOIN judged AS j ON j.batch = c.batch WHERE c.source = {literal(contract.id)} AND NOT c.passed AND c.check_id IN ({checks})"
    ).fetchall()[0]
    both = [a + b for a, b in zip(found, failed, strict=True)]
    return [(both[i], both[i + 1], both[i + 2]) for i in range(0, len(both), 3)]
