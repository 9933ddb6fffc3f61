"""What runs in the processes that are killed. The fork server imports this once; every child is a fork of it."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

import quality.gx  # noqa: F401 - Great Expectations takes seconds to import: once, before the forks
from tests.support import Town
from warehouse.layout import Workspace

#: Calls that change the disk, and the statements that change the lake, by the name a point of death gives them.
CALLS = ("replace", "link", "unlink", "fsync", "rmdir")
STATEMENTS = ("BEGIN", "CREATE SCHEMA", "CREATE TABLE", "CALL ducklake_add_data_files", "INSERT INTO", "DELETE", "COPY", "COMMIT")


@dataclass(frozen=True)
class Death:
    """Die at the `nth` call of `what` (`any` counts them all): before it, after it, or `during` seconds after its start."""

    what: str
    nth: int
    when: str = "before"
    during: float = 0.0


def play(root: Path, when: str, death: Death | None, diary: Path) -> None:
    """The pipeline at one instant, dying as told. Writes one line per step into `diary`, with what was going on."""
    os.environ["DMP_THREADS"] = "1"
    with diary.open("a", buffering=1) as lines:
        _watch(death, lambda line: lines.write(line + "\n") and None)
        town_at(root).run_at(when)
        lines.write("end\n")


def town_at(root: Path) -> Town:
    return Town(Workspace(root / "workspace"), root / "catalog")


def _watch(death: Death | None, note: Callable[[str], None]) -> None:
    seen: Counter[str] = Counter()
    critical = False

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def wrapped(name: Callable[[Any], str], call: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **options: Any) -> Any:
            nonlocal critical
            what = name(args)
            if not what:
                return call(*args, **options)
            seen.update((what, "any"))
            critical = critical or what == "BEGIN"
            note(f"{what} {seen[what]}{' in the critical section' if critical else ''}")
            here = death is not None and death.what in (what, "any") and seen[death.what] == death.nth
            if here and death and death.when == "before":
                die()
            if here and death and death.when == "during":
                threading.Timer(death.during, die).start()
            result = call(*args, **options)
            if here:
                die()
            critical = critical and what not in ("COMMIT", "ROLLBACK")
            return result

        return step

    for name in CALLS:
        setattr(os, name, wrapped(lambda _, name=name: name, getattr(os, name)))  # type: ignore[misc]
    duckdb.DuckDBPyConnection.execute = wrapped(_statement, duckdb.DuckDBPyConnection.execute)  # type: ignore[method-assign]


def _statement(args: tuple[Any, ...]) -> str:
    return next((s for s in STATEMENTS if str(args[1]).startswith(s)), "")
