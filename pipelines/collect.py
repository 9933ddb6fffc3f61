"""Collect: what a department dropped becomes an archived original and raw rows of text."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

from catalog.contract import Contract
from catalog.waiver import Waiver
from pipelines import archive, drift, manifest, mend
from pipelines.archive import Drop
from pipelines.batch import Batch, batch_id, folder, load, save
from pipelines.errors import prove
from pipelines.manifest import period_declared
from pipelines.readers import read
from pipelines.readers.rows import Reading
from pipelines.run import Run
from pipelines.waivers import standing, waivers_of
from quality.finding import finding
from quality.timeliness import period_of
from warehouse.commit import Commit, commit
from warehouse.lake import few_rows, one_moment
from warehouse.tables import CURRENT_BATCHES

#: Period of a file whose name does not tell one; the batch is held.
NO_PERIOD = "unreadable"

#: The version that a file gives itself: its numbers in order, so that 1.10 comes after 1.9.
Version = tuple[int, ...]


def collect(run: Run, source: str) -> list[str]:
    """Archive what lies in the landing folder and stage every drop that is not committed yet.

    Reads    landing/<department>/, archive/drops/<source>/
    Writes   archive (bytes by hash, arrival), staging/<batch>/raw.parquet, ledger.drop for unchanged drops
    Grain    one batch per drop; batch ids in order of arrival
    Rows     records of the file = raw rows + named lines that are no data
    Again    archived drops that are not in the ledger are staged again, so a killed run loses nothing; bytes equal to the
             current version of the same period under the same contract are a no-op; a file whose own version is lower than
             that in force is recorded as `older`; other bytes are the next version. One that is lower than a version which
             the gate has yet to judge is left for the next call, with all that came after it
    """
    contract = run.catalog.contract(source)
    with run.workspace.locked(f"source-{source}"):
        for path in archive.waiting(run, contract):
            archive.take(run, contract, path)
        archive.tidy(run, contract)
        return stage(run, contract, archive.drops(run.workspace, source), waivers_of(run.catalog, contract))


def stage(run: Run, contract: Contract, drops: list[Drop], waivers: Sequence[Waiver] | None = None) -> list[str]:
    """Read every drop that the ledger does not know, in order of arrival. `waivers` None: each under those it had before."""
    if not drops:
        return []
    with few_rows(run.con), one_moment(run.con):
        known = run.con.execute("SELECT drop_id FROM lake.ledger.drop WHERE source = ?", [contract.id]).fetchall()
        done = {drop_id for (drop_id,) in known}
        if not (fresh := [drop for drop in drops if drop.drop_id not in done]):
            _tidy(run, contract, [])
            return []
        latest = _latest(run, contract)
        in_force = _versions_in_force(run, contract) if _has_versions(contract, drops) else {}
        formers = drift.former_batches(run, contract.id)
    staged: dict[str, Version] = {}
    batches: list[str] = []
    for drop in fresh:
        if drop.mends and batches:
            break  # what it mends may be among these, and is judged first
        stood = None if waivers is None else standing(waivers, contract, drop.arrival)
        drop = archive.pin(run.workspace, drop, contract, stood)
        period = (mend.period_of(run, drop) if drop.mends else read_period(contract, drop)) or NO_PERIOD
        version, *content = latest.get(period, (0, "", "", ""))
        if content == [drop.sha256, contract.hash, manifest.declaration(drop.manifest)]:
            current = batch_id(contract.id, period, version)
            _note(run, drop, period, "unchanged", current, staged=current in batches)
            continue
        own = read_version(contract, drop)
        if own is not None and own < staged.get(period, own):
            break  # whether that one comes into force is for the gate to say
        if own is not None and period in in_force and own < in_force[period][0]:
            _note(run, drop, period, "older", in_force[period][1], staged=False)
            continue
        if own is not None:
            staged[period] = max(own, staged.get(period, own))
        latest[period] = (version + 1, drop.sha256, contract.hash, manifest.declaration(drop.manifest))
        former = drift.former_of(formers, drop)
        with one_moment(run.con):
            batches.append(_read(run, contract, drop, period, version + 1, former))
        if taken := drift.as_former(load(run.workspace, batches[-1]), drop):
            formers.append(taken)
    _tidy(run, contract, batches)
    return batches


def _tidy(run: Run, contract: Contract, batches: Sequence[str]) -> None:
    """Remove what is staged besides these batches: its run was killed after the commit."""
    for left in set(run.workspace.staging.glob(f"{contract.id}@*")) - {folder(run.workspace, b) for b in batches}:
        shutil.rmtree(left)


def read_period(contract: Contract, drop: Drop) -> str | None:
    """The period label (`2026-03-02`, `2026-W10`, `2026-03`, `2026-Q1`, `2026`) a drop speaks of; None: unreadable."""
    local = drop.arrival.astimezone(contract.arrival.zone).date()
    cycle = contract.arrival.cycle
    if contract.period.from_ == "arrival":
        return period_of(cycle, local)
    if contract.period.from_ == "manifest":
        said = (drop.manifest or {}).get("period")
        return period_declared(cycle, said) if said else None
    found = re.search(contract.period.pattern or "", drop.file_name)
    try:
        day = _named_day(found.groupdict()) if found else None
    except ValueError:
        return None
    return period_of(cycle, day) if day else None


def read_version(contract: Contract, drop: Drop) -> Version | None:
    """The version that a file gives itself, in its name (none there is the lowest) or its manifest; None: it gives none, as a
    mended workbook does."""
    if drop.mends:
        return None
    if "(?P<version>" in (contract.period.pattern or ""):
        found = re.search(contract.period.pattern or "", drop.file_name)
        said = (found["version"] or "") if found else None
    else:
        said = (drop.manifest or {}).get("version")
    return None if said is None else tuple(int(digits) for digits in re.findall(r"\d+", said))


def _has_versions(contract: Contract, drops: Sequence[Drop]) -> bool:
    return any(read_version(contract, drop) is not None for drop in drops)


def _versions_in_force(run: Run, contract: Contract) -> dict[str, tuple[Version, str]]:
    """Period -> the version that the file in force gives itself, and its batch."""
    arrived = {drop.drop_id: drop for drop in archive.drops(run.workspace, contract.id)}
    rows = run.con.execute(
        f"SELECT period, batch, drop_id FROM ({CURRENT_BATCHES}) WHERE source = ? ORDER BY ALL", [contract.id]
    ).fetchall()
    rows = [(p, batch, mend.mended_drop(run, arrived, drop_id)) for p, batch, drop_id in rows]
    found = {p: (read_version(contract, arrived[drop_id]), batch) for p, batch, drop_id in rows if drop_id in arrived}
    return {period: (version, batch) for period, (version, batch) in found.items() if version is not None}


def _named_day(parts: Mapping[str, str | None]) -> date | None:
    number = {name: int(re.sub(r"\D", "", text)) for name, text in parts.items() if text and name not in ("date", "version")}
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


def _latest(run: Run, contract: Contract) -> dict[str, tuple[int, str, str, str]]:
    """Period -> version, bytes, contract and declaration of its newest committed batch. The same bytes with another
    manifest are another delivery: the first may have been held because its manifest was wrong."""
    rows = run.con.execute(
        "SELECT period, version, sha256, contract_hash, drop_id FROM lake.ledger.batch WHERE source = ? "
        "QUALIFY row_number() OVER (PARTITION BY period ORDER BY version DESC) = 1",
        [contract.id],
    ).fetchall()
    arrived = {drop.drop_id: drop for drop in archive.drops(run.workspace, contract.id)} if rows else {}
    said = {d: manifest.declaration(arrived[d].manifest if d in arrived else None) for *_, d in rows}
    return {period: (version, sha256, hash_, said[d]) for period, version, sha256, hash_, d in rows}


def _read(run: Run, contract: Contract, drop: Drop, period: str, version: int, former: drift.Former | None) -> str:
    batch = batch_id(contract.id, period, version)
    place = folder(run.workspace, batch)
    shutil.rmtree(place, ignore_errors=True)  # a killed run may have read it under another contract
    place.mkdir(parents=True)
    if drop.mends:
        mended, proofs = mend.compose(run, contract, drop, batch, place / "raw.parquet")
        save(run.workspace, _batch(drop, batch, period, version, mended, *_proofs(batch, mended), *proofs))
        return batch
    original = archive.object_path(run.workspace, drop.sha256)
    reading = read(original, contract, batch, place / "raw.parquet")
    if period == NO_PERIOD and contract.period.from_ == "file_name":
        unreadable = finding("period_unreadable", name=drop.file_name, pattern=contract.period.pattern)
        reading = replace(reading, findings=(*reading.findings, unreadable))
    if drop.manifest or contract.period.from_ == "manifest":
        named = period if contract.period.from_ == "file_name" and period != NO_PERIOD else None
        readable = not any(f.severity == "hold" for f in reading.findings)
        differs = manifest.check(
            drop.manifest or {}, original, contract, file_name=drop.file_name, sha256=drop.sha256,
            rows=reading.rows if readable else None, header=reading.header, encoding=reading.encoding, period=named,
        )  # fmt: skip
        reading = replace(reading, findings=(*reading.findings, *differs))
    if drop.clock_behind:
        behind = finding("clock_went_back", arrived=drop.arrived_at, known=drop.clock_behind)
        reading = replace(reading, findings=(*reading.findings, behind))
    reading, profile = drift.apply(run, contract, reading, original, place / "raw.parquet", former)
    save(run.workspace, replace(_batch(drop, batch, period, version, reading, *_proofs(batch, reading)), profile=profile))
    return batch


def _proofs(batch: str, reading: Reading) -> list[Mapping[str, Any]]:
    parts = {"rows": reading.rows, **reading.other}
    equation = prove("collect", batch, reading.records, parts)
    return [{"stage": "collect", "rows_in": reading.records, "rows_out": parts, "equation": equation}]


def _batch(drop: Drop, batch: str, period: str, version: int, reading: Reading, *proofs: Mapping[str, Any]) -> Batch:
    return Batch(
        batch=batch, source=drop.source, period=period, version=version, drop_id=drop.drop_id, file_name=drop.file_name,
        sha256=drop.sha256, arrived_at=drop.arrived_at, contract_hash=drop.contract_hash, run=drop.run,
        encoding=reading.encoding, dialect=reading.dialect, header=reading.header, present=reading.present,
        records=reading.records, rows=reading.rows, other=reading.other, findings=reading.findings, stages=proofs,
        handshake=drop.handshake, mends=drop.mends, waivers=tuple(drop.waivers),
    )  # fmt: skip


def _note(run: Run, drop: Drop, period: str, outcome: str, current: str, *, staged: bool) -> None:
    """Record a drop that became no batch: now, or with the batch it repeats where that is not committed yet."""
    row = drop_row(
        drop.drop_id,
        drop.source,
        drop.file_name,
        drop.sha256,
        drop.size_bytes,
        drop.arrived_at,
        drop.run,
        period=period,
        outcome=outcome,
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
