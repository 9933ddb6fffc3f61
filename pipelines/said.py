"""Said: which record says what about a golden record, in which cell, and since when.

Merge keeps the winning cell of each field. Who explains a field, or tells a department that others contradict it, needs the
losing ones too. They are read from the rows that the last fusion read, by the rules it went by: of a key its newest row, of an empty cell the
last value that the same key had, and nothing that a later row deleted. Set-based: two scans per source, and no more rows in
memory than the entities asked for have.
"""

from __future__ import annotations

from collections.abc import Mapping

import duckdb

from catalog.contract import Contract
from catalog.entity import Entity
from pipelines.compile import SQL_TYPES
from pipelines.current import LAST_DAY, deletes_sql, merges_by_key, order_sql
from pipelines.run import Run
from warehouse.lake import literal, quoted, table, table_columns
from warehouse.tables import Columns

#: `stale`: the record's newest row leaves the cell empty, and this is what an older one said. `since`: when the first file arrived in
#: which the record said so and after which it said nothing else.
SAID: Columns = {
    "_entity": "VARCHAR", "_record": "VARCHAR", "_source": "VARCHAR", "attribute": "VARCHAR", "value": "VARCHAR", "_batch": "VARCHAR",
    "_sheet": "VARCHAR", "_row": "BIGINT", "stale": "BOOLEAN", "since": "TIMESTAMPTZ", "since_batch": "VARCHAR",
}  # fmt: skip


def tell(run: Run, con: duckdb.DuckDBPyConnection, entity: Entity) -> None:
    """Fill table `said` with what every record of the last fusion says about the fields in `wanted`, values plain.

    Reads    wanted (`_entity`, `attribute`) on `con`; base.<entity>__member, std.<source>, ledger.batch, ledger.fusion
    Writes   said on `con`, replaced: one row per record and field that the record has a value for
    """
    con.execute(f"CREATE OR REPLACE TEMP TABLE said ({', '.join(f'{quoted(c)} {k}' for c, k in SAID.items())})")
    con.execute(f"CREATE OR REPLACE TEMP TABLE batches AS\n{batches_sql(entity)}")
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE asked AS SELECT m.* FROM {table(f'base.{entity.id}__member')} AS m "
        "WHERE m._entity IN (SELECT _entity FROM wanted)"
    )
    names = [n for (n,) in con.execute("SELECT DISTINCT attribute FROM wanted ORDER BY 1").fetchall()]
    for (source,) in con.execute("SELECT DISTINCT _source FROM asked ORDER BY 1").fetchall():
        contract = run.catalog.contracts.get(source)
        stored = table_columns(con, f"std.{source}")
        attributes = [n for n in names if n in stored]
        if contract is not None and attributes:
            con.execute(f"INSERT INTO said\n{said_sql(entity, contract, stored, attributes)}")


def batches_sql(entity: Entity) -> str:
    """Every batch that the gate ever let pass, with its last day, and whether the last fusion read it."""
    newest = f"arg_max(inputs, CAST(split_part(fusion, '#', 2) AS INTEGER)) AS inputs FROM lake.ledger.fusion WHERE entity = {literal(entity.id)}"
    return f"""SELECT batch, arrived_at, version, last_day, batch IN (
    SELECT unnest(from_json(inputs, '[["VARCHAR"]]'))[2] FROM (SELECT {newest})
  ) AS in_force
FROM (SELECT *, {LAST_DAY} AS last_day FROM lake.ledger.batch WHERE verdict IN ('pass', 'warn'))"""


def said_sql(entity: Entity, contract: Contract, stored: Mapping[str, str], attributes: list[str]) -> str:
    """The rows of `said` for the records of one source, from `asked`, `batches` and `wanted`."""
    std, mine = table(f"std.{contract.id}"), f"_source = {literal(contract.id)}"
    place = 's."_batch" = m."_batch" AND s."_row" = m."_row" AND s."_sheet" IS NOT DISTINCT FROM m."_sheet"'
    keyed = merges_by_key(contract, stored)
    key = "[" + ", ".join(f"coalesce(CAST(s.{quoted(c.name)} AS VARCHAR), '')" for c in contract.keys if c.name in stored) + "]"
    if keyed:
        begin = f"mine AS (SELECT m._entity, m._record, {key} AS key FROM asked AS m JOIN {std} AS s ON {place} WHERE {mine})"
        join, order = f"mine AS m ON m.key = {key}", order_sql(contract, stored, "b.last_day")
    else:
        begin = f"mine AS (SELECT * FROM asked WHERE {mine})"
        join, order = f"mine AS m ON {place}", "0"
    cells = ", ".join(f"{{'a': {literal(n)}, 'v': {_text(entity, n)}}}" for n in attributes)
    deletes = (deletes_sql(contract, stored) if keyed else None) or "false"
    return f"""WITH {begin},
history AS (
  SELECT m._entity, m._record, s."_batch", s."_sheet", s."_row", b.arrived_at, b.in_force, {deletes} AS deletes, [{cells}] AS cells,
    row_number() OVER (PARTITION BY m._record ORDER BY {order}, b.version) AS n
  FROM {std} AS s JOIN {join} JOIN batches AS b ON b.batch = s."_batch"
),
alive AS (
  SELECT * EXCLUDE (deletes), n = max(n) FILTER (in_force) OVER (PARTITION BY _record) AS newest FROM history
  QUALIFY coalesce(n > max(n) FILTER (deletes AND in_force) OVER (PARTITION BY _record), true)
),
cell AS (
  SELECT h.* EXCLUDE (cells), c.a AS attribute, c.v AS value
  FROM (SELECT * EXCLUDE (cells), cells, unnest(list_filter(cells, lambda x: x.v IS NOT NULL)) AS c FROM alive) AS h
  JOIN wanted AS w ON w._entity = h._entity AND w.attribute = c.a
),
now AS (
  SELECT _entity, _record, attribute, arg_max(struct_pack(v := value, n, b := _batch, s := _sheet, r := _row, newest), n) AS last
  FROM cell WHERE in_force GROUP BY ALL
),
run AS (
  SELECT c.*, l.last, max(c.n) FILTER (c.value <> l.last.v) OVER (PARTITION BY c._record, c.attribute) AS otherwise
  FROM cell AS c JOIN now AS l USING (_entity, _record, attribute) WHERE c.n <= l.last.n
)
SELECT _entity, _record, {literal(contract.id)}, attribute, any_value(last.v), any_value(last.b), any_value(last.s), any_value(last.r),
  NOT any_value(last.newest), min(arrived_at), arg_min(_batch, arrived_at)
FROM run WHERE value = last.v AND coalesce(n > otherwise, true)
GROUP BY _entity, _record, attribute"""


def _text(entity: Entity, attribute: str) -> str:
    """A cell as merge takes it, as text; 200 and not 200.00000000."""
    kind = entity.attribute(attribute).type
    text = f"CAST(TRY_CAST(s.{quoted(attribute)} AS {SQL_TYPES[kind]}) AS VARCHAR)"
    return (
        f"CASE WHEN contains({text}, '.') THEN regexp_replace({text}, '\\.?0+$', '') ELSE {text} END"
        if kind == "number"
        else text
    )
