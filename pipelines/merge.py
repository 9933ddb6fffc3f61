"""Merge: one golden record per entity, each field from the best source that has it, with the row it came from."""

from __future__ import annotations

import json
from collections.abc import Sequence

import duckdb

from catalog.entity import Attribute, Entity
from pipelines import portions
from pipelines.clash import clash_sql, name_senders
from pipelines.clean import working
from pipelines.compile import SQL_TYPES
from pipelines.dedupe import count_rows, digest_sql, folder, is_staged, last_fusion, load, set_digest_key, settle
from pipelines.errors import StageError
from pipelines.golden import HISTORY, history_sql
from pipelines.identity import CHANGES, Statement, changes_sql, keep, moved_members, name_clusters, read_before, tidy, told_sql
from pipelines.review_queue import queue_sql
from pipelines.run import Run
from warehouse.commit import Commit, commit
from warehouse.lake import PARQUET, attach, literal, quoted, table
from warehouse.tables import TABLES, Columns

ORIGIN: Columns = {
    "_entity": "VARCHAR", "attribute": "VARCHAR", "_record": "VARCHAR", "_source": "VARCHAR", "_batch": "VARCHAR",
    "_sheet": "VARCHAR", "_row": "BIGINT", "authority_rank": "INTEGER", "status": "VARCHAR", "values_seen": "BIGINT",
    "sources_with_value": "BIGINT",
}  # fmt: skip
MEMBER: Columns = {
    "_record": "VARCHAR", "_entity": "VARCHAR", "_source": "VARCHAR", "_batch": "VARCHAR", "_sheet": "VARCHAR",
    "_row": "BIGINT", "_link": "VARCHAR", "_identifier": "VARCHAR", "_probability": "DOUBLE", "_matched_to": "VARCHAR",
    "_anchors": "VARCHAR[]",
}  # fmt: skip


def merge(run: Run, entity_id: str) -> None:
    """Choose every field by the authority order of its attribute and commit the entity's tables: whole, or the golden records that
    hang together with a change, where the staged fusion has only those.

    Reads    staging/fusion__<entity>/
    Writes   base.<entity>          one row per entity
             base.<entity>__origin  one row per filled field: source, batch, sheet, row, and why this one
             base.<entity>__member  one row per surviving record: the entity it stands in, and what linked it
             base.<entity>__history the golden records that this fusion made, changed or ended, appended (`pipelines.golden`)
             ledger.entity_change   what this fusion did to ids and values, kept in the archive too (`pipelines.identity`)
             quality.clash          the entity's rows: records that share an identifier and were kept apart for all that
             quality.review         the entity's rows: pairs of records that a person should look at
    Rows     each surviving record stands in exactly one entity, checked before the commit
    Again    the same inputs give the same rows; a staged fusion that was committed is not committed twice, and where
             nothing is staged any more, another run has merged it
    Source   survivorship: authority; last good authority value (stale); best other evidence (unconfirmed); else NULL
    """
    entity = run.catalog.entity(entity_id)
    with run.workspace.locked(f"entity-{entity_id}"):
        if is_staged(run.workspace, entity_id) or not last_fusion(run, entity_id)[1]:
            _merge(run, entity)


def _merge(run: Run, entity: Entity) -> None:
    entity_id = entity.id
    place = folder(run.workspace, entity_id)
    fusion = load(run.workspace, entity_id)
    number = int(fusion.fusion.split("#")[1])
    if run.con.execute("SELECT 1 FROM lake.ledger.fusion WHERE fusion = ?", [fusion.fusion]).fetchall():
        tidy(run.workspace, entity_id, number)  # committed by a run that was killed right after
        settle(run, entity_id)
        return
    outputs = {
        f"base.{entity_id}": (golden_columns(entity), golden_sql(entity)),
        f"base.{entity_id}__origin": (ORIGIN, origin_sql(entity)),
        f"base.{entity_id}__member": (MEMBER, MEMBER_SQL),
    }
    with working(run) as con:
        set_digest_key(con, run.workspace)
        for name in ("records", "clusters", "clashes", "doubts", "gone"):
            con.execute(f"CREATE VIEW {name} AS FROM read_parquet({literal(str(place / f'{name}.parquet'))})")
        name_senders(run, con, [b for _, b in fusion.inputs])
        attach(con, run.workspace, read_only=True)
        before = read_before(run, con, entity, whole=fusion.whole)
        statements = choose(con, entity, [s for s, _ in fusion.inputs])
        told = told_sql(entity)
        portions.create(con, "told_cluster", told, portions.digests(count_rows(con, "assigned")))
        statements.append(("what is told of each group", told))
        files = {}
        for target, (columns, sql) in outputs.items():
            path = run.workspace.new_file(target, fusion.fusion.replace("#", "-"))
            con.execute(f"COPY (\n{sql}\n) TO {literal(str(path))} {PARQUET}")
            files[target] = (columns, path)
            statements.append((target, sql))
        golden, columns = files[f"base.{entity_id}"][1], TABLES[CHANGES][1]
        con.execute(f"CREATE TEMP VIEW new_golden AS FROM read_parquet({literal(str(golden))})")
        if not before.golden:
            con.execute("CREATE TEMP VIEW old_golden AS FROM new_golden WHERE false")
        con.execute("SET VARIABLE number = $1", [number])
        con.execute("SET VARIABLE recorded_at = $1::TIMESTAMPTZ", [run.now])
        changes = changes_sql(entity, frozenset(row[0] for row in con.execute("DESCRIBE old_golden").fetchall()))
        journal, path = (run.workspace.new_file(CHANGES, fusion.fusion.replace("#", "-")) for _ in range(2))
        listed = ", ".join(f"CAST({quoted(c)} AS {kind}) AS {quoted(c)}" for c, kind in columns.items())
        con.execute(f"COPY (SELECT {listed} FROM (\n{changes}\n)) TO {literal(str(journal))} {PARQUET}")
        statements.append((CHANGES, changes))
        if before.restored:  # the archive knows what a rebuilt warehouse has not seen
            everything = f"FROM old_change UNION ALL BY NAME FROM read_parquet({literal(str(journal))})"
            con.execute(f"COPY ({everything} ORDER BY number, _entity, change) TO {literal(str(path))} {PARQUET}")
        files[CHANGES] = (columns, path if before.restored else journal)
        told = history_sql(entity, f"read_parquet({literal(str(journal))})")
        past, path = (run.workspace.new_file(f"base.{entity_id}__history", fusion.fusion.replace("#", "-")) for _ in range(2))
        con.execute(f"COPY (\n{told}\n) TO {literal(str(past))} {PARQUET}")
        if before.restored:
            everything = f"FROM old_history UNION ALL BY NAME FROM read_parquet({literal(str(past))})"
            con.execute(f"COPY ({everything} ORDER BY number, _entity) TO {literal(str(path))} {PARQUET}")
        files[f"base.{entity_id}__history"] = (HISTORY, path if before.restored else past)
        erase = {}
        if not fusion.whole:
            gone = "SELECT DISTINCT _entity FROM old_member ORDER BY 1"
            con.execute(f"COPY ({gone}) TO {literal(str(place / 'erase.parquet'))} {PARQUET}")
            erase = dict.fromkeys(outputs, ("_entity", place / "erase.parquet"))
        for target, table_found, sql_of in (("quality.clash", "clashes", clash_sql), ("quality.review", "doubts", queue_sql)):
            parts = [] if fusion.whole else [still_told_sql(entity, target)]
            if con.execute(f"FROM {table_found} LIMIT 1").fetchall():
                parts.append(f"SELECT * FROM (\n{sql_of(entity)}\n)")
                statements.append((target, sql_of(entity)))
            if not parts:
                continue
            path = run.workspace.new_file(target, fusion.fusion.replace("#", "-"))
            sql = "\nUNION ALL BY NAME\n".join(parts)
            if con.execute(f"COPY (\n{sql}\n) TO {literal(str(path))} {PARQUET}").fetchall()[0][0]:
                files[target] = (TABLES[target][1], path)
            else:
                path.unlink()
        surviving, placed, made = con.execute(
            "SELECT (SELECT count(*) FROM records), (SELECT count(DISTINCT _record) FROM assigned), count(*) FROM chosen"
        ).fetchall()[0]
        members = None if fusion.whole else moved_members(con, place)
    if surviving != placed:
        raise StageError(
            f"merge of {entity_id}: {surviving} records survive, {placed} stand in an entity. Nothing was committed."
        )
    proof = {
        "stage": "merge",
        "rows_in": surviving,
        "rows_out": {"in_one_entity": placed},
        "equation": f"{surviving} = {placed} in one of {made} entities",
    }
    accepted = fusion.stages[0]["rows_in"]
    moved = {"moved": members} if members else {"members": files[f"base.{entity_id}__member"][1]}
    keep(run.workspace, entity_id, number, {**moved, "history": past, "changes": journal})
    commit(run.con, run.workspace, Commit(
        absent=("ledger.fusion", "fusion", fusion.fusion),
        files=files,
        replace=frozenset(outputs) if fusion.whole else frozenset(),
        delete=dict.fromkeys(("quality.clash", "quality.review"), ("entity", entity_id)),
        erase=erase,
        rows={
            "ledger.fusion": [{
                "fusion": fusion.fusion, "entity": entity_id, "entity_hash": fusion.entity_hash,
                "inputs_hash": fusion.inputs_hash, "inputs": json.dumps(fusion.inputs), "rows_in": accepted,
                "rows_surviving": fusion.surviving, "entities": fusion.entities,
                "model": json.dumps(fusion.model, ensure_ascii=False, default=str) if fusion.model else None,
                "linking": json.dumps(fusion.linking, ensure_ascii=False) if fusion.linking else None,
            }],
            "ledger.stage": [{"subject": fusion.fusion, **s, "rows_out": json.dumps(s["rows_out"])} for s in (*fusion.stages, proof)],
            "ledger.statement": [
                {"subject": fusion.fusion, "stage": stage, "seq": i, "title": title, "sql": sql}
                for i, (stage, title, sql) in enumerate(
                    [*fusion.statements, *(("merge", t, s) for t, s in statements)], 1)
            ],
        },
    ))  # fmt: skip
    tidy(run.workspace, entity_id, number)
    settle(run, entity_id)


def still_told_sql(entity: Entity, name: str) -> str:
    """Of the clashes or doubts of the former fusion those about none of the records at hand, which were not looked at again.

    They are written again, so that the former file ends whole: what a transaction sees that began before depends on it (decision 26)."""
    named = ("_record",) if name == "quality.clash" else ("left_record", "right_record")
    apart = " AND ".join(f"{column} NOT IN (SELECT _record FROM records UNION ALL FROM gone)" for column in named)
    return f"SELECT * FROM {table(name)} WHERE entity = {literal(entity.id)} AND {apart}"


def choose(con: duckdb.DuckDBPyConnection, entity: Entity, sources: Sequence[str]) -> list[Statement]:
    """Tables assigned (records with their entity, in order of entities) and chosen (the best value of each field); what ran, for the auditor.

    Needs records, clusters, clashes, the digest key, and what `pipelines.identity.read_before` reads.
    """
    _ranks(con, entity, sources)
    statements = name_clusters(con, entity)
    con.execute(f"CREATE TEMP TABLE assigned AS\n{ASSIGNED_SQL}")
    con.execute("DROP TABLE placed")
    chosen = chosen_sql(entity)
    portions.create(con, "chosen", chosen, portions.digests(count_rows(con, "assigned")))
    return [*statements, ("entity of each record", ASSIGNED_SQL), ("best value of each field", chosen)]


def golden_columns(entity: Entity) -> Columns:
    kinds = {a.name: "VARCHAR" if a.digest else SQL_TYPES[a.type] for a in entity.attributes}
    return {"_entity": "VARCHAR", **kinds, "_records": "BIGINT", "_sources": "BIGINT", "_clash": "BOOLEAN"}


#: In the order of their entities, as all that is made of them: so a portion is found without reading all, and nothing is sorted again.
ASSIGNED_SQL = "SELECT p.*, n._entity FROM placed AS p JOIN named AS n USING (_cluster) ORDER BY n._entity, p._record"


def _ranks(con: duckdb.DuckDBPyConnection, entity: Entity, sources: Sequence[str]) -> None:
    """Table `authority` (source, one rank per attribute): the authority order, spelled out for the sources at hand."""
    names = [a.name for a in entity.attributes]
    columns = ", ".join(f"{quoted(n)} INTEGER" for n in names)
    con.execute(f"CREATE TEMP TABLE authority (_source VARCHAR, {columns})")
    rows = [[s, *(entity.rank(n, s) for n in names)] for s in sorted(set(sources))]
    con.executemany(f"INSERT INTO authority VALUES ({', '.join('?' * (len(names) + 1))})", rows)


def chosen_sql(entity: Entity) -> str:
    """One row per entity; per attribute the value with its place. Order: authority, fresh before stale, newest, then value."""
    fields = ",\n  ".join(_chosen(a) for a in entity.attributes)
    return (
        f"SELECT _entity,\n  {fields},\n  count(*) AS _records, count(DISTINCT t._source) AS _sources, bool_or(t._clash) AS _clash\n"
        f"FROM assigned AS t JOIN authority USING (_source)\nWHERE {portions.within('_entity')}\nGROUP BY _entity ORDER BY _entity"
    )


def _chosen(attribute: Attribute) -> str:
    name = f"t.{quoted(attribute.name)}"
    origin = f"t.{quoted(attribute.name + '__from')}"
    value = digest_sql(f"CAST({name} AS VARCHAR)") if attribute.digest else name
    rank = f"authority.{quoted(attribute.name)}"
    place = (
        f"struct_pack(v := {value}, record := _record, source := _source, batch := coalesce({origin}.batch, _batch), "
        f"sheet := CASE WHEN {origin} IS NULL THEN _sheet ELSE {origin}.sheet END, "
        f'"row" := coalesce({origin}."row", _row), rank := {rank}, stale := {origin} IS NOT NULL)'
    )
    order = f"row({rank}, {origin} IS NOT NULL, -_recency, CAST({name} AS VARCHAR), _record)"
    return (
        f"arg_min({place}, {order}) FILTER ({name} IS NOT NULL) AS {quoted(attribute.name)},\n"
        f"  count(DISTINCT {name}) AS {quoted(attribute.name + '__values')}, "
        f"count(DISTINCT _source) FILTER ({name} IS NOT NULL) AS {quoted(attribute.name + '__sources')}"
    )


def golden_sql(entity: Entity) -> str:
    fields = ", ".join(f"{quoted(a.name)}.v AS {quoted(a.name)}" for a in entity.attributes)
    return f"SELECT _entity, {fields}, _records, _sources, _clash FROM chosen"


def origin_sql(entity: Entity) -> str:
    """Status: authority (rank 1), stale (an older row of the authority), unconfirmed (any other source)."""
    parts = []
    for a in sorted(entity.attributes, key=lambda a: a.name):
        c = quoted(a.name)
        parts.append(
            f"CASE WHEN {c} IS NOT NULL THEN struct_pack(attribute := {literal(a.name)}, _record := {c}.record, _source := {c}.source, "
            f'_batch := {c}.batch, _sheet := {c}.sheet, _row := {c}."row", authority_rank := {c}.rank, '
            f"status := CASE WHEN {c}.rank > 1 THEN 'unconfirmed' WHEN {c}.stale THEN 'stale' ELSE 'authority' END, "
            f"values_seen := {quoted(a.name + '__values')}, sources_with_value := {quoted(a.name + '__sources')}) END"
        )
    listed = "list_filter([\n  " + ",\n  ".join(parts) + "\n], lambda field: field IS NOT NULL)"
    return f"SELECT _entity, unnest(field) FROM (SELECT _entity, unnest({listed}) AS field FROM chosen)"


MEMBER_SQL = (
    'SELECT _record, _entity, _source, "_batch", "_sheet", "_row", _link, _identifier, _probability, _matched_to, _anchors\n'
    "FROM assigned"
)
