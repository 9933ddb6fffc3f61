"""The exceptions: they are about us, never about what a department sent. Each has an exit code."""

from __future__ import annotations


class StageError(Exception):
    """An invariant broke: rows do not add up, a file is not what its hash says. Nothing was committed."""

    exit_code = 30


class NotFound(Exception):
    """Something named on the command line is not there. The message says what is."""

    exit_code = 11


def prove(stage: str, subject: str, whole: int, parts: dict[str, int]) -> str:
    """The row sum of a stage as an equation; raises StageError where it does not hold."""
    equation = f"{whole} = " + " + ".join(f"{count} {name}" for name, count in parts.items())
    if whole != sum(parts.values()):
        raise StageError(f"{stage} of {subject}: rows do not add up: {equation}. Nothing was committed; please report this.")
    return equation
