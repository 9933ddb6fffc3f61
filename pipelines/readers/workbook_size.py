"""How large a sheet will be once it is loaded, told from the .xlsx before anything is loaded.

A workbook is a zip of XML. A few kilobytes can unpack to gigabytes, and one stray cell in XFD1048576 makes a table of
17 thousand million cells, for which the reading library asks memory at once and takes the process down.
"""

from __future__ import annotations

import re
import zlib
from pathlib import Path
from posixpath import dirname, join, normpath
from xml.etree import ElementTree
from zipfile import BadZipFile, ZipFile

from quality.finding import Finding, finding

MOST_UNPACKED = 2 << 30
MOST_CELLS = 30_000_000
_CHUNK = 1 << 22
_INDEX_BYTES = 16 << 20

_CELL = re.compile(rb"""\br=["']([A-Z]{1,3})([0-9]{1,7})["']""")
_ROW = re.compile(rb"""<(?:\w+:)?row\b[^>]*?\br=["']([0-9]{1,7})["']""")
_RELATION = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"


def unfit(path: Path, sheet: str | None = None) -> Finding | None:
    """Why this zip cannot be loaded: no .xlsx, or too large; with `sheet` its table is measured too. None: it can."""
    try:
        with ZipFile(path) as archive:
            unpacked = sum(item.file_size for item in archive.infolist())
            if unpacked > MOST_UNPACKED:
                return finding("workbook_too_large", size=unpacked >> 20, most=MOST_UNPACKED >> 20)
            parts = _parts(archive)
            if not parts:
                return finding("file_is_not_a_workbook")
            if sheet is None or sheet not in parts:
                return None
            rows, columns = _extent(archive, parts[sheet])
    except (BadZipFile, zlib.error, KeyError, OSError, ElementTree.ParseError, RuntimeError, EOFError, ValueError):
        return finding("workbook_unreadable")
    if rows * columns > MOST_CELLS:
        return finding("sheet_too_large", sheet=sheet, rows=rows, columns=columns, most=MOST_CELLS)
    return None


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
