"""A town on a disk of its own that runs full or turns read-only; run in a mount namespace (see test_small_disk.py).

    python -m tests.crash.small_disk FOLDER        FOLDER is a tmpfs that nobody else uses

Prints one JSON object: what each disturbed command ended with and said, and how the town differs from an undisturbed one.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from pipelines.run import open_run
from pipelines.verify import verify
from tests.crash import child
from tests.crash import test_kill_formats as city
from tests.crash.days import ended, fork, undisturbed
from tests.support import Town, town
from warehouse import lake

#: Bytes that are left on the disk, a day each.
LEFT = (0, 60_000, 250_000, 1_000_000, 2_000_000)


def say(place: Town, said: Path, *arguments: str) -> None:
    with said.open("w") as file, contextlib.redirect_stderr(file):
        child.command(place, *arguments)


@contextmanager
def full(disk: Path, left: int) -> Iterator[None]:
    """So many bytes are left."""
    ballast, status = disk / "ballast", os.statvfs(disk)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, status.f_bavail * status.f_frsize - left))
    yield
    ballast.unlink()


@contextmanager
def read_only(disk: Path) -> Iterator[None]:
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    yield
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)


def main(disk: Path, notes: Path) -> dict[str, Any]:
    places = [town(disk / name, city.SOURCES) for name in ("disturbed", "quiet")]
    for place in places:
        lake.create(place.workspace)
    troubles = [(f"{left} bytes left", full(disk, left)) for left in LEFT] + [("read-only", read_only(disk))]
    told = []
    for day, (trouble, disturbance) in enumerate(troubles, 1):
        city.make(day)
        for place in places:
            city.land(place, day)
        with disturbance:
            process = fork(say, places[0], notes, "run", "--now", city.at(day))
            told.append((trouble, ended(process, 120), notes.read_text()))
        for place in places:
            undisturbed(place, city.at(day))
    disturbed, quiet = (place.tables() for place in places)
    differences = [name for name in quiet if disturbed.get(name) != quiet[name]]
    if city.receipts(places[0]) != city.receipts(places[1]):
        differences.append("receipts")
    with open_run(
        now=datetime.fromisoformat(city.at(len(told))), workspace=places[0].workspace.root, catalog=places[0].catalog
    ) as run:
        problems = [str(problem) for problem in verify(run)]
    return {"told": told, "differences": differences, "problems": problems, "batches": len(quiet["ledger.batch"])}


if __name__ == "__main__":
    with Path(sys.argv[2]).open("w") as out:
        json.dump(main(Path(sys.argv[1]), Path(sys.argv[2]).with_suffix(".notes")), out)
