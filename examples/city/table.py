"""One extract file in the making: rows with their truth, the faults put into them, and the bytes they become.

A fault holds the row object; its row number is known only when the table is written, because blank lines, duplicates
and repeated headers move everything below them.
"""

from __future__ import annotations

import datetime as dt
import io
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import openpyxl
from openpyxl.styles import Font

from examples.city.names import NEW_IN_2022

Cell = str | int | float | dt.date | None

#: What a fault on a line of text (not on one value) does to the line. Only delimited files have these.
EXTRA_DELIMITER = "extra_delimiter"
MISSING_DELIMITER = "missing_delimiter"
TRUNCATED = "truncated_last_line"
UNDECODABLE = "undecodable_byte"

#: Two bytes that start a GB 18030 or GBK character and cannot end one.
BAD_BYTES = b"\xb4\x20"


@dataclass(eq=False)
class Row:
    """`kind`: data, duplicate, test, or not data at all: blank, repeated_header, total."""

    cells: dict[str, Cell]
    truth: str = ""
    kind: str = "data"
    has_fault: bool = False
    line: str | None = None

    @property
    def is_data(self) -> bool:
        return self.kind in ("data", "duplicate", "test")


@dataclass(frozen=True, eq=False)
class Fault:
    """`detection` is what should notice: `reader:<finding>`, `check:<rule>`, `unreadable:<rule>` (the cleaning rule gives
    up on the value), `expect:<kind>`, `merge:conflict`; `repair:<rule>` (the rule brings the original back and nothing is
    reported); or `none`. Where the detection is not to be expected, `covered` is False and `reason` says why."""

    row: Row
    column: str
    code: str
    kind: str
    original: str
    written: str
    detection: str
    covered: bool = True
    reason: str = ""


@dataclass(eq=False)
class Table:
    """One file: `path` is relative to the output folder."""

    source: str
    name: str
    header: tuple[str, ...]
    rows: list[Row]
    period: str
    path: str = ""
    faults: list[Fault] = field(default_factory=list)

    def numbered(self, first: int) -> list[tuple[int, Row]]:
        """Rows with the number a spreadsheet shows; `first` is the number of the row below the header."""
        return list(enumerate(self.rows, first))


@dataclass(frozen=True)
class Layout:
    """How one source writes its files."""

    kind: str = "delimited"
    encoding: str = "utf-8"
    delimiter: str = ","
    title: str | None = None
    sheet: str = "Sheet1"
    newline: str = "\r\n"

    @property
    def header_row(self) -> int:
        return 2 if self.title else 1


def text_of(value: Cell) -> str:
    """A value as a text file carries it, and as the truth files print it."""
    if value is None:
        return ""
    if isinstance(value, dt.date):
        return value.isoformat()
    return str(value)


def to_bytes(table: Table, layout: Layout) -> bytes:
    return _workbook(table, layout) if layout.kind == "workbook" else _delimited(table, layout)


def join(values: Sequence[str], delimiter: str) -> str:
    """One line. Quotes are written only where a value needs them, as most exports do."""
    return delimiter.join(
        '"' + value.replace('"', '""') + '"' if delimiter in value or '"' in value else value for value in values
    )


def _delimited(table: Table, layout: Layout) -> bytes:
    lines = [join(table.header, layout.delimiter)]
    for row in table.rows:
        if row.line is not None:
            lines.append(row.line)
        else:
            lines.append(join([text_of(row.cells.get(name)) for name in table.header], layout.delimiter))
    ends_early = bool(table.rows) and any(f.kind == TRUNCATED for f in table.faults)
    text = layout.newline.join(lines) + ("" if ends_early else layout.newline)
    return encode(text, layout.encoding)


def encode(text: str, encoding: str) -> bytes:
    """Python's gb18030 follows the edition of 2005: the two-byte codes that the edition of 2022 gave to U+9FB4-9FBB
    are written here by hand. U+FFFC stands for bytes that cannot be decoded."""
    parts = []
    for piece in re.split(f"({NEW_IN_2022}|\ufffc)", text):
        if piece == "\ufffc":
            parts.append(BAD_BYTES)
        elif piece == NEW_IN_2022 and encoding == "gb18030":
            parts.append(b"\xfe\x61")
        else:
            parts.append(piece.encode(encoding))
    return b"".join(parts)


def _workbook(table: Table, layout: Layout) -> bytes:
    book = openpyxl.Workbook()
    book.remove(book.worksheets[0])
    sheet = book.create_sheet(layout.sheet)
    if layout.title:
        sheet.append([layout.title])
        sheet.merge_cells(start_row=1, start_column=1, end_row=1, end_column=len(table.header))
    sheet.append(list(table.header))
    for cell in sheet[layout.header_row]:
        cell.font = Font(bold=True)
    for number, row in table.numbered(layout.header_row + 1):
        for column, name in enumerate(table.header, 1):
            value = row.cells.get(name)
            if value is not None and value != "":
                cell = sheet.cell(number, column, value)
                if isinstance(value, dt.date):
                    cell.number_format = "yyyy-mm-dd"
    notes = book.create_sheet("填表说明")
    notes.append(["合成数据，仅供演示；SYNTHETIC DATA"])
    notes.sheet_state = "hidden"
    made = io.BytesIO()
    book.save(made)
    return _without_clock(made.getvalue())


def _without_clock(workbook: bytes) -> bytes:
    """The same workbook with fixed times inside: openpyxl stamps the present into properties and zip entries."""
    fixed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(workbook)) as old, zipfile.ZipFile(fixed, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "docProps/core.xml":
                data = re.sub(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", b"2026-03-01T00:00:00Z", data)
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            new.writestr(entry, data)
    return fixed.getvalue()


def rows_of(header: Sequence[str], values: Sequence[tuple[str, Mapping[str, Cell]]]) -> list[Row]:
    """Rows from (truth id, column -> value). A column that no row names is a mistake here, so it raises."""
    rows = []
    for truth, cells in values:
        if set(cells) != set(header):
            raise ValueError(f"columns differ from the header: {sorted(set(cells) ^ set(header))}")
        rows.append(Row(dict(cells), truth))
    return rows
