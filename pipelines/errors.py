"""The exceptions: they are about us, never about what a department sent. Each has an exit code."""

from __future__ import annotations

import errno
import re


class StageError(Exception):
    """An invariant broke: rows do not add up, a file is not what its hash says. Nothing was committed."""

    exit_code = 30


class NotFound(Exception):
    """Something named on the command line is not there. The message says what is."""

    exit_code = 11


#: Errors of the machine that no file can cause: disk full or failing, a quota, no right, nothing left to open or to hold.
_MACHINE = frozenset(
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EFBIG", "EIO", "EROFS", "EACCES", "EPERM", "EMFILE", "ENFILE", "ENOMEM", "ENODEV", "ESTALE")
)
_FULL = re.compile("no space left|disk is full|disk quota exceeded|file too large", re.I)
_UNWRITABLE = re.compile("read-?only (file system|database)|permission denied|operation not permitted|disk i/o error", re.I)


def is_of_the_machine(error: BaseException) -> bool:
    """Whether an error while reading a file says nothing about the file: it is raised again, never held against the sender."""
    return isinstance(error, OSError) and error.errno in _MACHINE


def storage_trouble(error: BaseException) -> str | None:
    """The cause and the next step where a disk is full or may not be written, whoever met it first; else None."""
    told = " ".join(str(error).split())
    if isinstance(error, OSError | RuntimeError) or type(error).__module__.endswith("duckdb"):
        if _FULL.search(told):
            return f"The disk is full: {told}\nFree some space (`df -h`), then run the same command again. {_WHOLE}"
        if _UNWRITABLE.search(told):
            return f"The disk cannot be written (full, failing, read-only or without the right): {told}\nPut it in order, then run the same command again. {_WHOLE}"
    return None


_WHOLE = "Every batch is either whole in the warehouse or not in it; nothing that arrived is lost."


def prove(stage: str, subject: str, whole: int, parts: dict[str, int]) -> str:
    """The row sum of a stage as an equation; raises StageError where it does not hold."""
    equation = f"{whole} = " + " + ".join(f"{count} {name}" for name, count in parts.items())
    if whole != sum(parts.values()):
        raise StageError(f"{stage} of {subject}: rows do not add up: {equation}. Nothing was committed; please report this.")
    return equation
