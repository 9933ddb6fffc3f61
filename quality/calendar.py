"""Working days, from versioned tables that may be provisional.

China announces each year's rest days and worked weekends by a notice in the autumn before, so a deadline
can fall into a year nobody has announced yet. Every calendar therefore says of each date whether it is
official or provisional, and keeps its older editions, so that a score made under one edition can be made
again after the notice.

A calendar is a CSV in `quality/calendars/` (its stem is its name; the head of `cn.csv` explains the
columns) or any CSV given by path. It lists the exceptions to a Monday-Friday week. Two calendars need no
file: `weekdays` and `every_day`.
"""

from __future__ import annotations

import csv
import hashlib
from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Literal, NamedTuple, cast

Basis = Literal["official", "provisional"]

FOLDER = Path(__file__).with_name("calendars")
WITHOUT_A_FILE = ("weekdays", "every_day")
COLUMNS = ["date", "kind", "name_zh", "name_en", "edition", "basis", "source"]
SATURDAY = 5
# Day numbers count from here, so that tables made by separate calls can be joined. It is a Saturday.
EPOCH = date(2000, 1, 1)


class CalendarError(ValueError):
    """A calendar that does not exist, or a row in one that cannot be right. Names file and line."""


class CalendarRow(NamedTuple):
    """One date as SQL needs it. `ordinal` counts the working days after 2000-01-01, this date included.

    The working days from one date to another, the first not counted and the last counted, are therefore the
    difference of two ordinals. This is `working_days_between`.
    """

    day: date
    is_working_day: bool
    ordinal: int
    basis: Basis


@dataclass(frozen=True, slots=True)
class Exceptional:
    """One line of a calendar file: a weekday off (`rest`) or a weekend day worked (`work`)."""

    day: date
    kind: Literal["rest", "work"]
    name_zh: str
    name_en: str
    edition: date
    basis: Basis
    source: str


@dataclass(frozen=True)
class Calendar:
    """A working-day calendar in one edition. Built by `load_calendar`."""

    name: str
    edition: str
    exceptions: tuple[Exceptional, ...] = ()
    every_day: bool = False
    # True where the rule itself is the calendar and no notice can change it.
    fixed_by_rule: bool = False
    _by_day: dict[date, Exceptional] = field(init=False, repr=False, compare=False)
    _official_years: frozenset[int] = field(init=False, repr=False, compare=False)
    _days: list[date] = field(init=False, repr=False, compare=False)
    _shift: list[int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        rows = sorted(self.exceptions, key=lambda row: row.day)
        # Frozen for callers; these are indexes over `exceptions`, written once.
        object.__setattr__(self, "_by_day", {row.day: row for row in rows})
        object.__setattr__(self, "_official_years", frozenset(row.day.year for row in rows if row.basis == "official"))
        object.__setattr__(self, "_days", [row.day for row in rows])
        object.__setattr__(self, "_shift", list(accumulate((1 if row.kind == "work" else -1 for row in rows), initial=0)))

    @property
    def id(self) -> str:
        """Name and edition as printed beside a deadline, for example `cn@2026-11-01`."""
        return f"{self.name}@{self.edition}"

    @property
    def digest(self) -> str:
        """SHA-256 over the rows in force: two calendars with the same digest give the same deadlines."""
        lines = [f"{self.name} every_day={self.every_day}"]
        lines += [f"{row.day} {row.kind} {row.basis}" for row in sorted(self.exceptions, key=lambda row: row.day)]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def is_working_day(self, day: date) -> bool:
        if self.every_day:
            return True
        row = self._by_day.get(day)
        return row.kind == "work" if row else day.weekday() < SATURDAY

    def name_of(self, day: date) -> tuple[str, str] | None:
        """The festival (Chinese, English) that makes this date an exception, or None on an ordinary date."""
        row = self._by_day.get(day)
        return (row.name_zh, row.name_en) if row else None

    def basis(self, day: date) -> Basis:
        """Official where the year has been announced, provisional before the first and after the last."""
        return "official" if self.fixed_by_rule or day.year in self._official_years else "provisional"

    def ordinal(self, day: date) -> int:
        """Number of working days after 2000-01-01 up to and including `day`; negative before that."""
        if self.every_day:
            return (day - EPOCH).days
        shift = self._shift[bisect_right(self._days, day)] - self._shift[bisect_right(self._days, EPOCH)]
        return _weekdays_up_to(day) - _weekdays_up_to(EPOCH) + shift

    def working_days_between(self, start: date, end: date) -> int:
        """Working days after `start` up to and including `end`; negative when `end` lies before `start`."""
        return self.ordinal(end) - self.ordinal(start)

    def add_working_days(self, day: date, count: int) -> date:
        """The `count`-th working day after `day`, before it when negative. Zero gives `day` as it is."""
        step = timedelta(days=1 if count > 0 else -1)
        left = abs(count)
        while left:
            day += step
            left -= self.is_working_day(day)
        return day

    def rows(self, first: date, last: date) -> list[CalendarRow]:
        """Every date from `first` to `last`, both included, for a table that SQL can join to compute lags."""
        ordinal = self.ordinal(first - timedelta(days=1))
        found = []
        for offset in range((last - first).days + 1):
            day = first + timedelta(days=offset)
            works = self.is_working_day(day)
            ordinal += works
            found.append(CalendarRow(day, works, ordinal, self.basis(day)))
        return found


def _weekdays_up_to(day: date) -> int:
    # date.min is a Monday, so whole weeks since then hold five weekdays each.
    weeks, days = divmod(day.toordinal(), 7)
    return 5 * weeks + min(days, 5)


def calendar_names() -> list[str]:
    """The calendars known by name: the files of the folder and the two that need none."""
    return sorted([*WITHOUT_A_FILE, *(path.stem for path in FOLDER.glob("*.csv"))])


@lru_cache(maxsize=32)
def load_calendar(name: str | Path = "cn", edition: str | None = None) -> Calendar:
    """A calendar by name, or by the path of a CSV.

    `edition` (a date, `2026-11-01`) gives the calendar as it was known then: later notices are left out,
    and the years they announced fall back to what was known before, or to plain weekends. Without it the
    newest edition is used.

    Raises CalendarError for an unknown name, and for a file whose rows cannot be right.
    """
    if name == "every_day":
        return Calendar("every_day", "rule", every_day=True, fixed_by_rule=True)
    if name == "weekdays":
        return Calendar("weekdays", "rule", fixed_by_rule=True)
    path = Path(name) if str(name).endswith(".csv") else FOLDER / f"{name}.csv"
    if not path.is_file():
        raise CalendarError(
            f"no calendar {str(name)!r}: expected one of {', '.join(calendar_names())}, "
            f"or the path of a .csv file with the columns {','.join(COLUMNS)}"
        )
    known_on = _date(edition, f"calendar {path.name}", "edition") if edition else date.max
    rows = [row for row in _read(path) if row.edition <= known_on]
    newest: dict[int, date] = {}
    for row in rows:
        newest[row.day.year] = max(newest.get(row.day.year, row.edition), row.edition)
    in_force = tuple(row for row in rows if row.edition == newest[row.day.year])
    if not in_force:
        raise CalendarError(f"calendar {path.name} has no edition of {edition} or earlier; leave it out to use the newest")
    return Calendar(path.stem, max(newest.values()).isoformat(), in_force)


def _read(path: Path) -> list[Exceptional]:
    found: list[Exceptional] = []
    seen: dict[tuple[date, date], int] = {}
    basis_of: dict[tuple[int, date], Basis] = {}
    # Comment lines become empty ones, which keeps the line numbers of the messages right.
    lines = ["" if line.startswith("#") else line for line in path.read_text("utf-8-sig").splitlines()]
    header: list[str] | None = None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        cells = next(csv.reader([line]))
        where = f"{path.name} line {number}"
        if header is None:
            header = cells
            if header != COLUMNS:
                raise CalendarError(f"{where}: the columns are {','.join(cells)}; expected {','.join(COLUMNS)}")
            continue
        if len(cells) != len(COLUMNS):
            raise CalendarError(f"{where}: {len(cells)} cells; expected {len(COLUMNS)} ({','.join(COLUMNS)})")
        row = _row(dict(zip(COLUMNS, cells, strict=True)), where)
        if (row.day, row.edition) in seen:
            raise CalendarError(f"{where}: {row.day} is already in line {seen[row.day, row.edition]}; keep one of them")
        seen[row.day, row.edition] = number
        if basis_of.setdefault((row.day.year, row.edition), row.basis) != row.basis:
            raise CalendarError(
                f"{where}: {row.day.year} is {basis_of[row.day.year, row.edition]} and {row.basis} "
                f"in edition {row.edition}; expected one basis for a year in one edition, "
                "so enter a new notice under its own date"
            )
        found.append(row)
    return found


def _row(cells: dict[str, str], where: str) -> Exceptional:
    day = _date(cells["date"], where, "date")
    kind, basis = cells["kind"], cells["basis"]
    if kind not in ("rest", "work"):
        raise CalendarError(f"{where}: kind {kind!r}; expected rest (a weekday off) or work (a weekend day worked)")
    if basis not in ("official", "provisional"):
        raise CalendarError(f"{where}: basis {basis!r}; expected official or provisional")
    if (kind == "work") != (day.weekday() >= SATURDAY):
        raise CalendarError(
            f"{where}: {day} is a {day:%A}, so {kind!r} is no exception; "
            "check the date, or leave out a weekend rest day that changes nothing"
        )
    return Exceptional(
        day,
        cast(Literal["rest", "work"], kind),
        cells["name_zh"],
        cells["name_en"],
        _date(cells["edition"], where, "edition"),
        cast(Basis, basis),
        cells["source"],
    )


def _date(text: str, where: str, column: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise CalendarError(f"{where}: {column} {text!r}; expected a date like 2026-10-01") from None
