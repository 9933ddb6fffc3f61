"""When a contract's deliveries are due, in the words of `quality.timeliness`."""

from __future__ import annotations

from functools import lru_cache

from catalog.contract import Arrival, Contract
from catalog.yaml_file import CatalogError
from quality.calendar import CalendarError, load_calendar
from quality.timeliness import Schedule


def schedule_of(contract: Contract) -> Schedule:
    """The schedule a contract promises. Raises CatalogError for a due rule or calendar that is not understood."""
    try:
        return _schedule(contract.arrival)
    except (ValueError, CalendarError) as error:
        raise CatalogError(f"{contract.id}: `arrival`: {error}") from None


@lru_cache(maxsize=1024)
def _schedule(arrival: Arrival) -> Schedule:
    return Schedule.of(arrival.cycle, load_calendar(arrival.calendar), arrival.due, arrival.grace, arrival.timezone)
