"""What the warehouse knows that scores are made of, read once for all sources: batches, sums of checks, findings, drops.

Everything here is one statement each, whatever the number of sources; `pipelines.scorecard` makes scores of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import duckdb

from catalog.entity import Entity
from quality.finding import first_told_sql
from quality.scoring import Check
from warehouse.lake import quoted

#: Findings of one code and column that a page or receipt spells out, and clashes of a source; all are counted.
EXAMPLES = 5
CLASHES = 20


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


#: File, sheet, row, message in Chinese and in English.
FoundAt = tuple[str, str | None, int | None, str, str]


@dataclass(frozen=True)
class FindingLine:
    """All findings of one code in one column over the window, with examples (values masked where personal)."""

    code: str
    severity: str
    header: str | None
    count: int
    examples: tuple[FoundAt, ...]


@dataclass(frozen=True)
class Clashes:
    """Rows of a source that carry an identifier of somebody else, by the last fusions: so many, the first ones told."""

    count: int
    examples: tuple[FoundAt, ...]


#: Batches whose checks are summed up under one name: the batches of a source in a window, or in a month.
Judged = Mapping[tuple[str, str], Sequence[BatchLine]]


def batches(con: duckdb.DuckDBPyConnection) -> dict[str, list[BatchLine]]:
    """Source -> all its batches, by arrival. In force is the highest version of a period that was not held."""
    rows = con.execute(
        "SELECT source, batch, period, version, file_name, sha256, arrived_at, encoding, rows_read, rows_accepted, rows_refused, "
        "verdict, reason_zh, reason_en, "
        "verdict <> 'hold' AND version = max(version) FILTER (verdict <> 'hold') OVER (PARTITION BY source, period) "
        "FROM lake.ledger.batch ORDER BY source, arrived_at, batch"
    ).fetchall()
    return _grouped((row[0], BatchLine(*(*row[1:6], _utc(row[6]), *row[7:]))) for row in rows)


def unchanged(con: duckdb.DuckDBPyConnection) -> dict[str, list[tuple[datetime, str, str]]]:
    """Source -> (arrived_at, file_name, batch in force) of every drop that brought the bytes of the version in force, by arrival."""
    rows = con.execute(
        "SELECT source, arrived_at, file_name, batch FROM lake.ledger.drop WHERE outcome = 'unchanged' "
        "ORDER BY source, arrived_at, drop_id"
    ).fetchall()
    return _grouped((source, (_utc(at), name, batch)) for source, at, name, batch in rows)


def checks(con: duckdb.DuckDBPyConnection, judged: Judged) -> dict[tuple[str, str], list[Check]]:
    """A and B of every check, summed over the batches of each name; weights are those of the newest batch that has the check."""
    rows = con.execute(
        f"SELECT j.source, j.name, check_id, {_newest('sub_indicator, weight, floor, target, kind')}, sum(c.a), sum(c.b), "
        "bool_or(major), bool_or(error IS NOT NULL) "
        f"FROM lake.quality.check AS c JOIN {_JUDGED} ON j.batch = c.batch AND j.source = c.source "
        "WHERE c.kind <> 'punctuality' GROUP BY j.source, j.name, check_id ORDER BY ALL",
        _listed(judged),
    ).fetchall()
    return _grouped(((source, name), check_of(*told)) for source, name, *told in rows)


def check_of(
    check_id: str, indicator: str, weight: int, floor: Any, target: Any, kind: str, a: Any, b: Any, major: Any, broken: Any
) -> Check:
    """A check as it is scored, from the numbers that quality.check keeps of it."""
    return Check(
        check_id, indicator, weight, _whole(a), _whole(b), _ratio(floor), _ratio(target), plain=kind == "punctuality",
        major=bool(major), failed_to_run=bool(broken), kind=kind,
    )  # fmt: skip


def check_lines(con: duckdb.DuckDBPyConnection, judged: Judged) -> dict[str, list[CheckLine]]:
    """Source -> the words of every check, those of the newest batch that has it."""
    rows = con.execute(
        f"SELECT j.source, check_id, {_newest('kind, title_zh, title_en, severity, expectation, failing_rows_sql')}, count(*) "
        f"FROM lake.quality.check AS c JOIN {_JUDGED} ON j.batch = c.batch AND j.source = c.source "
        "WHERE c.kind <> 'punctuality' GROUP BY j.source, check_id ORDER BY ALL",
        _listed(judged),
    ).fetchall()
    return _grouped((row[0], CheckLine(*row[1:])) for row in rows)


def findings(con: duckdb.DuckDBPyConnection, judged: Judged) -> dict[tuple[str, str], list[FindingLine]]:
    """The findings of the batches of each name by code and column, the most frequent first."""
    rows = con.execute(
        f"SELECT j.source, j.name, code, severity, header, count(*) AS n, {first_told_sql(EXAMPLES)} "
        f"FROM lake.quality.finding AS c JOIN {_JUDGED} USING (batch) "
        "GROUP BY j.source, j.name, code, severity, header ORDER BY j.source, j.name, n DESC, code, header, severity",
        _listed(judged),
    ).fetchall()
    return _grouped(
        ((source, name), FindingLine(code, severity, header, n, _found(some)))
        for source, name, code, severity, header, n, some in rows
    )


def clashes(con: duckdb.DuckDBPyConnection) -> dict[str, Clashes]:
    """Source -> its rows that clash with another's; none where no identifier is in dispute."""
    rows = con.execute(
        f"SELECT source, count(DISTINCT _record), {first_told_sql(CLASHES)} FROM lake.quality.clash GROUP BY source"
    ).fetchall()
    return {source: Clashes(n, _found(some)) for source, n, some in rows}


def merged(con: duckdb.DuckDBPyConnection, fused: Iterable[Entity]) -> dict[str, dict[str, int]]:
    """Entity -> source -> golden records in which a row of the source stands."""
    return {
        entity.id: dict(
            con.execute(
                f"SELECT _source, count(DISTINCT _entity) FROM {quoted('lake', 'base', f'{entity.id}__member')} GROUP BY ALL"
            ).fetchall()
        )
        for entity in fused
    }


#: Parameters: sources, names, batches, and the place of each batch among those of its name, the newest last.
_JUDGED = "(SELECT unnest($1) AS source, unnest($2) AS name, unnest($3) AS batch, unnest($4) AS n) AS j"


def _listed(judged: Judged) -> list[list[Any]]:
    lines = [(source, name, b.batch, n) for (source, name), some in judged.items() for n, b in enumerate(some)]
    # A list without elements has no type, and unnest of it no rows.
    return [list(column) for column in zip(*(lines or [("", "", "", 0)]), strict=True)]


def _newest(columns: str) -> str:
    return ", ".join(f"arg_max(c.{name}, j.n)" for name in columns.split(", "))


def _found(told: Sequence[Mapping[str, Any]]) -> tuple[FoundAt, ...]:
    return tuple((e["f"], e["s"], e["r"], e["z"], e["e"]) for e in told)


def _grouped(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, list[Any]]:
    found: dict[Any, list[Any]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return found


def _utc(instant: datetime) -> datetime:
    return instant.astimezone(UTC)


def _whole(value: Any) -> Decimal:
    number = Decimal(value or 0)
    return number.quantize(Decimal(1)) if number == number.to_integral_value() else number


def _ratio(value: Any) -> Decimal | None:
    return None if value is None else Decimal(value).normalize()
