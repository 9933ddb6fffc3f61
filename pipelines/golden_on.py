"""Golden records as they were true on a day: valid time, beside the recorded time of `pipelines.golden`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime

import duckdb

from catalog.entity import Entity
from pipelines import models, portions
from pipelines.clean import working
from pipelines.dedupe import records_in_force
from pipelines.golden import shown_sql
from pipelines.identity import RETIRED
from pipelines.link import link
from pipelines.merge import chosen_sql, rank_sources
from pipelines.review_journal import obeyed
from pipelines.run import Run
from warehouse.lake import literal, quoted, table, table_columns

#: An id stands where most of the records are that it holds today, or held when it ended; who has no id today goes by the first record.
NAMED = """WITH overlap AS (SELECT _cluster, _entity, count(*) AS n FROM clusters JOIN holds USING (_record) GROUP BY ALL),
mine AS (
  SELECT _cluster, _entity FROM overlap
  QUALIFY row_number() OVER (PARTITION BY _entity ORDER BY n DESC, _cluster) = 1
    AND row_number() OVER (PARTITION BY _cluster ORDER BY n DESC, _entity) = 1
)
SELECT DISTINCT _cluster, coalesce(_entity, left(_cluster, 32)) AS _entity FROM clusters LEFT JOIN mine USING (_cluster)"""


@contextmanager
def golden_on(
    run: Run, entity_id: str, day: date, as_of: datetime | None = None, *, reveal: bool = False
) -> Iterator[tuple[duckdb.DuckDBPyConnection, str]]:
    """A connection, and the SELECT on it of the golden records that were true on `day`: `_entity` and attributes, personal values masked
    unless `reveal`.

    Made anew from every row whose period had ended by then, linked by the model and the decisions in force today: what arrived later
    about that time counts, what speaks of a later time does not. `as_of`: from what had arrived by that instant. Cost: a whole
    fusion. Nothing is kept; a fusion of the entity waits. Raises NotFound where no row is of that time.
    """
    entity = run.catalog.entity(entity_id)
    # no fusion in the meantime, as in `pipelines.contradictions`
    with run.workspace.locked(f"entity-{entity_id}"), working(run) as con:
        records_in_force(run, con, entity, on=day, as_of=as_of)
        version = models.in_force(run.workspace, entity)
        pinned = models.folder(run.workspace, entity_id, version) if version and entity.match else None
        link(con, entity, "records", "clusters", "clashes", obeyed(run, entity_id), pinned=pinned)
        con.execute(f"CREATE TABLE holds AS {_holds_sql(con, entity)}")
        con.execute(f"CREATE TABLE named AS {NAMED}")
        con.execute(
            "CREATE TABLE assigned AS SELECT r.*, n._entity, r._record IN (SELECT _record FROM clashes) AS _clash\n"
            "FROM records AS r JOIN clusters USING (_record) JOIN named AS n USING (_cluster) ORDER BY n._entity, _record"
        )
        rank_sources(con, entity, [s for (s,) in con.execute("SELECT DISTINCT _source FROM records").fetchall()])
        [(rows,)] = con.execute("SELECT count(*) FROM assigned").fetchall()
        portions.create(con, "chosen", chosen_sql(entity), portions.digests(rows))
        values = [shown_sql(entity, a.name, f"{quoted(a.name)}.v", reveal) for a in entity.attributes]
        yield con, f"SELECT _entity, {', '.join(values)}\nFROM chosen\nORDER BY _entity"


def _holds_sql(con: duckdb.DuckDBPyConnection, entity: Entity) -> str:
    """`_record`, `_entity`: the records of each id today, and those that an ended one had."""
    members = table_columns(con, f"base.{entity.id}__member")
    held = f"""SELECT _entity, arg_max(struct_pack(change, held), number) FILTER (change <> 'changed') AS last
FROM {table("ledger.entity_change")} WHERE entity = {literal(entity.id)} GROUP BY _entity"""
    parts = [f"SELECT _record, _entity FROM {table(f'base.{entity.id}__member')}"] if members else []
    parts.append(
        f"SELECT substr(token, 2) AS _record, _entity FROM (SELECT _entity, unnest(last.held) AS token FROM ({held}) WHERE last.change IN {RETIRED})"
        " WHERE token[1] = 'r'"
    )
    return "\nUNION ALL\n".join(parts)
