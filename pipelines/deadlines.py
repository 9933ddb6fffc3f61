"""Deadlines that passed: slots with nothing accepted though the due instant is over, known before the next scoreboard."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import duckdb

from catalog.contract import Contract
from catalog.yaml_file import CatalogError
from pipelines import archive
from pipelines.manifest import look
from pipelines.run import Run
from pipelines.slots import is_owed, owed_since, schedule_of
from quality.timeliness import Schedule, Slot, earns_until, working_days_late
from warehouse.lake import one_moment, reading

#: How long a file may wait for its verdict, counted from the due instant or from its arrival if that is later, before it is
#: told that we have not judged it.
PATIENCE = timedelta(hours=1)

#: Days that a holiday may add to a span of working days: twice a weekend and eight days of Spring Festival.
HOLIDAYS = 15

State = Literal["missing", "held", "unjudged"]
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Overdue:
    """One slot whose due instant is over and for which nothing was accepted.

    state        missing: nothing came; held: what came was held; unjudged: something came and we have not judged it, which
                 is ours to mend, not the department's
    attempts     files for this period that were judged, all held
    reason       why the last of them was held, (Chinese, English)
    unfinished   files of the source that lie in the landing folder without the manifest or marker that was agreed
    earns_until  the last instant at which a late file still earns points; None where it earns none any more
    """

    contract: Contract
    slot: Slot
    state: State
    attempts: int
    reason: tuple[str, str]
    unfinished: int
    earns_until: datetime | None

    @property
    def id(self) -> str:
        return slot_id(self.contract.id, self.slot.period)


@dataclass(frozen=True)
class Filled:
    """A slot that was overdue, and the arrival of the first file that was accepted for it."""

    contract: Contract
    slot: Slot
    arrived_at: datetime
    working_days_late: int

    @property
    def id(self) -> str:
        return slot_id(self.contract.id, self.slot.period)


def slot_id(source: str, period: str) -> str:
    """A slot in one word, as batches are named: market__shop@2026-03-02."""
    return f"{source}@{period}"


def overdue(run: Run, contracts: Iterable[Contract], known: Collection[str] = ()) -> list[Overdue]:
    """Slots of these contracts that are overdue at `run.now`, in order of due instant and source.

    Reads the ledger, the landing folders and the archive; writes nothing. A slot is looked at for as many working days as
    its grace, one at least; after that it is for the scoreboard. While files of its source wait for their verdict it is left
    out, until `PATIENCE` is over. Slots in `known` (ids) are left out.
    A source has slots from `since` of its contract, else from its first batch. One with a due rule that cannot be
    understood is logged and left out: it must not silence the others.
    """
    with reading(run.workspace) as con:
        with one_moment(con):
            lapsed = [one for one in _lapsed(run, con, contracts) if slot_id(one[0].id, one[2].period) not in known]
            judged = _judged(con, lapsed)
        lacking = [one for one in lapsed if not _accepted(judged, one)]
        if not lacking:
            return []
        # What is on its way is listed first and the ledger asked once more: what was judged in between is seen there.
        coming = {contract.id: _Coming.of(run, contract) for contract, _, _ in lacking}
        with one_moment(con):
            judged, drops = _judged(con, lacking), _drops(con, coming)
    found = []
    for contract, schedule, slot in (one for one in lacking if not _accepted(judged, one)):
        came, batches = coming[contract.id], judged.get((contract.id, slot.period), [])
        waiting = came.since(drops.get(contract.id, set()))
        if waiting and run.now < max(waiting, _utc(slot.due_at)) + PATIENCE:
            continue
        state: State = "unjudged" if waiting else "held" if batches else "missing"
        reason = batches[-1][1:] if batches else ("", "")
        until = earns_until(slot, schedule.horizon, schedule.calendar)
        if until and run.now > _utc(until):
            until = None
        found.append(Overdue(contract, slot, state, len(batches), reason, came.unfinished, until))
    return sorted(found, key=lambda o: (_utc(o.slot.due_at), o.contract.id))


def filled(run: Run, contracts: Iterable[Contract], slots: Collection[str]) -> list[Filled]:
    """Those of these slots (ids) for which something was accepted, in order of arrival. Reads the ledger only.

    Slots of sources that are not among the contracts, or whose cycle has changed since, are left out.
    """
    wanted = [slot.partition("@")[::2] for slot in sorted(slots)]
    with reading(run.workspace) as con:
        rows = con.execute(
            f"SELECT source, period, min(arrived_at) FROM lake.ledger.batch JOIN {_WANTED} USING (source, period) "
            "WHERE verdict <> 'hold' GROUP BY source, period ORDER BY 3, 1, 2",
            [[source for source, _ in wanted], [period for _, period in wanted]],
        ).fetchall()
    known, found = {c.id: c for c in contracts}, []
    for source, period, arrived_at in rows:
        with suppress(KeyError, ValueError, CatalogError):
            schedule = schedule_of(known[source])
            for slot in schedule.slots(period, period):
                found.append(Filled(known[source], slot, arrived_at, working_days_late(slot, arrived_at, schedule.calendar)))
    return found


#: Two lists, of sources and of periods, as a table.
_WANTED = "(SELECT unnest($1::VARCHAR[]) AS source, unnest($2::VARCHAR[]) AS period)"
_Lapsed = tuple[Contract, Schedule, Slot]
#: (source, period) -> verdict and reason, in Chinese and English, of each of its batches, in order of version.
_Judged = Mapping[tuple[str, str], list[tuple[str, str, str]]]


def _lapsed(run: Run, con: duckdb.DuckDBPyConnection, contracts: Iterable[Contract]) -> list[_Lapsed]:
    first = _first_batches(con)
    found = []
    for contract in contracts:
        try:
            schedule = schedule_of(contract)
        except CatalogError as error:
            _log.warning("%s", error)
            continue
        begin = owed_since(contract, *first.get(contract.id, ((), None)))
        if begin is None:
            continue
        today = run.now.astimezone(contract.arrival.zone).date()
        back = timedelta(days=2 * schedule.horizon + HOLIDAYS)
        for slot in schedule.slots_due(today - back, today):
            owed = is_owed(contract, slot, begin)
            if owed and 0 < working_days_late(slot, run.now, schedule.calendar) <= max(schedule.horizon, 1):
                found.append((contract, schedule, slot))
    return found


def _first_batches(con: duckdb.DuckDBPyConnection) -> Mapping[str, tuple[list[str], datetime]]:
    """Source -> its earliest period of every form, and its first arrival. Labels of one form sort as their days do."""
    rows = con.execute(
        "SELECT source, list(period ORDER BY period), min(arrived_at) FROM (SELECT source, min(period) AS period, "
        "min(arrived_at) AS arrived_at FROM lake.ledger.batch GROUP BY source, regexp_replace(period, '[0-9]', '9', 'g')) "
        "GROUP BY source"
    ).fetchall()
    return {source: (periods, arrived) for source, periods, arrived in rows}


@dataclass(frozen=True)
class _Coming:
    """What of a source is on its way: when files arrived that lie there, drop -> its arrival, files that lack their sign."""

    landed: tuple[datetime, ...]
    archived: Mapping[str, datetime]
    unfinished: int

    @classmethod
    def of(cls, run: Run, contract: Contract) -> _Coming:
        there = [(archive.plain_name(path), look(status), status) for path, status in _seen(archive.waiting(run, contract))]
        unfinished, drops = len(archive.unready(run, contract)), archive.drops(run.workspace, contract.id)
        taken = {(d.file_name, d.stat) for d in drops}  # a landing folder that we may only read keeps its files
        # A simulated clock knows no kernel: there a file counts as one that came long ago.
        landed = (0.0 if run.simulated else status.st_ctime for name, mark, status in there if (name, mark) not in taken)
        arrived = tuple(datetime.fromtimestamp(seconds, UTC) for seconds in landed)
        return cls(arrived, {d.drop_id: d.arrival for d in drops}, unfinished)

    def since(self, judged: Collection[str]) -> datetime | None:
        """Since when the oldest file waits for its verdict; None: none does."""
        return min((*self.landed, *(at for drop, at in self.archived.items() if drop not in judged)), default=None)


def _seen(paths: Iterable[Path]) -> Iterator[tuple[Path, os.stat_result]]:
    for path in paths:
        with suppress(FileNotFoundError):  # taken since, and then in the archive
            yield path, path.lstat()


def _accepted(judged: _Judged, one: _Lapsed) -> bool:
    return any(verdict != "hold" for verdict, _, _ in judged.get((one[0].id, one[2].period), []))


def _judged(con: duckdb.DuckDBPyConnection, slots: Sequence[_Lapsed]) -> _Judged:
    found: dict[tuple[str, str], list[tuple[str, str, str]]] = {}
    wanted: list[Any] = [[c.id for c, _, _ in slots], [slot.period for _, _, slot in slots]]
    for source, period, verdict, zh, en in con.execute(
        "SELECT source, period, verdict, reason_zh, reason_en FROM lake.ledger.batch "
        f"JOIN {_WANTED} USING (source, period) ORDER BY source, period, version",
        wanted,
    ).fetchall():
        found.setdefault((source, period), []).append((verdict, zh, en))
    return found


def _drops(con: duckdb.DuckDBPyConnection, sources: Iterable[str]) -> Mapping[str, set[str]]:
    found: dict[str, set[str]] = {}
    for source, drop_id in con.execute(
        "SELECT source, drop_id FROM lake.ledger.drop WHERE source IN (SELECT unnest($1::VARCHAR[]))", [list(sources)]
    ).fetchall():
        found.setdefault(source, set()).add(drop_id)
    return found


def _utc(instant: datetime) -> datetime:
    return instant.astimezone(UTC)
