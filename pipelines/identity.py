"""Ids of golden records: minted once, kept through every later fusion, never given to another.

An id is minted from the strongest identifier of its first records (or from the first of them), so that two warehouses that
see the same data for the first time mint the same. From then on it belongs to its records, not to that identifier: a mended number or
name leaves it alone. Each fusion asks of every id where its records stand now. Where several ids meet, the oldest stays
and the others redirect to it (*merged*); records that stand apart get an id of their own (*split*), or back the one that they
had (*restored*); an id none of whose records is in force any more is *ended*, and comes back with them.

What became of every id stands in `ledger.entity_change`. It cannot be worked out from the files that departments sent, since it follows from
what was merged when. So the changes of each fusion, and which record had which id, are kept in the archive too, from where
`dmp rebuild` takes them.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb

from catalog.entity import Entity, Identifier
from pipelines.dedupe import digest_sql, is_fused, journalled
from pipelines.portions import within
from pipelines.run import Run
from warehouse.lake import PARQUET, literal, quoted, table, table_columns
from warehouse.layout import Workspace, sync_file, sync_folder, write_atomically
from warehouse.tables import TABLES

CHANGES = "ledger.entity_change"

#: What ends an id, for now; in SQL.
RETIRED = "('merged', 'ended')"

Statement = tuple[str, str]


@dataclass(frozen=True)
class Before:
    """Where the last fusion left the ids. `restored`: read from the archive, because this warehouse has fused nothing yet."""

    restored: bool
    golden: bool


def read_before(run: Run, con: duckdb.DuckDBPyConnection, entity: Entity, *, whole: bool) -> Before:
    """Tables on `con`, which has the lake attached: old_history (as `base.<entity>__history`, where restored), old_member (`_record`, `_entity`, `_anchors`), old_change (as `ledger.entity_change`, of this entity), old_id
    (`_entity`: every id there ever was), old_golden where there is one.

    Unless `whole` only what the staged records and those gone were part of, with the retired ids that could come back with them.
    """
    changes = ", ".join(quoted(c) for c in TABLES[CHANGES][1])
    if is_fused(run, entity.id):
        members, golden = table(f"base.{entity.id}__member"), table(f"base.{entity.id}")
        anchors = (
            "_anchors" if "_anchors" in table_columns(con, f"base.{entity.id}__member") else "CAST([] AS VARCHAR[]) AS _anchors"
        )
        told = f"FROM {table(CHANGES)} WHERE entity = {literal(entity.id)}"
        con.execute(f"CREATE TEMP VIEW old_id AS SELECT _entity {told}")
        if whole:
            con.execute(f"CREATE TEMP VIEW old_golden AS FROM {golden}")
            con.execute(f"CREATE TEMP VIEW old_member AS SELECT _record, _entity, {anchors} FROM {members}")
            con.execute(f"CREATE TEMP VIEW old_change AS SELECT {changes} {told}")
            return Before(restored=False, golden=True)
        at_hand = "SELECT _record FROM records UNION ALL FROM gone"
        con.execute(
            f"CREATE TEMP TABLE old_member AS SELECT _record, _entity, {anchors} FROM {members} WHERE _record IN ({at_hand})"
        )
        con.execute(f"CREATE TEMP TABLE old_golden AS FROM {golden} WHERE _entity IN (SELECT _entity FROM old_member)")
        tokens = f"SELECT 'r' || _record FROM records UNION ALL SELECT 'a' || unnest({anchors_sql(entity)}) FROM records"
        con.execute(
            f"CREATE TEMP TABLE old_change AS SELECT {changes} {told} AND _entity IN (SELECT _entity FROM old_member UNION ALL "
            f"SELECT _entity FROM (SELECT _entity, unnest(held) AS token {told} AND change IN {RETIRED}) WHERE token IN ({tokens}))"
        )
        return Before(restored=False, golden=True)
    number = journalled(run.workspace, entity.id)
    folder = _folder(run.workspace, entity.id)
    if number:
        con.execute(f"CREATE TEMP TABLE old_member AS {_members_sql(folder, number)}")
        con.execute(f"CREATE TEMP VIEW old_change AS SELECT {changes} FROM read_parquet([{_listed(folder, 'changes', number)}])")
        if past := _listed(folder, "history", number):
            con.execute(f"CREATE TEMP VIEW old_history AS FROM read_parquet([{past}])")
        else:  # kept by a version that had none
            con.execute("CREATE TEMP TABLE old_history (_entity VARCHAR)")
    else:
        con.execute("CREATE TEMP TABLE old_member (_record VARCHAR, _entity VARCHAR, _anchors VARCHAR[])")
        con.execute(f"CREATE TEMP TABLE old_change ({', '.join(f'{quoted(c)} {k}' for c, k in TABLES[CHANGES][1].items())})")
    con.execute("CREATE TEMP VIEW old_id AS SELECT _entity FROM old_change")
    return Before(restored=bool(number), golden=False)


def _folder(workspace: Workspace, entity: str) -> Path:
    return workspace.archive / "entities" / entity


def _members_sql(folder: Path, number: int) -> str:
    """Which record had which id after a fusion: as the last whole one left it, changed by those that followed."""
    first = max(n for n in _numbers(folder, "members") if n <= number)
    files = [
        (first, f"{first}.members.parquet"),
        *((n, f"{n}.moved.parquet") for n in _numbers(folder, "moved") if first < n <= number),
    ]
    parts = " UNION ALL ".join(
        f"SELECT {n} AS n, _record, _entity, _anchors FROM read_parquet({literal(str(folder / name))})" for n, name in files
    )
    newest = f"SELECT _record, arg_max(struct_pack(e := _entity, a := _anchors), n) AS v FROM ({parts}) GROUP BY _record"
    return f"SELECT _record, v.e AS _entity, v.a AS _anchors FROM ({newest}) WHERE v.e IS NOT NULL"


def _listed(folder: Path, name: str, number: int) -> str:
    return ", ".join(literal(str(folder / f"{n}.{name}.parquet")) for n in _numbers(folder, name) if n <= number)


def _numbers(folder: Path, name: str) -> list[int]:
    return sorted(int(p.name.split(".")[0]) for p in folder.glob(f"[0-9]*.{name}.parquet"))


def moved_members(con: duckdb.DuckDBPyConnection, place: Path) -> Path:
    """A file with the records at hand and the ids they have now; NULL those that are in force no more."""
    path = place / "moved.parquet"
    gone = "SELECT _record, NULL, NULL FROM gone"
    con.execute(
        f"COPY (SELECT _record, _entity, _anchors FROM assigned UNION ALL {gone} ORDER BY _record) TO {literal(str(path))} {PARQUET}"
    )
    return path


def keep(workspace: Workspace, entity: str, number: int, files: Mapping[str, Path]) -> None:
    """Put what this fusion decided into the archive, before it is committed: `members` (of all records) or `moved` (of those at hand),
    `history`, and last `changes`. The files are linked, not copied, where the file system can. Again: the same names, whole or not
    at all."""
    folder = _folder(workspace, entity)
    folder.mkdir(parents=True, exist_ok=True)
    for name, path in files.items():
        sync_file(path)
        part = folder / f".{name}.{uuid.uuid4().hex[:12]}"
        try:
            os.link(path, part)
        except OSError:
            shutil.copy2(path, part)
            sync_file(part)
        part.replace(folder / f"{number}.{name}.parquet")
    sync_folder(folder)


def begin_from_archive(workspace: Workspace) -> None:
    """Let the first fusion of each entity in a rebuilt warehouse begin at the ids that the archive knows.

    A mark, because a first fusion that was killed between archive and commit leaves the same files: it is simply done again.
    """
    for folder in sorted((workspace.archive / "entities").glob("*")):
        known = [*_numbers(folder, "members"), *_numbers(folder, "moved")]
        whole = [n for n in known if (folder / f"{n}.changes.parquet").is_file()]
        if whole:
            write_atomically(folder / "rebuilt_from", str(max(whole)).encode())


def tidy(workspace: Workspace, entity: str, number: int) -> None:
    """After the commit of a fusion: of the states of the records only the newest whole one is of use, and what followed; parts that a
    killed run left are none."""
    folder = _folder(workspace, entity)
    first = max((n for n in _numbers(folder, "members") if n <= number), default=0)
    for path in (*folder.glob("*.members.parquet"), *folder.glob("*.moved.parquet"), *folder.glob(".*")):
        if path.name.startswith(".") or int(path.name.split(".")[0]) < first:
            path.unlink()


def anchors_sql(entity: Entity) -> str:
    """Keyed digests of a record's identifiers, as a list."""
    anchors = ", ".join(f"CASE WHEN {_given(i)} THEN left({digest_sql(_text(i))}, 32) END" for i in entity.identifiers)
    return f"list_filter(CAST([{anchors}] AS VARCHAR[]), lambda x: x IS NOT NULL)"


def placed_sql(entity: Entity) -> str:
    """Each record with its cluster, whether its number is in dispute, and its anchors. A number in dispute names nobody."""
    return (
        "SELECT r.*, c._cluster, c._link, c._identifier, c._probability, c._matched_to, d._record IS NOT NULL AS _clash,\n"
        f"  CASE WHEN d._record IS NOT NULL THEN CAST([] AS VARCHAR[]) ELSE {anchors_sql(entity)} END AS _anchors\n"
        "FROM records AS r JOIN clusters AS c USING (_record)\n"
        "LEFT JOIN (SELECT DISTINCT _record FROM clashes) AS d USING (_record)"
    )


def _given(identifier: Identifier) -> str:
    return " AND ".join(f"{quoted(n)} IS NOT NULL" for n in identifier.attributes if n not in identifier.may_be_blank) or "TRUE"


def _text(identifier: Identifier) -> str:
    text = " || chr(31) || ".join(f"coalesce(CAST({quoted(n)} AS VARCHAR), '')" for n in identifier.attributes)
    return f"{literal('+'.join(identifier.attributes))} || chr(30) || {text}"


TOKENS = """SELECT DISTINCT _cluster, 'r' || _record AS token FROM placed
UNION SELECT DISTINCT _cluster, 'a' || unnest(_anchors) FROM placed"""

#: One row per id that ever was: when it was minted (number of the fusion), and what happened to it last.
STATUS = """SELECT _entity, min(number) AS minted,
  arg_max(struct_pack(change, other, held), number) FILTER (change <> 'changed') AS last
FROM old_change GROUP BY _entity"""

#: What each id holds on to: its records and their identifiers, those of a retired one as it had them last. `own` are the records that
#: did not come to it with another id.
OLD_TOKENS = f"""WITH held AS (
  SELECT _entity, last.other AS other, unnest(last.held) AS token FROM status WHERE last.change IN {RETIRED}
)
SELECT m._entity, true AS alive, m.token, h.token IS NULL AS own
FROM (
  SELECT _entity, 'r' || _record AS token FROM old_member
  UNION SELECT _entity, 'a' || unnest(_anchors) FROM old_member
) AS m LEFT JOIN (SELECT DISTINCT other, token FROM held) AS h ON h.other = m._entity AND h.token = m.token
UNION ALL SELECT _entity, false, token, true FROM held"""

OVERLAPS = """SELECT o._entity, o.alive, n._cluster, count(*) FILTER (o.own AND n.token[1] = 'r') AS own,
  count(*) FILTER (n.token[1] = 'r') AS records, count(*) AS tokens
FROM old_token AS o JOIN new_token AS n USING (token) GROUP BY ALL"""

#: Each id goes where most of its records are; where several meet, the oldest keeps the place. Done again for those left over, until
#: nothing changes: first for ids in force, then for retired ones and the groups that nobody claims.
KEEP = """INSERT INTO named
WITH home AS (
  SELECT * FROM overlap WHERE alive = $1 AND _entity NOT IN (SELECT _entity FROM named) AND _cluster NOT IN (SELECT _cluster FROM named)
  QUALIFY row_number() OVER (PARTITION BY _entity ORDER BY own DESC, records DESC, tokens DESC, _cluster) = 1
)
SELECT _cluster, arg_min(_entity, row(coalesce(minted, 0), -own, -records, -tokens, _entity)), CASE WHEN $1 THEN 'kept' ELSE 'restored' END
FROM home LEFT JOIN status USING (_entity) GROUP BY _cluster"""


def name_clusters(con: duckdb.DuckDBPyConnection, entity: Entity) -> list[Statement]:
    """Table named (`_cluster`, `_entity`, `how`: kept, restored, minted), one row per cluster; what ran, for the auditor."""
    statements = [
        ("records with their identifiers", "placed", placed_sql(entity)),
        ("what holds a group together", "new_token", TOKENS),
        ("what became of each id so far", "status", STATUS),
        ("what held each id together", "old_token", OLD_TOKENS),
        ("which ids meet which groups", "overlap", OVERLAPS),
    ]
    for _, name, sql in statements:
        con.execute(f"CREATE TEMP TABLE {name} AS\n{sql}")
    con.execute("CREATE TEMP TABLE named (_cluster VARCHAR, _entity VARCHAR, how VARCHAR)")
    for alive in (True, False):
        while con.execute(KEEP, [alive]).fetchall()[0][0]:
            pass
    seeds = [f"min({_text(i)}) FILTER (({_given(i)}) AND NOT _clash)" for i in entity.identifiers]
    seed = f"coalesce({', '.join([*seeds, '_cluster'])})"
    con.execute(
        f"CREATE TEMP TABLE unnamed AS SELECT _cluster, {seed} AS seed, 1 AS turn FROM placed "
        "WHERE _cluster NOT IN (SELECT _cluster FROM named) GROUP BY _cluster"
    )
    turn = "CASE WHEN turn > 1 THEN chr(28) || turn ELSE '' END"
    mint = (
        f"SELECT _cluster, left({digest_sql(f'{literal(entity.id)} || chr(29) || seed || {turn}')}, 32) AS _entity, 'minted' AS how\n"
        "FROM unnamed"
    )
    # an id that anybody ever had, or that two would have, is taken: another is minted from the same seed
    taken = (
        f"SELECT _cluster FROM ({mint}) WHERE _entity IN (SELECT _entity FROM old_id UNION ALL SELECT _entity FROM old_member)\n"
        f"UNION SELECT _cluster FROM ({mint}) QUALIFY row_number() OVER (PARTITION BY _entity ORDER BY _cluster) > 1"
    )
    while con.execute(f"UPDATE unnamed SET turn = turn + 1 WHERE _cluster IN ({taken})").fetchall()[0][0]:
        pass
    con.execute(f"INSERT INTO named {mint}")
    return [*((title, sql) for title, _, sql in statements), ("ids that stay or come back", KEEP), ("new ids", mint)]


def told_sql(entity: Entity) -> str:
    """What is to be said of each cluster, a portion of the entities in `assigned`."""
    zh, en = (_identifier_title(entity, language) for language in ("zh", "en"))
    return f"""SELECT _cluster, count(*) AS records, bool_or(_clash) AS clash, string_agg(DISTINCT _source, ', ' ORDER BY _source) AS sources,
  string_agg(DISTINCT {zh}, '、' ORDER BY {zh}) FILTER (_identifier IS NOT NULL) AS by_zh,
  string_agg(DISTINCT {en}, ', ' ORDER BY {en}) FILTER (_identifier IS NOT NULL) AS by_en, min(_probability) AS p
FROM assigned WHERE {within("_entity")} GROUP BY _cluster"""


def changes_sql(entity: Entity, golden: frozenset[str]) -> str:
    """The rows of `ledger.entity_change` that this fusion adds; `golden`: columns of the former golden table. Needs named, told_cluster,
    overlap, old_member, old_token, new_golden, old_golden, and the variables number and recorded_at: the text is the same each time."""
    mine = f"{literal(entity.id)} AS entity, getvariable('number') AS number, getvariable('recorded_at') AS recorded_at"
    gone = "SELECT DISTINCT _entity FROM old_member WHERE _entity NOT IN (SELECT _entity FROM named)"
    changed = f"""
UNION ALL
SELECT {mine}, _entity, 'changed' AS change, NULL AS other, list_transform(fields, lambda f: f.n) AS attributes, NULL AS held,
  '字段有变：' || list_aggregate(list_transform(fields, lambda f: f.zh), 'string_agg', '、') AS reason_zh,
  'changed: ' || list_aggregate(list_transform(fields, lambda f: f.en), 'string_agg', ', ') AS reason_en
FROM (
  SELECT n._entity, list_filter([{", ".join(_field(entity, a.name, a.name in golden) for a in entity.attributes)}], lambda f: f IS NOT NULL) AS fields
  FROM new_golden AS n JOIN old_golden AS o USING (_entity)
) WHERE len(fields) > 0"""
    return f"""WITH whence AS (
  SELECT _cluster, arg_min(_entity, row(-records, -tokens, _entity)) AS _entity, max(records) AS records FROM overlap WHERE alive GROUP BY _cluster
), whither AS (
  SELECT _entity, arg_min(_cluster, row(-records, -tokens, _cluster)) AS _cluster, max(records) AS records FROM overlap WHERE alive GROUP BY _entity
), new AS (
  SELECT n._entity, n.how, s.*, w._entity AS former, w.records AS came
  FROM named AS n JOIN told_cluster AS s USING (_cluster) LEFT JOIN whence AS w USING (_cluster) WHERE n.how <> 'kept'
), gone AS (
  SELECT g._entity, n._entity AS other, w.records AS went, s.by_zh, s.by_en, s.p,
    (SELECT count(*) FROM old_member AS m WHERE m._entity = g._entity) AS had,
    (SELECT list(token ORDER BY token) FROM old_token AS t WHERE t._entity = g._entity AND t.alive) AS held
  FROM ({gone}) AS g LEFT JOIN whither AS w USING (_entity) LEFT JOIN named AS n USING (_cluster) LEFT JOIN told_cluster AS s USING (_cluster)
)
SELECT {mine}, _entity,
  CASE WHEN how = 'restored' THEN 'restored' WHEN former IS NULL THEN 'created' ELSE 'split' END AS change, former AS other,
  CAST(NULL AS VARCHAR[]) AS attributes, CAST(NULL AS VARCHAR[]) AS held,
  CASE WHEN former IS NOT NULL THEN
    '原在 ' || left(former, 12) || ' 中的 ' || came || ' 条记录现单独成立' || CASE WHEN clash THEN '：其号码一号多主' ELSE '：与其余记录不再有共同的号码或相似性' END
  WHEN how = 'restored' THEN '其记录重新有效（' || records || ' 条，来自 ' || sources || '）'
  ELSE '首次出现，' || records || ' 条记录，来自 ' || sources END AS reason_zh,
  CASE WHEN former IS NOT NULL THEN
    came || ' record(s) that stood in ' || left(former, 12) || ' stand apart now: '
      || CASE WHEN clash THEN 'their identifier clashes' ELSE 'they no longer share an identifier with the others nor are alike' END
  WHEN how = 'restored' THEN 'its records are in force again (' || records || ', from ' || sources || ')'
  ELSE 'first seen, ' || records || ' record(s) from ' || sources END AS reason_en
FROM new
UNION ALL
SELECT {mine}, _entity, CASE WHEN other IS NULL THEN 'ended' ELSE 'merged' END AS change, other, NULL AS attributes, held,
  CASE WHEN other IS NULL THEN '其 ' || had || ' 条记录均已失效' ELSE had || ' 条记录中 ' || went || ' 条并入 ' || left(other, 12)
    || concat('（', concat_ws('；', '相同的' || by_zh, '相似，匹配概率 ' || format('{{:.4f}}', p)), '）') END AS reason_zh,
  CASE WHEN other IS NULL THEN 'none of its ' || had || ' record(s) is in force any more' ELSE went || ' of its ' || had || ' record(s) now stand in '
    || left(other, 12) || concat(' (', concat_ws('; ', 'same ' || by_en, 'alike, match probability ' || format('{{:.4f}}', p)), ')') END AS reason_en
FROM gone{changed}
ORDER BY _entity, change"""


def _identifier_title(entity: Entity, language: str) -> str:
    """`_identifier` of a record as people call it, in SQL."""
    cases = " ".join(
        f"WHEN {literal('+'.join(i.attributes))} THEN {literal(_title(entity, i, language))}" for i in entity.identifiers
    )
    return f"CASE _identifier {cases} ELSE _identifier END" if cases else "_identifier"


def _title(entity: Entity, identifier: Identifier, language: str) -> str:
    return " + ".join(getattr(entity.attribute(name).called, language) for name in identifier.attributes)


def _field(entity: Entity, name: str, in_both: bool) -> str:
    called = entity.attribute(name).called
    differs = f"CAST(n.{quoted(name)} AS VARCHAR) IS DISTINCT FROM "
    differs += f"CAST(o.{quoted(name)} AS VARCHAR)" if in_both else "NULL"
    return f"CASE WHEN {differs} THEN {{'n': {literal(name)}, 'zh': {literal(called.zh)}, 'en': {literal(called.en)}}} END"
