"""Workbooks (.xlsx, .xls, .ods, .et saved as .xls): cells by their own type, so that an identifier stored as a number is seen
and not repaired in silence."""

from __future__ import annotations

import datetime as dt
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from python_calamine import CalamineError, CalamineSheet, CalamineWorkbook, PasswordError, SheetTypeEnum, SheetVisibleEnum

from catalog.contract import Contract
from pipelines.errors import is_of_the_machine
from pipelines.readers.rows import (
    HEAD,
    SPELLED_OUT,
    Layout,
    RawWriter,
    Reading,
    find_heading,
    header_elsewhere,
    match_header,
    not_read,
    private_use,
    virtual_names,
    write_rows,
)
from pipelines.readers.text import is_markup
from pipelines.readers.workbook_parts import oddities, unfit
from quality.finding import Finding, finding

Cells = Sequence[Sequence[Any]]


def read(path: Path, contract: Contract, batch: str, out: Path) -> Reading:
    """Raw rows of the sheets that the contract names, else of the first visible one."""
    opened = open_workbook(path)
    if isinstance(opened, Finding):
        return Reading(findings=(opened,))
    book, zipped = opened
    names = chosen_sheets(book, contract.format.sheet)
    if not names:
        wanted = "、".join(contract.format.sheet or ())
        return Reading(findings=(finding("sheet_missing", header=wanted, sheets="、".join(book.sheet_names)),))
    findings: list[Finding] = []
    visible = _visible(book)
    if contract.format.sheet is None and (rest := [s for s in visible if s not in names]):
        findings.append(finding("sheets_not_read", sheet=names[0], sheets="、".join(rest)))
    readings: list[Reading] = []
    with RawWriter(contract, batch, out) as writer:
        for name in names:
            if zipped and (why := unfit(path, name)):
                readings.append(Reading(findings=(why,)))
                continue
            loaded = load_sheet(book, name)
            if loaded is None:
                readings.append(Reading(findings=(finding("workbook_unreadable"),)))
                continue
            sheet, rows = loaded
            notes = oddities(path, name) if zipped else []
            if name not in visible:
                notes.append(finding("sheet_hidden", sheet=name))
            reading = _read_sheet(sheet, rows, contract, writer)
            readings.append(replace(reading, findings=(*notes, *reading.findings)))
    if not writer.rows:
        out.unlink()
    elif out.is_file():
        findings += private_use(out, contract)
    return _together(readings, names, findings)


def open_workbook(path: Path) -> tuple[CalamineWorkbook, bool] | Finding:
    """The workbook, and whether it is a zip (.xlsx, .ods), whose sheets `unfit` has to pass before they are loaded."""
    with path.open("rb") as file:
        head = file.read(4096)
    if not head:
        return finding("file_empty", size=0)
    zipped = head.startswith(b"PK\x03\x04")
    if not zipped and not head.startswith(b"\xd0\xcf\x11\xe0"):
        return finding("file_is_html" if is_markup(head) else "file_is_not_a_workbook")
    if zipped and (why := unfit(path)):
        return why
    try:
        with _no_panic():
            return _by_its_bytes(path), zipped
    except PasswordError:
        return finding("workbook_locked")
    except (CalamineError, OSError, ValueError) as error:
        if is_of_the_machine(error):
            raise
        return finding("workbook_unreadable")


def _by_its_bytes(path: Path) -> CalamineWorkbook:
    """The library goes by the file's name, and an .xlsx is often called .xls or .et."""
    try:
        return CalamineWorkbook.from_path(str(path))
    except PasswordError:
        raise
    except CalamineError:
        return CalamineWorkbook.from_filelike(io.BytesIO(path.read_bytes()))


def load_sheet(book: CalamineWorkbook, name: str, rows: int | None = None) -> tuple[CalamineSheet, list[list[Any]]] | None:
    """A sheet with its (first) rows, empty ones included; None where it cannot be read."""
    try:
        with _no_panic():
            sheet = book.get_sheet_by_name(name)
            return sheet, sheet.to_python(nrows=rows, skip_empty_area=False)
    except (CalamineError, ValueError):
        return None


@contextmanager
def _no_panic() -> Iterator[None]:
    """What the library did not foresee ends in a panic of its Rust code, which is no Exception."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise CalamineError(str(error)) from None


def chosen_sheets(book: CalamineWorkbook, wanted: Sequence[str] | None) -> list[str]:
    """The sheets to read, in the order of the workbook: those that fit a wanted name or pattern, hidden ones only by name."""
    if wanted is None:
        return [first_visible(book)] if book.sheet_names else []
    visible = set(_visible(book))
    return [n for n in book.sheet_names if n in wanted or (n in visible and any(fnmatchcase(n, w) for w in wanted))]


def first_visible(book: CalamineWorkbook) -> str:
    """The sheet that is read where none is named: the first visible one, else the first."""
    return next(iter(_visible(book)), book.sheet_names[0])


def _visible(book: CalamineWorkbook) -> list[str]:
    return [m.name for m in book.sheets_metadata if m.visible == SheetVisibleEnum.Visible and m.typ == SheetTypeEnum.WorkSheet]


def _together(readings: Sequence[Reading], names: Sequence[str], findings: Sequence[Finding]) -> Reading:
    """One reading of all sheets. A column is there if it is in every sheet."""
    other: Counter[str] = Counter()
    for reading in readings:
        other.update(reading.other)
    first = readings[0]
    rows = sum(r.rows for r in readings)
    found = [*findings, *(f for r in readings for f in r.findings)]
    if not rows and not any(f.severity == "hold" for f in found):
        found.append(finding("no_data_rows"))
    return Reading(
        dialect={"sheet": "、".join(names)},
        header=first.header,
        present={header: all(r.present.get(header, False) for r in readings) for header in first.present},
        records=sum(r.records for r in readings),
        rows=rows,
        other=dict(other),
        findings=tuple(found),
    )


def _read_sheet(sheet: CalamineSheet, rows: list[list[Any]], contract: Contract, writer: RawWriter) -> Reading:
    name = sheet.name
    merged = _fill_merged(sheet, rows, contract)
    declared = (contract.format.header_row or (0,))[-1]
    head = [_as_texts(row) for row in rows[: HEAD + declared]]
    heading = find_heading(contract, head, name)
    if isinstance(heading, Finding):
        return not_read(len(rows), [heading])
    above = head[: max(0, heading.first - 1)]
    layout = match_header(contract, heading.cells, name, heading.last, virtual_names(contract, above))
    if layout.held:
        findings = [*heading.findings, *layout.findings]
        found = header_elsewhere(contract, head[:HEAD])
        if found and not heading.first <= found <= heading.last:
            findings.append(finding("header_elsewhere", sheet=name, row=found, declared=heading.last))
        return not_read(len(rows), findings, layout, contract)
    look = _Identifiers(contract, layout, name, rows)
    reading = write_rows(
        _numbered(rows, layout.width), contract, writer, heading, layout, sheet=name, above=above, look=look.findings
    ).reading
    return replace(
        reading, findings=(*([finding("cells_merged", sheet=name, count=merged)] if merged else ()), *reading.findings)
    )


def _numbered(rows: Cells, width: int) -> Iterator[tuple[int, list[str]]]:
    """Rows as text. Empty cells right of the header are no cells, as spreadsheets have them everywhere."""
    for number, row in enumerate(rows, 1):
        cells = _as_texts(row)
        while len(cells) > width and not cells[-1].strip():
            cells.pop()
        yield number, cells


def _fill_merged(sheet: CalamineSheet, rows: list[list[Any]], contract: Contract) -> int:
    """Give every cell of a block that is merged downwards the value it shows; returns the number of such blocks.

    Blocks merged across one row keep their value in the first cell: titles, and rows that head a group. Rows of the header
    are put together in `joined`.
    """
    blocks = 0
    for (top, left), (bottom, _) in sheet.merged_cell_ranges or ():
        if bottom <= top or bottom >= len(rows) or left >= len(rows[top]) or rows[top][left] in ("", None):
            continue
        if contract.format.header_row and bottom < max(contract.format.header_row):
            continue
        blocks += 1
        for number in range(top + 1, bottom + 1):
            if left < len(rows[number]) and rows[number][left] in ("", None):
                rows[number][left] = rows[top][left]
    return blocks


class _Identifiers:
    """Looks for identifiers that a spreadsheet keeps as numbers or dates: their last digits or leading zeros may be gone."""

    def __init__(self, contract: Contract, layout: Layout, sheet: str, rows: Cells) -> None:
        self.columns = [
            (layout.place[c.source], c)
            for c in contract.columns
            if c.to and c.type == "text" and (c.key or c.check) and layout.place.get(c.source, layout.width) < layout.width
        ]
        self.sheet, self.rows, self.spelled = sheet, rows, 0

    def findings(self, group: list[tuple[int, list[str]]]) -> list[Finding]:
        found: list[Finding] = []
        for number, _ in group:
            row = self.rows[number - 1]
            for position, column in self.columns:
                cell = row[position] if position < len(row) else None
                if isinstance(cell, str) or cell is None or isinstance(cell, bool) or self.spelled >= SPELLED_OUT:
                    continue
                self.spelled += 1
                code = "number_in_text_column" if isinstance(cell, int | float) else "date_in_text_column"
                address = f"{letters(position)}{number}"
                found.append(
                    finding(
                        code, sheet=self.sheet, row=number, header=column.source, column_name=column.to, cell=address
                    )
                )  # fmt: skip
        return found


def _as_texts(row: Sequence[Any]) -> list[str]:
    return [cell if type(cell) is str else as_text(cell) for cell in row]


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
