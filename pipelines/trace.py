"""Trace a golden record: for every field who says so, in which cell and since when, why this one, and who says otherwise; for every
row why it belongs here. `pipelines.trace_words` says it to people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import duckdb

from catalog.entity import Attribute, Entity
from pipelines.changes import Change, history, redirects
from pipelines.dedupe import digest_sql, set_digest_key
from pipelines.errors import NotFound
from pipelines.link_explain import Likeness, explain
from pipelines.mend import origin_of
from pipelines.run import Run
from pipelines.said import tell
from quality.finding import masked
from warehouse.lake import one_moment, quoted, reading

Pair = tuple[str, str]  # Chinese, English


@dataclass(frozen=True)
class Sender:
    """Who says something: a department and which of its registers."""

    department: Pair
    register: Pair


@dataclass(frozen=True)
class Saying:
    """What another record says about the same field. `agrees`: the same as the golden value; `stale`: its newest row leaves the cell empty;
    `since`: when the first file arrived in which it said so and after which it said nothing else."""

    value: str
    record: str
    source: str
    sender: Sender
    file_name: str
    sheet: str | None
    row: int
    since: datetime
    agrees: bool
    stale: bool


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
    title: Pair = ("", "")
    sender: Sender | None = None
    record: str = ""
    authority: tuple[Sender, ...] = ()  # who comes first in the authority order of this field
    since: datetime | None = None  # as in Saying
    others: tuple[Saying, ...] = ()  # what other records say about it, agreeing ones first
    confidence: str = ""  # high, good, fair, low: see `confidence`
    agreeing: int = 0  # other sources that say the same
    disagreeing: int = 0  # sources that say otherwise


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
    sender: Sender | None = None
    arrived_at: datetime | None = None
    carries: tuple[str, ...] = ()  # identifiers that the row has, as `identifier` names them
    same_as: tuple[str, ...] = ()  # records of this golden record that carry the same `identifier`
    matched_to: str | None = None  # the record that it is likest to, for one that joined by likeness
    likeness: Likeness | None = None  # what made it so; None also where the kept model cannot be read any more


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
class Decided:
    """What people decided about rows of this golden record. `records` are those of it; `apart` others that it must not be one with, as
    (record, id of the golden record that it stands in, None where it is not in force)."""

    records: tuple[str, ...]
    apart: tuple[tuple[str, str | None], ...]
    reason: Pair
    decided_by: str
    decided_on: str


@dataclass(frozen=True)
class Trace:
    entity: str
    entity_id: str
    fields: tuple[Field, ...]
    members: tuple[Member, ...]
    clashes: tuple[Clash, ...] = ()
    redirected: tuple[Change, ...] = ()  # how an old id that was asked for led here
    history: tuple[Change, ...] = ()
    title: Pair = ("", "")
    decided: tuple[Decided, ...] = ()
    zone: str = "Asia/Shanghai"  # of the clock that days are told by
    identifiers: Mapping[str, Pair] | None = None  # identifier -> what people call it


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
    with reading(run.workspace) as con, one_moment(con):
        con.execute("CREATE TEMP TABLE wanted AS SELECT $1 AS _entity, unnest($2) AS attribute", [one, _attributes(entity)])
        tell(run, con, entity)
        said = _said(con)
        likenesses = _likenesses(run, con, entity, one)
    with one_moment(run.con):
        members = _members(run, entity, one, said, likenesses)
        return Trace(
            entity_id,
            one,
            _fields(run, entity, one, reveal, said),
            members,
            _clashes(run, entity_id, one),
            way,
            history(run, entity_id, one),
            (entity.title.zh, entity.title.en),
            _decided(run, entity_id, [m.record for m in members]),
            next((c.arrival.timezone for c in run.catalog.sources_of(entity_id)), "Asia/Shanghai"),
            {"+".join(i.attributes): _called(entity, i.attributes) for i in entity.identifiers},
        )


def confidence(status: str, agreeing: int, disagreeing: int) -> str:
    """How far a field may be relied on, from who says it (`status`) and how many other sources say the same or otherwise.

    high: the authority and others, nobody otherwise · good: the authority alone, nobody otherwise · fair: the authority against others,
    or others that agree where no authority has a value today · low: the rest.
    """
    if status == "authority":
        return "fair" if disagreeing else "high" if agreeing else "good"
    return "fair" if agreeing and not disagreeing else "low"


def _attributes(entity: Entity) -> list[str]:
    return [a.name for a in entity.attributes]


def _called(entity: Entity, attributes: Sequence[str]) -> Pair:
    found = [entity.attribute(a).called for a in attributes]
    return " + ".join(f.zh for f in found), " + ".join(f.en for f in found)


def _sender(run: Run, source: str) -> Sender:
    contract = run.catalog.contracts.get(source)
    if contract is None:  # the catalogue no longer has it
        return Sender((source, source), (source, source))
    return Sender(run.catalog.department_titles()[contract.department.id], (contract.title.zh, contract.title.en))


def _is_masked(run: Run, attribute: Attribute, source: str) -> bool:
    contract = run.catalog.contracts.get(source)
    return attribute.is_masked or any(c.is_masked for c in (contract.mapped if contract else ()) if c.name == attribute.name)


Said = Mapping[str, Sequence[Mapping[str, Any]]]  # attribute -> rows of `said`


def _said(con: duckdb.DuckDBPyConnection) -> Said:
    found = con.execute("SELECT * FROM said ORDER BY attribute, _source, _record")
    names, told = [d[0] for d in found.description or ()], dict[str, list[Mapping[str, Any]]]()
    for row in found.fetchall():
        one = dict(zip(names, row, strict=True))
        told.setdefault(one["attribute"], []).append(one)
    return told


def _likenesses(run: Run, con: duckdb.DuckDBPyConnection, entity: Entity, one: str) -> Mapping[str, Likeness]:
    """Record -> its likeness to the one it was matched to."""
    pairs = con.execute(
        f"SELECT _record, _matched_to, _probability FROM lake.base.{quoted(entity.id + '__member')} "
        "WHERE _entity = ? AND _matched_to IS NOT NULL AND _probability IS NOT NULL ORDER BY _record",
        [one],
    ).fetchall()
    return {record: likeness for (record, _), likeness in explain(run, con, entity, pairs).items()}


def _fields(run: Run, entity: Entity, one: str, reveal: bool, said: Said) -> tuple[Field, ...]:
    rows = run.con.execute(
        "SELECT attribute, status, _record, _source, _batch, _sheet, _row, values_seen "
        f"FROM lake.base.{quoted(entity.id + '__origin')} WHERE _entity = ?",
        [one],
    ).fetchall()
    golden = run.con.execute(f"SELECT * FROM lake.base.{quoted(entity.id)} WHERE _entity = ?", [one])
    values = dict(zip([d[0] for d in golden.description], golden.fetchall()[0], strict=True))
    by_name = {r[0]: r for r in rows}
    fields = []
    for attribute in entity.attributes:
        if attribute.name not in by_name:
            continue
        _, status, record, source, batch, sheet, row, seen = by_name[attribute.name]
        origin = origin_of(run, batch, sheet, row)
        hide = _is_masked(run, attribute, source) and not reveal
        value = str(values[attribute.name])
        header, sent = _as_sent(run, source, batch, sheet, row, attribute.name)
        here = [s for s in said.get(attribute.name, ()) if s["_record"] == record]
        others = _others(run, attribute, record, said, reveal)
        against = {o.source for o in others if not o.agrees}
        agreeing = len({o.source for o in others if o.agrees} - against - {source})
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
                (attribute.called.zh, attribute.called.en),
                _sender(run, source),
                record,
                _authority(run, entity, attribute.name),
                here[0]["since"] if here else None,
                others,
                confidence(status, agreeing, len(against)),
                agreeing,
                len(against),
            )
        )
    return tuple(fields)


def _authority(run: Run, entity: Entity, attribute: str) -> tuple[Sender, ...]:
    """The sources of this attribute that come first in its authority order."""
    sources = [c.id for c in run.catalog.sources_of(entity.id) if any(m.name == attribute for m in c.mapped)]
    return tuple(_sender(run, s) for s in sorted(sources) if entity.rank(attribute, s) == 1)


def _others(run: Run, attribute: Attribute, winner: str, said: Said, reveal: bool) -> tuple[Saying, ...]:
    told = said.get(attribute.name, ())
    golden = next((s["value"] for s in told if s["_record"] == winner), None)
    found = []
    for s in told:
        if s["_record"] == winner:
            continue
        origin = origin_of(run, s["_batch"], s["_sheet"], s["_row"])
        hide = _is_masked(run, attribute, s["_source"]) and not reveal
        found.append(
            Saying(
                masked(s["value"]) if hide else s["value"],
                s["_record"],
                s["_source"],
                _sender(run, s["_source"]),
                origin.file_name,
                s["_sheet"],
                s["_row"],
                s["since"],
                s["value"] == golden,
                s["stale"],
            )
        )
    return tuple(sorted(found, key=lambda o: (not o.agrees, o.source, o.file_name, o.row)))


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


def _members(run: Run, entity: Entity, one: str, said: Said, likenesses: Mapping[str, Likeness]) -> tuple[Member, ...]:
    rows = run.con.execute(
        "SELECT _record, _source, _batch, _sheet, _row, _link, _identifier, _probability, _matched_to "
        f"FROM lake.base.{quoted(entity.id + '__member')} WHERE _entity = ? ORDER BY ALL",
        [one],
    ).fetchall()
    carried = _carried(entity, said)
    members = []
    for record, source, batch, sheet, row, link, identifier, probability, other in rows:
        origin = origin_of(run, batch, sheet, row)
        mended = tuple((name, line) for name, line, _ in origin.mended)
        here = carried.get(record, {})
        same = [
            r for r, held in carried.items() if r != record and identifier in here and held.get(identifier) == here[identifier]
        ]
        members.append(
            Member(
                record, source, origin.file_name, sheet, row, link, identifier, probability, mended,
                _sender(run, source), origin.arrived_at, tuple(here), tuple(sorted(same)), other, likenesses.get(record),
            )
        )  # fmt: skip
    return tuple(sorted(members, key=lambda m: (m.source, m.file_name, m.row)))


def _carried(entity: Entity, said: Said) -> dict[str, dict[str, tuple[str | None, ...]]]:
    """Record -> its identifiers -> their values."""
    cells = {(s["_record"], name): s["value"] for name, told in said.items() for s in told}
    carried: dict[str, dict[str, tuple[str | None, ...]]] = {}
    for record in sorted({r for r, _ in cells}):
        for identifier in entity.identifiers:
            values = tuple(cells.get((record, name)) for name in identifier.attributes)
            must = [v for name, v in zip(identifier.attributes, values, strict=True) if name not in identifier.may_be_blank]
            if any(values) and None not in must:
                carried.setdefault(record, {})["+".join(identifier.attributes)] = values
    return carried


def _decided(run: Run, entity_id: str, records: Sequence[str]) -> tuple[Decided, ...]:
    """The decisions that made these rows one, or that keep some of them from others."""
    found = []
    for d in run.catalog.decisions.get(entity_id, ()):
        here = tuple(r for r in d.records if r in records)
        if not here or (d.must_link and len(here) < 2):
            continue
        where = dict(
            run.con.execute(
                f"SELECT _record, _entity FROM lake.base.{quoted(entity_id + '__member')} WHERE _record IN (SELECT unnest($1))",
                [list(d.cannot_link)],
            ).fetchall()
            if d.cannot_link
            else []
        )
        apart = tuple((r, where.get(r)) for r in d.cannot_link if r not in here)
        found.append(Decided(here, apart, (d.reason.zh, d.reason.en), d.decided_by, d.decided_on.isoformat()))
    return tuple(found)


def _clashes(run: Run, entity_id: str, one: str) -> tuple[Clash, ...]:
    rows = run.con.execute(
        'SELECT file_name, "row", other_entity, other_file_name, other_row, message_zh, message_en FROM lake.quality.clash '
        "WHERE entity = ? AND _entity = ? ORDER BY ALL",
        [entity_id, one],
    ).fetchall()
    return tuple(Clash(*row) for row in rows)
