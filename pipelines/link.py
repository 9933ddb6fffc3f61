"""Which records are one entity: by identifier where they have one, by likeness where they do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from catalog.decision import Decision, together
from catalog.entity import Entity, Identifier
from pipelines import link_clash, link_doubts, link_groups, link_model
from pipelines.link_kinds import looks
from pipelines.link_model import Script
from warehouse.lake import quoted

SCRATCH = "_link"

#: Compared pairs below this probability are taken as pairs that are not alike at all.
LEAST_LIKENESS = 0.01


@dataclass(frozen=True)
class Links:
    """What linking did, for the ledger and the auditor."""

    clusters_sql_table: str
    statements: tuple[tuple[str, str], ...]  # title, SQL; notes are SQL comments
    model: Mapping[str, Any] | None  # trained Splink settings; None when nothing was matched by likeness


def link(
    con: duckdb.DuckDBPyConnection,
    entity: Entity,
    records: str,
    out: str,
    clashes: str | None = None,
    decisions: Sequence[Decision] = (),
    doubts: str | None = None,
) -> Links:
    """Group the rows of `records` into entities.

    Reads    records: `_record` (unique), `_source`, attributes of the entity, cleaned, invalid identifiers NULL
    Writes   out, replaced: one row per record, ordered by `_record`
             `_record`, `_cluster` (smallest `_record` of the group), `_link` (alone, identifier, decided, matched),
             `_identifier` (the strongest one that joined it, its attributes joined by +), `_probability` and `_matched_to`
             (the likest record of the same group, for matched ones)
             clashes, replaced, if given: one row per record and identifier value on which records contradict each other
             (`pipelines.link_clash`): `_record`, `_identifier`, `_clash` (the smallest record of the value), `_other` (a record
             it is kept apart from), `_unclear` (it contradicts none of them, and no more can be told)
             doubts, replaced, if given: one row per pair of records that a person should look at (`pipelines.link_doubts`)
    Obeys    decisions: what they must link is one whatever else is known, what they cannot link is never one. Those they name that are
             not among the records are passed over
    Rows     rows of out = rows of records
    Again    the same rows in any order give the same groups
    Raises   ValueError when `_record` is not unique
    Beware   works in a scratch schema of the connection's current database and drops it; two at once need two databases
    """
    database, schema = con.execute("SELECT current_database(), current_schema()").fetchall()[0]
    scratch = quoted(database, SCRATCH)
    con.execute(f"DROP SCHEMA IF EXISTS {scratch} CASCADE; CREATE SCHEMA {scratch}")
    try:
        present = frozenset(row[0] for row in con.execute(f"DESCRIBE {quoted(records)}").fetchall())
        script = Script(con)
        compared = looks(entity, present)
        identifiers = [i for i in entity.identifiers if set(i.attributes) - i.may_be_blank <= present]
        told = [a for item in entity.clashing for a in item if a in present]
        wanted = dict.fromkeys(
            [a for i in identifiers for a in i.attributes if a in present] + [v.attribute for v in compared] + told
        )
        columns = "".join(f", {quoted(name)}" for name in wanted)
        source = quoted(records)
        if con.execute(f"SELECT count(*) <> count(DISTINCT _record) FROM {source}").fetchall()[0][0]:
            raise ValueError(f"{records}: `_record` must be there and unique; make it from source, batch and row")
        script.run(
            "records numbered in order of their id",
            f"CREATE TABLE {scratch}.all_records AS\n"
            f"SELECT row_number() OVER (ORDER BY _record) - 1 AS _n, _record{columns} FROM {source} ORDER BY _n",
        )
        con.execute(f"USE {scratch}")
        model = _link(script, entity, identifiers, present, compared, decisions)
        if doubts:
            link_doubts.find(script, entity.match.threshold if entity.match else None, decisions)
        con.execute(f"USE {quoted(database, schema)}")
        script.run(
            "clusters",
            f"""CREATE OR REPLACE TABLE {quoted(out)} AS
SELECT r._record, first._record AS _cluster,
  CASE WHEN g.alone THEN 'alone' WHEN g.name IS NOT NULL THEN 'identifier'
    WHEN g.decided THEN 'decided' ELSE 'matched' END AS _link,
  g.name AS _identifier,
  CASE WHEN g.name IS NULL AND NOT g.decided THEN b.p END AS _probability,
  CASE WHEN g.name IS NULL AND NOT g.decided THEN other._record END AS _matched_to
FROM {scratch}.all_records r
JOIN {scratch}.grouped g USING (_n)
JOIN {scratch}.all_records first ON first._n = g.cluster
LEFT JOIN {scratch}.best b USING (_n)
LEFT JOIN {scratch}.all_records other ON other._n = b.other
ORDER BY r._record""",
        )
        if clashes:
            script.run(
                "clashes",
                f"""CREATE OR REPLACE TABLE {quoted(clashes)} AS
SELECT r._record, c.identifier AS _identifier, first._record AS _clash, other._record AS _other, c.unclear AS _unclear
FROM {scratch}.clashed c JOIN {scratch}.all_records r USING (_n)
JOIN {scratch}.all_records first ON first._n = c.first JOIN {scratch}.all_records other ON other._n = c.other
ORDER BY ALL""",
            )
        if doubts:
            script.run("doubts of the queue", link_doubts.out_sql(scratch, doubts))
        return Links(out, tuple(script.statements), model)
    finally:
        with suppress(duckdb.Error):
            con.execute(f"USE {quoted(database, schema)}")
            con.execute(f"DROP SCHEMA IF EXISTS {scratch} CASCADE")


def _link(
    script: Script,
    entity: Entity,
    identifiers: Sequence[Identifier],
    present: frozenset[str],
    compared: Sequence[Any],
    decisions: Sequence[Decision],
) -> Mapping[str, Any] | None:
    """Writes grouped (`_n`, `cluster`, `alone`, `name`), best (`_n`, `other`, `p`), clashed (`_n`, `identifier`, `first`, `other`,
    `unclear`)."""
    size = script.number("SELECT count(*) FROM all_records")
    codes = [_codes(script, place, i, present, size) for place, i in enumerate(identifiers)]
    one, forbidden = _decided(script, decisions, size)
    disputes = link_clash.find(script, entity, len(identifiers), present, forbidden).settled(one)
    found = link_groups.by_identifier(codes, size, disputes, one)
    for identifier, clashes in zip(identifiers, found.clashes, strict=True):
        if clashes:
            script.note(f"{_name(identifier)}: {clashes} values stand on records whose stronger identifiers differ; not followed")
    cluster = found.group
    model = None
    script.run("scored pairs", "CREATE TABLE scored (l BIGINT, r BIGINT, p DOUBLE)")
    if entity.match and size > 1 and compared:
        identified = np.any([c >= 0 for c in codes], axis=0) if codes else np.zeros(size, dtype=bool)
        _load(script, "identified", {"_n": np.arange(size), "_identified": identified})
        script.run(
            "records to compare", "CREATE TABLE numbered AS SELECT * FROM all_records JOIN identified USING (_n) ORDER BY _n"
        )
        model = link_model.match(script, entity.match, tuple(compared))
        pairs = script.con.execute(f"SELECT l, r, p FROM scored WHERE p >= {LEAST_LIKENESS} ORDER BY l, r").fetchnumpy()
        left, right, p = (np.asarray(pairs[c]) for c in ("l", "r", "p"))
        cluster, apart = link_groups.by_likeness(
            found.group, found.codes, left, right, p, entity.match.threshold, list(disputes.apart(found.group))
        )
        if apart:
            script.note(f"{apart} records hang together in groups too large to examine; left apart")
    names = np.array([_name(i) for i in identifiers] + [None], dtype=object)
    told = link_clash.explain(disputes, cluster)
    for place, identifier in enumerate(identifiers):
        if count := sum(p == place for p, _ in disputes.holders):
            script.note(f"{_name(identifier)}: {count} values stand on records that contradict each other; kept apart")
    _load(
        script,
        "clashed",
        {
            "_n": np.array([c.record for c in told], dtype=np.int64),
            "identifier": pa.array([_name(identifiers[c.place]) for c in told], pa.string()),
            "first": np.array([disputes.holders[c.place, c.code].records[0] for c in told], dtype=np.int64),
            "other": np.array([c.other for c in told], dtype=np.int64),
            "unclear": np.array([c.unclear for c in told], dtype=bool),
        },
    )
    alone = np.bincount(cluster, minlength=size)[cluster] == 1 if size else np.zeros(0, dtype=bool)
    _load(
        script,
        "grouped",
        {
            "_n": np.arange(size),
            "node": found.group,
            "cluster": cluster,
            "alone": alone,
            "decided": np.bincount(one, minlength=size)[one] > 1 if size else alone,
            "name": pa.array(names[found.by], pa.string()),
        },
    )
    script.run(
        "likest record of the same group",
        """CREATE TABLE best AS
WITH pairs AS (SELECT l AS _n, r AS other, p FROM scored UNION ALL SELECT r, l, p FROM scored)
SELECT _n, other, p FROM pairs JOIN grouped a USING (_n) JOIN grouped b ON b._n = other
WHERE a.cluster = b.cluster AND a.node <> b.node
QUALIFY row_number() OVER (PARTITION BY _n ORDER BY p DESC, other) = 1""",
    )
    return model


def _decided(script: Script, decisions: Sequence[Decision], size: int) -> tuple[link_groups.Numbers, list[tuple[int, int]]]:
    """Of each record the smallest one that people made it one with, and the pairs that they keep apart."""
    one = np.arange(size, dtype=np.int64)
    named = sorted({r for d in decisions for r in d.records})
    if not named:
        return one, []
    script.con.execute("CREATE TABLE decided AS SELECT unnest($1) AS _record", [named])
    number = dict(script.ask("SELECT _record, _n FROM all_records JOIN decided USING (_record)"))
    script.note(f"{len(decisions)} decisions name {len(named)} records; {len(named) - len(number)} of them are not in force")
    groups: dict[str, list[int]] = {}
    for record, first in together(decisions).items():
        if record in number:
            groups.setdefault(first, []).append(number[record])
    for members in groups.values():
        one[members] = min(members)
    apart = {
        tuple(sorted((number[a], number[b])))
        for d in decisions
        for i, a in enumerate(d.cannot_link)
        for b in d.cannot_link[i + 1 :]
        if a in number and b in number
    }
    return one, [(a, b) for a, b in sorted(apart)]


def _name(identifier: Identifier) -> str:
    return "+".join(identifier.attributes)


def _codes(script: Script, place: int, identifier: Identifier, present: frozenset[str], size: int) -> link_groups.Numbers:
    """One number per distinct value of the identifier, -1 where a record has none."""
    columns = [quoted(a) for a in identifier.attributes if a in present]
    must = [quoted(a) for a in identifier.attributes if a not in identifier.may_be_blank] or [f"coalesce({', '.join(columns)})"]
    table = quoted(f"identifier_{place}")
    script.run(
        f"values of {_name(identifier)}",
        f"CREATE TABLE {table} AS SELECT _n, dense_rank() OVER (ORDER BY {', '.join(columns)}) - 1 AS code\n"
        f"FROM all_records WHERE {' AND '.join(f'{c} IS NOT NULL' for c in must)}",
    )
    rows = script.con.execute(f"SELECT _n, code FROM {table}").fetchnumpy()
    codes = np.full(size, -1, dtype=np.int64)
    codes[np.asarray(rows["_n"])] = np.asarray(rows["code"])
    return codes


def _load(script: Script, table: str, columns: Mapping[str, Any]) -> None:
    """Arrays worked out here, as a table."""
    arrow = pa.table(dict(columns))
    script.con.register("_arrays", arrow)
    script.con.execute(f"CREATE TABLE {quoted(table)} AS SELECT * FROM _arrays")
    script.con.unregister("_arrays")
    script.note(f"table {table}: {arrow.num_rows} rows worked out outside SQL (connected components, average linkage)")
