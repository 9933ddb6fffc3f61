"""A batch on its way: source + period + version, staged between the stages as files, so that each can run in its own process."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipelines.errors import NotFound
from quality.finding import Finding
from warehouse.layout import Workspace, write_atomically


@dataclass(frozen=True)
class Batch:
    """What collect learned. `batch` is the id: `<source>@<period>.v<version>`.

    `repeats` are rows of ledger.drop: the same bytes once more, before this batch was committed. `profile` tells per header
    what kind of values came, for comparison with the next file. `waivers` are those that stood when the file arrived.
    """

    batch: str
    source: str
    period: str
    version: int
    drop_id: str
    file_name: str
    sha256: str
    arrived_at: str
    contract_hash: str
    run: str
    encoding: str | None
    dialect: Mapping[str, str]
    header: tuple[str, ...]
    present: Mapping[str, bool]
    records: int
    rows: int
    other: Mapping[str, int]
    findings: tuple[Finding, ...]
    stages: tuple[Mapping[str, Any], ...] = ()
    statements: tuple[tuple[str, str, str], ...] = field(default=())
    repeats: tuple[Mapping[str, Any], ...] = ()
    handshake: str = "quiet"
    mends: str | None = None
    profile: Mapping[str, Any] = field(default_factory=dict)
    waivers: tuple[Mapping[str, Any], ...] = ()

    @property
    def held_by_file(self) -> bool:
        return any(f.severity == "hold" for f in self.findings)


def batch_id(source: str, period: str, version: int) -> str:
    return f"{source}@{period}.v{version}"


def source_of(batch: str) -> str:
    return batch.split("@")[0]


def chain_tip(links: Iterable[tuple[str, str | None]]) -> str | None:
    """Of (own hash, hash of the former row) of one source's ledger: the own hash that no other row names as its former."""
    links = list(links)
    former = {previous for _, previous in links}
    return next((own for own, _ in links if own not in former), None)


def folder(workspace: Workspace, batch: str) -> Path:
    return workspace.staging / batch


def save(workspace: Workspace, batch: Batch) -> None:
    text = json.dumps(asdict(batch), ensure_ascii=False)
    write_atomically(folder(workspace, batch.batch) / "batch.json", text.encode(), mode=0o600)


def is_staged(workspace: Workspace, batch: str) -> bool:
    return (folder(workspace, batch) / "batch.json").is_file()


def load(workspace: Workspace, batch: str) -> Batch:
    """The staged batch. NotFound where it was committed, or never collected."""
    path = folder(workspace, batch) / "batch.json"
    if not path.is_file():
        raise NotFound(f"batch {batch} is not staged; `dmp status` shows what was committed")
    data = json.loads(path.read_text(encoding="utf-8"))
    return Batch(
        **{
            **data,
            "header": tuple(data["header"]),
            "findings": tuple(Finding(**f) for f in data["findings"]),
            "stages": tuple(data["stages"]),
            "statements": tuple((a, b, c) for a, b, c in data["statements"]),
            "repeats": tuple(data["repeats"]),
            "waivers": tuple(data.get("waivers", ())),
        }
    )
