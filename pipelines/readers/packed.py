"""One file out of a .zip or a .gz, told by its bytes. Bounded, and never written under a name that the archive chose."""

from __future__ import annotations

import gzip
import zlib
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import IO
from zipfile import BadZipFile, ZipFile, ZipInfo

from pipelines.errors import is_of_the_machine
from quality.finding import Finding, finding

#: Text that is worth packing shrinks to a tenth; what grows more than this, beyond the first bytes, is a trap.
MOST_GROWTH = 200
SURELY_FINE = 64 << 20
MOST_UNPACKED = 32 << 30
_CHUNK = 1 << 22
_UTF8_NAME = 0x800
_ENCRYPTED = 0x1


def unpack(path: Path, pattern: str | None, out: Path) -> str | Finding | None:
    """Write the packed file to `out` and return its name; None where `path` is not packed; else why it cannot be read.

    Workbooks (.xlsx, .ods) are zips too and stay whole. `pattern` chooses among several members.
    """
    with path.open("rb") as file:
        magic = file.read(4)
    try:
        if magic[:2] == b"\x1f\x8b":
            with gzip.open(path) as packed:
                return _copy(packed, path, out) or "gzip"
        if magic in (b"PK\x03\x04", b"PK\x05\x06"):
            with ZipFile(path) as archive:
                return _member(archive, path, pattern, out)
    except (BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError, ValueError) as error:
        if is_of_the_machine(error):
            raise
        return finding("archive_unreadable")
    return None


def _member(archive: ZipFile, path: Path, pattern: str | None, out: Path) -> str | Finding | None:
    names = set(archive.namelist())
    if names & {"[Content_Types].xml", "mimetype"} or any(n.startswith("xl/") for n in names):
        return None
    files = {_name(item): item for item in archive.infolist() if _is_file(item)}
    if not files:
        return None
    chosen = {n: i for n, i in files.items() if pattern is None or fnmatchcase(PurePosixPath(n).name, pattern)}
    if len(chosen) != 1:
        return finding("archive_members", count=len(chosen), members="、".join(sorted(chosen or files)[:5]) or "-")
    ((name, item),) = chosen.items()
    if item.flag_bits & _ENCRYPTED:
        return finding("archive_unreadable")
    with archive.open(item) as packed:
        return _copy(packed, path, out) or name


def _is_file(item: ZipInfo) -> bool:
    parts = PurePosixPath(item.filename).parts
    return not item.is_dir() and bool(parts) and parts[0] != "__MACOSX" and not parts[-1].startswith(".")


def _name(item: ZipInfo) -> str:
    """The member's name as its sender sees it: old programs write it in GBK without saying so."""
    if item.flag_bits & _UTF8_NAME:
        return item.filename
    try:
        return item.filename.encode("cp437").decode("gb18030")
    except UnicodeError:
        return item.filename


def _copy(packed: IO[bytes] | gzip.GzipFile, path: Path, out: Path) -> Finding | None:
    most = min(MOST_UNPACKED, max(SURELY_FINE, MOST_GROWTH * path.stat().st_size))
    written = 0
    with out.open("wb") as target:
        while chunk := packed.read(_CHUNK):
            written += len(chunk)
            if written > most:
                return finding("archive_bomb", size=most >> 20)
            target.write(chunk)
    return None
