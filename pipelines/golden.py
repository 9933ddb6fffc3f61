"""Golden records as they stand, and as they stood after any fusion or at any past instant."""

from __future__ import annotations

from datetime import UTC, datetime

from catalog.entity import Entity
from pipelines.compile import SQL_TYPES
from pipelines.errors import NotFound
from pipelines.run import Run
from quality.finding import masked_sql
from warehouse.lake import literal, quoted, table, table_columns
from warehouse.tables import Columns

#: base.<entity>__history: one row per golden record and fusion that made, changed or ended it, with all its values from then on.
#: Values are text under their names, so that an entity that gains or loses attributes leaves what was written alone.
HISTORY: Columns = {
    "_entity": "VARCHAR", "number": "INTEGER", "recorded_at": "TIMESTAMPTZ", "ended": "BOOLEAN", "golden": "MAP(VARCHAR, VARCHAR)",
}  # fmt: skip


def history_sql(entity: Entity, changes: str) -> str:
    """What this fusion adds to the history: from `changes` (its rows of `ledger.entity_change`) and new_golden."""
    names = ", ".join(literal(a.name) for a in entity.attributes)
    values = ", ".join(f"CAST(g.{quoted(a.name)} AS VARCHAR)" for a in entity.attributes)
    return f"""SELECT c._entity, getvariable('number') AS number, getvariable('recorded_at') AS recorded_at, g._entity IS NULL AS ended,
  CASE WHEN g._entity IS NOT NULL THEN map([{names}], [{values}]) END AS golden
FROM (SELECT DISTINCT _entity FROM {changes}) AS c LEFT JOIN new_golden AS g USING (_entity)
ORDER BY _entity"""


def golden_sql(run: Run, entity_id: str, as_of: int | datetime | None = None, *, reveal: bool = False) -> str:
    """The golden records of an entity, in order of their ids, personal values masked unless `reveal`.

    `as_of`: as they stood after a fusion (its number), or as the warehouse knew them at an instant. Raises NotFound before the first
    fusion.
    """
    entity = run.catalog.entity(entity_id)
    stored = table_columns(run.con, f"base.{entity_id}")
    if not stored:
        raise NotFound(f"no golden records of {entity_id} yet; `dmp run` makes them once one of its sources has been accepted")
    if as_of is None:
        values = {a.name: quoted(a.name) if a.name in stored else "NULL" for a in entity.attributes}
        source = table(f"base.{entity_id}")
    else:
        if not table_columns(run.con, f"base.{entity_id}__history"):
            raise NotFound(f"no history of {entity_id} was kept yet; it begins with the next fusion")
        when = f"number <= {as_of}" if isinstance(as_of, int) else f"recorded_at <= TIMESTAMPTZ {literal(_utc(as_of))}"
        newest = "arg_max(struct_pack(ended := ended, golden := golden), number) AS last"
        values = {
            a.name: f"TRY_CAST(last.golden[{literal(a.name)}] AS {'VARCHAR' if a.digest else SQL_TYPES[a.type]})"
            for a in entity.attributes
        }
        former = f"SELECT _entity, {newest} FROM {table(f'base.{entity_id}__history')} WHERE {when} GROUP BY _entity"
        source = f"(SELECT * FROM ({former}) WHERE NOT last.ended)"
    shown = [shown_sql(entity, name, value, reveal) for name, value in values.items()]
    return f"SELECT _entity, {', '.join(shown)}\nFROM {source}\nORDER BY _entity"


def _utc(instant: datetime) -> str:
    if instant.tzinfo is None:
        raise ValueError(f"`{instant}` has no time zone; write it as 2026-03-02T08:30:00+08:00")
    return instant.astimezone(UTC).isoformat()


def shown_sql(entity: Entity, name: str, value: str, reveal: bool) -> str:
    """A value of a golden record under its attribute's name, masked where it must be."""
    attribute = entity.attribute(name)
    hidden = attribute.is_masked and not attribute.digest and not reveal
    return f"{masked_sql(f'CAST({value} AS VARCHAR)') if hidden else value} AS {quoted(name)}"
