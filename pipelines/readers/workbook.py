"""Workbooks (.xlsx): cells by their own type, so that an identifier stored as a number is seen and not repaired in silence."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from python_calamine import CalamineError, CalamineWorkbook, SheetTypeEnum, SheetVisibleEnum

from catalog.contract import Contract
from pipelines.readers.rows import (
    MOST_COLUMNS,
    SPELLED_OUT,
    RawWriter,
    Reading,
    groups,
    header_elsewhere,
    match_header,
    not_spelled_out,
    sort_rows,
    spell_out,
)
from pipelines.readers.text import is_markup
from pipelines.readers.workbook_size import unfit
from quality.finding import Finding, finding


def read(path: Path, contract: Contract, batch: str, out: Path) -> Reading:
    """Raw rows of one sheet: the one the contract names, else the first visible one."""
    size = path.stat().st_size
    with path.open("rb") as file:
        magic = file.read(8)
    if not magic:
        return Reading(findings=(finding("file_empty", size=size),))
    if not magic.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        with path.open("rb") as file:
            code = "file_is_html" if is_markup(file.read(4096)) else "file_is_not_a_workbook"
        return Reading(findings=(finding(code),))
    zipped = magic.startswith(b"PK")
    if zipped and (why := unfit(path)):
        return Reading(findings=(why,))
    try:
        book = CalamineWorkbook.from_path(str(path))
    except (CalamineError, OSError, ValueError):
        return Reading(findings=(finding("workbook_unreadable"),))
    visible = _visible(book)
    wanted = contract.format.sheet[0] if contract.format.sheet else None
    if wanted is not None and wanted not in book.sheet_names:
        return Reading(findings=(finding("sheet_missing", header=wanted, sheets="、".join(book.sheet_names)),))
    name = wanted or first_visible(book)
    findings: list[Finding] = []
    if wanted is None and len(visible) > 1:
        findings.append(finding("sheets_not_read", sheet=name, sheets="、".join(s for s in visible if s != name)))
    if zipped and (why := unfit(path, name)):
        return Reading(findings=(*findings, why))
    try:
        rows: list[list[Any]] = book.get_sheet_by_name(name).to_python(skip_empty_area=False)
    except (CalamineError, ValueError):
        return Reading(findings=(finding("workbook_unreadable"),))
    return _read_rows(rows, name, contract, batch, out, findings)


def first_visible(book: CalamineWorkbook) -> str:
    """The sheet that is read where none is named: the first visible one, else the first."""
    return next(iter(_visible(book)), book.sheet_names[0])


def _visible(book: CalamineWorkbook) -> list[str]:
    return [m.name for m in book.sheets_metadata if m.visible == SheetVisibleEnum.Visible and m.typ == SheetTypeEnum.WorkSheet]


def _read_rows(
    rows: Sequence[Sequence[Any]], sheet: str, contract: Contract, batch: str, out: Path, findings: list[Finding]
) -> Reading:
    at = (contract.format.header_row or (1,))[-1]
    if len(rows) < at or not any(as_text(cell).strip() for cell in rows[at - 1]):
        return Reading(
            records=len(rows), other={"not_read": len(rows)}, findings=(*findings, finding("header_absent", sheet=sheet, row=at))
        )
    if len(header := _trimmed(rows[at - 1])) > MOST_COLUMNS:
        return Reading(
            records=len(rows),
            other={"not_read": len(rows)},
            findings=(*findings, finding("too_many_columns", sheet=sheet, count=len(header), most=MOST_COLUMNS)),
        )
    layout = match_header(contract, header, sheet)
    findings += layout.findings
    base = Reading(
        header=layout.header,
        present={c.source: c.source in layout.place for c in contract.columns},
        records=len(rows),
        dialect={"sheet": sheet},
    )
    if any(f.severity == "hold" for f in findings):
        found = header_elsewhere(contract, [[as_text(c) for c in row] for row in rows[:50]])
        if found and found != at:
            findings.append(finding("header_elsewhere", sheet=sheet, row=found, declared=at))
        return replace(base, other={"not_read": len(rows)}, findings=tuple(findings))
    text_only = {
        layout.place[c.source]: c
        for c in contract.columns
        if c.to and c.source in layout.place and c.type == "text" and (c.key or c.check)
    }
    other: Counter[str] = Counter({"above_header": at - 1, "header": 1})
    broken = spelled = 0
    with RawWriter(contract, batch, out) as writer:
        for group in groups((number, [as_text(c) for c in rows[number - 1]]) for number in range(at + 1, len(rows) + 1)):
            for number, _ in group:
                for position, column in text_only.items():
                    row = rows[number - 1]
                    if position < len(row) and isinstance(row[position], float | int) and len(findings) < SPELLED_OUT:
                        findings.append(
                            finding(
                                "number_in_text_column",
                                sheet=sheet,
                                row=number,
                                header=column.source,
                                column_name=column.to,
                                cell=f"{letters(position)}{number}",
                            )
                        )
            sorted_rows = sort_rows(layout, group)
            other += sorted_rows.other
            writer.write(layout, sheet, sorted_rows)
            said = spell_out(layout, sheet, sorted_rows, SPELLED_OUT - len(findings))
            findings += said
            broken += len(sorted_rows.defects)
            spelled += len(said)
    findings += not_spelled_out(sheet, broken, spelled)
    if not writer.rows:
        findings.append(finding("no_data_rows"))
    return replace(base, rows=writer.rows, other={k: v for k, v in other.items() if v}, findings=tuple(findings))


def _trimmed(row: Sequence[Any]) -> list[str]:
    """A row as text without the empty cells at its right."""
    cells = [as_text(cell) for cell in row]
    while cells and not cells[-1].strip():
        cells.pop()
    return cells


def as_text(cell: Any) -> str:
    """A cell as text without invention: whole numbers without a point, dates in ISO form, no scientific notation."""
    if cell is None or isinstance(cell, str):
        return cell or ""
    if isinstance(cell, bool):
        return "TRUE" if cell else "FALSE"
    if isinstance(cell, int):
        return str(cell)
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() and abs(cell) < 1e21 else repr(cell)
    if isinstance(cell, dt.datetime):
        return cell.date().isoformat() if cell.time() == dt.time() else cell.isoformat(sep=" ", timespec="seconds")
    return str(cell)


def letters(position: int) -> str:
    """0 -> A, 26 -> AA: the column as a spreadsheet names it."""
    name = ""
    position += 1
    while position:
        position, rest = divmod(position - 1, 26)
        name = chr(65 + rest) + name
    return name
