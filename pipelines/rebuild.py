"""Rebuild: the warehouse again from the archive alone: bytes, arrivals, and the contracts they were processed under."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from pipelines import archive
from pipelines.clean import clean
from pipelines.collect import stage
from pipelines.errors import NotFound
from pipelines.flow import fuse
from pipelines.gate import gate
from pipelines.run import Run, open_run
from warehouse.layout import Workspace


def rebuild(run: Run, into: Path, step: Callable[[int, int], None] = lambda done, total: None) -> Workspace:
    """Replay every archived drop in order of arrival into the empty workspace `into`, then merge every entity once.

    The archive is linked (copied where the file system cannot), the digest key is copied: the same tables come out,
    but for the count of fusions, since only the last one is made again.
    Raises NotFound where `into` is not empty.
    """
    target = Workspace(into.resolve())
    if target.root.exists() and any(target.root.iterdir()):
        raise NotFound(f"{target.root} is not empty; name a new folder")
    old = run.workspace
    shutil.copytree(old.archive, target.archive, copy_function=_link)
    (target.root / "secrets").mkdir(mode=0o700, parents=True)
    shutil.copy2(old.root / "secrets" / "digest.key", target.root / "secrets" / "digest.key")
    sources = sorted(p.name for p in (target.archive / "drops").glob("*") if p.is_dir())
    drops = sorted((d for s in sources for d in archive.drops(target, s)), key=lambda d: (d.arrived_at, d.source, d.file_name, d.sha256))
    with open_run(run.id, run.now, target.root, run.catalog.root) as new:
        for done, drop in enumerate(drops):
            step(done, len(drops))
            for batch in stage(new, archive.archived_contract(target, drop.contract_hash), [drop]):
                clean(new, batch)
                gate(new, batch)
        for entity in new.catalog.entities:
            fuse(new, entity)
        step(len(drops), len(drops))
    return target


def _link(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target
