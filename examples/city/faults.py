"""The fault injector: what goes wrong in extracts, put in at declared rates and remembered with its truth.

Codes D01-D32 are the project's catalogue of dirty data. A row gets at most one fault, so that what is found can be
compared with what was put in. Every kind that fits a table is put in at least once, unless the table is tiny.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import replace
from random import Random
from typing import TypeVar

from examples.city import names, table
from examples.city.table import Cell, Fault, Row, Table, join, text_of

#: New value of a cell, or None where this fault does not fit the row.
Change = Callable[[Mapping[str, Cell]], Cell | None]
Fits = Callable[[Row], bool]
T = TypeVar("T")

#: Share of a file's rows above which no further kind of fault is put in.
MOST = 0.35


class Injector:
    """Puts faults into one table and writes each one down in `table.faults`."""

    def __init__(self, target: Table, rng: Random, delimiter: str = ",") -> None:
        self.table = target
        self.rng = rng
        self.delimiter = delimiter

    def value(
        self,
        code: str,
        kind: str,
        column: str,
        rate: float,
        change: Change,
        detection: str,
        uncovered: str = "",
        fits: Fits | None = None,
        at_most: float = 0.5,
    ) -> None:
        """Change one cell in `rate` of the rows, but in no more than `at_most` of those that it fits.

        `uncovered` says why nothing is expected to notice.
        """
        if self._is_full():
            return
        candidates = []
        for row in self.table.rows:
            if row.has_fault or not row.is_data or (fits is not None and not fits(row)):
                continue
            written = change(row.cells)
            if written is not None and written != row.cells[column]:
                candidates.append((row, written))
        for row, written in self._some(candidates, rate, at_most):
            self._note(row, column, code, kind, text_of(row.cells[column]), text_of(written), detection, uncovered)
            row.cells[column] = written

    def placeholder(self, column: str, words: tuple[str, ...], rate: float) -> None:
        """A telephone number that says that there is none. What should notice depends on the word."""
        for word in words:
            detection, uncovered = "expect:value_is_present", ""
            if word in ("0", "11111111"):
                detection = "unreadable:phone"
            elif word.isdigit():
                detection, uncovered = "none", "has the form of a number; nobody can tell from the digits alone"
            self.value(
                "D07",
                "placeholder",
                column,
                rate / len(words),
                lambda c, w=word: w if c[column] else None,  # type: ignore[misc]  # a default that binds the loop's value
                detection,
                uncovered,
            )

    def duplicate_rows(self, rate: float) -> None:
        if self._is_full():
            return
        for row in self._some([r for r in self.table.rows if r.kind == "data" and not r.has_fault], rate):
            copy = Row(dict(row.cells), row.truth, "duplicate")
            self._insert(copy, at=self.table.rows.index(row) + self.rng.randrange(1, 4))
            row.has_fault = True
            self._note(copy, "", "D29", "duplicate_row", "", "", "expect:no_duplicate_rows")

    def blank_lines(self, count: int) -> None:
        if self._is_full():
            return
        for _ in range(count):
            row = Row(dict.fromkeys(self.table.header, ""), kind="blank", line="")
            self._insert(row, at=self.rng.randrange(1, len(self.table.rows)))
            self._note(row, "", "D29", "blank_line", "", "", "reader:blank", "")

    def repeated_header(self) -> None:
        row = Row({name: name for name in self.table.header}, kind="repeated_header")
        self._insert(row, at=self.rng.randrange(len(self.table.rows) // 3, len(self.table.rows)))
        self._note(row, "", "D31", "repeated_header", "", "", "reader:header_repeated")

    def totals_row(self, label_column: str, detection: str) -> None:
        cells: dict[str, Cell] = dict.fromkeys(self.table.header, "")
        cells[label_column] = f"合计：{sum(r.is_data for r in self.table.rows)}人"
        row = Row(cells, kind="total")
        self.table.rows.append(row)
        self._note(row, "", "D31", "totals_row", "", text_of(cells[label_column]), detection)

    def test_rows(self, changes: Mapping[str, Cell], detection: str, uncovered: str = "") -> None:
        """One row that somebody typed to try out the system."""
        if self._is_full():
            return
        model = self.rng.choice([r for r in self.table.rows if r.kind == "data" and not r.has_fault])
        row = Row({**model.cells, **changes}, kind="test")
        self._insert(row, at=self.rng.randrange(1, len(self.table.rows)))
        self._note(row, "", "D31", "test_row", "", text_of(next(iter(changes.values()))), detection, uncovered)

    def broken_delimiters(self, column: str, count: int) -> None:
        """`count` lines with a delimiter inside an unquoted value, `count` lines with one delimiter lost."""
        if self._is_full():
            return
        last, place = self.table.header[-1], self.table.header.index(column)
        rows = self._sound(column, len(self.table.rows))
        filled = [row for row in rows if row.cells[last]][:count]
        empty = [row for row in rows if not row.cells[last]][:1]
        for row in (*filled, *empty):
            values = [text_of(row.cells[name]) for name in self.table.header]
            values[place] = values[place][:3] + self.delimiter + values[place][3:]
            row.line = self.delimiter.join(values)
            unseen = "" if row.cells[last] else "ends like a line with a spare delimiter; only the shifted values are odd"
            self._note_line(row, column, table.EXTRA_DELIMITER, len(values), len(values) + 1, "reader:row_too_long", unseen)
        for row in self._sound(column, count):
            values = [text_of(row.cells[name]) for name in self.table.header]
            values[place - 1 : place + 1] = [values[place - 1] + values[place]]
            row.line = join(values, self.delimiter)
            self._note_line(row, column, table.MISSING_DELIMITER, len(values) + 1, len(values), "reader:row_too_short")

    def truncated_last_line(self, after: int) -> None:
        """The transfer broke off: the last line ends after `after` values, without a line end."""
        if self._is_full():
            return
        row = self.table.rows[-1]
        if row.has_fault or row.kind != "data":
            row = [r for r in self.table.rows if not r.has_fault and r.kind == "data"][-1]
            self.table.rows.remove(row)
            self.table.rows.append(row)
        values = [text_of(row.cells[name]) for name in self.table.header]
        row.line = join(values[:after], self.delimiter)
        self._note_line(row, "", table.TRUNCATED, len(values), after, "reader:row_too_short")

    def undecodable_bytes(self, column: str, count: int) -> None:
        if self._is_full():
            return
        for row in self._sound(column, count):
            original = text_of(row.cells[column])
            cells = {**row.cells, column: original[:2] + "\ufffc" + original[2:]}
            row.line = join([text_of(cells[name]) for name in self.table.header], self.delimiter)
            self._note(row, column, "D01", table.UNDECODABLE, original, table.BAD_BYTES.hex(), "reader:character_unreadable")

    def _is_full(self) -> bool:
        """Small files keep most of their rows whole, even where that leaves a kind out."""
        return len(self.table.faults) >= MOST * len(self.table.rows)

    def _sound(self, column: str, count: int) -> list[Row]:
        rows = [r for r in self.table.rows if r.kind == "data" and not r.has_fault and len(text_of(r.cells[column])) > 3]
        rows = [r for r in rows if r.line is None and self.delimiter not in "".join(map(text_of, r.cells.values()))]
        return self.rng.sample(rows, min(count, len(rows)))

    def _some(self, candidates: list[T], rate: float, at_most: float = 0.5) -> list[T]:
        """A share of the *table*, at least one where any fits."""
        wanted = max(1, round(rate * len(self.table.rows)))
        count = min(wanted, max(1, int(at_most * len(candidates))), len(candidates))
        places = sorted(self.rng.sample(range(len(candidates)), count))
        return [candidates[i] for i in places]

    def _insert(self, row: Row, at: int) -> None:
        self.table.rows.insert(min(at, len(self.table.rows)), row)

    def _note(
        self, row: Row, column: str, code: str, kind: str, original: str, written: str, detection: str, uncovered: str = ""
    ) -> None:
        row.has_fault = True
        self.table.faults.append(
            Fault(row, column, code, kind, original, written, detection, covered=not uncovered, reason=uncovered)
        )

    def _note_line(self, row: Row, column: str, kind: str, had: int, has: int, detection: str, uncovered: str = "") -> None:
        self._note(row, column, "D29", kind, f"{had} values", f"{has} values", detection, uncovered)


# --- changes of one value ------------------------------------------------------------------------------------------


def _text(cells: Mapping[str, Cell], column: str) -> str:
    return text_of(cells[column])


def full_id(column: str) -> Fits:
    """The cell holds a whole 18-character identity number."""
    return lambda row: len(text_of(row.cells[column])) == 18


def as_number(column: str) -> Change:
    """What Excel makes of an identity number in a cell of type number: 15 digits kept, shown as 1.10105E+17."""

    def change(cells: Mapping[str, Cell]) -> Cell | None:
        text = _text(cells, column)
        return float(f"{float(text):.14e}") if text.isdigit() else None

    return change


def as_number_text(column: str) -> Change:
    """The same, saved once more as text."""
    return lambda cells: f"{float(t):.5E}".replace("E+0", "E+") if (t := _text(cells, column)).isdigit() else None


def fifteen_digits(column: str) -> Change:
    def change(cells: Mapping[str, Cell]) -> Cell | None:
        text = _text(cells, column)
        return text[:6] + text[8:17] if text[6:8] == "19" else None

    return change


def lower_x(column: str) -> Change:
    return lambda cells: t[:-1] + "x" if (t := _text(cells, column)).endswith("X") else None


def spaced(column: str) -> Change:
    return lambda cells: f"{t[:6]} {t[6:14]} {t[14:]}" if len(t := _text(cells, column)) == 18 else None


def full_width(column: str) -> Change:
    return lambda cells: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in _text(cells, column)) or None


def leading_quote(column: str) -> Change:
    return lambda cells: "'" + t if (t := _text(cells, column)) else None


def wrong_check_digit(column: str) -> Change:
    def change(cells: Mapping[str, Cell]) -> Cell | None:
        text = _text(cells, column)
        return text[:-1] + ("0" if text[-1] != "0" else "1") if len(text) == 18 else None

    return change


def impossible_date(column: str, check: Callable[[str], str]) -> Change:
    """30 February with a check digit that is right for it."""

    def change(cells: Mapping[str, Cell]) -> Cell | None:
        text = _text(cells, column)
        first_17 = text[:10] + "0230" + text[14:17]
        return first_17 + check(first_17) if len(text) == 18 else None

    return change


def unknown_division(column: str, check: Callable[[str], str]) -> Change:
    """A division that never was (78....), with a check digit that is right for it."""

    def change(cells: Mapping[str, Cell]) -> Cell | None:
        text = _text(cells, column)
        first_17 = "780199" + text[6:17]
        return first_17 + check(first_17) if len(text) == 18 else None

    return change


def constant(value: Cell) -> Change:
    return lambda cells: value


def mapped(column: str, words: Mapping[str, str]) -> Change:
    return lambda cells: words.get(_text(cells, column))


def homophone(column: str) -> Change:
    return lambda cells: _one_character(_text(cells, column), names.HOMOPHONES)


def traditional(column: str) -> Change:
    return lambda cells: _one_character(_text(cells, column), names.TRADITIONAL)


def _one_character(text: str, words: Mapping[str, str]) -> str | None:
    for place, character in enumerate(text):
        other = words.get(character, character)
        if other != character:
            return text[:place] + other + text[place + 1 :]
    return None


def inner_space(column: str) -> Change:
    return lambda cells: f"{t[0]}\u3000{t[1]}" if len(t := _text(cells, column)) == 2 else None


def other_dot(column: str, dot: str) -> Change:
    return lambda cells: t.replace("·", dot) if "·" in (t := _text(cells, column)) else None


def ending(column: str, mark: str) -> Change:
    return lambda cells: t + mark if (t := _text(cells, column)) else None


def question_marks(column: str) -> Change:
    """What a GBK system makes of a name that GBK cannot write."""
    return lambda cells: _text(cells, column).encode("gbk", errors="replace").decode("gbk")


def masked_name(column: str) -> Change:
    return lambda cells: t[0] + "**" if (t := _text(cells, column)) else None


def half_width_brackets(column: str) -> Change:
    return lambda cells: t.replace("（", "(").replace("）", ")") if "（" in (t := _text(cells, column)) else None


def other_legal_form(column: str) -> Change:
    def change(cells: Mapping[str, Cell]) -> Cell | None:
        text = _text(cells, column)
        if text.endswith("有限责任公司"):
            return text.removesuffix("有限责任公司") + "有限公司"
        if text.endswith("有限公司") and not text.endswith("股份有限公司"):
            return text.removesuffix("有限公司") + "有限责任公司"
        return None

    return change


def letters_for_digits(column: str) -> Change:
    """O for 0 and I for 1: letters that a unified credit code never has."""

    def change(cells: Mapping[str, Cell]) -> Cell | None:
        text = _text(cells, column)
        return text[:8] + text[8:].replace("0", "O", 1) if "0" in text[8:] else text[:1] + text[1:].replace("1", "I", 1)

    return change


def organisation_code_only(column: str) -> Change:
    return lambda cells: f"{t[8:16]}-{t[16]}" if len(t := _text(cells, column)) == 18 else None


def short_address(column: str) -> Change:
    """Without city and district, and with 幢 for 栋, as many clerks write."""

    def change(cells: Mapping[str, Cell]) -> Cell | None:
        text = _text(cells, column)
        head, district, rest = text.partition("区")
        return rest.replace("栋", "幢") if district and head.startswith(names.CITY) else None

    return change


def without_room(column: str) -> Change:
    def change(cells: Mapping[str, Cell]) -> Cell | None:
        head, unit, _ = _text(cells, column).partition("单元")
        return head if unit else None

    return change


def date_text(column: str, form: str) -> Change:
    """The date in another spelling; the cell may hold a date, 2026-03-02 or 20260302."""

    def change(cells: Mapping[str, Cell]) -> Cell | None:
        day = day_of(cells[column])
        if day is None or (form == "serial" and day < _FIRST_SERIAL):
            return None
        return _spell(day, form)

    return change


#: Serial numbers below 20000 are told apart from other five-digit numbers by nobody.
_FIRST_SERIAL = dt.date(1954, 10, 3)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def _spell(day: dt.date, form: str) -> Cell:
    spelled: dict[str, Cell] = {
        "slashes": f"{day.year}/{day.month}/{day.day}",
        "compact": f"{day:%Y%m%d}",
        "dots": f"{day.year}.{day.month:02d}.{day.day:02d}",
        "chinese": f"{day.year}年{day.month}月{day.day}日",
        "english": f"{day.day}-{_MONTHS[day.month - 1]}-{day.year}",
        "serial": (day - dt.date(1899, 12, 30)).days,
    }
    return spelled[form]


def day_of(value: Cell) -> dt.date | None:
    if isinstance(value, dt.date):
        return value
    digits = text_of(value).replace("-", "")[:8]
    return dt.datetime.strptime(digits, "%Y%m%d").date() if len(digits) == 8 and digits.isdigit() else None


def days_from(column: str, days: int, form: str) -> Change:
    """A date some days away from the one in `column`, in the file's own spelling."""

    def change(cells: Mapping[str, Cell]) -> Cell | None:
        day = day_of(cells[column])
        return None if day is None else (day + dt.timedelta(days=days)).strftime(form)

    return change


def typed_date(column: str, days: int) -> Change:
    """The same for a workbook cell of type date."""

    def change(cells: Mapping[str, Cell]) -> Cell | None:
        value = cells[column]
        return value + dt.timedelta(days=days) if isinstance(value, dt.date) else None

    return change


def from_another_row(target: Table, column: str, rng: Random) -> Change:
    """The value that another row has: one number, two people."""
    pool = [row.cells[column] for row in target.rows if row.kind == "data" and row.cells[column]]
    return lambda cells: rng.choice(pool) if cells[column] and len(pool) > 1 else None


def without_faults(rows: list[Row]) -> list[Row]:
    """Fresh copies of the data rows, to put other faults into."""
    return [replace(row, cells=dict(row.cells), has_fault=False, line=None) for row in rows if row.kind == "data"]
