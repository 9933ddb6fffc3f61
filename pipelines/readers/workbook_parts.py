"""What a .xlsx or .ods says of itself before anything is loaded: how large its sheets are, and what stands in them unseen.

A workbook is a zip of XML. A few kilobytes can unpack to gigabytes, and one stray cell in XFD1048576 makes a table of
17 thousand million cells, for which the reading library asks memory at once and takes the process down.
"""

from __future__ import annotations

import re
import zlib
from pathlib import Path
from posixpath import dirname, join, normpath
from xml.etree import ElementTree
from xml.parsers import expat
from zipfile import BadZipFile, ZipFile

from pipelines.errors import is_of_the_machine
from quality.finding import Finding, finding

MOST_UNPACKED = 2 << 30
MOST_CELLS = 30_000_000
_CHUNK = 1 << 22
_INDEX_BYTES = 16 << 20

_CELL = re.compile(rb"""\br=["']([A-Z]{1,3})([0-9]{1,7})["']""")
_ROW = re.compile(rb"""<(?:\w+:)?row\b[^>]*?\br=["']([0-9]{1,7})["']""")
_HIDDEN_ROW = re.compile(rb"""<(?:\w+:)?row\b[^>]*?\bhidden=["'](?:1|true)["']""")
_HIDDEN_COLUMN = re.compile(rb"""<(?:\w+:)?col\b[^>]*?\bhidden=["'](?:1|true)["'][^>]*>""")
_DAMAGED = (BadZipFile, zlib.error, KeyError, OSError, ElementTree.ParseError, RuntimeError, EOFError, ValueError)
_ODS = b"application/vnd.oasis.opendocument.spreadsheet"
_RELATION = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"


def unfit(path: Path, sheet: str | None = None) -> Finding | None:
    """Why this zip cannot be loaded: no .xlsx, or too large; with `sheet` its table is measured too. None: it can."""
    try:
        with ZipFile(path) as archive:
            unpacked = sum(item.file_size for item in archive.infolist())
            if unpacked > MOST_UNPACKED:
                return finding("workbook_too_large", size=unpacked >> 20, most=MOST_UNPACKED >> 20)
            if _is_ods(archive):
                rows, columns = _ods_extent(archive) if sheet is None else (0, 0)
            else:
                parts = _parts(archive)
                if not parts:
                    return finding("file_is_not_a_workbook")
                if sheet is None or sheet not in parts:
                    return None
                rows, columns = _extent(archive, parts[sheet])
    except _DAMAGED as error:
        if is_of_the_machine(error):
            raise
        return finding("workbook_unreadable")
    if rows * columns > MOST_CELLS:
        return finding("sheet_too_large", sheet=sheet or "1", rows=rows, columns=columns, most=MOST_CELLS)
    return None


def oddities(path: Path, sheet: str) -> list[Finding]:
    """What a reader of the screen does not see: hidden rows and columns, formulas, macros, links to other workbooks.

    All of it is read as the values that were saved; nothing is run and no link is followed.
    """
    found: list[Finding] = []
    try:
        with ZipFile(path) as archive:
            names = archive.namelist()
            if any(n.lower().endswith("vbaproject.bin") for n in names):
                found.append(finding("workbook_macros"))
            if any("externallinks/" in n.lower() for n in names):
                found.append(finding("workbook_links"))
            if _is_ods(archive) or not (part := _parts(archive).get(sheet)):
                return found
            rows, columns, formulas = _unseen(archive, part)
    except _DAMAGED as error:
        if is_of_the_machine(error):
            raise
        return found
    if rows or columns:
        found.append(finding("cells_hidden", sheet=sheet, rows=rows, columns=columns))
    if formulas:
        found.append(finding("formulas_as_values", sheet=sheet, count=formulas))
    return found


def _unseen(archive: ZipFile, part: str) -> tuple[int, int, int]:
    """Hidden rows, hidden columns, formulas of a sheet."""
    rows = columns = formulas = 0
    tail = b""
    with archive.open(part) as file:
        while chunk := file.read(_CHUNK):
            text = tail + chunk
            cut = text.rfind(b"<") if len(chunk) == _CHUNK else len(text)  # tags are counted whole
            text, tail = text[:cut], text[cut:]
            formulas += text.count(b"<f>") + text.count(b"<f ")
            if b"hidden" in text:
                rows += len(_HIDDEN_ROW.findall(text))
                columns += sum(1 + int(_number(c, b"max")) - int(_number(c, b"min")) for c in _HIDDEN_COLUMN.findall(text))
    return rows, min(columns, 16_384), formulas


def _number(tag: bytes, name: bytes) -> bytes:
    found = re.search(rb"\b" + name + rb"=[\"']([0-9]{1,5})[\"']", tag)
    return found.group(1) if found else b"0"


def _is_ods(archive: ZipFile) -> bool:
    return "mimetype" in archive.namelist() and archive.read("mimetype")[:64].strip() == _ODS


def _ods_extent(archive: ZipFile) -> tuple[int, int]:
    """Cells that the reader will make of an .ods, as (cells, 1). Repetition counts only up to the last cell with something."""
    cells = pending = width = 0
    filled = False
    repeat = 1

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal width, filled, repeat
        name = tag.rpartition(":")[2]
        if name == "table-row":
            repeat, width, filled = _repeated(attributes, "rows"), 0, False
        elif name in ("table-cell", "covered-table-cell"):
            width += _repeated(attributes, "columns")
            filled = filled or any(a.endswith(":value-type") for a in attributes)

    def end(tag: str) -> None:
        nonlocal cells, pending
        if tag.rpartition(":")[2] == "table-row":
            pending += repeat * (width if filled else 1)
            if filled:
                cells, pending = cells + pending, 0

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = start, end
    with archive.open("content.xml") as file:
        try:
            while chunk := file.read(_CHUNK):
                parser.Parse(chunk)
                if cells > MOST_CELLS:
                    break
        except expat.ExpatError:
            raise ValueError("no XML") from None
    return cells, 1


def _repeated(attributes: dict[str, str], what: str) -> int:
    value = attributes.get(f"table:number-{what}-repeated", "1")
    return int(value) if value.isdecimal() and len(value) < 12 else 1


def _parts(archive: ZipFile) -> dict[str, str]:
    """Name of each sheet -> its file in the zip; empty where this is no .xlsx."""
    names = set(archive.namelist())
    main = [t for t in _targets(archive, "_rels/.rels", "").values() if t in names and re.search(r"workbook[^/]*\.xml$", t, re.I)]
    book = main[0] if main else "xl/workbook.xml"
    if book not in names:
        return {}
    folder, file = book.rpartition("/")[::2]
    targets = _targets(archive, f"{folder}/_rels/{file}.rels" if folder else f"_rels/{file}.rels", dirname(book))
    sheets = _xml(archive, book).iter()
    return {s.get("name", ""): targets.get(s.get(_RELATION, ""), "") for s in sheets if s.tag.rpartition("}")[2] == "sheet"}


def _targets(archive: ZipFile, relations: str, folder: str) -> dict[str, str]:
    if relations not in archive.namelist():
        return {}
    found = {}
    for relation in _xml(archive, relations):
        target = relation.get("Target", "")
        found[relation.get("Id", "")] = target.lstrip("/") if target.startswith("/") else normpath(join(folder, target))
    return found


def _xml(archive: ZipFile, name: str) -> ElementTree.Element:
    with archive.open(name) as file:
        return ElementTree.fromstring(file.read(_INDEX_BYTES))  # noqa: S314 - expat bounds what entities may expand to


def _extent(archive: ZipFile, name: str) -> tuple[int, int]:
    """(rows, columns) of the smallest table from A1 that holds every cell."""
    rows = columns = 0
    tail = b""
    with archive.open(name) as file:
        while chunk := file.read(_CHUNK):
            chunk = tail + chunk
            for letters, number in set(_CELL.findall(chunk)):
                rows, columns = max(rows, int(number)), max(columns, _position(letters))
            rows = max([rows, *map(int, _ROW.findall(chunk))])
            # Cells need no address of their own: then they follow one another.
            columns = max([columns, *(row.count(b"<c ") + row.count(b"<c>") + row.count(b"<c/") for row in chunk.split(b"<row"))])
            tail = chunk[-256:]
    return rows, columns


def _position(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = 26 * number + letter - 64
    return number
