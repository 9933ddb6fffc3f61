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
from pipelines.waivers import OF_A_CHECK, names_sql, spellings, waivers_of
from quality.dimensions import SUB_INDICATORS
from quality.finding import kinds
from warehouse.lake import literal, one_moment

#: So many of the newest batches the trend shows.
TREND = 12

#: A waiver that ends within so many days is announced.
ANNOUNCED = timedelta(days=14)


@dataclass(frozen=True)
class Recurring:
    """One finding code in one column of a source, or one of its checks that failed, over all its periods.

    Batches are taken one per period: the version in force, or the last one sent where none was accepted. `trend` is the count in
    each of the newest batches, oldest first, zeros included, so its last number is `last_count`. `waived` of those of the last
    batch are covered by a waiver that stands today. The count of a check is what it counts wrong: rows, values or slots; the
    findings that repeat it row by row are left out.
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
    today = {c.id: run.now.astimezone(c.arrival.zone).date() for c in contracts}
    waivers = [(c, w) for c in contracts for w in waivers_of(run.catalog, c)]
    relations = {"_named": _named(contracts), "_waivers": _waivers(waivers, today)}
    for name, rows in relations.items():
        run.con.register(name, rows)
    try:
        with one_moment(run.con):
            found = run.con.execute(RECURRING).fetchall()
            counts = {n: each for n, *each in run.con.execute(COVERED).fetchall()} if waivers else {}
    finally:
        for name in relations:
            run.con.unregister(name)
    recurring: dict[str, list[Recurring]] = {c.id: [] for c in contracts}
    states: dict[str, list[WaiverState]] = {c.id: [] for c in contracts}
    for row in found:
        recurring[row[0]].append(_recurring(row))
    for n, (contract, waiver) in enumerate(waivers):
        left = (waiver.until - today[contract.id]).days
        states[contract.id].append(
            WaiverState(contract.id, waiver, state_of(waiver, today[contract.id]), left, *counts.get(n, (0, 0, 0)))
        )
    return {c.id: OverTime(tuple(sorted(recurring[c.id], key=_order)), tuple(states[c.id])) for c in contracts}


def _order(one: Recurring) -> Any:
    return (one.severity == "note", not one.last_count, -one.last_count, -one.total, one.kind, one.code, one.header or "")


def _named(contracts: Sequence[Contract]) -> pa.Table:
    return pa.table(
        {
            "source": pa.array([c.id for c in contracts], pa.string()),
            "zone": pa.array([c.arrival.timezone for c in contracts], pa.string()),
        }
    )


def _waivers(waivers: Sequence[tuple[Contract, Waiver]], today: Mapping[str, date]) -> pa.Table:
    texts = pa.list_(pa.string())
    columns: dict[str, tuple[pa.DataType, Any]] = {
        "source": (pa.string(), lambda c, w: c.id),
        "waiver": (pa.string(), lambda c, w: w.name),
        "code": (pa.string(), lambda c, w: w.code),
        "check_id": (pa.string(), lambda c, w: w.check),
        "column_name": (pa.string(), lambda c, w: w.column),
        "headers": (texts, lambda c, w: spellings(w, c) or None),
        "header": (pa.string(), lambda c, w: w.header),
        "sent": (texts, lambda c, w: w.value or None),
        "valid_from": (pa.date32(), lambda c, w: w.from_),
        "valid_until": (pa.date32(), lambda c, w: w.until),
        "stands": (pa.bool_(), lambda c, w: w.stands_on(today[c.id])),
    }
    made = {name: pa.array([value(c, w) for c, w in waivers], kind) for name, (kind, value) in columns.items()}
    return pa.table({"n": pa.array(range(len(waivers)), pa.int32()), **made})


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


def _named_by(w: str) -> str:
    """Whether the waiver `w` names the finding `f`."""
    return names_sql("f", f"{w}.code", f"{w}.column_name", f"{w}.headers", f"{w}.header", f"{w}.sent")


def _stood(w: str) -> str:
    return f"j.arrived_on BETWEEN {w}.valid_from AND {w}.valid_until"


#: A waiver covers what it names in a batch that arrived while it stood; today, only where it still stands.
FINDING_COVERED = f"""EXISTS (
    SELECT 1 FROM _waivers AS v
    WHERE v.stands AND v.source = j.source AND v.code = f.code AND {_stood("v")} AND {_named_by("v")})"""
CHECK_COVERED = f"""EXISTS (
    SELECT 1 FROM _waivers AS v WHERE v.stands AND v.source = j.source AND v.check_id = c.check_id AND {_stood("v")}
    AND c.severity <> 'hold' AND c.error IS NULL)"""

#: One row per source, code (or check) and column: the whole history in one statement.
RECURRING = f"""WITH judged AS MATERIALIZED (
{JUDGED}
), excused AS (
  SELECT DISTINCT q.batch, unnest(CAST(q.checks AS JSON)::VARCHAR[]) AS check_id
  FROM lake.quality.waiver AS q JOIN _waivers AS w ON w.source = q.source AND w.waiver = q.waiver AND w.stands
), waived AS (
  SELECT j.source, 'finding' AS kind, f.code, f.column_name, f.header, CAST(count(*) AS DECIMAL(24, 6)) AS n
  FROM lake.quality.finding AS f JOIN judged AS j ON j.batch = f.batch
  WHERE j.back = 1 AND {FINDING_COVERED}
  GROUP BY ALL
  UNION ALL
  SELECT j.source, 'check', c.check_id, NULL, NULL, {WRONG}
  FROM lake.quality.check AS c JOIN judged AS j ON j.batch = c.batch
  LEFT JOIN excused AS e ON e.batch = c.batch AND e.check_id = c.check_id
  WHERE j.back = 1 AND NOT c.passed AND (e.check_id IS NOT NULL OR {CHECK_COVERED})
), hits AS (
  SELECT j.source, 'finding' AS kind, f.code, f.column_name, f.header, j.batch, j.back, j.arrived_at,
    max(CASE f.severity WHEN 'hold' THEN 3 WHEN 'refuse' THEN 2 WHEN 'warn' THEN 1 ELSE 0 END) AS worst,
    NULL AS title_zh, NULL AS title_en, CAST(count(*) AS DECIMAL(24, 6)) AS n
  FROM lake.quality.finding AS f JOIN judged AS j ON j.batch = f.batch
  WHERE f.code <> '{OF_A_CHECK}'
  GROUP BY ALL
  UNION ALL
  SELECT j.source, 'check', c.check_id, NULL, NULL, j.batch, j.back, j.arrived_at,
    CASE c.severity WHEN 'hold' THEN 3 WHEN 'warn' THEN 1 ELSE 0 END, c.title_zh, c.title_en, {WRONG}
  FROM lake.quality.check AS c JOIN judged AS j ON j.batch = c.batch
  WHERE NOT c.passed
), grouped AS (
  SELECT source, kind, code, column_name, header, arg_min(worst, back) AS worst, arg_min(title_zh, back) AS title_zh,
    arg_min(title_en, back) AS title_en, arg_max(batch, back) AS first_batch, arg_max(arrived_at, back) AS first_seen,
    arg_min(batch, back) AS last_batch, arg_min(arrived_at, back) AS last_seen, count(*) AS batches, sum(n) AS total,
    list(back ORDER BY back) FILTER (back <= {TREND}) AS backs, list(n ORDER BY back) FILTER (back <= {TREND}) AS counts
  FROM hits GROUP BY ALL
)
SELECT g.*, coalesce(w.n, 0), (SELECT count(*) FROM judged AS j WHERE j.source = g.source)
FROM grouped AS g LEFT JOIN waived AS w ON w.source = g.source AND w.kind = g.kind AND w.code = g.code
  AND w.column_name IS NOT DISTINCT FROM g.column_name AND w.header IS NOT DISTINCT FROM g.header
ORDER BY ALL"""

#: Per waiver: what it covered, of that in the last batch, and what it names there that none covers today.
COVERED = f"""WITH judged AS MATERIALIZED (
{JUDGED}
), named AS (
  SELECT w.n, j.back, {_stood("w")} AS stood, j.back = 1 AND {FINDING_COVERED} AS covered
  FROM lake.quality.finding AS f JOIN judged AS j ON j.batch = f.batch JOIN _waivers AS w ON w.source = j.source AND w.code = f.code
  WHERE {_named_by("w")}
  UNION ALL
  SELECT w.n, j.back, {_stood("w")}, j.back = 1 AND {CHECK_COVERED}
  FROM lake.quality.check AS c JOIN judged AS j ON j.batch = c.batch
  JOIN _waivers AS w ON w.source = j.source AND w.check_id = c.check_id
  WHERE NOT c.passed AND c.severity <> 'hold' AND c.error IS NULL
)
SELECT n, count(*) FILTER (stood), count(*) FILTER (stood AND back = 1), count(*) FILTER (back = 1 AND NOT covered)
FROM named GROUP BY n"""


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
