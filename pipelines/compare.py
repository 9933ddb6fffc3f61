"""Compare: which rows of an accepted batch are new, changed or gone against what was in force before it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from catalog.contract import Contract
from pipelines.batch import Batch
from pipelines.compile import SQL_TYPES
from pipelines.current import LAST_DAY, order_sql
from pipelines.errors import StageError
from pipelines.run import Run
from warehouse.lake import few_rows, literal, quoted, table, table_columns


def compare(run: Run, batch: Batch, contract: Contract, std: Path) -> tuple[dict[str, Any], str] | None:
    """The `compare` proof of a batch that is about to be committed, and the statement that counted it. None: nothing was
    in force before it that it could be compared with.

    Against the former version of the same period; a snapshot for a new period against the period before.
    By key where the contract has one: of the rows of a file with one key the last counts, the others are `repeated`.
    Without a key by whole rows, and then none is `changed`.
    Rows     rows of the batch = added + changed + same + repeated; rows before = removed + changed + same + repeated before
    """
    with few_rows(run.con):
        former = _former(run, batch, contract)
    if former is None:
        return None
    against, rows_before = former
    stored = table_columns(run.con, f"std.{batch.source}")
    sql = compare_sql(contract, "accepted", against, stored)
    run.con.execute(f"CREATE OR REPLACE TEMP VIEW accepted AS FROM read_parquet({literal(str(std))})")
    counted = [int(n or 0) for n in run.con.execute(sql).fetchall()[0]]
    run.con.execute("DROP VIEW accepted")
    parts = dict(zip(("added", "changed", "removed", "same", "repeated", "repeated_before"), counted, strict=True))
    rows = next(s["rows_out"]["accepted"] for s in batch.stages if s["stage"] == "clean")
    return {
        "stage": "compare",
        "rows_in": rows,
        "rows_out": parts,
        "equation": _prove(batch, rows, against, rows_before, parts),
    }, sql


def adds_up(rows: int, parts: Mapping[str, int]) -> bool:
    """Whether the rows of a batch are those of its `compare` proof."""
    return rows == parts["added"] + parts["changed"] + parts["same"] + parts["repeated"]


def _prove(batch: Batch, rows: int, against: str, rows_before: int, parts: Mapping[str, int]) -> str:
    after = f"{rows} = {parts['added']} added + {parts['changed']} changed + {parts['same']} same + {parts['repeated']} repeated"
    before = (
        f"{rows_before} in {against} = {parts['removed']} removed + {parts['changed']} changed + {parts['same']} same "
        f"+ {parts['repeated_before']} repeated"
    )
    gone = parts["removed"] + parts["changed"] + parts["same"] + parts["repeated_before"]
    if not adds_up(rows, parts) or rows_before != gone:
        raise StageError(
            f"compare of {batch.batch}: rows do not add up: {after}; {before}. Nothing was committed; please report this."
        )
    return f"{after}; {before}"


def _former(run: Run, batch: Batch, contract: Contract) -> tuple[str, int] | None:
    """The accepted batch that this one follows, and its rows."""
    earlier = f"(SELECT {LAST_DAY} FROM (SELECT {literal(batch.period)} AS period))"
    follows = f"last_day <= {earlier}" if contract.load == "snapshot" else f"period = {literal(batch.period)}"
    rows = run.con.execute(
        f"SELECT batch, rows_accepted FROM (SELECT *, {LAST_DAY} AS last_day FROM lake.ledger.batch "
        f"WHERE source = ? AND verdict IN ('pass', 'warn') AND batch <> ?) WHERE {follows} "
        "ORDER BY last_day DESC, version DESC LIMIT 1",
        [batch.source, batch.batch],
    ).fetchall()
    return rows[0] if rows else None


def compare_sql(contract: Contract, accepted: str, against: str, stored: Mapping[str, str]) -> str:
    """One SELECT with one row of six counts: the relation `accepted` against the rows of the batch `against`. A column that
    the table does not have yet was empty before."""
    names = [c.name for c in contract.mapped]
    new = ", ".join(quoted(n) for n in ("_sheet", "_row", *names))
    old = ", ".join(
        f"TRY_CAST({quoted(c.name)} AS {SQL_TYPES[c.type]}) AS {quoted(c.name)}"
        if c.name in stored
        else f"CAST(NULL AS {SQL_TYPES[c.type]}) AS {quoted(c.name)}"
        for c in contract.mapped
    )
    rows = f"""WITH after AS (
  SELECT {new} FROM {accepted}
), before AS (
  SELECT "_sheet", "_row", {old}
  FROM {table(f"std.{contract.id}")} WHERE "_batch" = {literal(against)}
)"""
    every = dict.fromkeys(names, "")
    if not contract.keys:
        listed = ", ".join(quoted(n) for n in names)
        return f"""{rows}, counted AS (
  SELECT count(*) FILTER (is_new) AS n, count(*) FILTER (NOT is_new) AS o
  FROM (SELECT {listed}, TRUE AS is_new FROM after UNION ALL SELECT {listed}, FALSE FROM before)
  GROUP BY {listed}
)
SELECT sum(greatest(n - o, 0)) AS added, 0 AS changed, sum(greatest(o - n, 0)) AS removed, sum(least(n, o)) AS same,
  0 AS repeated, 0 AS repeated_before
FROM counted"""
    keys = ", ".join(quoted(c.name) for c in contract.keys)
    order = order_sql(contract, every, "DATE '0001-01-01'")
    cells = "row(" + ", ".join(quoted(n) for n in names) + ")"
    twice = " AND ".join(f"t.{quoted(c.name)} IS NOT DISTINCT FROM r.{quoted(c.name)}" for c in contract.keys)
    last = f"""SELECT {keys}, {cells} AS cells FROM {{0}} AS r WHERE NOT EXISTS (FROM twice AS t WHERE {twice})
  UNION ALL (
  SELECT {keys}, {cells} AS cells FROM {{0}} AS r WHERE EXISTS (FROM twice AS t WHERE {twice})
  QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY {order} DESC) = 1)"""
    # Few keys stand on several rows. To put all rows in order for them took two thirds of the statement.
    several = " UNION ".join(f"SELECT {keys} FROM {r} GROUP BY {keys} HAVING count(*) > 1" for r in ("after", "before"))
    same_key = " AND ".join(f"a.{quoted(c.name)} IS NOT DISTINCT FROM b.{quoted(c.name)}" for c in contract.keys)
    return f"""{rows}, twice AS MATERIALIZED (
  {several}
), a AS (
  {last.format("after")}
), b AS (
  {last.format("before")}
)
SELECT count(*) FILTER (b.cells IS NULL) AS added,
  count(*) FILTER (a.cells IS NOT NULL AND b.cells IS NOT NULL AND a.cells IS DISTINCT FROM b.cells) AS changed,
  count(*) FILTER (a.cells IS NULL) AS removed,
  count(*) FILTER (a.cells IS NOT DISTINCT FROM b.cells) AS same,
  (SELECT count(*) FROM after) - count(a.cells) AS repeated,
  (SELECT count(*) FROM before) - count(b.cells) AS repeated_before
FROM a FULL JOIN b ON {same_key}"""
