"""Mend: refused rows as a workbook that a clerk can correct, and the next version made of what comes back.

The workbook shows the department's own columns as it sent them. Which batch it is from stands in the file's custom
properties, which row a line is in a hidden column, so sorting, deleting and renaming do no harm. When it is dropped
again the new version is the mended batch with the changed cells replaced, and goes the normal way from there.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from catalog.contract import Contract, plain_header
from pipelines import archive
from pipelines.archive import Drop
from pipelines.errors import prove
from pipelines.mend_book import OWN, Fault, Line, Sheet, shown, write
from pipelines.mend_mark import CONTENT, marks
from pipelines.readers.rows import UNREADABLE, Reading
from pipelines.readers.workbook import as_text, letters, load_sheet, open_workbook
from pipelines.readers.workbook_parts import unfit
from pipelines.run import Run
from quality.finding import Finding, finding, kinds
from warehouse.lake import PARQUET, few_rows, literal, quoted, table, table_columns

#: Lines of one workbook. More are no clerk's work: the system that exports them has to be put right.
MOST_LINES = 10_000
#: Rows named one by one in a finding.
NAMED = 10


@dataclass(frozen=True)
class Base:
    """The batch that is mended."""

    batch: str
    source: str
    period: str
    version: int
    sha256: str
    header: tuple[str, ...]
    rows: int
    refused: int
    file_name: str
    held: bool


def base_of(run: Run, batch: str | None) -> Base | None:
    """A committed batch; None where the ledger knows none of this name."""
    with few_rows(run.con):
        rows = run.con.execute(
            "SELECT batch, source, period, version, sha256, header, rows_read, rows_refused, file_name, verdict "
            "FROM lake.ledger.batch WHERE batch = ?",
            [batch],
        ).fetchall()
    if not rows:
        return None
    name, source, period, version, sha256, header, count, refused, file_name, verdict = rows[0]
    said = tuple(json.loads(header or "[]"))
    return Base(name, source, period, version, sha256, said, count, refused, file_name, verdict == "hold")


def row_mark(batch: str, sheet: str | None, row: int) -> str:
    """What stands for one row of a batch in the hidden column. No secret: whoever forges it only mends another own row."""
    return hashlib.sha256(f"{batch}\n{sheet or ''}\n{row}".encode()).hexdigest()[:16]


_MARK_SQL = """left(sha256(? || chr(10) || coalesce("_sheet", '') || chr(10) || CAST("_row" AS VARCHAR)), 16)"""


# --- the workbook that goes out -------------------------------------------------------------------


def mendable(run: Run, batch: str) -> int:
    """Rows that the workbook of a committed batch has; 0: there is nothing to mend in rows."""
    base = base_of(run, batch)
    if base is None or not base.rows or not (base.held or base.refused) or not table_columns(run.con, f"raw.{base.source}"):
        return 0
    return int(run.con.execute(f"SELECT count(*) FROM ({_wanted_sql(base)})").fetchall()[0][0])


def _wanted_sql(base: Base) -> str:
    """Refused rows; of a held batch all rows in which something is wrong."""
    refused = f'SELECT "_sheet", "_row" FROM lake.quarantine.row WHERE "_batch" = {literal(base.batch)}'
    if not base.held:
        return refused
    return (
        f'{refused} UNION SELECT f.sheet, f."row" FROM lake.quality.finding AS f JOIN {table("raw." + base.source)} AS r '
        'ON r."_row" = f."row" AND r."_sheet" IS NOT DISTINCT FROM f.sheet '
        f"WHERE f.batch = {literal(base.batch)} AND r.\"_batch\" = {literal(base.batch)} AND f.severity IN ('refuse', 'warn')"
    )


def write_workbook(run: Run, batch: str, contract: Contract, out: Path) -> bool:
    """The rows of a committed batch that want mending, as .xlsx. False: there are none, and nothing is written.

    Values stand as sent, personal ones too: it goes back to its own sender and to nobody else.
    """
    base = base_of(run, batch)
    count = mendable(run, batch)
    if base is None or not count:
        return False
    rows = _rows(run, base, contract)
    faults = _faults(run, base, contract, rows)
    columns = _columns(contract, base.header, rows)
    several = len({r["_sheet"] for r in rows}) > 1
    lines = [
        Line(
            row_mark(batch, r["_sheet"], r["_row"]),
            r["_row"],
            r["_sheet"] if several else None,
            " / ".join(shown(r[k.source]) for k in contract.keys if k.source in r),
            tuple(_cell(r, c) for c in columns),
            tuple(faults.get((r["_sheet"], r["_row"]), ())),
        )
        for r in rows
    ]
    write(
        out,
        Sheet(
            batch=batch, content=base.sha256, title=contract.title, department=contract.department.zh, file_name=base.file_name,
            keys=tuple(k.source for k in contract.keys), columns=tuple(columns), lines=tuple(lines), several_sheets=several,
            more=count - len(lines), steward=contract.steward,
        ),
    )  # fmt: skip
    return True


def _sources(run: Run, base: Base, contract: Contract) -> list[str]:
    there = {c.casefold() for c in table_columns(run.con, f"raw.{base.source}")}
    return [c.source for c in contract.columns if c.source.casefold() in there]


def _rows(run: Run, base: Base, contract: Contract) -> list[dict[str, Any]]:
    names = ["_sheet", "_row", *_sources(run, base, contract), "_extra", "_defect"]
    listed = ", ".join(f"r.{quoted(n)}" for n in names)
    found = run.con.execute(
        f"SELECT {listed} FROM {table('raw.' + base.source)} AS r JOIN ({_wanted_sql(base)}) AS w "
        'ON r."_row" = w."_row" AND r."_sheet" IS NOT DISTINCT FROM w."_sheet" WHERE r."_batch" = ? '
        f'ORDER BY r."_sheet" NULLS FIRST, r."_row" LIMIT {MOST_LINES}',
        [base.batch],
    ).fetchall()
    return [_with_extra(dict(zip(names, values, strict=True))) for values in found]


def _with_extra(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "_extra": json.loads(row["_extra"] or "{}")}


@dataclass(frozen=True)
class MendColumn:
    """One column of the workbook: `source` a declared column, or `extra` the name of one that the contract does not know."""

    heading: str
    source: str | None = None
    extra: str | None = None


def _cell(row: Mapping[str, Any], column: Any) -> str:
    return shown(row[column.source] if column.source else row["_extra"].get(column.extra))


def _columns(contract: Contract, header: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> list[MendColumn]:
    """The columns as the department's header has them, then what its rows hold beside it."""
    spelled = {plain_header(alias): c.source for c in contract.columns for alias in c.from_}
    extras = {name: None for r in rows for name in r["_extra"]}
    there = set(rows[0]) if rows else set()
    columns: list[MendColumn] = []
    used: set[str] = set()
    for position, cell in enumerate(header):
        source = spelled.get(plain_header(cell))
        if source in there and source not in used:
            used.add(str(source))
            columns.append(MendColumn(str(cell), source))
            continue
        name = cell.strip() or f"column {position + 1}"
        for extra in (name, f"{name} ({position + 1})"):
            if extra in extras:
                del extras[extra]
                columns.append(MendColumn(extra, extra=extra))
                break
    unseen = [c.source for c in contract.columns if c.source in there and c.source not in used]
    columns += [MendColumn(s, s) for s in unseen if not header or any(r[s] for r in rows)]
    return columns + [MendColumn(name, extra=name) for name in sorted(extras)]


def _faults(run: Run, base: Base, contract: Contract, rows: Sequence[Mapping[str, Any]]) -> dict[Any, list[Fault]]:
    """(sheet, row) -> what is wrong in it. The sentences of `quality.finding` are masked; here they show the value."""
    by_place = {(r["_sheet"], r["_row"]): r for r in rows}
    found: dict[Any, list[Fault]] = defaultdict(list)
    for sheet, row, name, header, code, severity, value, zh, en in run.con.execute(
        f'SELECT f.sheet, f."row", f.column_name, f.header, f.code, f.severity, f."value", f.message_zh, f.message_en '
        f"FROM lake.quality.finding AS f JOIN ({_wanted_sql(base)}) AS w "
        'ON f."row" = w."_row" AND f.sheet IS NOT DISTINCT FROM w."_sheet" WHERE f.batch = ? '
        "AND f.severity <> 'note' ORDER BY ALL",
        [base.batch],
    ).fetchall():
        if (sheet, row) not in by_place:
            continue
        source = next((c.source for c in contract.mapped if c.name == name), header)
        clear = shown(by_place[sheet, row].get(source))[:200] if source else ""
        if value and clear and value != clear:
            zh, en = zh.replace(f"“{value}”", f"“{clear}”"), en.replace(f"`{value}`", f"`{clear}`")
        found[sheet, row].append(Fault(source, code, severity, zh, en))
    for place, row in by_place.items():
        if row["_defect"] and not any(f.code == row["_defect"] for f in found[place]):
            found[place].insert(0, _unspoken(row["_defect"], place[1], len(base.header)))
    return found


def _unspoken(code: str, row: int, expected: int) -> Fault:
    """A broken row beyond those that were spelled out when the file was read."""
    facts: Mapping[str, Any] = defaultdict(lambda: "…", row=row, expected=expected)
    kind = kinds()[code]
    return Fault(None, code, kind.severity, kind.zh.format_map(facts), kind.en.format_map(facts))


# --- the workbook that comes back -----------------------------------------------------------------


@dataclass
class _Taken:
    """What one workbook brought: per row of the base the cells that changed."""

    lines: int = 0
    changed: dict[tuple[str | None, int], tuple[int, dict[str, str | None], dict[str, str]]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    count: Counter[str] = field(default_factory=Counter)


def period_of(run: Run, drop: Drop) -> str | None:
    """The period a mended workbook speaks of: that of the batch it mends."""
    base = base_of(run, drop.mends)
    return base.period if base and base.source == drop.source else None


def mended_drop(run: Run, arrived: Mapping[str, Drop], drop_id: str) -> str:
    """The drop whose file was mended, through as many workbooks as it took; the drop itself where it mends nothing."""
    while drop_id in arrived and (batch := arrived[drop_id].mends):
        rows = run.con.execute("SELECT drop_id FROM lake.ledger.batch WHERE batch = ?", [batch]).fetchall()
        if not rows:
            break
        drop_id = rows[0][0]
    return drop_id


def compose(run: Run, contract: Contract, drop: Drop, batch: str, out: Path) -> tuple[Reading, list[Mapping[str, Any]]]:
    """The next version: every raw row of the mended batch, with the cells that the workbook changed.

    Reads    the archived workbook, raw.<source> and ledger of the mended batch
    Writes   out (raw rows; `_sheet` and `_row` stay those of the original file), mended.parquet beside it
    Rows     rows of the mended batch = rows of this one; lines of the workbook = mended + unchanged + not taken
    A workbook that cannot be taken gives a finding that holds the batch, and no rows.
    """
    base = base_of(run, drop.mends)
    dialect = {"mends": str(drop.mends)}
    path = archive.object_path(run.workspace, drop.sha256)
    if base is None or base.source != contract.id or marks(path).get(CONTENT) != base.sha256:
        return Reading(dialect=dialect, findings=(finding("mend_batch_unknown", batch=drop.mends),)), []
    if newer := _newer(run, base):
        return Reading(dialect=dialect, findings=(finding("mend_superseded", batch=base.batch, newest=newer),)), []
    taken = _take(run, contract, base, path)
    if not taken.changed and not any(f.severity == "hold" for f in taken.findings):
        taken.findings.append(finding("mend_nothing_changed", batch=base.batch))
    if any(f.severity == "hold" for f in taken.findings):
        return Reading(dialect=dialect, findings=tuple(taken.findings)), []
    left = _write(run, contract, base, batch, taken, out)
    parts = {"mended": len(taken.changed), **{k: v for k, v in sorted(taken.count.items()) if v}}
    equation = prove("mend", batch, taken.lines, parts)
    proof: Mapping[str, Any] = {"stage": "mend", "rows_in": taken.lines, "rows_out": parts, "equation": equation}
    spelled = {plain_header(cell) for cell in base.header}
    present = {c.source: not base.header or any(plain_header(a) in spelled for a in c.from_) for c in contract.columns}
    reading = Reading(
        dialect=dialect, header=base.header, present=present, records=base.rows, rows=base.rows,
        findings=(*taken.findings, *left),
    )  # fmt: skip
    return reading, [proof]


def _newer(run: Run, base: Base) -> str | None:
    """The newest version of the period where it came after this one. A mended workbook that was itself held is none."""
    rows = run.con.execute(
        "SELECT batch FROM lake.ledger.batch WHERE source = ? AND period = ? AND version > ? "
        "AND NOT (verdict = 'hold' AND mends IS NOT NULL) ORDER BY version DESC LIMIT 1",
        [base.source, base.period, base.version],
    ).fetchall()
    return rows[0][0] if rows else None


def _take(run: Run, contract: Contract, base: Base, path: Path) -> _Taken:
    taken = _Taken()
    name, cells = _marked_sheet(path)
    if isinstance(cells, Finding):
        taken.findings.append(cells)
        return taken
    heading = [as_text(c).strip() for c in cells[0]]
    at = heading.index(OWN["mark"])
    lines = list(_lines(cells, at, heading))
    taken.lines = len(lines)
    rows = _base_rows(run, base, contract, [mark for _, mark, _ in lines if mark])
    places, ignored = _places(contract, base, rows, heading)
    if ignored:
        taken.findings.append(finding("mend_column_ignored", sheet=name, columns="、".join(ignored)))
    times = Counter(mark for _, mark, _ in lines if mark)
    odd: dict[str, list[int]] = defaultdict(list)
    for number, mark, line in lines:
        if not mark:
            odd["mend_row_added"].append(number)
        elif mark not in rows:
            odd["mend_row_unknown"].append(number)
        elif times[mark] > 1:
            odd["mend_row_twice"].append(number)
        else:
            _compare(contract, taken, rows[mark], number, line, places, name)
    for code, numbers in sorted(odd.items()):
        taken.count["not_taken"] += len(numbers)
        some = "、".join(map(str, numbers[:NAMED])) + ("…" if len(numbers) > NAMED else "")
        taken.findings.append(finding(code, sheet=name, count=len(numbers), rows=some))
    return taken


def _marked_sheet(path: Path) -> tuple[str | None, list[list[Any]] | Finding]:
    """The sheet that has the hidden column, and its rows from the heading on."""
    opened = open_workbook(path)
    if isinstance(opened, Finding):
        return None, opened
    book, zipped = opened
    for name in book.sheet_names:
        if zipped and (why := unfit(path, name)):
            return None, why
        loaded = load_sheet(book, name)
        if loaded is None:
            return None, finding("workbook_unreadable")
        cells = loaded[1]
        if cells and OWN["mark"] in [as_text(c).strip() for c in cells[0]]:
            return name, cells
    return None, finding("mend_marks_missing", header=OWN["mark"])


def _lines(cells: Sequence[Sequence[Any]], at: int, heading: Sequence[str]) -> Iterator[tuple[int, str, Sequence[Any]]]:
    """(row of the workbook, mark, cells) of each line that holds something."""
    for number, line in enumerate(cells[1:], 2):
        if any(as_text(c).strip() for c in line):
            yield number, as_text(line[at]).strip(), line


def _base_rows(run: Run, base: Base, contract: Contract, wanted: Sequence[str]) -> dict[str, dict[str, Any]]:
    names = ["_sheet", "_row", *_sources(run, base, contract), "_extra", "_defect"]
    listed = ", ".join(quoted(n) for n in names)
    found = run.con.execute(
        f'SELECT * FROM (SELECT {listed}, {_MARK_SQL} AS _mark FROM {table("raw." + base.source)} WHERE "_batch" = ?) '
        "WHERE _mark IN (SELECT unnest(?))",
        [base.batch, base.batch, list(wanted)],
    ).fetchall()
    return {values[-1]: _with_extra(dict(zip(names, values[:-1], strict=True))) for values in found}


def _places(
    contract: Contract, base: Base, rows: Mapping[str, Mapping[str, Any]], heading: Sequence[str]
) -> tuple[dict[int, MendColumn], list[str]]:
    """Position in the workbook -> the column it mends; and the clerk's own columns."""
    spelled = {plain_header(alias): c.source for c in contract.columns for alias in c.from_}
    extras = {name for r in rows.values() for name in r["_extra"]}
    there = set(next(iter(rows.values()), {}))
    places: dict[int, MendColumn] = {}
    ignored = []
    used: set[str] = set()
    for position, cell in enumerate(heading):
        source = spelled.get(plain_header(cell))
        if not cell or cell in OWN.values() or cell.startswith(OWN["key"]):
            continue
        if source in there and source not in used:
            used.add(str(source))
            places[position] = MendColumn(cell, source)
        elif cell in extras and cell not in used:
            used.add(cell)
            places[position] = MendColumn(cell, extra=cell)
        elif source is None:
            ignored.append(cell)
    return places, ignored


def _compare(
    contract: Contract, taken: _Taken, row: Mapping[str, Any], number: int, line: Sequence[Any], places: Mapping[int, MendColumn],
    sheet: str | None,
) -> None:  # fmt: skip
    """Note the cells of one line that are not as they were sent."""
    cells: dict[str, str | None] = {}
    extra: dict[str, str] = dict(row["_extra"])
    exact = {c.source: c for c in contract.mapped if c.type == "text" and (c.key or c.check)}
    for position, column in places.items():
        value = line[position] if position < len(line) else None
        text = shown(as_text(value))
        if text == _cell(row, column):
            continue
        if column.extra:
            extra = {k: v for k, v in extra.items() if k != column.extra} | ({column.extra: text} if text else {})
            continue
        source = str(column.source)
        cells[source] = text or None
        if source in exact and isinstance(value, int | float) and not isinstance(value, bool):
            taken.findings.append(
                finding("number_in_text_column", sheet=sheet, row=number, header=source, column_name=exact[source].to,
                        cell=f"{letters(position)}{number}")
            )  # fmt: skip
    if cells or extra != row["_extra"]:
        taken.changed[row["_sheet"], row["_row"]] = (number, cells, extra)
    else:
        taken.count["unchanged"] += 1


def _defect_left(
    code: str | None, row: Mapping[str, Any], cells: Mapping[str, str | None], extra: Mapping[str, str]
) -> str | None:
    """What is still broken in the shape of a mended row: cells in a workbook stand where they belong, surplus ones do not."""
    if code == "character_unreadable":
        texts = [*{**row["_extra"], **extra}.values(), *(cells.get(k, v) for k, v in row.items() if not k.startswith("_"))]
        return code if any(UNREADABLE in (t or "") for t in texts) else None
    if code == "row_too_long":
        return code if any(re.fullmatch(r"column \d+", name) for name in extra) else None
    if code == "value_in_undeclared_column":
        return code if extra else None
    return None


def _write(run: Run, contract: Contract, base: Base, batch: str, taken: _Taken, out: Path) -> list[Finding]:
    """Raw rows of the new version, and the list of mended rows. Returns the findings of rows that stay broken."""
    sources = [c.source for c in contract.columns]
    there = set(_sources(run, base, contract))
    keys = list(taken.changed)
    raw = {
        (r["_sheet"], r["_row"]): r for r in _base_rows(run, base, contract, [row_mark(base.batch, *k) for k in keys]).values()
    }
    new: list[dict[str, Any]] = []
    for place, (_, cells, extra) in taken.changed.items():
        row = raw[place]
        new.append(
            {"_sheet": place[0], "_row": place[1]}
            | {s: cells.get(s, row.get(s)) for s in sources}
            | {
                "_extra": json.dumps(extra, ensure_ascii=False) if extra else None,
                "_defect": _defect_left(row["_defect"], row, cells, extra),
            }
        )
    cells_and_more = [*sources, "_extra", "_defect"]
    fields = [("_sheet", pa.string()), ("_row", pa.int64()), *((n, pa.string()) for n in cells_and_more)]
    run.con.register("_mended", pa.Table.from_pylist(new, schema=pa.schema(fields)))
    picked = ", ".join(
        f'CASE WHEN m."_row" IS NULL THEN {f"r.{quoted(n)}" if n in there or n.startswith("_") else "NULL::VARCHAR"} '
        f"ELSE m.{quoted(n)} END AS {quoted(n)}"
        for n in cells_and_more
    )
    run.con.execute(
        f'COPY (SELECT {literal(batch)} AS "_batch", r."_sheet", r."_row", {picked} FROM {table("raw." + base.source)} AS r '
        'LEFT JOIN _mended AS m ON r."_row" = m."_row" AND r."_sheet" IS NOT DISTINCT FROM m."_sheet" '
        f'WHERE r."_batch" = {literal(base.batch)} ORDER BY r."_sheet" NULLS FIRST, r."_row") TO {literal(str(out))} {PARQUET}'
    )
    run.con.unregister("_mended")
    listed = [
        {"batch": batch, "_sheet": place[0], "_row": place[1], "workbook_row": number,
         "headers": json.dumps(sorted({*cells, *(k for k in {*extra, *raw[place]["_extra"]} if extra.get(k) != raw[place]["_extra"].get(k))}),
                               ensure_ascii=False)}
        for place, (number, cells, extra) in sorted(taken.changed.items(), key=lambda i: (i[0][0] or "", i[0][1]))
    ]  # fmt: skip
    schema = pa.schema(
        [
            ("batch", pa.string()),
            ("_sheet", pa.string()),
            ("_row", pa.int64()),
            ("workbook_row", pa.int64()),
            ("headers", pa.string()),
        ]
    )
    pq.write_table(pa.Table.from_pylist(listed, schema=schema), out.with_name("mended.parquet"))
    return _still_broken(run, base, out)


def _still_broken(run: Run, base: Base, out: Path) -> list[Finding]:
    """What was said of broken rows when the file was read, for those that are broken still: cleaning does not say it again."""
    names = ("code", "severity", "message_zh", "message_en", "sheet", "row", "column_name", "header", "value")
    rows = run.con.execute(
        f"SELECT {', '.join('f.' + quoted(n) for n in names)} FROM lake.quality.finding AS f "
        f'JOIN (SELECT "_sheet", "_row", "_defect" FROM read_parquet({literal(str(out))}) WHERE "_defect" IS NOT NULL) AS r '
        'ON f."row" = r."_row" AND f.sheet IS NOT DISTINCT FROM r."_sheet" AND f.code = r."_defect" '
        'WHERE f.batch = ? ORDER BY f.sheet NULLS FIRST, f."row", f.code',
        [base.batch],
    ).fetchall()
    return [Finding(**dict(zip(names, values, strict=True))) for values in rows]


# --- where a row of a mended batch comes from -----------------------------------------------------


@dataclass(frozen=True)
class Origin:
    """The file that a row was first sent in, and the workbooks that changed cells of it, newest first."""

    batch: str
    file_name: str
    sha256: str
    arrived_at: Any
    mended: tuple[tuple[str, int, tuple[str, ...]], ...] = ()  # workbook, its row, the headers it changed


def origin_of(run: Run, batch: str, sheet: str | None, row: int) -> Origin:
    """Follow a row back through the batches that mended each other."""
    mended: list[tuple[str, int, tuple[str, ...]]] = []
    while True:
        [(name, sha256, arrived, former)] = run.con.execute(
            "SELECT file_name, sha256, arrived_at, mends FROM lake.ledger.batch WHERE batch = ?", [batch]
        ).fetchall()
        if not former:
            return Origin(batch, name, sha256, arrived, tuple(mended))
        for number, headers in run.con.execute(
            'SELECT workbook_row, headers FROM lake.ledger.mended WHERE batch = ? AND "_row" = ? AND "_sheet" IS NOT DISTINCT FROM ?',
            [batch, row, sheet],
        ).fetchall():
            mended.append((name, number, tuple(json.loads(headers))))
        batch = former
