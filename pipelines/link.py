"""Which records are one entity: by identifier where they have one, by likeness where they do not.

Linking is local. Records that share an identifier, are alike, or are named in one decision of people hang together; what is decided
about a record depends only on the records it hangs together with. So with a pinned model and an index of the records that are
there (`pipelines.link_index`), only what hangs together with a change is looked at, and the answer is the one that linking
everything anew would give.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from catalog.decision import Decision, together
from catalog.entity import Entity, Identifier
from pipelines import link_clash, link_doubts, link_groups, link_index, link_model, link_pairs
from pipelines.link_groups import LEAST_LIKENESS
from pipelines.link_kinds import Look, looks
from pipelines.link_model import Figures, Model
from pipelines.link_script import Script
from warehouse.lake import quoted

SCRATCH = "_link"

#: A model that learned from fewer records is learned anew by each fusion, which takes seconds; from so many on it is pinned.
PIN_AT = 20_000

#: What linking hands to the index, by name: columns.
DELTA = ("number", "key", "pair", "place", "subject", "compared", "gone")


@dataclass(frozen=True)
class Since:
    """What changed, beside an attached index. `records` of `link` are then those that are new or say something else than before.

    `gone` and `moved` are tables of `_record`: no longer there; still there and saying the same, but to be handed on again. `former`
    (`_id`, `_record`) has what the index holds of all these.
    """

    index: str
    former: str
    gone: str
    moved: str


@dataclass(frozen=True)
class Links:
    """What linking did, for the ledger and the auditor."""

    clusters_sql_table: str
    statements: tuple[tuple[str, str], ...]  # title, SQL; notes are SQL comments
    model: Model | None  # None when nothing was matched by likeness
    figures: Figures | None  # of the records that were compared anew


def link(
    con: duckdb.DuckDBPyConnection,
    entity: Entity,
    records: str,
    out: str,
    clashes: str | None = None,
    decisions: Sequence[Decision] = (),
    *,
    doubts: str | None = None,
    pinned: Path | None = None,
    keep: Path | None = None,
    pin_at: int | None = None,
    since: Since | None = None,
    delta: str | None = None,
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
             `<delta>_number`, `_key`, `_pair`, `_place`, `_subject`, `_compared`, `_gone`, if a prefix is given: what `pipelines.link_index` is to know next time
    Obeys    decisions: what they must link is one whatever else is known, what they cannot link is never one. Those they name that are
             not among the records are passed over
    Model    `pinned`: the folder of the one to use; otherwise one is learned from these records, and, if they are PIN_AT or more,
             kept in the folder `keep` (`pin_at`: another number)
    Since    with it, out and clashes hold the records that hang together with what changed, and no others; needs `pinned` where the
             entity matches by likeness
    Rows     rows of out = rows of records (with `since`: of the records looked at)
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
        identifiers = _identifiers(entity, present)
        columns = "".join(f", {quoted(name)}" for name in looked_at(entity, present))
        source = quoted(records)
        if con.execute(f"SELECT count(*) <> count(DISTINCT _record) FROM {source}").fetchall()[0][0]:
            raise ValueError(f"{records}: `_record` must be there and unique; make it from source, batch and row")
        identified = _identified(identifiers, present)
        numbered = "row_number() OVER (ORDER BY _record) - 1"
        if since:
            for name in ("gone", "moved"):
                known = f"SELECT i._id AS _n FROM {since.former} AS i JOIN {quoted(getattr(since, name))} USING (_record)"
                script.run(f"records that have {name}", f"CREATE TABLE {scratch}.{name} AS {known}")
            source += f" LEFT JOIN (SELECT _id, _record FROM {since.former}) AS i USING (_record)"
            following = (
                f"(SELECT next FROM {since.index}.mark) - 1 + row_number() OVER (PARTITION BY i._id IS NULL ORDER BY _record)"
            )
            numbered = f"coalesce(i._id, {following})"
        script.run(
            "records numbered in order of their id",
            f"CREATE TABLE {scratch}.subject AS\nSELECT *, _n AS _id FROM (\n"
            f"  SELECT {numbered} AS _n, _record{columns}, {identified} AS _identified FROM {source}\n) ORDER BY _n",
        )
        con.execute(f"USE {scratch}")
        work = _Work(
            script,
            entity,
            tuple(identifiers),
            present,
            compared,
            decisions,
            since,
            pinned,
            keep,
            PIN_AT if pin_at is None else pin_at,
        )
        model, figures = _link(work, delta is not None)
        if doubts:
            link_doubts.find(script, entity.match.threshold if entity.match else None, decisions, since.index if since else None)
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
            script.run("doubts", f"CREATE OR REPLACE TABLE {quoted(doubts)} AS FROM {scratch}.doubted ORDER BY ALL")
        for name in DELTA if delta else ():
            con.execute(f"CREATE OR REPLACE TABLE {quoted(f'{delta}_{name}')} AS FROM {scratch}.delta_{name}")
        return Links(out, tuple(script.statements), model, figures)
    finally:
        with suppress(duckdb.Error):
            con.execute(f"USE {quoted(database, schema)}")
            con.execute(f"DROP SCHEMA IF EXISTS {scratch} CASCADE")


def _identifiers(entity: Entity, present: frozenset[str]) -> list[Identifier]:
    return [i for i in entity.identifiers if set(i.attributes) - i.may_be_blank <= present and set(i.attributes) & present]


def looked_at(entity: Entity, present: frozenset[str]) -> tuple[str, ...]:
    """The attributes that linking reads, of those present: where they stay the same, so does what is linked."""
    identifying = [a for i in _identifiers(entity, present) for a in i.attributes]
    told = [a for item in entity.clashing for a in item]
    return tuple(dict.fromkeys(a for a in [*identifying, *(v.attribute for v in looks(entity, present)), *told] if a in present))


def _identified(identifiers: Sequence[Identifier], present: frozenset[str]) -> str:
    """Whether a record has any identifier, in SQL."""
    return " OR ".join(f"({_given(i, present)})" for i in identifiers) or "false"


def _given(identifier: Identifier, present: frozenset[str]) -> str:
    """Whether a record has the identifier, in SQL."""
    must = [quoted(a) for a in identifier.attributes if a not in identifier.may_be_blank]
    any_of = ", ".join(quoted(a) for a in identifier.attributes if a in present)
    return " AND ".join(f"{c} IS NOT NULL" for c in must) or f"coalesce({any_of}) IS NOT NULL"


@dataclass(frozen=True)
class _Work:
    """One linking run. The current schema is its scratch; `subject` (`_n`, `_record`, attributes, `_identified`) holds the records
    that are new or changed, or all."""

    script: Script
    entity: Entity
    identifiers: tuple[Identifier, ...]
    present: frozenset[str]
    compared: tuple[Look, ...]
    decisions: Sequence[Decision]
    since: Since | None
    pinned: Path | None
    keep: Path | None
    pin_at: int


def _link(work: _Work, delta: bool) -> tuple[Model | None, Figures | None]:
    """Writes all_records (`_n`, `_id`, `_record`, attributes), grouped (`_n`, `cluster`, `alone`, `name`), best (`_n`, `other`, `p`),
    scored (`l`, `r`, `p`), clashed (`_n`, `identifier`, `first`, `other`, `unclear`), and delta_* where asked."""
    script, entity, identifiers = work.script, work.entity, work.identifiers
    threshold = entity.match.threshold if entity.match else 1.0
    keys = [f"SELECT hash({place} || chr(29) || {_text(i, work.present)}) AS value, _n FROM subject WHERE {_given(i, work.present)}"
            for place, i in enumerate(identifiers)]  # fmt: skip
    keyed = "\nUNION ALL ".join(keys) or "SELECT NULL::UBIGINT AS value, NULL::BIGINT AS _n WHERE false"
    script.run("identifiers", f"CREATE TABLE keys AS {keyed}")
    model, figures = _compare(work)
    _gather(work, threshold)
    size = script.number("SELECT count(*) FROM all_records")
    codes = [_codes(script, place, i, work.present, size) for place, i in enumerate(identifiers)]
    one, forbidden = _decided(script, work.decisions, size)
    disputes = link_clash.find(script, entity, len(identifiers), work.present, forbidden).settled(one)
    found = link_groups.by_identifier(codes, size, disputes, one)
    for identifier, clashes in zip(identifiers, found.clashes, strict=True):
        if clashes:
            script.note(f"{_name(identifier)}: {clashes} values stand on records whose stronger identifiers differ; not followed")
    pairs = script.con.execute("SELECT l, r, p FROM scored ORDER BY l, r").fetchnumpy()
    left, right, p = (np.asarray(pairs[c]) for c in ("l", "r", "p"))
    cluster = found.group
    if len(left):
        cluster, apart = link_groups.by_likeness(
            found.group, found.codes, left, right, p, threshold, list(disputes.apart(found.group))
        )
        if apart:
            script.note(f"{apart} records hang together in groups too large to examine; left apart")
    names = np.array([_name(i) for i in identifiers] + [None], dtype=object)
    told = link_clash.explain(disputes, cluster)
    for place, identifier in enumerate(identifiers):
        if count := sum(p == place for p, _ in disputes.holders):
            script.note(f"{_name(identifier)}: {count} values stand on records that contradict each other; kept apart")
    script.load(
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
    script.load(
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
    if delta:
        near = p >= threshold
        _hand_on(
            script, codes, [(left[near], right[near]), (np.arange(size), one), _ends(forbidden)], cluster, work.since is not None
        )
    return model, figures


def _compare(work: _Work) -> tuple[Model | None, Figures | None]:
    """Score the pairs that changed: table compared (`l`, `r`, `p`), and recompared (`_n`), the records all of whose pairs are in it."""
    script, since = work.script, work.since
    script.run("records compared anew", "CREATE TABLE recompared AS SELECT _n FROM subject")
    script.con.execute("CREATE TABLE delta_subject AS FROM recompared")
    blocks = "CREATE TABLE blocks (rule VARCHAR, value UBIGINT, _n BIGINT, _identified BOOLEAN)"
    nothing = "CREATE TABLE compared (l BIGINT, r BIGINT, p DOUBLE)"
    how = work.entity.match
    if how is None or not work.compared or not (since or script.number("SELECT count(*) > 1 FROM subject")):
        script.con.execute(f"{blocks}; {nothing}")
        return None, None
    link_pairs.macros(script)
    if work.pinned:
        model = link_model.load(script, work.pinned)
        usable = model.of(work.compared)
        script.con.execute(blocks)
        link_pairs.forms(script, usable, "subject", "forms")
        link_pairs.prepare(script, usable, model.unseen, "forms")
        for rule in model.rules:
            link_pairs.values(script, usable, rule)
    else:
        learned = link_model.train(script, how, work.compared)
        if learned is None:
            script.con.execute(f"{blocks.replace('TABLE', 'TABLE IF NOT EXISTS')}; {nothing}")
            return None, None
        model, usable = learned, learned.of(work.compared)
    if since:
        _compare_with_index(work, since, model, usable)
    else:
        link_pairs.pair(script, model.most)
    if script.number("SELECT count(*) FROM link_pairs"):
        link_model.score(script, usable, model, "link_pairs", "compared", LEAST_LIKENESS)
        _leave_out_what_is_shared(work, model, usable)
    else:
        script.con.execute(nothing)
    figures = link_model.figures(script, usable, "subject", "compared")
    if work.keep and not work.pinned and model.records >= work.pin_at:
        model = replace(model, figures=figures)
        link_model.save(script, model, work.keep)
    return model, figures


def _leave_out_what_is_shared(work: _Work, model: Model, usable: Sequence[Look]) -> None:
    """Score pairs that contradict each other once more, without what a household or an office shares.

    Two of one family have one address and one phone, which the model counts as if one had nothing to do with the other; that their
    names and dates of birth differ in earnest is then outvoted.
    """
    script, told = work.script, "subject"
    if work.since:
        columns = ", ".join(quoted(c) for c in looked_at(work.entity, work.present))
        beside = f"SELECT _id, {columns} FROM {work.since.index}.record WHERE _id IN (SELECT l FROM compared UNION SELECT r FROM compared)"
        told = "told"
        script.con.execute(
            f"CREATE TABLE told AS SELECT _n, {columns} FROM subject UNION ALL {beside} AND _id NOT IN (SELECT _n FROM subject)"
        )
    if not link_clash.contradicting(script, work.entity, work.present, "compared", told, "contradicting"):
        return
    own = tuple(v for v in usable if not link_clash.is_of_a_household(work.entity, v.attribute))
    if own:
        script.con.execute(
            "CREATE TABLE contradicting_pairs AS SELECT l AS join_key_l, r AS join_key_r, '0' AS match_key FROM contradicting"
        )
        link_model.score(script, own, model, "contradicting_pairs", "compared_without", LEAST_LIKENESS)
    script.con.execute("DELETE FROM compared AS p USING contradicting AS c WHERE c.l = p.l AND c.r = p.r")
    if own:
        script.con.execute("INSERT INTO compared FROM compared_without")


def _compare_with_index(work: _Work, since: Since, model: Model, usable: Sequence[Look]) -> None:
    """Table link_pairs for the records of the subject, and those whose values became too common or cease to be, beside the index."""
    script, index = work.script, since.index
    script.con.execute("CREATE TABLE left_out AS SELECT _n FROM subject UNION SELECT _n FROM gone")
    # how many records share each value that the change touches, before and after
    script.run(
        "values that the change touches",
        f"""CREATE TABLE touched_values AS
WITH gained AS (SELECT value, count(*) AS n, count(*) FILTER (_identified) AS i FROM blocks GROUP BY value),
lost AS (
  SELECT value, count(*) AS n, count(*) FILTER (identified) AS i FROM {index}.key
  WHERE is_block AND _id IN (SELECT _n FROM left_out) GROUP BY value),
touched AS (SELECT value FROM gained UNION SELECT value FROM lost),
had AS (
  SELECT value, count(*) AS n, count(*) FILTER (identified) AS i FROM {index}.key
  WHERE is_block AND value IN (SELECT value FROM touched) GROUP BY value)
SELECT value, coalesce(h.n, 0) AS n_before, coalesce(h.i, 0) AS i_before,
  coalesce(h.n, 0) - coalesce(l.n, 0) + coalesce(g.n, 0) AS n, coalesce(h.i, 0) - coalesce(l.i, 0) + coalesce(g.i, 0) AS i
FROM touched LEFT JOIN gained AS g USING (value) LEFT JOIN lost AS l USING (value) LEFT JOIN had AS h USING (value)""",
    )
    script.run(
        "records of values that became too common, or are no longer",
        f"""CREATE TABLE again AS
SELECT DISTINCT _id AS _n FROM {index}.key
WHERE is_block AND _id NOT IN (SELECT _n FROM left_out) AND value IN (
  SELECT value FROM touched_values WHERE n_before > 1
    AND ({link_pairs.pairs_sql("n_before", "i_before")} <= {model.most}) <> ({link_pairs.pairs_sql()} <= {model.most}))""",
    )
    again = script.number("SELECT count(*) FROM again")
    if again:
        script.note(f"{again} records are compared anew because a value of theirs became too common to go by, or is no longer")
        listed = ", ".join(["_id AS _n", *(quoted(v.attribute) for v in usable)])
        script.con.execute(
            f"CREATE TABLE again_records AS SELECT {listed}, {_identified(work.identifiers, work.present)} AS _identified FROM {index}.record "
            "WHERE _id IN (SELECT _n FROM again)"
        )
        link_pairs.forms(script, usable, "again_records", "again_forms")
        link_pairs.prepare(script, usable, model.unseen, "again_forms", more=True)
        script.con.execute("CREATE TABLE own_blocks AS FROM blocks")
        for rule in model.rules:
            link_pairs.values(script, usable, rule, "(SELECT * FROM link_prepared WHERE _n IN (SELECT _n FROM again))")
        script.con.execute("INSERT INTO left_out FROM again; INSERT INTO recompared FROM again")
    script.run(
        "how many pairs each value makes now",
        f"""CREATE TABLE blocked AS
WITH sized AS (
  SELECT value, n, i FROM touched_values
  UNION ALL
  SELECT value, count(*) AS n, count(*) FILTER (identified) AS i FROM {index}.key
  WHERE is_block AND value IN (SELECT value FROM blocks WHERE value NOT IN (SELECT value FROM touched_values)) GROUP BY value)
SELECT value, {link_pairs.pairs_sql()} AS pairs FROM sized""",
    )
    link_pairs.pair_with_index(script, model.most, index)
    listed = ", ".join(["_id AS _n", *(quoted(v.attribute) for v in usable)])
    script.run(
        "records they are compared with",
        f"""CREATE TABLE partners AS
SELECT {listed}, {_identified(work.identifiers, work.present)} AS _identified FROM {index}.record
WHERE _id IN (SELECT join_key_l FROM link_pairs UNION SELECT join_key_r FROM link_pairs) AND _id NOT IN (SELECT _n FROM left_out)""",
    )
    link_pairs.forms(script, usable, "partners", "partner_forms")
    link_pairs.prepare(script, usable, model.unseen, "partner_forms", more=True)
    if again:
        script.con.execute("DROP TABLE blocks; ALTER TABLE own_blocks RENAME TO blocks")


def _gather(work: _Work, threshold: float) -> None:
    """all_records: those that hang together with the change, numbered in order of their id; scored: the pairs among them."""
    script, since = work.script, work.since
    columns = "".join(f", {quoted(c)}" for c in looked_at(work.entity, work.present))
    if since is None:
        script.con.execute("ALTER TABLE subject RENAME TO all_records")
        script.run("pairs that are alike at all", "CREATE TABLE scored AS SELECT l, r, p FROM compared")
        return
    index = since.index
    named = sorted({r for d in work.decisions for r in d.records})
    decided_on = f"SELECT unnest($1::VARCHAR[]) AS _record UNION SELECT unnest(decided) FROM {index}.mark"
    script.con.execute(f"CREATE TABLE decided_on AS {decided_on}", [named])
    script.run(
        "what hangs together with the change",
        f"""CREATE TABLE affected AS
WITH near AS (
  SELECT _n FROM recompared UNION SELECT _n FROM gone UNION SELECT _n FROM moved
  UNION SELECT l FROM compared WHERE p >= {threshold} UNION SELECT r FROM compared WHERE p >= {threshold}
  UNION SELECT _id FROM {index}.key WHERE NOT is_block AND value IN (SELECT value FROM keys)
  UNION SELECT _id FROM {index}.record WHERE _hash IN (SELECT {link_index.HASH} FROM decided_on)),
groups AS (SELECT DISTINCT component FROM {index}.place WHERE _id IN (SELECT _n FROM near))
SELECT _id AS _n FROM {index}.place WHERE component IN (SELECT component FROM groups)
  AND _id NOT IN (SELECT _n FROM gone) AND _id NOT IN (SELECT _n FROM subject)""",
    )
    script.run(
        "records that hang together with the change",
        f"""CREATE TABLE all_records AS
SELECT row_number() OVER (ORDER BY _record) - 1 AS _n, _id, _record{columns}
FROM (SELECT _n AS _id, _record{columns} FROM subject
  UNION ALL SELECT _id, _record{columns} FROM {index}.record WHERE _id IN (SELECT _n FROM affected))
ORDER BY _n""",
    )
    script.run(
        "pairs that are alike at all",
        f"""CREATE TABLE scored AS
WITH pairs AS (
  SELECT l, r, p FROM compared
  UNION ALL
  SELECT l, r, p FROM {index}.pair
  WHERE l IN (SELECT _n FROM affected) AND r IN (SELECT _n FROM affected)
    AND l NOT IN (SELECT _n FROM recompared) AND r NOT IN (SELECT _n FROM recompared))
SELECT least(a._n, b._n) AS l, greatest(a._n, b._n) AS r, p
FROM pairs JOIN all_records AS a ON a._id = l JOIN all_records AS b ON b._id = r""",
    )


def _hand_on(
    script: Script,
    codes: Sequence[link_groups.Numbers],
    ties: Sequence[tuple[Any, Any]],
    cluster: link_groups.Numbers,
    beside_index: bool,
) -> None:
    """delta_*: what the index is to know. Records that hang together go by their smallest number, clusters by that of their first record."""
    size = script.number("SELECT count(*) FROM all_records")
    left, right, width = [], [], size
    for code in codes:
        held = np.flatnonzero(code >= 0)
        left.append(held)
        right.append(code[held] + width)
        width += int(code.max(initial=-1)) + 1
    for a, b in ties:
        left.append(np.asarray(a, dtype=np.int64))
        right.append(np.asarray(b, dtype=np.int64))
    group = link_groups.connected(width, np.concatenate(left), np.concatenate(right))[:size] if size else np.zeros(0, np.int64)
    ids = np.asarray(script.con.execute("SELECT _id FROM all_records ORDER BY _n").fetchnumpy()["_id"], dtype=np.int64)
    smallest = np.full(size, np.iinfo(np.int64).max)
    np.minimum.at(smallest, group, ids)
    script.load("hanging_together", {"_id": ids, "component": smallest[group], "cluster": ids[cluster]})
    script.con.execute(
        f"""CREATE TABLE delta_place AS FROM hanging_together;
CREATE TABLE delta_number AS SELECT _id, _record FROM all_records;
CREATE TABLE delta_compared AS FROM recompared;
CREATE TABLE delta_gone AS SELECT _n FROM {"gone" if beside_index else "recompared WHERE false"};
CREATE TABLE delta_pair AS SELECT l, r, p FROM compared;
CREATE TABLE delta_key AS
  SELECT value, false AS is_block, _n AS _id, true AS identified FROM keys
  UNION ALL SELECT DISTINCT value, true, _n, _identified FROM blocks"""
    )


def _ends(pairs: Sequence[tuple[int, int]]) -> tuple[list[int], list[int]]:
    return [a for a, _ in pairs], [b for _, b in pairs]


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


def _text(identifier: Identifier, present: frozenset[str]) -> str:
    return " || chr(31) || ".join(f"coalesce(CAST({quoted(a)} AS VARCHAR), '')" for a in identifier.attributes if a in present)


def _codes(script: Script, place: int, identifier: Identifier, present: frozenset[str], size: int) -> link_groups.Numbers:
    """One number per distinct value of the identifier, -1 where a record has none."""
    columns = [quoted(a) for a in identifier.attributes if a in present]
    table = quoted(f"identifier_{place}")
    script.run(
        f"values of {_name(identifier)}",
        f"CREATE TABLE {table} AS SELECT _n, dense_rank() OVER (ORDER BY {', '.join(columns)}) - 1 AS code\n"
        f"FROM all_records WHERE {_given(identifier, present)}",
    )
    rows = script.con.execute(f"SELECT _n, code FROM {table}").fetchnumpy()
    codes = np.full(size, -1, dtype=np.int64)
    codes[np.asarray(rows["_n"])] = np.asarray(rows["code"])
    return codes
