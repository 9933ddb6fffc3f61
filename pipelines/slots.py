"""When a contract's deliveries are due, in the words of `quality.timeliness`."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import date, datetime
from functools import lru_cache

from catalog.contract import Arrival, Contract
from catalog.yaml_file import CatalogError
from quality.calendar import CalendarError, load_calendar
from quality.timeliness import Schedule, Slot, period_of, period_range


def schedule_of(contract: Contract) -> Schedule:
    """The schedule a contract promises. Raises CatalogError for a due rule or calendar that is not understood."""
    try:
        return _schedule(contract.arrival)
    except (ValueError, CalendarError) as error:
        raise CatalogError(f"{contract.id}: `arrival`: {error}") from None


def owed_since(contract: Contract, periods: Iterable[str], first_arrival: datetime | None) -> date | None:
    """The first day for which deliveries are owed: `since` of the contract, else the earliest period sent, else that of the first
    arrival. None: nothing was ever sent. Periods of a cycle that the contract had before are passed over."""
    if contract.arrival.since is not None or first_arrival is None:
        return contract.arrival.since
    cycle, days = contract.arrival.cycle, []
    for period in periods:
        with suppress(ValueError):
            days.append(period_range(cycle, period)[0])
    arrived = first_arrival.astimezone(contract.arrival.zone).date()
    return min(days) if days else period_range(cycle, period_of(cycle, arrived))[0]


def is_owed(contract: Contract, slot: Slot, since: date) -> bool:
    until = contract.arrival.until
    return slot.first_day >= since and (until is None or slot.first_day <= until)


@lru_cache(maxsize=1024)
def _schedule(arrival: Arrival) -> Schedule:
    return Schedule.of(arrival.cycle, load_calendar(arrival.calendar), arrival.due, arrival.grace, arrival.timezone)
