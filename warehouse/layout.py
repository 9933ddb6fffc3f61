"""The workspace folder: where everything that is data lives, and the locks that die with their process."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

#: Beside the packages: a checkout is self-contained, and moving it moves its data.
DEFAULT = Path(__file__).resolve().parent.parent / "workspace"


@dataclass(frozen=True)
class Workspace:
    """Paths of one workspace. Nothing else builds a path into it."""

    root: Path

    @property
    def landing(self) -> Path:
        """Departments drop files here, one folder each."""
        return self.root / "landing"

    @property
    def archive(self) -> Path:
        """Every drop by content hash, with its arrival; contracts by hash. The warehouse can be rebuilt from it."""
        return self.root / "archive"

    @property
    def lake(self) -> Path:
        return self.root / "lake"

    @property
    def lake_catalog(self) -> Path:
        return self.lake / "catalog.sqlite"

    @property
    def lake_data(self) -> Path:
        return self.lake / "data"

    @property
    def staging(self) -> Path:
        """Batches on their way. Garbage once the batch is committed."""
        return self.root / "staging"

    @property
    def index(self) -> Path:
        """What linking remembers of each entity; made again where it is lost."""
        return self.root / "index"

    @property
    def scratch(self) -> Path:
        """Where DuckDB spills what does not fit into memory."""
        return self.root / "scratch"

    @property
    def reports(self) -> Path:
        return self.root / "reports"

    @property
    def validations(self) -> Path:
        """What the gate found, a JSON per batch in the form of Great Expectations; made again by a rebuild."""
        return self.root / "validations"

    @property
    def notices(self) -> Path:
        return self.root / "notices"

    @property
    def outbox(self) -> Path:
        """What departments get back: a folder each, with a receipt for every drop."""
        return self.root / "outbox"

    @property
    def airflow(self) -> Path:
        return self.root / "airflow"

    @property
    def clock(self) -> Path:
        """An ISO instant; exists only in a simulated workspace, where it is the time."""
        return self.root / "clock"

    def create(self) -> None:
        """Make the folders and the secret. A second call changes nothing."""
        open_to_people = (self.landing, self.outbox, self.reports, self.notices)
        for folder in (*open_to_people, self.archive, self.lake_data, self.staging, self.index, self.scratch):
            folder.mkdir(parents=True, exist_ok=True)
        for restricted in (self.archive, self.lake, self.staging, self.index, self.scratch):
            restricted.chmod(0o700)
        secret = self.root / "secrets" / "digest.key"
        if not secret.exists():
            secret.parent.mkdir(mode=0o700, exist_ok=True)
            write_atomically(secret, secrets.token_bytes(32), mode=0o600)

    @property
    def digest_key(self) -> bytes:
        """Key of the digests that stand for personal identifiers in the base layer. Lose it and they cannot be rebuilt."""
        return (self.root / "secrets" / "digest.key").read_bytes()

    def new_file(self, table: str, batch: str) -> Path:
        """A Parquet path that no run used before: a file once registered is never written again."""
        layer, name = table.split(".", 1)
        folder = self.lake_data / layer / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{batch}.{uuid.uuid4().hex[:12]}.parquet"

    def new_scratch(self) -> Path:
        """A folder to spill into for one DuckDB, which makes it when needed and removes it when closed.

        What a killed process left is removed after a day: it holds rows of the departments.
        """
        for left in self.scratch.glob("spill-*"):
            if time.time() - left.lstat().st_mtime > 86_400:
                shutil.rmtree(left, ignore_errors=True)
        return self.scratch / f"spill-{uuid.uuid4().hex[:12]}"

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold the named lock; a second process waits. The kernel frees it when its process dies, however it dies."""
        folder = self.root / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{name}.lock").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield


def open_workspace(root: Path | None = None) -> Workspace:
    """The workspace named by `root`, else by DMP_WORKSPACE, else `workspace/` in the checkout."""
    return Workspace((root or Path(os.environ.get("DMP_WORKSPACE") or DEFAULT)).resolve())


def write_atomically(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write, flush to disk, rename: a reader or a killed process sees the whole file or none.

    Rivals take turns, and the next one writes over what a killed one left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    with _alone_with(part) as handle:
        os.fchmod(handle.fileno(), mode)
        handle.truncate(0)
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())
        part.replace(path)
    sync_folder(path.parent)


def _alone_with(part: Path) -> BinaryIO:
    """The file open for writing and locked. While we waited a rival may have given it its final name: then it is another's."""
    while True:
        try:
            handle = os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT, 0o600), "wb")
        except PermissionError:
            part.unlink()  # a killed one had finished it, down to taking the right to write
            continue
        fcntl.flock(handle, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if os.fstat(handle.fileno()).st_ino == part.stat().st_ino:
                return handle
        handle.close()


def sync_file(path: Path) -> None:
    """Make what another program wrote into `path` survive a power cut."""
    with path.open("rb") as handle:
        os.fsync(handle.fileno())


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
