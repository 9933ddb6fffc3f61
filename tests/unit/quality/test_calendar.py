"""Working days: the shipped table against an independent one, the law, and the arithmetic over it."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import chinese_calendar
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quality.calendar import COLUMNS, Calendar, CalendarError, calendar_names, load_calendar

CN = load_calendar("cn")
DAYS = st.dates(date(2017, 1, 1), date(2030, 12, 31))
CALENDARS = st.sampled_from([CN, load_calendar("weekdays"), load_calendar("every_day")])


def days_of(year: int) -> list[date]:
    first = date(year, 1, 1)
    return [first + timedelta(days=n) for n in range((date(year + 1, 1, 1) - first).days)]


@pytest.mark.parametrize("year", range(2019, 2027))
def test_official_years_agree_with_an_independent_calendar(year: int) -> None:
    differing = [day for day in days_of(year) if CN.is_working_day(day) != chinese_calendar.is_workday(day)]
    assert differing == []
    assert {CN.basis(day) for day in days_of(year)} == {"official"}


@pytest.mark.parametrize(("year", "law_days"), [(2024, 11), (2025, 13), (2026, 13), (2027, 13)])
def test_a_year_has_as_many_days_off_as_the_holidays_law_gives(year: int, law_days: int) -> None:
    # The notices move weekends about, and a holiday on a weekend is made up: the total is what the law says.
    weekdays = sum(day.weekday() < 5 for day in days_of(year))
    assert sum(CN.is_working_day(day) for day in days_of(year)) == weekdays - law_days


def test_2027_is_provisional_and_observes_the_law_holidays() -> None:
    law = [(1, 1), (2, 5), (2, 6), (2, 7), (2, 8), (4, 5), (5, 1), (5, 2), (6, 9), (9, 15)]
    law += [(10, 1), (10, 2), (10, 3)]
    assert [md for md in law if CN.is_working_day(date(2027, *md))] == []
    assert {CN.basis(day) for day in days_of(2027)} == {"provisional"}
    assert CN.name_of(date(2027, 6, 9)) == ("端午节", "Dragon Boat Festival")


@pytest.mark.parametrize("year", [2018, 2028])
def test_years_nobody_entered_are_plain_weekends_and_provisional(year: int) -> None:
    assert all(CN.is_working_day(day) == (day.weekday() < 5) for day in days_of(year))
    assert {CN.basis(day) for day in days_of(year)} == {"provisional"}


def test_march_2026_has_22_working_days() -> None:
    assert CN.working_days_between(date(2026, 2, 28), date(2026, 3, 31)) == 22


def test_a_worked_saturday_counts_and_a_holiday_does_not() -> None:
    assert CN.add_working_days(date(2026, 2, 14), 1) == date(2026, 2, 24)  # ten days of Spring Festival
    assert CN.add_working_days(date(2026, 2, 27), 1) == date(2026, 2, 28)  # a Saturday
    assert CN.add_working_days(date(2026, 2, 24), -1) == date(2026, 2, 14)


def test_an_older_edition_knows_nothing_of_later_notices() -> None:
    before = load_calendar("cn", "2025-11-03")
    assert before.id == "cn@2024-11-12"
    assert before.is_working_day(date(2026, 10, 1))
    assert before.basis(date(2026, 10, 1)) == "provisional"
    assert not before.is_working_day(date(2025, 10, 1))
    assert before.digest != CN.digest


def calendar_file(folder: Path, *rows: str) -> Path:
    path = folder / "xx.csv"
    path.write_text("# a comment\n" + ",".join(COLUMNS) + "\n" + "\n".join(rows) + "\n", "utf-8")
    return path


def test_a_notice_replaces_the_provisional_year_and_both_stay_readable(tmp_path: Path) -> None:
    path = calendar_file(
        tmp_path,
        "2027-10-01,rest,国庆节,National Day,2026-11-01,provisional,law",
        "2027-10-04,rest,国庆节,National Day,2026-11-01,provisional,law",
        "2027-10-01,rest,国庆节,National Day,2026-11-25,official,notice",
        "2027-10-09,work,国庆节,National Day,2026-11-25,official,notice",
    )
    now, then = load_calendar(path), load_calendar(path, "2026-11-01")
    monday, saturday = date(2027, 10, 4), date(2027, 10, 9)
    assert [then.is_working_day(monday), then.is_working_day(saturday)] == [False, False]
    assert [now.is_working_day(monday), now.is_working_day(saturday)] == [True, True]
    assert (then.basis(monday), now.basis(monday)) == ("provisional", "official")
    assert (then.id, now.id) == ("xx@2026-11-01", "xx@2026-11-25")


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (["2027-13-01,rest,a,b,2026-11-01,official,c"], "line 3: date '2027-13-01'"),
        (["2027-10-02,rest,a,b,2026-11-01,official,c"], "line 3: 2027-10-02 is a Saturday"),
        (["2027-10-01,work,a,b,2026-11-01,official,c"], "line 3: 2027-10-01 is a Friday"),
        (["2027-10-01,off,a,b,2026-11-01,official,c"], "kind 'off'; expected rest"),
        (["2027-10-01,rest,a,b,2026-11-01,maybe,c"], "basis 'maybe'; expected official or provisional"),
        (["2027-10-01,rest,a,b,2026-11-01,official"], "6 cells; expected 7"),
        (["2027-10-01,rest,a,b,2026-11-01,official,c"] * 2, "line 4: 2027-10-01 is already in line 3"),
        (
            ["2027-10-01,rest,a,b,2026-11-01,official,c", "2027-10-04,rest,a,b,2026-11-01,provisional,c"],
            "line 4: 2027 is official and provisional",
        ),
    ],
)
def test_a_row_that_cannot_be_right_is_refused_with_its_line(tmp_path: Path, rows: list[str], says: str) -> None:
    with pytest.raises(CalendarError, match=says):
        load_calendar(calendar_file(tmp_path, *rows))


def test_an_unknown_calendar_names_the_known_ones() -> None:
    assert calendar_names() == ["cn", "every_day", "weekdays"]
    with pytest.raises(CalendarError, match="cn, every_day, weekdays"):
        load_calendar("mars")


def test_the_two_calendars_without_a_file() -> None:
    sunday, national_day = date(2026, 3, 1), date(2026, 10, 1)
    assert load_calendar("every_day").is_working_day(sunday)
    assert not load_calendar("weekdays").is_working_day(sunday)
    assert load_calendar("weekdays").is_working_day(national_day)
    assert load_calendar("every_day").basis(date(2099, 1, 1)) == "official"


@given(CALENDARS, DAYS, DAYS)
def test_counting_working_days_equals_walking_them(calendar: Calendar, a: date, b: date) -> None:
    first, last = sorted((a, b))
    walked = sum(calendar.is_working_day(first + timedelta(days=n + 1)) for n in range((last - first).days))
    assert calendar.working_days_between(first, last) == walked
    assert calendar.working_days_between(last, first) == -walked


@given(CALENDARS, DAYS, st.integers(1, 300))
def test_the_nth_working_day_is_n_working_days_away(calendar: Calendar, day: date, count: int) -> None:
    later, earlier = calendar.add_working_days(day, count), calendar.add_working_days(day, -count)
    assert calendar.is_working_day(later) and calendar.is_working_day(earlier)
    assert calendar.working_days_between(day, later) == count
    # The first date is not counted and the last one is, so going back counts `day` instead of `earlier`.
    assert calendar.working_days_between(earlier, day) == count - 1 + calendar.is_working_day(day)


@given(CALENDARS, DAYS, DAYS)
def test_lags_computed_from_the_rows_equal_the_function(calendar: Calendar, a: date, b: date) -> None:
    first, last = sorted((a, b))
    rows = {row.day: row for row in calendar.rows(first, last)}
    assert len(rows) == (last - first).days + 1
    assert rows[last].ordinal - rows[first].ordinal == calendar.working_days_between(first, last)
    assert rows[last].is_working_day == calendar.is_working_day(last)
