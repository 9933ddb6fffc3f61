"""The archive: every drop by content hash with its arrival, before anything reads it. The warehouse is rebuilt from it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import time
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from catalog.contract import Contract, from_canonical_json
from catalog.yaml_file import CatalogError
from pipelines import manifest
from pipelines.batch import source_of
from pipelines.manifest import Companion, companions, is_companion, look
from pipelines.mend_mark import marked_batch
from pipelines.run import Run
from warehouse.layout import Workspace, sync_folder, write_atomically

#: Names under which other programs write a file they have not finished.
UNFINISHED = (".part", ".tmp", ".filepart", ".crdownload", ".swp")

#: What a clock that is kept right by the network may be put back.
JITTER = timedelta(minutes=1)

#: Seconds without a change after which a file under its final name counts as finished.
QUIET = 2.0


@dataclass(frozen=True)
class Drop:
    """One file that arrived. `number` counts the drops of a source in the order in which they were taken and processed;
    `stat` tells a second look at the same file from the same bytes sent again. `handshake` is how we knew that it was
    finished (see `arrival.complete` of the contract), `manifest` what the sender declared, `mends` the batch whose refused
    rows it brings back mended. `companions` are the manifest and marker that came with it, name -> `stat`: one that is still
    there belongs to no later file. `clock_behind` is an arrival that the archive had noted and that our clock had yet to reach:
    it was put back, and `arrived_at` is not to be relied on. `beside` tells, for each other source that the gate compared the drop with,
    its newest `drop` committed by then and the arrival up to which that is (`as_of`); None: it had nothing yet. `waivers` are
    those of the source that stood on the day of arrival (`pipelines/waivers.py`)."""

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
    companions: Mapping[str, str] = field(default_factory=dict)
    clock_behind: str | None = None
    beside: Mapping[str, Mapping[str, str] | None] = field(default_factory=dict)
    waivers: Sequence[Mapping[str, Any]] = ()

    @property
    def arrival(self) -> datetime:
        return datetime.fromisoformat(self.arrived_at)


def object_path(workspace: Workspace, sha256: str) -> Path:
    return workspace.archive / "objects" / sha256[:2] / sha256


def record_path(workspace: Workspace, drop: Drop) -> Path:
    return workspace.archive / "drops" / drop.source / f"{drop.drop_id.split('/')[1]}.json"


def waiting(run: Run, contract: Contract) -> list[Path]:
    """Files in the department's landing folder that the contract expects, oldest first (in a simulated workspace by name).

    Links, folders, unfinished files, manifests and markers are not read; nor is a file that lacks the companion that was
    agreed (`unready` names it).
    """
    found = _expected(run, contract)
    if not (kind := manifest.needed(contract)) or not found:
        return found
    spent = _spent(drops(run.workspace, contract.id))
    return [path for path in found if _is_mended(run, contract, path) or any(c.kind == kind for c in _own(path, spent))]


def unready(run: Run, contract: Contract) -> dict[Path, str]:
    """Files that wait for the manifest or marker that was agreed -> the name of what is missing."""
    kind = manifest.needed(contract)
    if not kind:
        return {}
    known = drops(run.workspace, contract.id)
    ready, taken = set(waiting(run, contract)), {(d.file_name, d.stat) for d in known}
    missing = {p: f"{plain_name(p)}{manifest.SUFFIXES[kind]}" for p in _expected(run, contract) if p not in ready}
    return {path: name for path, name in missing.items() if (plain_name(path), look(path.lstat())) not in taken}


def _expected(run: Run, contract: Contract) -> list[Path]:
    folder = run.workspace.landing / contract.department.id
    if not folder.is_dir() or folder.is_symlink():
        return []
    found = []
    for entry in folder.iterdir():
        name = plain_name(entry)
        if name.startswith(".") or name.lower().endswith(UNFINISHED) or is_companion(name):
            continue
        if entry.is_symlink() or not entry.is_file():
            continue
        batch = _mends(run, contract, entry) if name.lower().endswith(".xlsx") else None
        if source_of(batch) == contract.id if batch else any(fnmatchcase(name, pattern) for pattern in contract.arrival.drop):
            with suppress(FileNotFoundError):  # the department took it back
                found.append((0 if run.simulated else entry.stat().st_ctime_ns, name, entry))
    return [entry for _, _, entry in sorted(found)]


def _mends(run: Run, contract: Contract, path: Path) -> str | None:
    """The batch that a workbook brings back mended, where it is of a source of this department."""
    if (batch := marked_batch(path)) is None:
        return None
    try:
        owner = run.catalog.contract(source_of(batch))
    except CatalogError:
        return None
    return batch if owner.department.id == contract.department.id else None


def _is_mended(run: Run, contract: Contract, path: Path) -> bool:
    return path.name.lower().endswith(".xlsx") and _mends(run, contract, path) is not None


def plain_name(path: Path) -> str:
    """The name of a landed file as it is kept and shown: composed characters, and bytes that are no UTF-8 or that steer a
    terminal as \\x1b."""
    name = os.fsencode(path.name).decode("utf-8", "backslashreplace")
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", lambda c: f"\\x{ord(c.group()):02x}", unicodedata.normalize("NFC", name))


def _spent(known: Iterable[Drop]) -> set[tuple[str, str]]:
    return {item for drop in known for item in drop.companions.items()}


def _own(path: Path, spent: set[tuple[str, str]]) -> list[Companion]:
    """The companions of a landed file, without one that came with an earlier drop and could not be taken out."""
    return [c for c in companions(path) if (plain_name(c.path), c.look) not in spent]


def take(run: Run, contract: Contract, path: Path) -> Drop | None:
    """Archive one landed file and take it out of the landing folder. None: it is not finished, not readable or gone.

    Bytes are on disk under their hash, then the record, then the landing file goes, then its companions: killed in
    between, a second call finds the same file (its `stat`) and makes no second drop, and `tidy` the companions. The caller
    holds the lock of the source.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with open(handle, "rb") as source:  # noqa: PTH123 - a descriptor, not a path
        before = os.fstat(handle)
        name = plain_name(path)
        known = drops(run.workspace, contract.id)
        drop = next((d for d in known if (d.stat, d.file_name) == (look(before), name)), None)
        if drop is None:
            beside = _own(path, _spent(known))
            handshake = "quiet" if _is_mended(run, contract, path) else _handshake(contract, beside)
            if not run.simulated:
                time.sleep(max(0.0, _quiet_since(handshake, before, beside) + QUIET - time.time()))
            try:
                said = _declared(run.workspace, beside)
            except OSError:
                return None  # the department took it back
            sha256 = _store(run.workspace, contract, source, before)
            if sha256 is None or any(c not in companions(path) for c in beside):
                return None
            drop = _record(run, contract, name, sha256, before, known, (handshake, said, beside))
    # A landing folder we may only read keeps its file, and `stat` keeps us from taking it twice. A file that came
    # under this name since is another drop.
    _take_out(path, drop.stat)
    for companion in companions(path):
        if drop.companions.get(plain_name(companion.path)) == companion.look:
            _take_out(companion.path, companion.look)
    return drop


def tidy(run: Run, contract: Contract) -> None:
    """Take companions out of the landing folder whose file was taken by a run that was killed then."""
    folder = run.workspace.landing / contract.department.id
    if not folder.is_dir() or folder.is_symlink():
        return
    left = [entry for entry in folder.iterdir() if is_companion(entry.name)]
    spent = _spent(drops(run.workspace, contract.id)) if left else set()
    for entry in left:
        with suppress(OSError):
            if (plain_name(entry), look(entry.lstat())) in spent:
                entry.unlink()


def _take_out(path: Path, known: str) -> None:
    with suppress(OSError):
        if look(path.lstat()) == known:
            path.unlink()


def _handshake(contract: Contract, beside: Sequence[Companion]) -> str:
    """How we know that the file is finished: as agreed, else by what lies beside it."""
    kinds = [c.kind for c in beside]
    if (agreed := manifest.needed(contract)) in kinds:
        return str(agreed)
    return kinds[0] if kinds else contract.arrival.complete


def _quiet_since(handshake: str, file: os.stat_result, beside: Sequence[Companion]) -> float:
    """The last change that must be some seconds ago. A marker has no content to wait for, a renamed file is whole."""
    if handshake == "manifest":
        return max(c.changed for c in beside if c.kind == "manifest")
    return file.st_ctime if handshake == "quiet" else 0.0


def _declared(workspace: Workspace, beside: Sequence[Companion]) -> dict[str, Any] | None:
    """What the manifest says, with its name and the hash of its archived bytes; why, where it cannot be understood."""
    for companion in beside:
        if companion.kind == "manifest":
            said: dict[str, Any] = {"file": plain_name(companion.path)}
            try:
                data = manifest.read(companion)
                said["object"] = _keep(workspace, data)
                said |= manifest.declared(data)
            except manifest.Unreadable as reason:
                said["unreadable"] = [reason.zh, reason.en]
            return said
    return None


def _keep(workspace: Workspace, data: bytes) -> str:
    sha256 = hashlib.sha256(data).hexdigest()
    if not (path := object_path(workspace, sha256)).exists():
        write_atomically(path, data, mode=0o400)
    return sha256


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
    if not stat.S_ISREG(before.st_mode) or look(os.fstat(source.fileno())) != look(before):
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


def _record(
    run: Run,
    contract: Contract,
    name: str,
    sha256: str,
    status: os.stat_result,
    known: Sequence[Drop],
    told: tuple[str, dict[str, Any] | None, Sequence[Companion]],
) -> Drop:
    # The kernel stamps ctime when the file came to be here under this name; a sender cannot set it, and it spares a
    # department the time until our next look. A simulated clock knows no kernel.
    seen = run.now if run.simulated else min(run.now, datetime.fromtimestamp(status.st_ctime, UTC))
    newest = max((d.arrival for d in known), default=run.now)
    number = 1 + max((d.number for d in known), default=0)
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
        look(status),
        contract.hash,
        number,
        handshake=told[0],
        manifest=told[1],
        mends=_mends(run, contract, object_path(run.workspace, sha256)) if name.lower().endswith(".xlsx") else None,
        companions={plain_name(c.path): c.look for c in told[2]},
        clock_behind=newest.isoformat() if run.now < newest - JITTER else None,
    )
    _save(run.workspace, drop, contract)
    return drop


def pin(workspace: Workspace, drop: Drop, contract: Contract, waivers: Sequence[Mapping[str, Any]] | None = None) -> Drop:
    """Note under which contract and waivers a drop is processed, so that a rebuild uses the same. No-op where it is noted.
    `waivers` None: those that are noted already."""
    wanted = drop.waivers if waivers is None else waivers
    if drop.contract_hash == contract.hash and list(drop.waivers) == list(wanted):
        return drop
    pinned = replace(drop, contract_hash=contract.hash, waivers=list(wanted))
    _save(workspace, pinned, contract)
    return pinned


def note_beside(workspace: Workspace, drop: Drop, beside: Mapping[str, Mapping[str, str] | None]) -> None:
    """Note what other sources had in force when the gate judged a drop, so that a rebuild finds the same. No-op where it is noted."""
    if drop.beside != beside:
        _save(workspace, replace(drop, beside=beside), archived_contract(workspace, drop.contract_hash))


def _save(workspace: Workspace, drop: Drop, contract: Contract) -> None:
    kept = workspace.archive / "contracts" / f"{contract.hash}.json"
    if not kept.exists():
        write_atomically(kept, contract.canonical_json().encode(), mode=0o400)
    text = json.dumps(asdict(drop), ensure_ascii=False, indent=1)
    write_atomically(record_path(workspace, drop), text.encode(), mode=0o600)


def drops(workspace: Workspace, source: str) -> list[Drop]:
    """Every recorded drop of a source in the order in which they were taken."""
    folder = workspace.archive / "drops" / source
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        # A record is replaced whole when it is changed, and a stage asks for all of them several times.
        found = [_recorded(e.path, e.stat().st_mtime_ns, e.inode()) for e in entries if e.name.endswith(".json")]
    return sorted(found, key=lambda d: d.number)


@lru_cache(maxsize=50_000)
def _recorded(path: str, _mtime: int, _inode: int) -> Drop:
    return Drop(**json.loads(Path(path).read_text(encoding="utf-8")))


def sources(workspace: Workspace) -> list[str]:
    """Every source that ever dropped a file, whether the catalogue still knows it or not."""
    return sorted(p.name for p in (workspace.archive / "drops").glob("*") if p.is_dir())


def archived_contract(workspace: Workspace, contract_hash: str) -> Contract:
    """The contract a drop was processed under."""
    if not re.fullmatch(r"[0-9a-f]{64}", contract_hash):
        raise ValueError("not a contract hash")
    return _contract(workspace.archive / "contracts" / f"{contract_hash}.json")


@lru_cache(maxsize=512)
def _contract(path: Path) -> Contract:
    return from_canonical_json(path.read_text(encoding="utf-8"))  # a file that is named by its content never changes
