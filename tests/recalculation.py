"""For tests of the recalculation kit: cities made of drawn checks, the script run over a folder, formulas worked out."""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal as D
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
from hypothesis import strategies as st
from openpyxl import load_workbook
from openpyxl.utils import get_column_letter, range_boundaries

from catalog.contract import Contract
from catalog.registry import SHIPPED, open_catalog
from pipelines.recalculation import SCRIPT, recalculation_tables
from pipelines.recalculation_sheets import DEPARTMENTS, DIMENSION_SHEET, SOURCES, SUBS
from pipelines.report_view import City, DepartmentView, SourceView
from pipelines.scorecard import Scorecard, SourceCard
from quality.policy import DepartmentWeights, OverallWeights, Policy, load_policy
from quality.scoring import (
    CatalogueFields,
    Check,
    Corrections,
    DepartmentSource,
    rank_departments,
    score_department,
    score_source,
)
from tests.property.test_scoring_properties import checks as usual_checks
from tests.property.test_scoring_properties import retyped
from tests.unit.quality.test_scoring import worked_checks

TIERS = ("base_library", "theme", "other")
NOON = datetime(2026, 3, 5, 12, tzinfo=UTC)
READ_ME = "说明 Read me"
WINDOW = (date(2026, 2, 3), date(2026, 3, 5))

# --- cities ---------------------------------------------------------------------------------------


@cache
def _contracts() -> tuple[Contract, ...]:
    return tuple(open_catalog(SHIPPED).contracts.values())


def city_of(
    sources: Sequence[tuple[str, str, Sequence[Check], int]],
    counts: Mapping[str, tuple[Corrections, CatalogueFields]],
    policy: Policy | None = None,
    other: Mapping[int, Policy] | None = None,
) -> City:
    """A city of sources (department, tier, checks, due slots), with a department's counts. `other`: policies of single sources."""
    policy = policy or load_policy("2026-01")
    views, roles = [], {}
    for n, (department, tier, checks, due) in enumerate(sources):
        usual = _contracts()[n % len(_contracts())]
        contract = usual.model_copy(
            update={
                "id": f"{department}__{n:03}",
                "tier": tier,
                "department": usual.department.model_copy(update={"id": department, "zh": f"部门{department}"}),
            }
        )
        own = (other or {}).get(n, policy)
        card = SourceCard(contract, WINDOW, score_source(checks, own), {}, (), {}, (), (), (), 0, 0, 0, None)
        views.append(SourceView(card, own, None, ()))
        roles[contract.id] = due
    scores = []
    for department in sorted({v.contract.department.id for v in views}):
        parts = [
            DepartmentSource(v.id, v.contract.tier, v.card.score.o.value, roles[v.id])
            for v in views
            if v.contract.department.id == department
        ]
        scores.append(score_department(department, parts, *counts[department], policy))
    ranking = rank_departments(scores, policy)
    departments = tuple(
        DepartmentView(
            r.score.department,
            f"部门{r.score.department}",
            f"Office {r.score.department}",
            r,
            tuple(v for v in views if v.contract.department.id == r.score.department),
            (),
            policy,
        )
        for r in ranking
    )
    ordered = tuple(sorted(views, key=lambda v: (v.contract.department.id, v.id)))
    whole = Scorecard(NOON, policy, tuple(v.card for v in ordered), tuple(scores), ranking)
    return City(whole, WINDOW, ZoneInfo("Asia/Shanghai"), ordered, departments, {})


@st.composite
def checks(draw: st.DrawFn) -> list[Check]:
    """Those of the scoring tests, and more: ties in X and Y, points with decimals, lone bounds, kinds, counts that cannot be."""
    found = []
    for check in draw(usual_checks()):
        change: dict[str, Any] = {}
        match draw(st.integers(0, 9)):
            case 0:
                b = draw(st.sampled_from([8, 16, 64, 2_000, 20_000, 200_000, 2_000_000]))
                change = {"a": draw(st.integers(0, b)), "b": b, "plain": draw(st.booleans())}
            case 1:
                b = draw(st.integers(1, 31))
                change = {"a": D(draw(st.integers(0, b * 1_000_000))) / 1_000_000, "b": b, "kind": "punctuality"}
                change["floor"] = None
            case 2:
                change = {"floor": None}
            case 3:
                change = {"target": None}
            case 4:
                change = draw(st.sampled_from([{"a": -1}, {"a": check.b + 1}, {"a": D(-5) / 2}]))
        values = {name: getattr(check, name) for name in check.__dataclass_fields__} | change
        found.append(Check(**values))
    return found


@st.composite
def cities(draw: st.DrawFn, most: int = 6, other: Policy | None = None) -> City:
    """Up to `most` sources in three departments; every second one is scored by `other` where that is given."""
    sources = draw(
        st.lists(
            st.tuples(st.sampled_from("abc"), st.sampled_from(TIERS), st.one_of(st.just([]), checks()), st.integers(0, 5)),
            min_size=1,
            max_size=most,
        )
    )
    whole = st.integers(0, 40)
    counts = {}
    for department in "abc":
        due, required = draw(whole), draw(whole)
        closed, valid = draw(st.integers(0, due)), draw(st.integers(0, required))
        counts[department] = (Corrections(closed, due), CatalogueFields(valid, required))
    policies = dict.fromkeys(range(0, len(sources), 2), other) if other else None
    return city_of(sources, counts, other=policies)


def worked_city() -> City:
    """The worked example of the scoring tests, and its department: two more sources that stand at 88.40 and at 71.25."""
    others = [[Check("all of it", "0101", 1, a, 10_000, plain=True)] for a in (8840, 7125)]
    sources = [("a", "base_library", worked_checks(), 22), ("a", "theme", others[0], 1), ("a", "theme", others[1], 1)]
    return city_of(sources, {"a": (Corrections(17, 20), CatalogueFields(46, 48))})


#: What somebody with a pocket calculator found for it.
WORKED_BY_HAND = {
    "0502": "91.86", "01": "96.46", "02": "99.39", "03": "94.84", "04": "98.39", "05": "94.65", "06": "97.17",
    "T": "94.65", "Q": "97.07", "O": "96.10", "M": "86.80", "R": "85.00", "K": "95.83", "I": "86.98",
}  # fmt: skip


def city_of_ties(sources: int = 24) -> City:
    """Scores that often stand exactly between two hundredths, at every level; the same city every time."""
    dice = random.Random(7)
    # Weights in eighths and quarters: with tenths most means never end half-way.
    usual = load_policy("2026-01")
    policy = usual.model_copy(
        update={
            "version": "ties",
            "quality_weights": dict(zip(usual.quality_weights, map(D, ("0.25", "0.25", "0.25", "0.125", "0.125")), strict=True)),
            "overall_weights": OverallWeights(timeliness=D("0.375"), quality=D("0.625")),
            "department_weights": DepartmentWeights(sources=D("0.5"), corrections=D("0.25"), catalogue=D("0.25")),
        }
    )
    made = []
    for n in range(sources):
        checks = [
            Check("x", "0101", 1, dice.randrange(1, 2_000_000, 2), 2_000_000, plain=True),
            Check("x of bad ones", "0303", 1, dice.randrange(1, 2_000_000, 2), 2_000_000),
            Check("points without a curve", "0201", 1, dice.randrange(50, 1_000_000, 100), 1_000_000, plain=True),
            Check("points on the curve", "0301", 1, dice.randrange(500_050, 900_000, 100), 1_000_000, D("0.5"), D("0.9")),
            Check("points below the floor", "0304", 2, dice.randrange(50, 600_000, 100), 1_000_000, D("0.6"), D("0.9")),
        ]
        for code in ("0102", "0202", "0302", "0401", "0402", "0501", "0502", "0601"):
            checks += [Check(f"{code} {k}", code, k, dice.randrange(7000, 10_001), 10_000, plain=True) for k in (1, 3)]
        made.append((f"d{n // 2:02}", ("base_library", "other")[n % 2], checks, 3))
    departments = {department for department, *_ in made}
    counts = {
        d: (Corrections(dice.randrange(1, 32, 2), 32), CatalogueFields(dice.randrange(1, 32, 2), 32)) for d in sorted(departments)
    }
    return city_of(made, counts, policy)


def ties(city: City) -> Counter[str]:
    """How many printed sums of each level have an exact value half-way between two printed numbers."""
    sums: list[tuple[str, str]] = []
    for source in city.sources:
        score = source.card.score
        sums += [("X", one.formula_x) for one in score.checks] + [("Y", one.formula_y) for one in score.checks]
        sums += [("S", one.formula) for one in score.sub_indicators] + [("D", one.formula) for one in score.dimensions]
        sums += [("Q", score.q_uncapped.formula), ("O", score.o.formula)]
    for department in city.departments:
        sums += [
            (one.code, one.formula) for one in (department.score.m, department.score.r, department.score.k, department.score.i)
        ]
    found: Counter[str] = Counter()
    for level, formula in sums:
        if " = " in formula:
            value, printed = retyped(formula)
            found[level] += (2 * value * 10 ** len(printed.partition(".")[2])) % 2 == 1
    return found


# --- the script -----------------------------------------------------------------------------------


def write_tables(city: City, folder: Path) -> None:
    for name, content in recalculation_tables(city):
        (folder / name).write_bytes(content.encode())


def recalculated(folder: Path) -> duckdb.DuckDBPyConnection:
    """A connection in which the script of the folder has run, over the files of the folder alone."""
    con = duckdb.connect(config={"threads": 1})
    con.execute("SET file_search_path = ?", [str(folder)])
    con.execute((folder / SCRIPT.name).read_text(encoding="utf-8"))
    return con


def differences(con: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
    return con.execute(
        "SELECT level, subject, item, figure, published, recalculated FROM compared WHERE differs ORDER BY ALL"
    ).fetchall()


# --- the workbook ---------------------------------------------------------------------------------


def shown_scores(rows: Callable[[str], Iterable[Mapping[str, Any]]], source: str) -> dict[str, str]:
    """Scores by item as the sheets show them, two places: those of one source, and of the (single) department."""
    found = {row[code]: row[score] for sheet, code, score in (
        (SUBS, "sub-indicator", "S"), (DIMENSION_SHEET, "dimension", "D"),
    ) for row in rows(sheet) if row["source"] == source}  # fmt: skip
    of_source = next(row for row in rows(SOURCES) if row["source"] == source)
    of_department = next(iter(rows(DEPARTMENTS)))
    found |= {item: of_source[item] for item in "TQO"}
    found |= {
        heading[0]: value for heading, value in of_department.items() if re.match(r"[MRKI] (?!.*(published|difference))", heading)
    }
    return {item: f"{value:.2f}" for item, value in found.items() if isinstance(value, int | float)}


_TOKEN = re.compile(
    r"""\s*(?:(?P<number>\d+(?:\.\d+)?)|(?P<text>"[^"]*")|(?P<function>[A-Z]+)\(
    |(?P<cell>(?:'[^']+'!)?\$?[A-Z]+\$?\d+(?::\$?[A-Z]+\$?\d+)?)|(?P<sign><>|<=|>=|[-+*/&=<>(),]))""",
    re.X,
)
_LEVELS: tuple[Mapping[str, Callable[[Any, Any], Any]], ...] = (
    {
        "=": lambda a, b: _plain(a) == _plain(b), "<>": lambda a, b: _plain(a) != _plain(b), "<": lambda a, b: a < b,
        ">": lambda a, b: a > b, "<=": lambda a, b: a <= b, ">=": lambda a, b: a >= b,
    },
    {"&": lambda a, b: f"{a}{b}"},
    {"+": lambda a, b: _number(a) + _number(b), "-": lambda a, b: _number(a) - _number(b)},
    {"*": lambda a, b: _number(a) * _number(b), "/": lambda a, b: _number(a) / _number(b)},
)  # fmt: skip


def _plain(value: Any) -> Any:
    return "" if value is None else value


def _number(value: Any) -> float:
    if isinstance(value, str):
        raise ValueError(f"#VALUE! {value!r} is no number")
    return float(value or 0)


def _round(value: float, places: float) -> float:
    """Half away from zero on the binary number itself: a program that forgives less than any spreadsheet does."""
    scaled = abs(value) * 10 ** int(places)
    return math.copysign(math.floor(scaled) + (scaled - math.floor(scaled) >= 0.5), value) / 10 ** int(places)


class Book:
    """A workbook whose formulas are worked out in plain binary floating point, on demand, each once."""

    def __init__(self, data: bytes, change: Mapping[tuple[str, str], Any] | None = None) -> None:
        """`change`: values put into cells first, by sheet and coordinate."""
        self.cells: dict[tuple[str, str], Any] = {}
        self.formulas: dict[tuple[str, str], str] = {}
        for sheet in load_workbook(BytesIO(data)).worksheets:
            for row in sheet.iter_rows():
                for cell in row:
                    at = (sheet.title, cell.coordinate)
                    if cell.data_type == "f":
                        self.formulas[at] = str(cell.value)[1:]
                    else:
                        self.cells[at] = cell.value
        self.cells |= change or {}

    def value(self, sheet: str, cell: str) -> Any:
        at = (sheet, cell)
        if at not in self.cells:
            if at not in self.formulas:
                raise LookupError(f"{sheet}!{cell} does not exist")
            self.cells[at] = _Formula(self, sheet, self.formulas[at]).worked_out()
        return self.cells[at]

    def differing(self) -> list[tuple[str, str, Any]]:
        """Cells of columns of differences that are not 0."""
        found = []
        for name, cell in self.formulas:
            heading = str(self.cells.get((name, f"{cell.rstrip('0123456789')}3")))
            if heading.endswith((" difference", " differs")) and self.value(name, cell) != 0:
                found.append((name, cell, self.value(name, cell)))
        return found

    @property
    def verdict(self) -> tuple[float, float]:
        """Figures compared, and how many differ, as the first sheet adds them up."""
        return self.value(READ_ME, "B10"), self.value(READ_ME, "C10")

    def rows(self, sheet: str) -> Iterator[dict[str, Any]]:
        """Rows of a sheet by its English headings."""
        place = [cell for name, cell in self.cells.keys() | self.formulas.keys() if name == sheet]
        width, height = (max(range_boundaries(cell)[n] or 0 for cell in place) for n in (0, 1))
        letters = [get_column_letter(n) for n in range(1, width + 1)]
        for row in range(4, height + 1):
            yield {str(self.value(sheet, f"{letter}3")): self.value(sheet, f"{letter}{row}") for letter in letters}


class _Formula:
    """One formula, parsed and worked out in one pass."""

    def __init__(self, book: Book, sheet: str, text: str) -> None:
        self.book, self.sheet, self.tokens, self.at = book, sheet, [], 0
        position = 0
        while position < len(text):
            found = _TOKEN.match(text, position)
            if found is None or found.lastgroup is None:
                raise ValueError(f"cannot read {text[position:]!r} of {text!r}")
            self.tokens.append((found.lastgroup, found[found.lastgroup]))
            position = found.end()

    def worked_out(self) -> Any:
        value = self.level(0)()
        if self.at != len(self.tokens):
            raise ValueError(f"{self.tokens[self.at :]} left over")
        return _plain(value)

    def sign(self) -> str:
        kind, text = self.tokens[self.at] if self.at < len(self.tokens) else ("", "")
        return text if kind == "sign" else ""

    def level(self, depth: int) -> Callable[[], Any]:
        if depth == len(_LEVELS):
            return self.atom()
        left = self.level(depth + 1)
        while (sign := self.sign()) in _LEVELS[depth]:
            self.at += 1
            left = self._pair(_LEVELS[depth][sign], left, self.level(depth + 1))
        return left

    def _pair(self, apply: Callable[[Any, Any], Any], left: Callable[[], Any], right: Callable[[], Any]) -> Callable[[], Any]:
        return lambda: apply(left(), right())

    def atom(self) -> Callable[[], Any]:
        kind, text = self.tokens[self.at]
        self.at += 1
        if kind == "number":
            return lambda: float(text)
        if kind == "text":
            return lambda: text[1:-1]
        if kind == "cell":
            return lambda: self.reference(text)
        arguments = []
        while self.sign() != ")":
            arguments.append(self.level(0))
            if self.sign() == ",":
                self.at += 1
        self.at += 1
        return arguments[0] if kind == "sign" else lambda: self.call(text, arguments)

    def reference(self, text: str) -> Any:
        sheet, _, cells = text.rpartition("!")
        sheet, cells = sheet.strip("'") or self.sheet, cells.replace("$", "")
        if ":" not in cells:
            return self.book.value(sheet, cells)
        left, top, right, bottom = range_boundaries(cells)
        assert left == right and top is not None and bottom is not None
        return [self.book.value(sheet, f"{get_column_letter(left)}{row}") for row in range(top, bottom + 1)]

    def call(self, name: str, arguments: Sequence[Callable[[], Any]]) -> Any:
        if name == "IF":
            return arguments[1]() if arguments[0]() else arguments[2]()
        given = [argument() for argument in arguments]
        cells = given[0] if isinstance(given[0], list) else [given[0]]
        numbers = [v for one in given for v in (one if isinstance(one, list) else [one]) if isinstance(v, int | float)]
        match name:
            case "SUM":
                return sum(numbers)
            case "COUNT":
                return len(numbers)
            case "MIN":
                return min(numbers)
            case "MAX":
                return max(numbers)
            case "COUNTIF":
                return sum(v == given[1] for v in cells)
            case "AND":
                return all(given)
            case "OR":
                return any(given)
            case "ISNUMBER":
                return isinstance(given[0], int | float)
            case "ROUND":
                return _round(_number(given[0]), given[1])
            case "RANK":
                others = given[1] if isinstance(given[1], list) else [given[1]]
                return 1 + sum(isinstance(v, int | float) and v > given[0] for v in others)
            case "LOOKUP":
                return given[2][max(n for n, v in enumerate(given[1]) if v <= given[0])]
        raise ValueError(f"{name} is not known here")
