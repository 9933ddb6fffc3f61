"""Rebuild: the warehouse again from the archive alone: bytes, arrivals, and the contracts they were processed under."""

from __future__ import annotations

import os
import shutil
from bisect import bisect_right
from collections.abc import Callable, Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path

from pipelines import archive
from pipelines.archive import Drop
from pipelines.clean import clean
from pipelines.collect import stage
from pipelines.errors import NotFound
from pipelines.flow import fuse
from pipelines.gate import gate
from pipelines.identity import begin_from_archive
from pipelines.receipt import deliver
from pipelines.run import Run, open_run
from warehouse.layout import Workspace


def rebuild(run: Run, into: Path, step: Callable[[int, int], None] = lambda done, total: None) -> Workspace:
    """Replay every archived drop into the empty workspace `into`, each source in the order in which it was taken and the
    sources among themselves as their gates compared them (`in_order`), then merge every entity once.

    The archive is linked (copied where the file system cannot), the digest key is copied: the same tables come out,
    but for the fusions before the last, since only that one is made again; the ids of golden records and what became of
    them are taken over from the archive.
    Each drop is read under the contract it was processed under, archived with it; so a source whose contract has left
    the catalogue has its raw, std and ledger rows again. Entities, code tables and policies are those of the catalogue
    of today: such a source feeds no entity any more, as in the old workspace from its next fusion on.
    Raises NotFound where `into` is not empty.
    """
    target = Workspace(into.resolve())
    if target.root.exists() and any(target.root.iterdir()):
        raise NotFound(f"{target.root} is not empty; name a new folder")
    old = run.workspace
    shutil.copytree(old.archive, target.archive, copy_function=_link, ignore=shutil.ignore_patterns(".*"))
    (target.root / "secrets").mkdir(mode=0o700, parents=True)
    shutil.copy2(old.root / "secrets" / "digest.key", target.root / "secrets" / "digest.key")
    begin_from_archive(target)
    drops = in_order([d for source in archive.sources(target) for d in archive.drops(target, source)])
    with open_run(run.id, run.now, target.root, run.catalog.root) as new:
        for done, drop in enumerate(drops):
            step(done, len(drops))
            for batch in stage(new, archive.archived_contract(target, drop.contract_hash), [drop]):
                clean(new, batch)
                gate(new, batch)
        for source in archive.sources(target):
            deliver(new, source)  # those that were given stand in the archive
        for entity in new.catalog.entities:
            fuse(new, entity)
        step(len(drops), len(drops))
    return target


def in_order(drops: Sequence[Drop]) -> list[Drop]:
    """The drops so that each gate finds what it found: those of a source as they were taken, and each after the newest drop
    of another source that it was compared with (`Drop.beside`), before that one's next.

    Two gates that ran at the same time and each looked past the other cannot both come first; then none has to come before
    a next one. The rows are the same even so: what arrived later is left out by its arrival.
    """
    place = {d.drop_id: n for n, d in enumerate(drops)}
    own: dict[str, list[int]] = {}
    for n, drop in enumerate(drops):
        own.setdefault(drop.source, []).append(n)
    needs: dict[int, set[int]] = {n: set() for n in range(len(drops))}
    for numbers in own.values():
        for former, n in pairwise(numbers):
            needs[n].add(former)
    loose = {n: set(before) for n, before in needs.items()}
    for n, drop in enumerate(drops):
        for source, seen in drop.beside.items():
            theirs = own.get(source, [])
            newest = place.get(seen["drop"], -1) if seen else -1
            if newest >= 0:
                needs[n].add(newest)
                loose[n].add(newest)
            following = theirs[bisect_right(theirs, newest) :]
            if following and (newest >= 0 or not seen):
                needs[following[0]].add(n)
    try:
        return [drops[n] for n in TopologicalSorter(needs).static_order()]
    except CycleError:
        return [drops[n] for n in TopologicalSorter(loose).static_order()]


def _link(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target
