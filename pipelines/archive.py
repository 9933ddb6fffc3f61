"""The archive: every drop by content hash with its arrival, before anything reads it. The warehouse is rebuilt from it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import time
import unicodedata
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, BinaryIO

from catalog.contract import Contract, from_canonical_json
from pipelines.run import Run
from warehouse.layout import Workspace, sync_folder, write_atomically

#: Names under which other programs write a file they have not finished.
UNFINISHED = (".part", ".tmp", ".filepart", ".crdownload", ".swp")

#: Seconds without a change after which a file under its final name counts as finished.
QUIET = 2.0


@dataclass(frozen=True)
class Drop:
    """One file that arrived. `number` counts the drops of a source in the order in which they were taken and processed;
    `stat` tells a second look at the same file from the same bytes sent again. `handshake` is how we knew that it was
    finished (see `arrival.complete` of the contract), `manifest` what the sender declared, `mends` the batch whose refused
    rows it brings back mended."""

    drop_id: str
    source: str
    file_name: str
    sha256: str
    size_bytes: int
    arrived_at: str
    run: str
    stat: str
    contract_hash: str
    number: int
    handshake: str = "quiet"
    manifest: Mapping[str, Any] | None = None
    mends: str | None = None

    @property
    def arrival(self) -> datetime:
        return datetime.fromisoformat(self.arrived_at)


def object_path(workspace: Workspace, sha256: str) -> Path:
    return workspace.archive / "objects" / sha256[:2] / sha256


def record_path(workspace: Workspace, drop: Drop) -> Path:
    return workspace.archive / "drops" / drop.source / f"{drop.drop_id.split('/')[1]}.json"


def waiting(run: Run, contract: Contract) -> list[Path]:
    """Files in the department's landing folder that the contract expects, oldest first (in a simulated workspace by name).

    Links and unfinished files are not read.
    """
    folder = run.workspace.landing / contract.department.id
    if not folder.is_dir() or folder.is_symlink():
        return []
    found = []
    for entry in folder.iterdir():
        name = unicodedata.normalize("NFC", entry.name)
        if name.startswith(".") or name.lower().endswith(UNFINISHED) or entry.is_symlink() or not entry.is_file():
            continue
        if any(fnmatchcase(name, pattern) for pattern in contract.arrival.drop):
            with suppress(FileNotFoundError):  # the department took it back
                found.append((0 if run.simulated else entry.stat().st_ctime_ns, name, entry))
    return [entry for _, _, entry in sorted(found)]


def take(run: Run, contract: Contract, path: Path) -> Drop | None:
    """Archive one landed file and take it out of the landing folder. None: it is not finished, not readable or gone.

    Bytes are on disk under their hash, then the record, then the landing file goes: killed in between, a second
    call finds the same file (its `stat`) and makes no second drop. The caller holds the lock of the source.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return None
    with open(handle, "rb") as source:  # noqa: PTH123 - a descriptor, not a path
        before = os.fstat(handle)
        name = unicodedata.normalize("NFC", path.name)
        known = drops(run.workspace, contract.id)
        drop = next((d for d in known if (d.stat, d.file_name) == (_look(before), name)), None)
        if drop is None:
            if not run.simulated:
                time.sleep(max(0.0, before.st_ctime + QUIET - time.time()))
            sha256 = _store(run.workspace, contract, source, before)
            if sha256 is None:
                return None
            drop = _record(run, contract, name, sha256, before, 1 + max((d.number for d in known), default=0))
    # A landing folder we may only read keeps its file, and `stat` keeps us from taking it twice. A file that came
    # under this name since is another drop.
    with suppress(OSError):
        if _look(path.lstat()) == drop.stat:
            path.unlink()
    return drop


def _look(status: os.stat_result) -> str:
    # The kernel sets ctime at every change and nobody else can. Device and inode differ after a remount, or return.
    return f"{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}"


def _store(workspace: Workspace, contract: Contract, source: BinaryIO, before: os.stat_result) -> str | None:
    """Copy the open file into the archive; returns its SHA-256, or None where it changed since `before`."""
    folder = workspace.archive / "objects"
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f".{contract.id}.part"  # one name per source: what a killed run left goes here
    part.unlink(missing_ok=True)
    digest = hashlib.sha256()
    with part.open("wb") as target:
        while chunk := source.read(1 << 22):
            digest.update(chunk)
            target.write(chunk)
        target.flush()
        os.fsync(target.fileno())
    sha256 = digest.hexdigest()
    final = object_path(workspace, sha256)
    if not stat.S_ISREG(before.st_mode) or _look(os.fstat(source.fileno())) != _look(before):
        part.unlink()
        return None
    final.parent.mkdir(exist_ok=True)
    if final.exists():
        part.unlink()
    else:
        part.chmod(0o400)
        part.replace(final)
        sync_folder(final.parent)
    return sha256


def _record(run: Run, contract: Contract, name: str, sha256: str, status: os.stat_result, number: int) -> Drop:
    # The kernel stamps ctime when the file came to be here under this name; a sender cannot set it, and it spares a
    # department the time until our next look. A simulated clock knows no kernel.
    seen = run.now if run.simulated else min(run.now, datetime.fromtimestamp(status.st_ctime, UTC))
    stamp = seen.astimezone(UTC).strftime("%Y%m%dT%H%M%S%fZ")
    mark = hashlib.sha256(f"{number}\n{name}\n{sha256}".encode()).hexdigest()[:12]
    drop = Drop(
        f"{contract.id}/{stamp}-{mark}",
        contract.id,
        name,
        sha256,
        status.st_size,
        seen.astimezone(UTC).isoformat(),
        run.id,
        _look(status),
        contract.hash,
        number,
    )
    _save(run.workspace, drop, contract)
    return drop


def pin(workspace: Workspace, drop: Drop, contract: Contract) -> Drop:
    """Note under which contract a drop is processed, so that a rebuild uses the same. No-op where it is noted."""
    if drop.contract_hash == contract.hash:
        return drop
    pinned = replace(drop, contract_hash=contract.hash)
    _save(workspace, pinned, contract)
    return pinned


def _save(workspace: Workspace, drop: Drop, contract: Contract) -> None:
    kept = workspace.archive / "contracts" / f"{contract.hash}.json"
    if not kept.exists():
        write_atomically(kept, contract.canonical_json().encode(), mode=0o400)
    text = json.dumps(asdict(drop), ensure_ascii=False, indent=1)
    write_atomically(record_path(workspace, drop), text.encode(), mode=0o600)


def drops(workspace: Workspace, source: str) -> list[Drop]:
    """Every recorded drop of a source in the order in which they were taken."""
    folder = workspace.archive / "drops" / source
    found = [Drop(**json.loads(p.read_text(encoding="utf-8"))) for p in folder.glob("*.json")] if folder.is_dir() else []
    return sorted(found, key=lambda d: d.number)


def sources(workspace: Workspace) -> list[str]:
    """Every source that ever dropped a file, whether the catalogue still knows it or not."""
    return sorted(p.name for p in (workspace.archive / "drops").glob("*") if p.is_dir())


def archived_contract(workspace: Workspace, contract_hash: str) -> Contract:
    """The contract a drop was processed under."""
    if not re.fullmatch(r"[0-9a-f]{64}", contract_hash):
        raise ValueError("not a contract hash")
    return from_canonical_json((workspace.archive / "contracts" / f"{contract_hash}.json").read_text(encoding="utf-8"))
