"""The mark of a workbook that brings refused rows back: which batch it was made from. It travels in the file's custom
properties, so the workbook is known by its content, whatever a clerk calls it."""

from __future__ import annotations

import re
import zlib
from pathlib import Path
from xml.etree import ElementTree
from zipfile import BadZipFile, ZipFile

PART = "docProps/custom.xml"
BATCH, CONTENT = "dmp.batch", "dmp.content"
_MOST = 64 << 10


def marks(path: Path) -> dict[str, str]:
    """Custom properties of a workbook that begin with `dmp.`; empty for any other file. Reads a few kilobytes."""
    try:
        with path.open("rb") as file:
            if file.read(4) != b"PK\x03\x04":
                return {}
        with ZipFile(path) as book:
            if PART not in book.namelist():
                return {}
            with book.open(PART) as part:
                root = ElementTree.fromstring(part.read(_MOST))  # noqa: S314 - expat bounds what entities may expand to
    except (BadZipFile, OSError, zlib.error, ElementTree.ParseError, RuntimeError, NotImplementedError, EOFError, ValueError):
        return {}
    found = {item.get("name", ""): "".join(item.itertext()).strip() for item in root}
    return {name: text for name, text in found.items() if name.startswith("dmp.")}


def marked_batch(path: Path) -> str | None:
    """The batch whose rows this workbook brings back."""
    batch = marks(path).get(BATCH, "")
    return batch if re.fullmatch(r"[a-z][a-z0-9_]*@[0-9A-Za-z-]{1,20}\.v[0-9]{1,6}", batch) else None
