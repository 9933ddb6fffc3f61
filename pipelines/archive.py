"""The archive: every drop by content hash with its arrival, before anything reads it. The warehouse is rebuilt from it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import unicodedata
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path

from catalog.contract import Contract, from_canonical_json
from pipelines.run import Run
from warehouse.layout import Workspace, sync_folder, write_atomically

#: Names under which other programs write a file they have not finished.
UNFINISHED = (".part", ".tmp", ".filepart", ".crdownload", ".swp")


@dataclass(frozen=True)
class Drop:
    """One file that arrived. `stat` tells a second look at the same file from the same bytes sent again."""

    drop_id: str
    source: str
    file_name: str
    sha256: str
    size_bytes: int
    arrived_at: str
    run: str
    stat: str
    contract_hash: str

    @property
    def arrival(self) -> datetime:
        return datetime.fromisoformat(self.arrived_at)


def object_path(workspace: Workspace, sha256: str) -> Path:
    return workspace.archive / "objects" / sha256[:2] / sha256


def record_path(workspace: Workspace, drop: Drop) -> Path:
    return workspace.archive / "drops" / drop.source / f"{drop.drop_id.split('/')[1]}.json"


def waiting(run: Run, contract: Contract) -> Iterator[Path]:
    """Files in the department's landing folder that the contract expects, by name. Links and unfinished files are not read."""
    folder = run.workspace.landing / contract.department.id
    if not folder.is_dir() or folder.is_symlink():
        return
    for entry in sorted(folder.iterdir()):
        name = unicodedata.normalize("NFC", entry.name)
        if name.startswith(".") or name.lower().endswith(UNFINISHED) or entry.is_symlink() or not entry.is_file():
            continue
        if any(fnmatchcase(name, pattern) for pattern in contract.arrival.drop):
            yield entry


def take(run: Run, contract: Contract, path: Path) -> Drop | None:
    """Archive one landed file and take it out of the landing folder. None: it changed while it was copied.

    Bytes are on disk under their hash, then the record, then the landing file goes: killed in between, a second
    call finds the same file (its `stat`) and makes no second drop.
    """
    workspace = run.workspace
    folder = workspace.archive / "objects"
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f".{uuid.uuid4().hex}.part"
    digest = hashlib.sha256()
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    with open(handle, "rb") as source, part.open("wb") as target:  # noqa: PTH123 - a descriptor, not a path
        before = os.fstat(handle)
        if not stat.S_ISREG(before.st_mode):
            part.unlink()
            return None
        while chunk := source.read(1 << 22):
            digest.update(chunk)
            target.write(chunk)
        after = os.fstat(handle)
        target.flush()
        os.fsync(target.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        part.unlink()
        return None
    sha256 = digest.hexdigest()
    final = object_path(workspace, sha256)
    final.parent.mkdir(exist_ok=True)
    if final.exists():
        part.unlink()
    else:
        part.chmod(0o400)
        part.replace(final)
        sync_folder(final.parent)
    looked = f"{before.st_dev}:{before.st_ino}:{before.st_size}:{before.st_mtime_ns}"
    drop = _known(run, contract, looked, sha256) or _record(run, contract, path, sha256, before, looked)
    try:
        path.unlink()
    except PermissionError:
        pass  # a landing folder we may only read: `stat` keeps us from taking the file twice
    return drop


def _known(run: Run, contract: Contract, looked: str, sha256: str) -> Drop | None:
    return next((d for d in drops(run.workspace, contract.id) if d.stat == looked and d.sha256 == sha256), None)


def _record(run: Run, contract: Contract, path: Path, sha256: str, status: os.stat_result, looked: str) -> Drop:
    # The kernel stamps ctime when the file came to be here under this name; a sender cannot set it, and it spares a
    # department the time until our next look. A simulated clock knows no kernel.
    seen = run.now if run.simulated else min(run.now, datetime.fromtimestamp(status.st_ctime, UTC))
    name = unicodedata.normalize("NFC", path.name)
    stamp = seen.astimezone(UTC).strftime("%Y%m%dT%H%M%S%fZ")
    mark = hashlib.sha256(f"{name}\n{sha256}".encode()).hexdigest()[:12]
    drop = Drop(f"{contract.id}/{stamp}-{mark}", contract.id, name, sha256, status.st_size,
                seen.astimezone(UTC).isoformat(), run.id, looked, contract.hash)
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
    """Every recorded drop of a source in order of arrival."""
    folder = workspace.archive / "drops" / source
    found = [Drop(**json.loads(p.read_text(encoding="utf-8"))) for p in folder.glob("*.json")] if folder.is_dir() else []
    return sorted(found, key=lambda d: (d.arrived_at, d.file_name, d.sha256))


def archived_contract(workspace: Workspace, contract_hash: str) -> Contract:
    """The contract a drop was processed under."""
    if not re.fullmatch(r"[0-9a-f]{64}", contract_hash):
        raise ValueError("not a contract hash")
    return from_canonical_json((workspace.archive / "contracts" / f"{contract_hash}.json").read_text(encoding="utf-8"))
