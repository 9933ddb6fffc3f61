"""Dedupe: within each source the latest row per key survives; across sources the survivors are linked into entities."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb

from catalog.contract import Contract
from catalog.entity import Entity
from pipelines import link_index, models, portions
from pipelines.clean import working
from pipelines.compile import SQL_TYPES
from pipelines.current import batches_sql, deletes_sql, merges_by_key, order_sql
from pipelines.errors import NotFound, prove
from pipelines.link import Since, link, looked_at
from pipelines.link_index import HASH, Mark, rules_digest
from pipelines.review_journal import obeyed
from pipelines.run import Run
from warehouse.lake import PARQUET, attach, literal, quoted, table, table_columns
from warehouse.layout import Workspace, write_atomically


@dataclass(frozen=True)
class Fusion:
    """One fusion on its way from dedupe to merge. The id is `<entity>#<number>`."""

    fusion: str
    entity: str
    entity_hash: str
    inputs_hash: str
    inputs: tuple[tuple[str, str], ...]
    stages: tuple[Mapping[str, Any], ...]
    statements: tuple[tuple[str, str, str], ...]
    model: Mapping[str, Any] | None
    whole: bool  # every record was linked; else only what hangs together with a change
    surviving: int  # records, those that were not looked at included
    entities: int
    linking: Mapping[str, Any] | None  # version of the pinned model, what comparing looked like


@dataclass(frozen=True)
class Input:
    """One current batch that a fusion reads."""

    source: str
    batch: str
    recency: int
    rows: int


def folder(workspace: Workspace, entity: str) -> Path:
    return workspace.staging / f"fusion__{entity}"


def dedupe(run: Run, entity_id: str) -> bool:
    """Link the current rows of every source of an entity. False: nothing changed since the last fusion.

    Reads    std.<source> of the batches in force (a source without a new batch keeps its last good data)
    Writes   staging/fusion__<entity>/records.parquet, clusters.parquet, clashes.parquet, doubts.parquet, gone.parquet
    Grain    records: one per surviving row; clusters: one per record; clashes: one per record and identifier in dispute;
             doubts: one per pair of records that a person should look at; gone: `_record` of those that survive no more. Where an index fits (`pipelines.link_index`), only those that hang
             together with what changed: what is left out stays as it is
    Rows     accepted = surviving + superseded
    Again    the same inputs give the same clusters, in whatever order they arrived
    Cost     with an index that of the batches that came and went; else of everything
    """
    entity = run.catalog.entity(entity_id)
    with run.workspace.locked(f"entity-{entity_id}"):
        return _dedupe(run, entity)


def _dedupe(run: Run, entity: Entity) -> bool:
    place = folder(run.workspace, entity.id)
    settle(run, entity.id)
    inputs = _inputs(run, entity)
    if not inputs:
        return False
    decisions = obeyed(run, entity.id)
    decided = [d.model_dump(mode="json", include={"must_link", "cannot_link"}) for d in decisions]
    last, number = last_fusion(run, entity.id)
    if last == _inputs_hash(entity, decided, inputs, version := models.in_force(run.workspace, entity)):
        return False
    shutil.rmtree(place, ignore_errors=True)  # a killed run may have left files of other inputs
    place.mkdir(parents=True)
    with working(run) as con:
        sql = _open(run, con, entity, inputs)
        pinned = models.pinned(run.workspace, entity)
        mark = Mark(
            number,
            rules_digest(entity.hash, version, models.looks_digest(entity)),
            {s: hashlib.sha256(t.encode()).hexdigest() for s, t in sql.items()},
        )
        known = link_index.attach(con, run.workspace, entity.id, mark) if pinned or not entity.match else None
        if known:
            sql = _changes(run, con, entity, inputs, known)
            since = Since(known, "former", "gone", "moved")
            linked = link(
                con,
                entity,
                "changed",
                "clusters",
                "clashes",
                decisions,
                doubts="doubts",
                pinned=pinned,
                since=since,
                delta="delta",
            )
            con.execute(
                f"CREATE TABLE records AS FROM written UNION ALL BY NAME SELECT * EXCLUDE (_id, _hash) FROM {known}.record WHERE _id IN "
                "(SELECT _id FROM delta_number WHERE _record NOT IN (SELECT _record FROM written))"
            )
            surviving, entities = con.execute(
                f"""WITH former AS (SELECT cluster FROM {known}.place WHERE _id IN (SELECT _id FROM delta_number UNION ALL SELECT _n FROM delta_gone))
SELECT (SELECT count(*) FROM {known}.record) - (SELECT count(*) FROM delta_gone) + (SELECT count(*) FROM delta_subject
    WHERE _n >= (SELECT next FROM {known}.mark)),
  (SELECT count(DISTINCT cluster) FROM {known}.place) - (SELECT count(DISTINCT cluster) FROM former)
    + (SELECT count(DISTINCT cluster) FROM delta_place)"""
            ).fetchall()[0]
        else:
            _gather(con, "records", sql, _accepted(inputs))
            con.execute("CREATE TABLE gone (_record VARCHAR); CREATE VIEW written AS FROM records")
            keep = models.folder(run.workspace, entity.id, models.newest(run.workspace, entity.id) + 1) if not version else None
            linked = link(
                con, entity, "records", "clusters", "clashes", decisions, pinned=pinned, keep=keep, doubts="doubts", delta="delta"
            )
            version = models.in_force(run.workspace, entity)
            mark = replace(mark, rules=rules_digest(entity.hash, version, models.looks_digest(entity)))
            surviving = count_rows(con, "records")
            entities = con.execute("SELECT count(DISTINCT _cluster) FROM clusters").fetchall()[0][0]
        for name, order in (
            ("records", "_record"),
            ("clusters", "_record"),
            ("clashes", "ALL"),
            ("doubts", "ALL"),
            ("gone", "_record"),
        ):
            con.execute(f"COPY (FROM {name} ORDER BY {order}) TO {literal(str(place / f'{name}.parquet'))} {PARQUET}")
        if version or not entity.match:
            read = [(i.source, i.batch) for i in inputs]
            named = sorted({r for d in decisions for r in d.records})
            link_index.stage(con, place, replace(mark, number=number + 1), read, named, "written", whole=known is None)
    accepted = sum(i.rows for i in inputs)
    superseded = accepted - surviving
    fusion = f"{entity.id}#{number + 1}"
    parts = {"surviving": surviving, "superseded": superseded}
    proofs = (
        {"stage": "dedupe", "rows_in": accepted, "rows_out": parts, "equation": prove("dedupe", fusion, accepted, parts)},
        {
            "stage": "link",
            "rows_in": surviving,
            "rows_out": {"entities": entities},
            "equation": f"{surviving} records stand in {entities} entities",
        },
    )
    if superseded < 0:
        raise NotFound(f"{fusion}: more rows survive than were accepted; please report this")
    state = Fusion(
        fusion,
        entity.id,
        entity.hash,
        _inputs_hash(entity, decided, inputs, version),
        tuple((i.source, i.batch) for i in inputs),
        proofs,
        (
            *(("dedupe", f"surviving rows of {s}", text) for s, text in sql.items()),
            *(("link", t, text) for t, text in linked.statements),
        ),
        linked.model.settings if linked.model else None,
        whole=known is None,
        surviving=surviving,
        entities=entities,
        linking={"model": version or None, **asdict(linked.figures)} if linked.figures else None,
    )
    write_atomically(place / "fusion.json", json.dumps(asdict(state), ensure_ascii=False, default=str).encode(), mode=0o600)
    return True


def _open(run: Run, con: duckdb.DuckDBPyConnection, entity: Entity, inputs: Sequence[Input]) -> dict[str, str]:
    """The lake, a database to work in, the digest key and the table inputs on `con`; what makes the records of each source."""
    attach(con, run.workspace, read_only=True)
    con.execute(f"ATTACH {literal(':memory:')} AS work; USE work")
    set_digest_key(con, run.workspace)
    con.execute("CREATE TABLE inputs (source VARCHAR, batch VARCHAR, recency INTEGER)")
    con.executemany("INSERT INTO inputs VALUES (?, ?, ?)", [[i.source, i.batch, i.recency] for i in inputs])
    return records_sql(run, con, entity, {i.source for i in inputs})


def records_in_force(
    run: Run, con: duckdb.DuckDBPyConnection, entity: Entity, on: date | None = None, as_of: datetime | None = None
) -> None:
    """Table records on `con`: the surviving rows of all sources of an entity, now or of a past time as `batches_sql` has it. NotFound
    where there is none."""
    inputs = _inputs(run, entity, on, as_of)
    if not inputs and (on or as_of):
        raise NotFound(f"no row of any source of {entity.id} is of that time; `dmp status` shows what was received")
    if not inputs:
        raise NotFound(f"no row of any source of {entity.id} is in force yet; `dmp status` shows what was received")
    _gather(con, "records", _open(run, con, entity, inputs), _accepted(inputs))


def _accepted(inputs: Sequence[Input]) -> dict[str, int]:
    """Source -> rows of its batches in force."""
    rows: dict[str, int] = {}
    for i in inputs:
        rows[i.source] = rows.get(i.source, 0) + i.rows
    return rows


def _gather(con: duckdb.DuckDBPyConnection, into: str, sql: Mapping[str, str], rows: Mapping[str, int]) -> None:
    """A table of what the statement of each source finds, each source portion by portion; `rows`: how many its statement groups."""
    for place, (source, text) in enumerate(sql.items()):
        put = portions.fill if place else portions.create
        put(con, into, text, portions.of_text(rows.get(source, 0)))


def _inputs_hash(entity: Entity, decided: Sequence[Mapping[str, Any]], inputs: Sequence[Input], version: int) -> str:
    model = [f"model {version}"] if version and entity.match else []
    return hashlib.sha256(
        json.dumps([entity.hash, *model, *decided, *[(i.source, i.batch) for i in inputs]]).encode()
    ).hexdigest()


def settle(run: Run, entity: str) -> None:
    """Finish what a run left that was killed after its commit: let the index learn of the fusion, and put its files away."""
    place = folder(run.workspace, entity)
    if is_staged(run.workspace, entity):
        fusion = load(run.workspace, entity).fusion
        if run.con.execute("SELECT 1 FROM lake.ledger.fusion WHERE fusion = ?", [fusion]).fetchall():
            link_index.learn(run.workspace, entity, place)
            shutil.rmtree(place, ignore_errors=True)


def _changes(run: Run, con: duckdb.DuckDBPyConnection, entity: Entity, inputs: Sequence[Input], known: str) -> dict[str, str]:
    """What the batches that came and went change among the surviving rows.

    Writes   written: those that are new, or other than before in anything; changed: of them those that linking has to look at;
             moved: the others, `_record`; gone: `_record` of rows that survive no more
    """
    con.execute(f"CREATE TABLE came AS SELECT source, batch FROM inputs EXCEPT FROM {known}.input")
    con.execute(f"CREATE TABLE exchanged AS FROM came UNION (FROM {known}.input EXCEPT SELECT source, batch FROM inputs)")
    sources = {s for (s,) in con.execute("SELECT DISTINCT source FROM exchanged").fetchall()}
    con.execute("CREATE TABLE touched (_record VARCHAR)")
    parts, touched = {}, {}
    for contract in (c for c in run.catalog.sources_of(entity.id) if c.id in sources):
        stored = table_columns(con, f"std.{contract.id}")
        identity, keyed = _identity(contract, stored)
        named = ", ".join(f"{k} AS k{n}" for n, k in enumerate(identity))
        listed = ", ".join(
            literal(b) for (b,) in con.execute("SELECT batch FROM exchanged WHERE source = ?", [contract.id]).fetchall()
        )
        name = quoted(f"touched__{contract.id}")
        con.execute(
            f'CREATE TABLE {name} AS SELECT DISTINCT {named} FROM {table(f"std.{contract.id}")} AS s WHERE "_batch" IN ({listed})'
        )
        text = " || chr(31) || ".join([literal(contract.id), *(f"k{n}" for n in range(len(identity)))])
        touched[contract.id] = con.execute(f"INSERT INTO touched SELECT {digest_sql(text)} FROM {name}").fetchall()[0][0]
        parts[contract.id] = _survivors_sql(
            entity, contract, stored, name if keyed else None, "inputs" if keyed else "came_recent"
        )
    con.execute("CREATE VIEW came_recent AS FROM inputs SEMI JOIN came USING (source, batch)")
    record = f"{known}.record"
    if any(parts.values()):
        # of the keys that were touched there are as many rows as there are of any
        records = dict(con.execute(f"SELECT _source, count(*) FROM {record} GROUP BY _source").fetchall())
        rows = {s: min(n, n * touched.get(s, 0) // records.get(s, 1)) for s, n in _accepted(inputs).items()}
        _gather(con, "fresh", {s: text for s, text in parts.items() if text}, rows)
    else:
        con.execute(f"CREATE TABLE fresh AS SELECT * EXCLUDE (_id, _hash) FROM {record} WHERE false")
    con.execute(f"CREATE TABLE former AS SELECT * EXCLUDE (_hash) FROM {record} WHERE _hash IN (SELECT {HASH} FROM touched)")
    names = [row[0] for row in con.execute("DESCRIBE former").fetchall() if row[0] not in ("_id", "_record")]
    linked = looked_at(entity, frozenset(names))

    def differs(columns: Sequence[str]) -> str:
        return " OR ".join(f"f.{quoted(c)} IS DISTINCT FROM o.{quoted(c)}" for c in columns) or "false"

    con.execute(
        f"""CREATE TABLE compared_with_former AS
SELECT f._record, o._record IS NULL AS is_new, {differs(names)} AS differs, {differs(linked)} AS says_otherwise
FROM fresh AS f LEFT JOIN former AS o USING (_record)"""
    )
    con.execute(
        """CREATE TABLE written AS SELECT f.* FROM fresh AS f JOIN compared_with_former AS c USING (_record) WHERE is_new OR differs;
CREATE TABLE changed AS SELECT f.* FROM fresh AS f JOIN compared_with_former AS c USING (_record) WHERE is_new OR says_otherwise;
CREATE TABLE moved AS SELECT _record FROM compared_with_former WHERE NOT is_new AND differs AND NOT says_otherwise;
CREATE TABLE gone AS SELECT _record FROM former WHERE _record NOT IN (SELECT _record FROM fresh) AND _record IN (SELECT _record FROM touched)"""
    )
    return parts


def is_staged(workspace: Workspace, entity: str) -> bool:
    return (folder(workspace, entity) / "fusion.json").is_file()


def load(workspace: Workspace, entity: str) -> Fusion:
    """The staged fusion. NotFound where there is none."""
    path = folder(workspace, entity) / "fusion.json"
    if not is_staged(workspace, entity):
        raise NotFound(f"no fusion of {entity} is staged; dedupe comes before merge")
    data = json.loads(path.read_text(encoding="utf-8"))
    return Fusion(
        **{
            **data,
            "inputs": tuple((s, b) for s, b in data["inputs"]),
            "stages": tuple(data["stages"]),
            "statements": tuple((a, b, c) for a, b, c in data["statements"]),
        }
    )


def count_rows(con: duckdb.DuckDBPyConnection, name: str) -> int:
    return int(con.execute(f"SELECT count(*) FROM {name}").fetchall()[0][0])


def last_fusion(run: Run, entity: str) -> tuple[str | None, int]:
    """Hash of the inputs, and number, of the newest committed fusion; (None, 0) before the first.

    A warehouse that is rebuilt counts on from where the archive says that the former one was (`pipelines.identity`)."""
    rows = run.con.execute(
        "SELECT inputs_hash, CAST(split_part(fusion, '#', 2) AS INTEGER) AS n FROM lake.ledger.fusion WHERE entity = ? "
        "ORDER BY n DESC LIMIT 1",
        [entity],
    ).fetchall()
    return (rows[0][0], rows[0][1]) if rows else (None, journalled(run.workspace, entity))


def is_fused(run: Run, entity: str) -> bool:
    """Whether this warehouse has a fusion of the entity."""
    return bool(run.con.execute("SELECT 1 FROM lake.ledger.fusion WHERE entity = ? LIMIT 1", [entity]).fetchall())


def journalled(workspace: Workspace, entity: str) -> int:
    """The fusion of the former warehouse at whose ids a rebuilt one begins; 0 in one that was not rebuilt."""
    mark = workspace.archive / "entities" / entity / "rebuilt_from"
    return int(mark.read_text()) if mark.is_file() else 0


def _inputs(run: Run, entity: Entity, on: date | None = None, as_of: datetime | None = None) -> list[Input]:
    """Batches in force of the entity's sources, see `pipelines.current`."""
    found: list[Input] = []
    for contract in sorted(run.catalog.sources_of(entity.id), key=lambda c: c.id):
        rows = run.con.execute(
            f"SELECT batch, last_day, rows_accepted FROM ({batches_sql(contract, as_of, on)}) ORDER BY batch"
        ).fetchall()
        found += [Input(contract.id, batch, day.toordinal(), accepted) for batch, day, accepted in rows]
    return found


def records_sql(run: Run, con: duckdb.DuckDBPyConnection, entity: Entity, sources: set[str]) -> dict[str, str]:
    """Source -> SELECT of its surviving rows, all with the attributes of the entity."""
    stored = {c.id: table_columns(con, f"std.{c.id}") for c in run.catalog.sources_of(entity.id) if c.id in sources}
    return {s: _survivors_sql(entity, run.catalog.contract(s), columns) for s, columns in stored.items() if columns}


def _identity(contract: Contract, stored: Mapping[str, str]) -> tuple[list[str], bool]:
    """What makes a row of a source, called s, the same record in every batch, and whether that is a key: else each row is a record of its own."""
    keys = [f"s.{quoted(c.name)}" for c in contract.keys if c.name in stored] if merges_by_key(contract, stored) else []
    if keys:
        return [f"coalesce(CAST({k} AS VARCHAR), '')" for k in keys], True
    return ['s."_batch"', "coalesce(s.\"_sheet\", '')", 'CAST(s."_row" AS VARCHAR)'], False


def _survivors_sql(
    entity: Entity, contract: Contract, stored: Mapping[str, str], only: str | None = None, inputs: str = "inputs"
) -> str:
    """The latest row per key. An attribute that is NULL there falls back to the last good value of the same key, and
    `<attribute>__from` then says which row it stands in; NULL means: in the surviving row itself. A row that deletes its
    key ends what was known of it: only rows after the last such one count. A value that does not fit the attribute's type
    is none; `dmp contract check` tells of types that differ. `only`: a table of the keys (k0, k1 ...) to look at."""
    if not stored:
        return ""
    identity, keys = _identity(contract, stored)
    record = digest_sql(" || chr(31) || ".join([literal(contract.id), *identity]))
    order = order_sql(contract, stored, "DATE '0001-01-01' + (_recency - 1)")
    has = [a for a in entity.attributes if a.name in stored]
    wanted = " AND ".join(f"{k} = t.k{n}" for n, k in enumerate(identity))
    # one table for the expressions of the contract, whose columns may bear any name
    rows = (
        f"SELECT s.*, i.recency AS _recency FROM {table(f'std.{contract.id}')} AS s"
        f' JOIN {inputs} AS i ON i.batch = s."_batch" AND i.source = {literal(contract.id)}'
        + (f" SEMI JOIN {only} AS t ON {wanted}" if only else "")
    )
    history = (
        f"  SELECT *, {record} AS _record,\n"
        '    struct_pack(batch := "_batch", sheet := "_sheet", "row" := "_row") AS _place,\n'
        f"    {order} AS _order\n"
        f"  FROM ({rows}) AS s\n"
        f"  WHERE {portions.within(portions.number_of_text(' || chr(31) || '.join(identity)))}"
    )
    if deletes := deletes_sql(contract, stored):
        ended = f"max(CASE WHEN {deletes} THEN _order END) OVER (PARTITION BY _record)"
        history = f"  SELECT * FROM (\n{history}\n  )\n  QUALIFY {ended} IS NULL OR _order > {ended}"
    fields: list[str] = []
    for attribute in entity.attributes:
        name, kind = quoted(attribute.name), SQL_TYPES[attribute.type]
        origin = quoted(attribute.name + "__from")
        if attribute not in has:
            fields.append(
                f'CAST(NULL AS {kind}) AS {name}, CAST(NULL AS STRUCT(batch VARCHAR, sheet VARCHAR, "row" BIGINT)) AS {origin}'
            )
        elif keys:
            good = f"FILTER ({name} IS NOT NULL)"
            fields.append(
                f"TRY_CAST(arg_max({name}, _order) {good} AS {kind}) AS {name}, "
                f"nullif(arg_max(_place, _order) {good}, arg_max(_place, _order)) AS {origin}"
            )
        else:
            fields.append(
                f'TRY_CAST({name} AS {kind}) AS {name}, CAST(NULL AS STRUCT(batch VARCHAR, sheet VARCHAR, "row" BIGINT)) AS {origin}'
            )
    body = ",\n  ".join(fields)
    if not keys:
        return (
            f'SELECT _record, {literal(contract.id)} AS _source, "_batch", "_sheet", "_row", _recency,\n  {body}\n'
            f"FROM (\n{history}\n)"
        )
    return (
        f"SELECT _record, {literal(contract.id)} AS _source, arg_max(_place, _order).batch AS _batch, arg_max(_place, _order).sheet AS _sheet, "
        f'arg_max(_place, _order)."row" AS _row, max(_recency) AS _recency,\n  {body}\n'
        f"FROM (\n{history}\n)\nGROUP BY _record"
    )


def digest_sql(text: str) -> str:
    """HMAC-SHA-256 (RFC 2104) of a text under the workspace's key: nobody without the key can try all identity numbers."""
    return f"sha256(getvariable('outer_key') || unhex(sha256(getvariable('inner_key') || encode({text}))))"


def set_digest_key(con: duckdb.DuckDBPyConnection, workspace: Workspace) -> None:
    """Hand the key to `con` as variables, so that it never stands in a statement that is printed or kept."""
    key = workspace.digest_key.ljust(64, b"\0")
    con.execute("SET VARIABLE inner_key = $1::BLOB", [bytes(b ^ 0x36 for b in key)])
    con.execute("SET VARIABLE outer_key = $1::BLOB", [bytes(b ^ 0x5C for b in key)])
