"""Waivers at the gate: what of a batch's findings and failing checks is known noise, and so does not turn its verdict.

Which waivers stood when a drop arrived is written into its archived record, like the hash of its contract: a batch that is
judged again after a kill, or rebuilt years later, gets the same verdict, whatever stands in the catalogue by then.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from catalog.contract import Contract
from catalog.registry import Catalog
from catalog.waiver import Waiver, from_plain
from catalog.yaml_file import CatalogError, nearest, place
from quality.expectations import prepare
from quality.finding import kinds
from warehouse.lake import literal, quoted

if TYPE_CHECKING:
    from pipelines.batch import Batch
    from pipelines.gate import Counted


#: The finding that repeats, row by row, what a check counted.
OF_A_CHECK = "check_failed"
#: Findings that the gate makes of a check that fails: they go with their check.
OF_CHECKS = frozenset({OF_A_CHECK, "rows_unlike_before", "sum_unlike_declared", "keys_unlike_declared"})

#: Findings that no batch has: they are made when the records of all sources are brought together.
OF_FUSIONS = frozenset({"identifier_clash", "identifier_clash_unclear"})

# --- the catalogue --------------------------------------------------------------------------------


def waivers_of(catalog: Catalog, contract: Contract) -> tuple[Waiver, ...]:
    """The waivers of one source. Raises CatalogError with file and line for a code, check or column that there is not, for
    what holds a batch, and for a value of a column whose values are masked."""
    waivers = catalog.waivers_of(contract.id)
    if problems := _problems(catalog.root / "waivers" / f"{contract.id}.yaml", waivers, contract):
        raise CatalogError("\n".join(problems))
    return waivers


def waiver_problems(catalog: Catalog) -> list[str]:
    """Every problem of every file in `waivers/`, one a line."""
    try:
        files = catalog.waivers
    except CatalogError as error:
        return str(error).splitlines()
    found: list[str] = []
    for source, waivers in files.items():
        path = catalog.root / "waivers" / f"{source}.yaml"
        if source not in catalog.contracts:
            known = nearest(source, list(catalog.contracts))
            found.append(f"{path}:1: no source `{source}`{known}; a file of waivers is called like the contract")
        else:
            found += _problems(path, waivers, catalog.contract(source))
    return found


def _problems(path: Path, waivers: Sequence[Waiver], contract: Contract) -> list[str]:
    found: list[str] = []
    checks = {p.id: p.severity for p in prepare(contract)} if any(w.check for w in waivers) else {}
    columns = {c.name: c for c in contract.mapped}

    def wrong(at: int, key: str, what: str) -> None:
        found.append(f"{place(path, 'waivers', at, key)}: `waivers.{at}.{key}`: {what}")

    for at, waiver in enumerate(waivers):
        if waiver.code is not None and waiver.code not in kinds():
            wrong(at, "code", f"no finding `{waiver.code}`{nearest(waiver.code, list(kinds()))}")
        elif waiver.code in OF_CHECKS:
            wrong(at, "code", f"`{waiver.code}` tells of a check that failed; name the one that is meant: `check: <its id>`")
        elif waiver.code in OF_FUSIONS:
            wrong(
                at,
                "code",
                f"`{waiver.code}` is no finding of a batch: it is settled by mending the number, or by `clash:` of the entity",
            )
        elif waiver.code is not None and kinds()[waiver.code].severity == "hold":
            wrong(at, "code", f"`{waiver.code}` holds the batch, which nobody can waive; have the file sent again")
        if waiver.check is not None and waiver.check not in checks:
            wrong(at, "check", f"{contract.id} has no check `{waiver.check}`{nearest(waiver.check, list(checks))}")
        elif waiver.check is not None and checks[waiver.check] == "hold":
            wrong(at, "check", f"`{waiver.check}` has `severity: hold` in the contract, which nobody can waive")
        if waiver.column is not None and waiver.column not in columns:
            wrong(at, "column", f"{contract.id} has no column `{waiver.column}`{nearest(waiver.column, list(columns))}")
        elif waiver.value and waiver.column and columns[waiver.column].is_masked:
            wrong(at, "value", f"values of `{waiver.column}` are personal and masked in findings; leave `value` out")
    return found


def standing(waivers: Sequence[Waiver], contract: Contract, arrived: datetime) -> list[dict[str, Any]]:
    """Those that stand on the day of an arrival, as the archive keeps them."""
    day = arrived.astimezone(contract.arrival.zone).date()
    return [w.plain() for w in waivers if w.stands_on(day)]


# --- what they cover ------------------------------------------------------------------------------


def names_sql(row: str, code: str, column: str, headers: str, header: str, values: str) -> str:
    """Whether a waiver names the row `row` of quality.finding; the rest are SQL expressions of the waiver's parts, NULL where it does
    not say. Never a row that holds its batch. `headers`: how the contract spells the column, for findings that know no more."""
    return (
        f"coalesce({row}.code = {code} AND {row}.severity <> 'hold' AND ({column} IS NULL OR {row}.column_name = {column} "
        f"OR ({row}.column_name IS NULL AND list_contains({headers}, {row}.header))) AND ({header} IS NULL OR {row}.header = {header}) "
        f'AND ({values} IS NULL OR list_contains({values}, {row}."value")), FALSE)'
    )


def matches_sql(waiver: Waiver, contract: Contract, row: str) -> str:
    """`names_sql` for one waiver."""
    if waiver.code is None:
        return "FALSE"
    spelled, values = (_list(v) for v in (spellings(waiver, contract), waiver.value))
    return names_sql(row, literal(waiver.code), literal(waiver.column), spelled, literal(waiver.header), values)


def repeats_sql(title_en: str, row: str) -> str:
    """Whether the row `row` of quality.finding repeats the check of this title."""
    told = kinds()[OF_A_CHECK].en.replace("{check_en}", title_en)
    return f"({row}.code = '{OF_A_CHECK}' AND {row}.message_en = replace({literal(told)}, '{{row}}', CAST({row}.\"row\" AS VARCHAR)))"


def spellings(waiver: Waiver, contract: Contract) -> tuple[str, ...]:
    return next((c.from_ for c in contract.mapped if c.name == waiver.column), ())


def _list(values: Sequence[str]) -> str:
    return f"[{', '.join(literal(v) for v in values)}]::VARCHAR[]" if values else "NULL::VARCHAR[]"


@dataclass(frozen=True)
class Cover:
    """What waivers leave of a batch: `told` findings of the file that are neither notes nor waived, `refused` rows not all of
    whose reasons are waived. `findings` are counted per waiver that stood, whatever their severity."""

    told: int
    refused: int
    findings: Mapping[str, int] = field(default_factory=dict)


def nothing_covered(batch: Batch, refused: int) -> Cover:
    """Where no waiver stood."""
    return Cover(sum(f.severity != "note" for f in batch.findings), refused)


def cover(con: duckdb.DuckDBPyConnection, batch: Batch, contract: Contract, staged: Path, refused: int) -> Cover:
    """Count what is covered in a cleaned batch with waivers. Reads `staged`/finding.parquet and judged.parquet through `con`."""
    waivers = _findings_relation(con, batch, contract, staged)
    counts = ", ".join(f"count(*) FILTER ({_flag(i)})" for i in range(len(waivers)))
    told, *each = con.execute(
        f"SELECT count(*) FILTER (of_file AND severity <> 'note' AND NOT waived), {counts} FROM found"
    ).fetchall()[0]
    if refused and (judged := staged / "judged.parquet").is_file():
        rows = f'SELECT "_sheet", "_row" FROM read_parquet({literal(str(judged))}) WHERE "_refused"'
        refused = con.execute(_unexplained_sql(rows, "severity = 'refuse'", "count(*)")).fetchall()[0][0]
    return Cover(told, refused, {w.name: n for w, n in zip(waivers, each, strict=True)})


def excused(
    con: duckdb.DuckDBPyConnection, batch: Batch, contract: Contract, counted: Sequence[Counted], staged: Path
) -> list[Counted]:
    """The checks again, with `waived_by` where a failing one is known noise: a waiver names it, or each of its failing rows
    fails for findings that are waived. A and B stay as they are; a check that holds or could not run is never excused."""
    if not batch.waivers:
        return list(counted)
    waivers = _findings_relation(con, batch, contract, staged)
    return [replace(one, waived_by=_excuse(con, contract, one, waivers)) for one in counted]


def _excuse(con: duckdb.DuckDBPyConnection, contract: Contract, one: Counted, waivers: Sequence[Waiver]) -> tuple[str, ...]:
    check, outcome = one.check, one.outcome
    if outcome.success or outcome.error is not None or check.severity == "hold":
        return ()
    if named := tuple(w.name for w in waivers if w.check == check.id):
        return named
    if outcome.failing_rows_sql is None or check.over != "judged":
        return ()
    # A row that is refused whole (a total, a repeated header) explains every check; the cell of a column only those that ask
    # just for it. A repeated key is no less repeated because the telephone number beside it is waived.
    because = ["column_name IS NULL AND severity = 'refuse'"]
    if check.kind == "value_is_valid":
        because.append(f"column_name = {literal(check.columns[0])}")
    elif check.kind == "value_is_present":
        because.append(f"column_name = {literal(check.columns[0])} AND code = 'value_missing'")
    elif check.kind == "no_dirty_rows":
        because.append("severity = 'refuse'")
    elif check.kind == "key_is_unique":  # a row without its key is refused, and repeats none
        keys = ", ".join(literal(c.name) for c in contract.keys)
        because.append(f"column_name IN ({keys}) AND severity = 'refuse'")
    scope = " OR ".join(f"({b})" for b in because)
    flags = ", ".join(f"bool_or({_flag(i)})" for i in range(len(waivers)))
    left = con.execute(_unexplained_sql(outcome.failing_rows_sql, scope, "count(*)")).fetchall()[0][0]
    if left:
        return ()
    used = con.execute(
        f'SELECT {flags} FROM found JOIN ({outcome.failing_rows_sql}) AS r ON r."_row" = found."row" '
        f'AND r."_sheet" IS NOT DISTINCT FROM found.sheet WHERE {scope}'
    ).fetchall()[0]
    return tuple(w.name for w, yes in zip(waivers, used, strict=True) if yes)


def _unexplained_sql(rows: str, scope: str, select: str) -> str:
    """Of some rows those that have no waived finding in `scope`, or one there that is not waived."""
    return f"""SELECT {select} FROM (
{rows}
) AS r LEFT JOIN (
  SELECT sheet, "row", bool_or(waived) AS some, bool_or(NOT waived AND severity <> 'note') AS others
  FROM found WHERE {scope} GROUP BY sheet, "row"
) AS e ON e."row" = r."_row" AND e.sheet IS NOT DISTINCT FROM r."_sheet"
WHERE e.some IS NOT TRUE OR e.others"""


def _flag(number: int) -> str:
    return quoted(f"waiver_{number}")


_TOLD = pa.schema([(name, pa.string()) for name in ("sheet", "column_name", "header", "code", "severity", "value")]
                  + [("row", pa.int64())])  # fmt: skip


def _findings_relation(con: duckdb.DuckDBPyConnection, batch: Batch, contract: Contract, staged: Path) -> list[Waiver]:
    """`found`: every finding of the batch by its place, and per waiver whether it names it. Returns the waivers in order."""
    waivers = [from_plain(w) for w in batch.waivers]
    plain = [{name: value for name, value in asdict(f).items() if name in _TOLD.names} for f in batch.findings]
    con.register("_told", pa.Table.from_pylist(plain, schema=_TOLD))
    columns = 'sheet, "row", column_name, header, code, severity, "value"'
    relation = f"SELECT {columns}, TRUE AS of_file FROM _told"
    if (path := staged / "finding.parquet").is_file():
        relation += f" UNION ALL SELECT {columns}, FALSE FROM read_parquet({literal(str(path))})"
    flags = ", ".join(f"{matches_sql(w, contract, 'f')} AS {_flag(i)}" for i, w in enumerate(waivers))
    some = " OR ".join(_flag(i) for i in range(len(waivers)))
    con.execute(
        f'CREATE OR REPLACE TEMP TABLE found AS SELECT *, {some} AS waived FROM (SELECT f.* EXCLUDE ("value", header), {flags} '
        f"FROM ({relation}) AS f)"
    )
    con.unregister("_told")
    return waivers


# --- what is told and written down ----------------------------------------------------------------


def told(batch: Batch, covered: Cover, counted: Sequence[Counted]) -> tuple[str, str]:
    """The end of a verdict's sentence, in both languages: what is waived, and until when. Empty where nothing is."""
    waivers = [from_plain(w) for w in batch.waivers]
    checks = sum(bool(c.waived_by) for c in counted)
    used = [w for w in waivers if covered.findings.get(w.name) or any(w.name in c.waived_by for c in counted)]
    if not used:
        return "", ""
    findings = sum(covered.findings.values())
    names_zh = "、".join(f"{w.name}（至 {w.until}）" for w in used)
    names_en = ", ".join(f"{w.name} (until {w.until})" for w in used)
    zh = f"另有 {findings} 处问题、{checks} 项检查已获豁免，不计入结论，照常计分：{names_zh}。"
    en = (
        f" {findings} findings and {checks} failing checks are waived; they count for the score, not for the verdict: {names_en}."
    )
    return zh, en


def waiver_rows(batch: Batch, covered: Cover, counted: Sequence[Counted]) -> list[dict[str, Any]]:
    """The rows of quality.waiver: every waiver that stood, with what it covered, nothing included."""
    return [
        {
            "batch": batch.batch, "source": batch.source, "waiver": w.name, "code": w.code, "check_id": w.check,
            "column_name": w.column, "header": w.header, "value": json.dumps(w.value, ensure_ascii=False) if w.value else None,
            "reason_zh": w.reason.zh, "reason_en": w.reason.en, "approver": w.approver, "valid_from": w.from_,
            "valid_until": w.until, "findings": covered.findings.get(w.name, 0),
            "checks": json.dumps([c.check.id for c in counted if w.name in c.waived_by]),
        }
        for w in map(from_plain, batch.waivers)
    ]  # fmt: skip


def from_row(row: Mapping[str, Any]) -> Waiver:
    """The waiver of a row of quality.waiver."""
    return from_plain({
        "id": row["waiver"], "code": row["code"], "check": row["check_id"], "column": row["column_name"], "header": row["header"],
        "value": json.loads(row["value"] or "[]"), "reason": {"zh": row["reason_zh"], "en": row["reason_en"]},
        "approver": row["approver"], "from": row["valid_from"], "until": row["valid_until"],
    })  # fmt: skip
