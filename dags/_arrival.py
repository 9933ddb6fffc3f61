"""Wakes the intake of a source when a file for it lies finished in its department's landing folder.

Runs in Airflow's triggerer, for as long as that runs, and is imported by the DAG processor: neither may pay for DuckDB
or Great Expectations, so this module knows names and marks of files and nothing else. It only wakes; which files are
taken is decided by `pipelines.archive.waiting`, and the hourly look finds whatever was missed here.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
import unicodedata
from collections.abc import AsyncIterator, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from math import inf
from pathlib import Path
from typing import Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

#: Seconds between two looks into a folder. Looking instead of inotify: it works on network shares as well, where no kernel
#: tells of what another machine wrote, and a look into 151 quiet folders takes some milliseconds.
EVERY = 2.0

#: Seconds without a change after which we wake for a file whose sender gives no sign: seen the same in two looks. Whether it
#: has been quiet for long enough to be taken is decided when it is taken.
QUIET = EVERY - 0.5

#: Seconds after which we wake again for a file that still lies there as it was, then no more: the hourly look does it. A
#: file also lies there while its intake waits for a free slot, so not too soon.
AGAIN = (120.0, 600.0)

#: Names under which other programs write a file they have not finished; as in `pipelines.archive`.
UNFINISHED = (".part", ".tmp", ".filepart", ".crdownload", ".swp")

#: What the sender agreed to put beside a file when it is finished -> what its name ends in; as in `pipelines.manifest`.
SIGNS = {"manifest": ".manifest.json", "marker": ".ok"}

#: What one look saw: name -> size, time of modification, time of change.
Look = Mapping[str, tuple[int, int, int]]

# Threads of our own: a share that hangs keeps one of them, and six such would stop every look in Python's default pool.
_threads = ThreadPoolExecutor(64, "landing")
_log = logging.getLogger(__name__)


def look(folder: Path) -> Look:
    """Regular files of a landing folder. Empty where the folder is absent or a link; other trouble raises OSError."""
    seen: dict[str, tuple[int, int, int]] = {}
    if folder.is_symlink() or not folder.is_dir():
        return seen
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                if entry.is_file(follow_symlinks=False):
                    status = entry.stat(follow_symlinks=False)
                    name = unicodedata.normalize("NFC", entry.name)
                    seen[name] = (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            except FileNotFoundError:
                continue  # taken between the listing and the look
    return seen


@dataclass(frozen=True)
class _Waiting:
    marks: tuple[object, ...]
    due: float
    told: int = 0


@dataclass
class News:
    """What one source has not been told yet. Kept in memory only: after a restart everything that lies there is news."""

    patterns: Sequence[str]
    #: `quiet` and `rename` as in `arrival.complete`, or one of SIGNS without which no file is taken.
    complete: str
    _waiting: dict[str, _Waiting] = field(default_factory=dict)

    def among(self, seen: Look, at: float) -> list[str]:
        """Names to wake for, by one look made at `at` (seconds, any clock that never goes back).

        A file is named once it is finished, and again after each pause of `AGAIN` while it lies there unchanged. A file
        that changed, or whose manifest did, begins anew.
        """
        told, before, self._waiting = [], self._waiting, {}
        for name in sorted(seen):
            quiet = self._must_be_quiet(name, seen)
            if quiet is None:
                continue
            marks = (seen[name], *(seen.get(sign) for kind in SIGNS for sign in _signs(name, kind)))
            file = before.get(name)
            if file is None or file.marks != marks:
                file = _Waiting(marks, at + (QUIET if quiet else 0.0))
            if at >= file.due:
                told.append(name)
                file = _Waiting(marks, at + AGAIN[file.told] if file.told < len(AGAIN) else inf, file.told + 1)
            self._waiting[name] = file
        return told

    def _must_be_quiet(self, name: str, seen: Look) -> bool | None:
        """Whether quiet is the only sign that this file is finished. None: not ours, or not finished."""
        lower = name.lower()
        if name.startswith(".") or lower.endswith((*UNFINISHED, *SIGNS.values())):
            return None
        if any(fnmatchcase(name, pattern) for pattern in self.patterns):
            if self.complete == "quiet":
                return True
            if self.complete not in SIGNS or any(sign in seen for sign in _signs(name, self.complete)):
                return False
        # A workbook that was mended comes back under whatever name its clerk gave it, and nobody makes a manifest by hand.
        return True if lower.endswith(".xlsx") else None


def _signs(name: str, kind: str) -> tuple[str, ...]:
    """shop_1.csv -> shop_1.csv.manifest.json, and shop_1.manifest.json, which may mean another file: then we wake in vain."""
    return (name + SIGNS[kind], *([Path(name).stem + SIGNS[kind]] if kind == "manifest" else []))


class Arrival(BaseEventTrigger):
    """Fires when files for one source are finished in its department's folder; sources of one department share the looks.

    Lives on as long as the DAG has it. A folder that cannot be read is looked at again, with one warning.
    """

    def __init__(self, folder: str, patterns: list[str], complete: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's base is not annotated
        self.folder = folder
        self.patterns = patterns
        self.complete = complete

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "dags._arrival.Arrival", {"folder": self.folder, "patterns": self.patterns, "complete": self.complete}

    def shared_stream_key(self) -> Hashable:
        return ("landing", self.folder)

    @classmethod
    async def open_shared_stream(cls, kwargs: dict[str, Any]) -> AsyncIterator[Look]:
        """Every look, also where nothing changed: a file may have become quiet, and a source that joins late sees all."""
        folder, warned = Path(kwargs["folder"]), False
        while True:
            try:
                seen = await asyncio.get_running_loop().run_in_executor(_threads, look, folder)
            except OSError as error:
                if not warned:
                    _log.warning("无法查看投放目录，稍后再试 · cannot look into %s, trying again: %s", folder, error)
                warned = True
            else:
                warned = False
                yield seen
            await asyncio.sleep(EVERY)

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Look]) -> AsyncIterator[TriggerEvent]:
        news = News(self.patterns, self.complete)
        async for seen in shared_stream:
            # Their number, not their names: what a clerk calls a workbook is nothing for a log.
            if told := news.among(seen, time.monotonic()):
                yield TriggerEvent({"files": len(told)})  # type: ignore[no-untyped-call]  # nor is its event

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """By itself, without a shared stream."""
        async for event in self.filter_shared_stream(self.open_shared_stream(self.serialize()[1])):
            yield event
