"""Clean: raw text becomes standard, typed rows; what breaks a hard rule goes to quarantine with its findings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import duckdb

from catalog.contract import Column, Contract
from catalog.contract import RuleCall as ContractRule
from pipelines import archive
from pipelines.batch import Batch, folder, is_staged, load, save, source_of
from pipelines.compile import ColumnSpec, Compiled, RuleCall, compile_select
from pipelines.errors import prove
from pipelines.reference import attach_reference
from pipelines.rules import find_rule
from pipelines.run import Run
from quality.finding import kinds, masked_sql
from warehouse import lake
from warehouse.lake import PARQUET, literal, quoted


def clean(run: Run, batch_id: str) -> None:
    """Apply the contract's rules to one staged batch.

    Reads    staging/<batch>/raw.parquet     one row per record of the file
    Writes   staging/<batch>/judged.parquet  one row per raw row, cleaned, with what failed: what the gate judges
             staging/<batch>/std, quarantine, finding .parquet
    Rows     raw = accepted + refused
    Again    writes the same files again; nothing is committed here. A batch that is not staged was committed by another
             run meanwhile: the gate tells its verdict
    """
    with run.workspace.locked(f"source-{source_of(batch_id)}"):
        if is_staged(run.workspace, batch_id):
            clean_staged(run, load(run.workspace, batch_id))


def clean_staged(run: Run, batch: Batch) -> Batch:
    """What `clean` does, for a caller that holds the lock of the source."""
    place = folder(run.workspace, batch.batch)
    contract = archive.archived_contract(run.workspace, batch.contract_hash)
    if not (place / "raw.parquet").is_file():
        return batch  # the file could not be read as rows; the gate holds it
    compiled = compile_contract(contract)
    with working(run) as con:
        attach_reference(con, run.workspace, compiled.judged_sql)
        con.execute(f"CREATE VIEW raw AS FROM read_parquet({literal(str(place / 'raw.parquet'))})")
        _copy(con, compiled.judged_sql, place / "judged.parquet")
        con.execute(f"CREATE VIEW judged AS FROM read_parquet({literal(str(place / 'judged.parquet'))})")
        statements = [("judge every row", compiled.judged_sql)]
        for title, name, sql in (
            ("accepted rows", "std", compiled.std_sql),
            ("refused rows, as sent", "quarantine", quarantine_sql(contract, compiled)),
            ("findings", "finding", findings_sql(contract, batch, compiled)),
        ):
            _copy(con, sql, place / f"{name}.parquet")
            statements.append((title, sql))
        accepted, refused = (_rows(con, place / f"{name}.parquet") for name in ("std", "quarantine"))
    parts = {"accepted": accepted, "refused": refused}
    equation = prove("clean", batch.batch, batch.rows, parts)
    proof = {"stage": "clean", "rows_in": batch.rows, "rows_out": parts, "equation": equation}
    cleaned = replace(
        batch,
        stages=(*(s for s in batch.stages if s["stage"] in ("collect", "mend")), proof),
        statements=tuple(("clean", title, sql) for title, sql in statements),
    )
    save(run.workspace, cleaned)
    return cleaned


@contextmanager
def working(run: Run) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection without the lake: cleaning and judging read only the files of one batch."""
    con = lake.connect(run.workspace)
    try:
        yield con
    finally:
        con.close()


@lru_cache(maxsize=512)
def compile_contract(contract: Contract) -> Compiled:
    """The SELECTs of a contract. Pure: `dmp sql` prints what this returns."""
    return compile_select([_spec(contract, c) for c in contract.mapped], "raw", defect="_defect")


def _spec(contract: Contract, column: Column) -> ColumnSpec:
    return ColumnSpec(
        source=column.source, name=column.name, clean=_clean_rules(contract, column), check=_calls(column.check),
        type=column.type, on_fail=column.fails_to, on_missing="refuse" if column.refuses_missing else "keep",
    )  # fmt: skip


def _clean_rules(contract: Contract, column: Column) -> tuple[RuleCall, ...]:
    """The rules of a column. An identifier is first looked at for what spreadsheets do to it, before a rule for its meaning
    finds it merely unreadable, or takes 440106199001011000 for a mistyped number."""
    calls = _calls(contract.clean + column.clean)
    if column.type != "text" or not (column.key or column.check) or any(c.name == "undamaged" for c in calls):
        return calls
    place = next((i for i, c in enumerate(calls) if not find_rule(c.name, "clean").harmless), len(calls))
    is_resident_id = any(r.name.startswith("resident_id") for r in (*column.clean, *column.check))
    guard = RuleCall("undamaged", {"kind": "'resident_id'"} if is_resident_id else {})
    return (*calls[:place], guard, *calls[place:])


def _calls(rules: tuple[ContractRule, ...]) -> tuple[RuleCall, ...]:
    return tuple(RuleCall(r.name, r.arguments) for r in rules)


def quarantine_sql(contract: Contract, compiled: Compiled) -> str:
    """Refused rows with all their cells as the department sent them."""
    cells = ", ".join(f"{literal(c.source)}: raw.{quoted(c.source)}" for c in contract.columns)
    return (
        f'SELECT raw."_batch", raw."_sheet", raw."_row", {literal(contract.id)} AS source, '
        f"CAST(to_json(refused.codes) AS VARCHAR) AS codes, CAST(to_json({{{cells}}}) AS VARCHAR) AS cells\n"
        f"FROM raw JOIN (\n{compiled.quarantine_sql}\n) AS refused\n"
        'ON raw."_row" = refused."_row" AND raw."_sheet" IS NOT DISTINCT FROM refused."_sheet"'
    )


def findings_sql(contract: Contract, batch: Batch, compiled: Compiled) -> str:
    """One row per failed cell, in words. Values of personal columns are masked before they are written anywhere."""
    codes = ",\n    ".join(
        f"({literal(k.code)}, {literal(k.severity)}, {literal(k.zh)}, {literal(k.en)})" for k in kinds().values()
    )
    columns = ",\n    ".join(
        f"({literal(c.name)}, {literal(c.source)}, {c.is_masked}, {c.fails_to == 'refuse'}, {c.refuses_missing})"
        for c in contract.mapped
    )
    value = "left(sent, 200)"

    def sentence(template: str) -> str:
        filled = f"replace({template}, '{{row}}', CAST(\"_row\" AS VARCHAR))"
        return f"replace(replace({filled}, '{{header}}', header), '{{value}}', coalesce(shown, ''))"

    return f"""WITH failed AS (
{compiled.findings_sql}
), named AS (
  SELECT failed.*, c.header, CASE WHEN failed.code = 'value_missing' THEN c.refuses_missing ELSE c.refuses END AS refused,
    CASE WHEN c.is_personal THEN {masked_sql(value)} ELSE {value} END AS shown
  FROM failed JOIN (VALUES
    {columns}
  ) AS c(name, header, is_personal, refuses, refuses_missing) ON c.name = failed.column_name
)
SELECT {literal(batch.batch)} AS batch, {literal(contract.id)} AS source, {literal(batch.file_name)} AS file_name,
  "_sheet" AS sheet, "_row" AS "row", column_name, header, named.code,
  CASE WHEN refused THEN 'refuse' ELSE k.severity END AS severity, shown AS "value",
  {sentence("k.zh")} AS message_zh, {sentence("k.en")} AS message_en
FROM named JOIN (VALUES
    {codes}
) AS k(code, severity, zh, en) ON k.code = named.code
ORDER BY "_sheet", "_row", column_name, named.code"""


def _copy(con: duckdb.DuckDBPyConnection, sql: str, out: Path) -> None:
    part = out.with_suffix(".part")
    con.execute(f"COPY (\n{sql}\n) TO {literal(str(part))} {PARQUET}")
    part.replace(out)


def _rows(con: duckdb.DuckDBPyConnection, path: Path) -> int:
    return int(con.execute(f"SELECT count(*) FROM read_parquet({literal(str(path))})").fetchall()[0][0])
