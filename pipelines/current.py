"""Current: which rows of a source are in force, now or as they were known at any past instant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb

from catalog.contract import Contract
from pipelines.errors import NotFound
from pipelines.formula import harmless_sql
from pipelines.run import Run
from quality.finding import masked_sql
from warehouse.lake import literal, quoted, table, table_columns

#: Last day of a period, from its label: 2026-03-02, 2026-W10, 2026-03, 2026-Q1, 2026. Each label shows its cycle, so
#: a source that was monthly once needs no look at its former contract.
LAST_DAY = """CASE
    WHEN regexp_matches(period, '^\\d{4}-\\d{2}-\\d{2}$') THEN TRY_CAST(period AS DATE)
    WHEN regexp_matches(period, '^\\d{4}-W\\d{2}$') THEN CAST(strptime(period || '-7', '%G-W%V-%u') AS DATE)
    WHEN regexp_matches(period, '^\\d{4}-\\d{2}$') THEN last_day(CAST(period || '-01' AS DATE))
    WHEN regexp_matches(period, '^\\d{4}-Q\\d$') THEN last_day(make_date(CAST(period[1:4] AS INT), 3 * CAST(period[7:7] AS INT), 1))
    WHEN regexp_matches(period, '^\\d{4}$') THEN make_date(CAST(period AS INT), 12, 31)
  END"""


def batches_sql(contract: Contract, as_of: datetime | None = None, on: date | None = None) -> str:
    """The batches of a source in force: per period the highest version that the gate let pass; of a snapshot the newest
    period alone. One row per batch: `batch`, `period`, `last_day`, `rows_accepted`.

    As of an instant: as if nothing that arrived later had arrived. On a day: as if no period had been that ended later.
    """
    arrived = f"\n    AND arrived_at <= TIMESTAMPTZ {literal(as_of.astimezone(UTC).isoformat())}" if as_of else ""
    arrived += f"\n    AND {LAST_DAY} <= DATE {literal(on.isoformat())}" if on else ""
    newest = "\nQUALIFY last_day = max(last_day) OVER ()" if contract.load == "snapshot" else ""
    return f"""SELECT batch, period, rows_accepted, {LAST_DAY} AS last_day
FROM (
  SELECT * FROM lake.ledger.batch
  WHERE source = {literal(contract.id)} AND verdict IN ('pass', 'warn'){arrived}
  QUALIFY row_number() OVER (PARTITION BY period ORDER BY version DESC) = 1
){newest}"""


def merges_by_key(contract: Contract, stored: Mapping[str, str]) -> bool:
    """Whether a later row replaces an earlier one with its key. Appended rows all stand."""
    return contract.load != "append" and any(c.name in stored for c in contract.keys)


def order_sql(contract: Contract, stored: Mapping[str, str], last_day: str) -> str:
    """What tells the newer of two rows with one key: `latest_by`, then the period of the file, then the place in it.

    A row that does not say when it is of is of the period of its file: DuckDB orders NULL behind everything, and it would
    win over every dated row for ever.
    """
    place = f'{last_day}, coalesce("_sheet", \'\'), "_row"'
    if not contract.latest_by or contract.latest_by not in stored:
        return f"row({place})"
    name = quoted(contract.latest_by)
    if contract.column(contract.latest_by).type in ("date", "timestamp"):
        return f"row(coalesce(CAST({name} AS TIMESTAMP), CAST({last_day} AS TIMESTAMP)), {place})"
    return f"row({name} IS NOT NULL, {name}, {place})"


def deletes_sql(contract: Contract, stored: Mapping[str, str]) -> str | None:
    """The condition under which a row removes its key; None where rows of this source never do."""
    if contract.deleted is None or contract.deleted.column not in stored or not merges_by_key(contract, stored):
        return None
    values = ", ".join(literal(v) for v in contract.deleted.values)
    return f"coalesce(CAST({quoted(contract.deleted.column)} AS VARCHAR) IN ({values}), FALSE)"


def current_sql(contract: Contract, as_of: datetime | None = None, stored: Mapping[str, str] | None = None) -> str:
    """The rows of a source in force, as one SELECT over the lake: `_batch`, `_sheet`, `_row` and the columns of the contract.

    snapshot   the rows of the newest period, of one key the last
    increment  of every key its newest row, unless that deletes it; a row of an older period that comes late replaces nothing
    append     every row of every period

    `as_of`: as the platform would have answered at that instant, had it asked after everything that had arrived by then.
    `stored` are the columns that `std.<source>` has; default: those of the contract.
    """
    stored = stored or {c.name: "" for c in contract.mapped}
    names = [quoted(n) for n in ("_batch", "_sheet", "_row", *(c.name for c in contract.mapped if c.name in stored))]
    listed = ", ".join(names)
    rows = f"""SELECT {", ".join(f"s.{n}" for n in names)}, b.last_day AS "_last_day"
  FROM {table(f"std.{contract.id}")} AS s JOIN in_force AS b ON b.batch = s."_batch\""""
    begin = f"WITH in_force AS (\n{batches_sql(contract, as_of)}\n), history AS (\n  {rows}\n)"
    if not merges_by_key(contract, stored):
        return f"{begin}\nSELECT {listed} FROM history"
    keys = ", ".join(f"coalesce(CAST({quoted(c.name)} AS VARCHAR), '')" for c in contract.keys if c.name in stored)
    deletes = deletes_sql(contract, stored)
    alive = f"\nWHERE NOT {deletes}" if deletes else ""
    return f"""{begin}, newest AS (
  SELECT * FROM history
  QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY {order_sql(contract, stored, '"_last_day"')} DESC) = 1
)
SELECT {listed} FROM newest{alive}"""


def rows_sql(run: Run, source: str, as_of: datetime | None = None, *, reveal: bool = False) -> str:
    """The rows in force for people: values of personal columns masked unless `reveal`, in the order of the files.
    Raises NotFound where no row of the source was ever accepted."""
    contract = run.catalog.contract(source)
    stored = table_columns(run.con, f"std.{source}")
    if not stored:
        raise NotFound(f"{source} has no accepted rows yet; `dmp status` shows what was received")
    shown: Sequence[str] = [_shown(contract, n, reveal) for n in ("_batch", "_sheet", "_row", *_mapped(contract, stored))]
    select = ", ".join(shown)
    return f'SELECT {select}\nFROM (\n{current_sql(contract, as_of, stored)}\n)\nORDER BY "_batch", "_sheet", "_row"'


def _mapped(contract: Contract, stored: Mapping[str, str]) -> list[str]:
    return [c.name for c in contract.mapped if c.name in stored]


def _shown(contract: Contract, name: str, reveal: bool) -> str:
    if reveal or name.startswith("_"):
        return quoted(name)
    column = contract.column(name)
    if not column.is_masked:
        return quoted(name)
    return f"{masked_sql(f'CAST({quoted(name)} AS VARCHAR)')} AS {quoted(name)}"


def write_csv(con: duckdb.DuckDBPyConnection, sql: str, out: str, limit: int | None = None) -> None:
    """Write the rows of `sql` on `con` as CSV in UTF-8 into the file `out`, whole or not at all; `-` is standard output.

    A text that a spreadsheet program would run as a formula is preceded by an apostrophe.
    """
    if limit is not None:
        sql += f"\nLIMIT {limit}"
    columns = con.execute(f"DESCRIBE {sql}").fetchall()
    shown = [
        f"{harmless_sql(quoted(name))} AS {quoted(name)}" if kind == "VARCHAR" else quoted(name) for name, kind, *_ in columns
    ]
    part = Path("/dev/stdout") if out == "-" else Path(out).with_name(f".{Path(out).name}.part")
    con.execute(f"COPY (SELECT {', '.join(shown)} FROM (\n{sql}\n)) TO {literal(str(part))} (FORMAT csv, HEADER)")
    if out != "-":
        part.replace(out)
