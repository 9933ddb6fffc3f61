"""What runs in the processes that are killed. The fork server imports this once; every child is a fork of it."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

import quality.gx_suite  # noqa: F401 - Great Expectations takes seconds to import: once, before the forks
from pipelines import cli
from pipelines.flow import intake
from tests.support import Town

#: Calls that change the disk, and the beginnings of statements that change something, each the name of a step.
CALLS = ("replace", "link", "unlink", "fsync", "rmdir")
STATEMENTS = (
    "BEGIN",
    "CREATE SCHEMA",
    "CREATE TABLE",
    "CALL ducklake_add_data_files",
    "INSERT INTO",
    "DELETE",
    "COPY",
    "COMMIT",
    "CALL lake.set_option",
    "CALL ducklake_expire",
    "CALL ducklake_cleanup",
)


@dataclass(frozen=True)
class Death:
    """At the `nth` step called `what` (`any` counts them all): before it, after it, or some seconds after its start."""

    what: str
    nth: int
    when: str | float = "before"


def play(town: Town, when: str, death: Death | None, diary: Path, source: str | None = None) -> None:
    """The pipeline at one instant, or the intake of one source, dying as told. Writes every step into `diary` as it begins."""
    os.environ["DMP_THREADS"] = "1"
    with diary.open("w", buffering=1) as lines:
        _watch(death, lambda line: print(line, file=lines))
        if source is None:
            town.run_at(when)
        else:
            with town.run(when) as run:
                intake(run, source)


def command(town: Town, *arguments: str) -> None:
    """`dmp <arguments>`, with the interpreter and the imports already there."""
    os.environ |= {"DMP_WORKSPACE": str(town.workspace.root), "DMP_CATALOG": str(town.catalog), "DMP_THREADS": "1"}
    sys.argv = ["dmp", *arguments]
    with contextlib.redirect_stdout(io.StringIO()):
        cli.main()


def _watch(death: Death | None, note: Callable[[str], None]) -> None:
    """Put the steps of this process under observation."""
    seen: Counter[str] = Counter()
    critical = False

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def watched(call: Callable[..., Any], step_of: Callable[[tuple[Any, ...]], str]) -> Callable[..., Any]:
        def step(*args: Any, **options: Any) -> Any:
            nonlocal critical
            what = step_of(args)
            if not what:
                return call(*args, **options)
            seen.update((what, "any"))
            critical = critical or what == "BEGIN"
            note(f"{what} {'(critical section)' if critical else ''}")
            here = death is not None and death.what in (what, "any") and seen[death.what] == death.nth
            if death and here and death.when == "before":
                die()
            if death and here and isinstance(death.when, float):
                threading.Timer(death.when, die).start()
            result = call(*args, **options)
            if death and here and death.when == "after":
                die()
            critical = critical and what != "COMMIT"
            return result

        return step

    def named(name: str) -> Callable[[tuple[Any, ...]], str]:
        return lambda _: name

    for name in CALLS:
        setattr(os, name, watched(getattr(os, name), named(name)))
    execute: Any = watched(duckdb.DuckDBPyConnection.execute, _statement)
    duckdb.DuckDBPyConnection.execute = execute  # type: ignore[method-assign]


def _statement(arguments: tuple[Any, ...]) -> str:
    return next((s for s in STATEMENTS if str(arguments[1]).startswith(s)), "")
