"""Trace a golden record: for every field the file, sheet and row it came from, and why this one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pipelines.changes import Change, history, redirects
from pipelines.dedupe import digest_sql, set_digest_key
from pipelines.errors import NotFound
from pipelines.mend import origin_of
from pipelines.run import Run
from quality.finding import masked
from warehouse.lake import quoted


@dataclass(frozen=True)
class Field:
    """One field of the golden record and the cell it came from."""

    attribute: str
    value: str
    status: str
    source: str
    file_name: str
    sha256: str
    arrived_at: datetime
    sheet: str | None
    row: int
    header: str | None
    as_sent: str | None
    values_seen: int
    mended_in: tuple[str, int] | None = None  # the workbook that changed this cell, and its row there


@dataclass(frozen=True)
class Member:
    """One source row that stands in the entity, and what put it there."""

    record: str  # what `decisions/` call it by
    source: str
    file_name: str
    sheet: str | None
    row: int
    link: str
    identifier: str | None
    probability: float | None
    mended_in: tuple[tuple[str, int], ...] = ()  # workbooks that changed cells of the row, newest first


@dataclass(frozen=True)
class Clash:
    """Another row that carries an identifier of this record, contradicts it, and was therefore kept apart."""

    file_name: str
    row: int
    other_entity: str
    other_file_name: str
    other_row: int
    zh: str
    en: str


@dataclass(frozen=True)
class Trace:
    entity: str
    entity_id: str
    fields: tuple[Field, ...]
    members: tuple[Member, ...]
    clashes: tuple[Clash, ...] = ()
    redirected: tuple[Change, ...] = ()  # how an old id that was asked for led here
    history: tuple[Change, ...] = ()


def trace(run: Run, entity_id: str, wanted: str, *, reveal: bool = False) -> Trace:
    """The golden record whose id begins with `wanted`, or that carries it in an attribute of an identifier, or into which the
    one with that id was merged.

    Personal values are masked unless `reveal`. Raises NotFound with what to try, also where several records fit.
    """
    entity = run.catalog.entity(entity_id)
    table = f"lake.base.{quoted(entity_id)}"
    if not run.con.execute(
        "SELECT 1 FROM duckdb_tables() WHERE database_name = 'lake' AND schema_name = 'base' AND table_name = ?", [entity_id]
    ).fetchall():
        raise NotFound(f"no golden records of {entity_id} yet; `dmp run` makes them once one of its sources has been accepted")
    set_digest_key(run.con, run.workspace)
    tests = ["starts_with(_entity, $1)"]
    for name in dict.fromkeys(n for i in entity.identifiers for n in i.attributes):
        sought = digest_sql("$1") if entity.attribute(name).digest else "$1"
        tests.append(f"CAST({quoted(name)} AS VARCHAR) = {sought}")
    found = [
        r[0] for r in run.con.execute(f"SELECT _entity FROM {table} WHERE {' OR '.join(tests)} LIMIT 6", [wanted]).fetchall()
    ]
    way = () if found else redirects(run, entity_id, wanted)
    if way:
        found = [str(way[-1].other)]
    if not found:
        raise NotFound(f"no {entity_id} has an id that begins with `{wanted}`, nor that identifier")
    if len(found) > 1:
        raise NotFound(f"`{wanted}` fits several: {', '.join(i[:12] for i in found[:5])}; give more of the id")
    one = found[0]
    return Trace(
        entity_id,
        one,
        _fields(run, entity_id, one, reveal),
        _members(run, entity_id, one),
        _clashes(run, entity_id, one),
        way,
        history(run, entity_id, one),
    )


def _fields(run: Run, entity_id: str, one: str, reveal: bool) -> tuple[Field, ...]:
    entity = run.catalog.entity(entity_id)
    rows = run.con.execute(
        "SELECT attribute, status, _source, _batch, _sheet, _row, values_seen "
        f"FROM lake.base.{quoted(entity_id + '__origin')} WHERE _entity = ?",
        [one],
    ).fetchall()
    golden = run.con.execute(f"SELECT * FROM lake.base.{quoted(entity_id)} WHERE _entity = ?", [one])
    values = dict(zip([d[0] for d in golden.description], golden.fetchall()[0], strict=True))
    by_name = {r[0]: r for r in rows}
    fields = []
    for attribute in entity.attributes:
        if attribute.name not in by_name:
            continue
        _, status, source, batch, sheet, row, seen = by_name[attribute.name]
        origin = origin_of(run, batch, sheet, row)
        hide = attribute.personal and not reveal
        value = str(values[attribute.name])
        header, sent = _as_sent(run, source, batch, sheet, row, attribute.name)
        fields.append(
            Field(
                attribute.name,
                masked(value) if hide and not attribute.digest else value,
                status,
                source,
                origin.file_name,
                origin.sha256,
                origin.arrived_at,
                sheet,
                row,
                header,
                sent if sent is None or not hide else masked(sent),
                seen,
                next(((name, line) for name, line, headers in origin.mended if header in headers), None),
            )
        )
    return tuple(fields)


def _as_sent(run: Run, source: str, batch: str, sheet: str | None, row: int, attribute: str) -> tuple[str | None, str | None]:
    """Header and text of the cell in the raw layer."""
    contract = run.catalog.contracts.get(source)
    column = next((c for c in contract.mapped if c.name == attribute), None) if contract else None
    if column is None:
        return None, None
    cells = run.con.execute(
        f"SELECT {quoted(column.source)} FROM lake.raw.{quoted(source)} WHERE _batch = ? AND _row = ? AND _sheet IS NOT DISTINCT FROM ?",
        [batch, row, sheet],
    ).fetchall()
    return column.source, cells[0][0] if cells else None


def _members(run: Run, entity_id: str, one: str) -> tuple[Member, ...]:
    rows = run.con.execute(
        "SELECT _record, _source, _batch, _sheet, _row, _link, _identifier, _probability "
        f"FROM lake.base.{quoted(entity_id + '__member')} WHERE _entity = ? ORDER BY ALL",
        [one],
    ).fetchall()
    members = []
    for record, source, batch, sheet, row, link, identifier, probability in rows:
        origin = origin_of(run, batch, sheet, row)
        mended = tuple((name, line) for name, line, _ in origin.mended)
        members.append(Member(record, source, origin.file_name, sheet, row, link, identifier, probability, mended))
    return tuple(sorted(members, key=lambda m: (m.source, m.file_name, m.row)))


def _clashes(run: Run, entity_id: str, one: str) -> tuple[Clash, ...]:
    rows = run.con.execute(
        'SELECT file_name, "row", other_entity, other_file_name, other_row, message_zh, message_en FROM lake.quality.clash '
        "WHERE entity = ? AND _entity = ? ORDER BY ALL",
        [entity_id, one],
    ).fetchall()
    return tuple(Clash(*row) for row in rows)
