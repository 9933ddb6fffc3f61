"""Collect: what a department dropped becomes an archived original and raw rows of text."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import Any

from catalog.contract import Contract
from pipelines import archive
from pipelines.archive import Drop
from pipelines.batch import Batch, batch_id, folder, load, save
from pipelines.errors import prove
from pipelines.readers import READERS
from pipelines.readers.rows import Reading
from pipelines.run import Run
from quality.finding import finding
from quality.timeliness import period_of
from warehouse.commit import Commit, commit

#: Period of a file whose name does not tell one; the batch is held.
NO_PERIOD = "unreadable"


def collect(run: Run, source: str) -> list[str]:
    """Archive what lies in the landing folder and stage every drop that is not committed yet.

    Reads    landing/<department>/, archive/drops/<source>/
    Writes   archive (bytes by hash, arrival), staging/<batch>/raw.parquet, ledger.drop for unchanged drops
    Grain    one batch per drop; batch ids in order of arrival
    Rows     records of the file = raw rows + named lines that are no data
    Again    archived drops that are not in the ledger are staged again, so a killed run loses nothing; bytes equal to the
             current version of the same period under the same contract are a no-op; other bytes are the next version
    """
    contract = run.catalog.contract(source)
    with run.workspace.locked(f"source-{source}"):
        for path in archive.waiting(run, contract):
            archive.take(run, contract, path)
        return stage(run, contract, archive.drops(run.workspace, source))


def stage(run: Run, contract: Contract, drops: list[Drop]) -> list[str]:
    """Read every drop that the ledger does not know, in order of arrival."""
    if not drops:
        return []
    done = {row[0] for row in run.con.execute("SELECT drop_id FROM lake.ledger.drop WHERE source = ?", [contract.id]).fetchall()}
    latest = _latest(run, contract.id)
    batches: list[str] = []
    for drop in drops:
        if drop.drop_id in done:
            continue
        drop = archive.pin(run.workspace, drop, contract)
        period = read_period(contract, drop) or NO_PERIOD
        version, *content = latest.get(period, (0, "", ""))
        if content == [drop.sha256, contract.hash]:
            current = batch_id(contract.id, period, version)
            _unchanged(run, drop, period, current, staged=current in batches)
            continue
        latest[period] = (version + 1, drop.sha256, contract.hash)
        batches.append(_read(run, contract, drop, period, version + 1))
    for left in set(run.workspace.staging.glob(f"{contract.id}@*")) - {folder(run.workspace, b) for b in batches}:
        shutil.rmtree(left)  # its run was killed after the commit
    return batches


def read_period(contract: Contract, drop: Drop) -> str | None:
    """The period label (`2026-03-02`, `2026-W10`, `2026-03`, `2026-Q1`, `2026`) a drop speaks of; None: unreadable."""
    local = drop.arrival.astimezone(contract.arrival.zone).date()
    cycle = contract.arrival.cycle
    if contract.period.from_ == "arrival":
        return period_of(cycle, local)
    found = re.search(contract.period.pattern or "", drop.file_name)
    try:
        day = _named_day(found.groupdict()) if found else None
    except ValueError:
        return None
    return period_of(cycle, day) if day else None


def _named_day(parts: Mapping[str, str | None]) -> date | None:
    number = {name: int(re.sub(r"\D", "", text)) for name, text in parts.items() if text and name != "date"}
    if text := parts.get("date"):
        digits = re.sub(r"\D", "", text)
        if len(digits) == 6:
            digits += "01"
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:8])) if len(digits) == 8 else None
    if "year" not in number:
        return None
    if "week" in number:
        return date.fromisocalendar(number["year"], number["week"], 1)
    month = 3 * number["quarter"] - 2 if "quarter" in number else number.get("month", 1)
    return date(number["year"], month, number.get("day", 1))


def _latest(run: Run, source: str) -> dict[str, tuple[int, str, str]]:
    """Period -> version, bytes and contract of its newest committed batch."""
    rows = run.con.execute(
        "SELECT period, version, sha256, contract_hash FROM lake.ledger.batch WHERE source = ? "
        "QUALIFY row_number() OVER (PARTITION BY period ORDER BY version DESC) = 1",
        [source],
    ).fetchall()
    return {period: (version, sha256, contract) for period, version, sha256, contract in rows}


def _read(run: Run, contract: Contract, drop: Drop, period: str, version: int) -> str:
    batch = batch_id(contract.id, period, version)
    place = folder(run.workspace, batch)
    shutil.rmtree(place, ignore_errors=True)  # a killed run may have read it under another contract
    place.mkdir(parents=True)
    original = archive.object_path(run.workspace, drop.sha256)
    reading = READERS[contract.format.reader].read(original, contract, batch, place / "raw.parquet")
    if period == NO_PERIOD:
        unreadable = finding("period_unreadable", name=drop.file_name, pattern=contract.period.pattern)
        reading = replace(reading, findings=(*reading.findings, unreadable))
    parts = {"rows": reading.rows, **reading.other}
    equation = prove("collect", batch, reading.records, parts)
    proof = {"stage": "collect", "rows_in": reading.records, "rows_out": parts, "equation": equation}
    save(run.workspace, _batch(drop, batch, period, version, reading, proof))
    return batch


def _batch(drop: Drop, batch: str, period: str, version: int, reading: Reading, proof: Mapping[str, Any]) -> Batch:
    return Batch(
        batch=batch, source=drop.source, period=period, version=version, drop_id=drop.drop_id, file_name=drop.file_name,
        sha256=drop.sha256, arrived_at=drop.arrived_at, contract_hash=drop.contract_hash, run=drop.run,
        encoding=reading.encoding, dialect=reading.dialect, header=reading.header, present=reading.present,
        records=reading.records, rows=reading.rows, other=reading.other, findings=reading.findings, stages=(proof,),
        handshake=drop.handshake, mends=drop.mends,
    )  # fmt: skip


def _unchanged(run: Run, drop: Drop, period: str, current: str, *, staged: bool) -> None:
    """Record a drop that brought nothing new: now, or with the batch it repeats where that is not committed yet."""
    row = drop_row(
        drop.drop_id,
        drop.source,
        drop.file_name,
        drop.sha256,
        drop.size_bytes,
        drop.arrived_at,
        drop.run,
        period=period,
        outcome="unchanged",
        batch=current,
    )
    if staged:
        batch = load(run.workspace, current)
        save(run.workspace, replace(batch, repeats=(*batch.repeats, row)))
    else:
        commit(run.con, run.workspace, Commit(("ledger.drop", "drop_id", drop.drop_id), rows={"ledger.drop": [row]}))


def drop_row(
    drop_id: str,
    source: str,
    file_name: str,
    sha256: str,
    size_bytes: int,
    arrived_at: str,
    run: str,
    *,
    period: str,
    outcome: str,
    batch: str,
) -> dict[str, Any]:
    """One row of ledger.drop."""
    return {
        "drop_id": drop_id,
        "source": source,
        "file_name": file_name,
        "sha256": sha256,
        "size_bytes": size_bytes,
        "arrived_at": arrived_at,
        "run": run,
        "period": period,
        "outcome": outcome,
        "batch": batch,
    }
