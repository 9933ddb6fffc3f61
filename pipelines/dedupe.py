"""Dedupe: within each source the latest row per key survives; across sources the survivors are linked into entities."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb

from catalog.contract import Contract
from catalog.entity import Entity
from pipelines.clean import working
from pipelines.compile import SQL_TYPES
from pipelines.current import batches_sql, deletes_sql, merges_by_key, order_sql
from pipelines.errors import NotFound, prove
from pipelines.link import link
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
    Writes   staging/fusion__<entity>/records.parquet, clusters.parquet, clashes.parquet, doubts.parquet
    Grain    records: one per surviving row; clusters: one per record; clashes: one per record and identifier in dispute;
             doubts: one per pair of records that a person should look at
    Rows     accepted = surviving + superseded
    Again    the same inputs give the same clusters, in whatever order they arrived
    """
    entity = run.catalog.entity(entity_id)
    with run.workspace.locked(f"entity-{entity_id}"):
        return _dedupe(run, entity)


def _dedupe(run: Run, entity: Entity) -> bool:
    place = folder(run.workspace, entity.id)
    inputs = _inputs(run, entity)
    if not inputs:
        return False
    decisions = obeyed(run, entity.id)
    decided = [d.model_dump(mode="json", include={"must_link", "cannot_link"}) for d in decisions]
    inputs_hash = hashlib.sha256(json.dumps([entity.hash, *decided, *[(i.source, i.batch) for i in inputs]]).encode()).hexdigest()
    last, number = last_fusion(run, entity.id)
    if last == inputs_hash:
        return False
    shutil.rmtree(place, ignore_errors=True)  # a killed run may have left files of other inputs
    place.mkdir(parents=True)
    with working(run) as con:
        attach(con, run.workspace, read_only=True)
        con.execute(f"ATTACH {literal(':memory:')} AS work; USE work")
        set_digest_key(con, run.workspace)
        con.execute("CREATE TABLE inputs (source VARCHAR, batch VARCHAR, recency INTEGER)")
        con.executemany("INSERT INTO inputs VALUES (?, ?, ?)", [[i.source, i.batch, i.recency] for i in inputs])
        sql = records_sql(run, con, entity, {i.source for i in inputs})
        con.execute(f"CREATE TABLE records AS\n{sql}")
        linked = link(con, entity, "records", "clusters", "clashes", decisions, "doubts")
        for name, order in (("records", "_record"), ("clusters", "_record"), ("clashes", "ALL"), ("doubts", "ALL")):
            con.execute(f"COPY (FROM {name} ORDER BY {order}) TO {literal(str(place / f'{name}.parquet'))} {PARQUET}")
        accepted = sum(i.rows for i in inputs)
        surviving = _count(con, "records")
        entities = con.execute("SELECT count(DISTINCT _cluster) FROM clusters").fetchall()[0][0]
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
        inputs_hash,
        tuple((i.source, i.batch) for i in inputs),
        proofs,
        (("dedupe", "surviving rows", sql), *(("link", title, text) for title, text in linked.statements)),
        linked.model,
    )
    write_atomically(place / "fusion.json", json.dumps(asdict(state), ensure_ascii=False, default=str).encode(), mode=0o600)
    return True


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


def _count(con: duckdb.DuckDBPyConnection, name: str) -> int:
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


def _inputs(run: Run, entity: Entity) -> list[Input]:
    """Batches in force of the entity's sources, see `pipelines.current`."""
    found: list[Input] = []
    for contract in sorted(run.catalog.sources_of(entity.id), key=lambda c: c.id):
        rows = run.con.execute(f"SELECT batch, last_day, rows_accepted FROM ({batches_sql(contract)}) ORDER BY batch").fetchall()
        found += [Input(contract.id, batch, day.toordinal(), accepted) for batch, day, accepted in rows]
    return found


def records_sql(run: Run, con: duckdb.DuckDBPyConnection, entity: Entity, sources: set[str]) -> str:
    """One SELECT per source with its surviving rows, all with the attributes of the entity, joined by UNION ALL."""
    parts = [
        _survivors_sql(entity, c, table_columns(con, f"std.{c.id}")) for c in run.catalog.sources_of(entity.id) if c.id in sources
    ]
    return "\nUNION ALL\n".join(p for p in parts if p)


def _survivors_sql(entity: Entity, contract: Contract, stored: Mapping[str, str]) -> str:
    """The latest row per key. An attribute that is NULL there falls back to the last good value of the same key, and
    `<attribute>__from` then says which row it stands in; NULL means: in the surviving row itself. A row that deletes its
    key ends what was known of it: only rows after the last such one count. A value that does not fit the attribute's type
    is none; `dmp contract check` tells of types that differ."""
    if not stored:
        return ""
    keys = [quoted(c.name) for c in contract.keys if c.name in stored] if merges_by_key(contract, stored) else []
    identity = [f"coalesce(CAST({k} AS VARCHAR), '')" for k in keys] or [
        '"_batch"',
        "coalesce(\"_sheet\", '')",
        'CAST("_row" AS VARCHAR)',
    ]
    record = digest_sql(" || chr(31) || ".join([literal(contract.id), *identity]))
    order = order_sql(contract, stored, "DATE '0001-01-01' + (i.recency - 1)")
    has = [a for a in entity.attributes if a.name in stored]
    history = (
        f"  SELECT s.*, i.recency AS _recency, {record} AS _record,\n"
        '    struct_pack(batch := "_batch", sheet := "_sheet", "row" := "_row") AS _place,\n'
        f"    {order} AS _order\n"
        f'  FROM {table(f"std.{contract.id}")} AS s JOIN inputs AS i ON i.batch = s."_batch" AND i.source = {literal(contract.id)}'
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
