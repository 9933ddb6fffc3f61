"""The recalculation workbook: every score as a live formula over A, B and the policy, beside the published one."""

from __future__ import annotations

import re
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC
from io import BytesIO
from typing import Any

from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
from openpyxl.styles import Alignment, Border, Font, PatternFill, Side
from openpyxl.utils import get_column_letter

from pipelines.formula import harmless
from pipelines.paper import on_paper
from pipelines.recalculation_sheets import (
    CHECK_COLUMNS,
    CHECKS,
    CITY,
    DEPARTMENT_COLUMNS,
    DEPARTMENTS,
    DIMENSION_COLUMNS,
    DIMENSION_SHEET,
    FIRST_ROW,
    LEVELS,
    POLICY,
    POLICY_COLUMNS,
    SOURCE_COLUMNS,
    SOURCES,
    SUB_COLUMNS,
    SUBS,
    TITLES,
    Column,
    cells,
)
from pipelines.report_files import CITY_ITEMS, policies, policy_figures
from pipelines.report_view import City, DepartmentView, SourceView
from quality.dimensions import DIMENSIONS, SUB_INDICATORS, TIMELINESS
from quality.policy import Curve, Policy
from quality.scoring import ScoredCheck

Row = Mapping[str, Any]

#: Points; programs leave a wrapped cell one line high when a file does not say how high it is.
TWO_LINES = 30


def recalculation_book(city: City) -> bytes:
    """The workbook as bytes. The same city gives the same bytes."""
    figures = {digest: list(_policy_rows(policy)) for digest, policy in policies(city).items()}
    places = _Places(city, figures)
    rows: Mapping[str, Sequence[Row]] = {
        CHECKS: [_check(places, s, one) for s in city.sources for one in s.card.score.checks],
        SUBS: [row for s in city.sources for row in _subs(places, s)],
        DIMENSION_SHEET: [row for s in city.sources for row in _dimensions(places, s)],
        SOURCES: [_source(places, s) for s in city.sources],
        DEPARTMENTS: [_department(places, d) for d in city.departments],
        CITY: list(_city(places)),
    }
    book: Any = Workbook(write_only=True)  # its stubs know neither properties nor shared styles
    book.properties.title = f"复算 Recalculation {city.as_of}"
    book.properties.creator = "dmp"
    # Excel refuses dates with a zone here.
    book.properties.created = city.card.as_of.astimezone(UTC).replace(tzinfo=None, microsecond=0)
    styles = _Styles()
    _read_me(book, styles, city, {name: len(made) for name, made in rows.items()})
    _sheet(book, styles, POLICY, POLICY_COLUMNS, [row for lines in figures.values() for row in lines])
    for name, columns in LEVELS.items():
        _sheet(book, styles, name, columns, rows[name])
    data = BytesIO()
    book.save(data)
    return _without_clock(data.getvalue(), book.properties.created.isoformat())


# --- where things stand ---------------------------------------------------------------------------


class _Places:
    """The first row of every source, sub-indicator and figure, from which references are made. Policies go by digest."""

    def __init__(self, city: City, figures: Mapping[str, Sequence[Row]]) -> None:
        self.city = city
        self.digest = city.policy.digest
        self.figures: dict[tuple[str, str, str], int] = {}
        self.grades: dict[str, tuple[int, int]] = {}
        row = FIRST_ROW
        for digest, lines in figures.items():
            for line in lines:
                self.figures[digest, line["part"], line["item"]] = row
                row += 1
            count = sum(line["part"] == "grade" for line in lines)
            self.grades[digest] = (row - count, count)  # they stand last
        self.checks: dict[str, tuple[int, int]] = {}
        self.checks_of_sub: dict[tuple[str, str], tuple[int, int]] = {}
        row = FIRST_ROW
        for source in city.sources:
            self.checks[source.id] = (row, len(source.card.score.checks))
            for code, own in source.scored_checks.items():  # score_source orders checks by sub-indicator
                self.checks_of_sub[source.id, code] = (row, len(own))
                row += len(own)
        self.due = {one.source: one.due_slots for department in city.departments for one in department.score.sources}
        self.sources = {source.id: FIRST_ROW + n for n, source in enumerate(city.sources)}
        self.sources_of: defaultdict[str, list[int]] = defaultdict(list)  # city.sources stand by department
        for source in city.sources:
            self.sources_of[source.contract.department.id].append(self.sources[source.id])

    def figure(self, digest: str, part: str, item: str) -> str:
        """The cell of a policy's figure."""
        return cells(POLICY, POLICY_COLUMNS, "value", self.figures[digest, part, item], 1)

    def grade(self, digest: str) -> dict[str, str]:
        """The three columns of a policy's grades."""
        first, count = self.grades[digest]
        columns = {"at_least": "value", "grade_zh": "zh", "grade_en": "en"}
        return {name: cells(POLICY, POLICY_COLUMNS, key, first, count) for name, key in columns.items()}

    def first_sub(self, source: SourceView) -> int:
        return FIRST_ROW + (self.sources[source.id] - FIRST_ROW) * len(SUB_INDICATORS)

    def first_dimension(self, source: SourceView) -> int:
        return FIRST_ROW + (self.sources[source.id] - FIRST_ROW) * len(DIMENSIONS)


# --- rows -----------------------------------------------------------------------------------------


def _policy_rows(policy: Policy) -> Iterator[Row]:
    """Grades last and from the lowest up, as LOOKUP wants them."""
    lines: list[dict[str, Any]] = [
        dict(zip(("part", "item", "zh", "en", "value"), figure, strict=True)) for figure in policy_figures(policy)
    ]
    grades = [line for line in lines if line["part"] == "grade"]
    for line in [line for line in lines if line["part"] != "grade"] + sorted(grades, key=lambda g: g["value"]):
        yield {"policy": policy.version} | line


def _check(places: _Places, source: SourceView, one: ScoredCheck) -> Row:
    check, line, policy = one.check, source.card.checks.get(one.check.id), source.card.score.policy_digest
    of_kind = source.policy.curves.by_kind.get(check.kind)
    prefix, item = ("kind_", check.kind) if isinstance(of_kind, Curve) else ("", check.sub_indicator)
    return {
        "source": source.id, "check": check.id, "zh": line.zh if line else "", "en": line.en if line else "",
        "sub": check.sub_indicator, "w": check.weight, "a": check.a, "b": check.b,
        "failed": int(check.failed_to_run), "plain": int(check.plain or (of_kind == "plain" and check.target is None)),
        "own_floor": check.floor, "own_target": check.target, "major": int(check.major),
        "published_x": one.x, "published_y": one.y,
        "{floor}": places.figure(policy, f"{prefix}floor", item), "{target}": places.figure(policy, f"{prefix}target", item),
    }  # fmt: skip


def _subs(places: _Places, source: SourceView) -> Iterator[Row]:
    for level in source.card.score.sub_indicators:
        names, own = SUB_INDICATORS[level.code], places.checks_of_sub.get((source.id, level.code))
        row: dict[str, Any] = {
            "source": source.id, "code": level.code, "zh": names.zh, "en": names.en, "published_score": level.value,
            "{v}": places.figure(source.card.score.policy_digest, "sub_indicator_weight", level.code),
        }  # fmt: skip
        if own:
            row["{w}"] = cells(CHECKS, CHECK_COLUMNS, "applied", *own)
            row["{wv}"] = cells(CHECKS, CHECK_COLUMNS, "product", *own)
        else:
            row["score"] = None
        yield row


def _dimensions(places: _Places, source: SourceView) -> Iterator[Row]:
    codes = list(SUB_INDICATORS)
    for level in source.card.score.dimensions:
        names, own = DIMENSIONS[level.code], [code for code in codes if code.startswith(level.code)]
        at = (places.first_sub(source) + codes.index(own[0]), len(own))
        row: dict[str, Any] = {
            "source": source.id, "code": level.code, "zh": names.zh, "en": names.en,
            "published_score": level.value, "published_coverage": level.coverage,
            "{w}": cells(SUBS, SUB_COLUMNS, "applied", *at), "{wv}": cells(SUBS, SUB_COLUMNS, "product", *at),
            "{applied}": cells(SUBS, SUB_COLUMNS, "applied", *at), "{all}": cells(SUBS, SUB_COLUMNS, "v", *at),
        }  # fmt: skip
        if level.code == TIMELINESS:  # it is T, and has no weight in Q
            row["weight"] = 0
        else:
            row["{weight}"] = places.figure(source.card.score.policy_digest, "dimension_weight", level.code)
        yield row


def _source(places: _Places, source: SourceView) -> Row:
    score, contract, policy = source.card.score, source.contract, source.card.score.policy_digest
    dimensions = (places.first_dimension(source), len(DIMENSIONS))
    timeliness = places.first_dimension(source) + list(DIMENSIONS).index(TIMELINESS)
    subs = (places.first_sub(source), len(SUB_INDICATORS))
    grade = source.grade
    row: dict[str, Any] = {
        "source": source.id, "zh": contract.title.zh, "en": contract.title.en, "department": contract.department.id,
        "tier": contract.tier, "due": places.due[source.id],
        "published_t": score.t.value, "published_q": score.q.value, "published_o": score.o.value,
        "published_coverage": score.o.coverage,
        "published_grade": f"{harmless(grade.zh)} {harmless(grade.en)}" if grade else None,
        "{t}": cells(DIMENSION_SHEET, DIMENSION_COLUMNS, "score", timeliness, 1),
        "{w}": cells(DIMENSION_SHEET, DIMENSION_COLUMNS, "applied", *dimensions),
        "{wv}": cells(DIMENSION_SHEET, DIMENSION_COLUMNS, "product", *dimensions),
        "{one_major}": places.figure(policy, "cap", "one_major"),
        "{several_majors}": places.figure(policy, "cap", "several_majors"),
        "{wt}": places.figure(policy, "overall_weight", "T"), "{wq}": places.figure(policy, "overall_weight", "Q"),
        "{applied}": cells(SUBS, SUB_COLUMNS, "applied", *subs), "{all}": cells(SUBS, SUB_COLUMNS, "v", *subs),
        "{u}": places.figure(places.digest, "source_weight", contract.tier),
    } | {f"{{{name}}}": reference for name, reference in places.grade(policy).items()}  # fmt: skip
    if score.checks:
        row["{majors}"] = cells(CHECKS, CHECK_COLUMNS, "major_below", *places.checks[source.id])
    else:
        row["majors"] = 0
    return row


def _department(places: _Places, department: DepartmentView) -> Row:
    score, policy = department.score, places.digest
    own = places.sources_of[department.id]
    at = (own[0], len(own))
    grade = score.grade
    return {
        "department": department.id, "zh": department.zh, "en": department.en,
        "on_time": score.corrections.on_time, "to_close": score.corrections.due,
        "valid": score.catalogue_fields.valid, "required": score.catalogue_fields.required,
        "published_m": score.m.value, "published_r": score.r.value, "published_k": score.k.value,
        "published_i": score.i.value, "published_rank": department.ranked.rank,
        "published_grade": f"{harmless(grade.zh)} {harmless(grade.en)}" if grade else None,
        "{due}": cells(SOURCES, SOURCE_COLUMNS, "due", *at),
        "{w}": cells(SOURCES, SOURCE_COLUMNS, "applied", *at), "{wv}": cells(SOURCES, SOURCE_COLUMNS, "product", *at),
        "{wm}": places.figure(policy, "department_weight", "M"), "{wr}": places.figure(policy, "department_weight", "R"),
        "{wk}": places.figure(policy, "department_weight", "K"),
        "{min_due}": places.figure(policy, "ranking", "min_due_slots"),
        "{all_ranked}": cells(DEPARTMENTS, DEPARTMENT_COLUMNS, "ranked", FIRST_ROW, len(places.city.departments)),
    } | {f"{{{name}}}": reference for name, reference in places.grade(policy).items()}  # fmt: skip


def _city(places: _Places) -> Iterator[Row]:
    city, count = places.city, len(places.city.sources)
    for code, (zh, en) in CITY_ITEMS.items():
        suffix = "" if code == "O" else f"_{code.lower()}"
        figure = city.figure(code.lower())
        row: dict[str, Any] = {
            "item": code, "zh": zh, "en": en, "published_score": figure.value,
            "published_grade": f"{harmless(figure.grade.zh)} {harmless(figure.grade.en)}" if figure.grade else None,
            "{w}": cells(SOURCES, SOURCE_COLUMNS, f"applied{suffix}", FIRST_ROW, count),
            "{wv}": cells(SOURCES, SOURCE_COLUMNS, f"product{suffix}", FIRST_ROW, count),
        } | {f"{{{name}}}": reference for name, reference in places.grade(places.digest).items()}  # fmt: skip
        yield row if count else row | {"score": None}


# --- cells ----------------------------------------------------------------------------------------

_FONT = "Microsoft YaHei"
_THIN = Side(style="thin", color="D9D9D9")
_BORDER = Border(left=_THIN, right=_THIN, top=_THIN, bottom=_THIN)
_LOOKS: Mapping[str, tuple[Font, PatternFill | None]] = {
    "title": (Font(name=_FONT, size=12, bold=True), None),
    "head": (Font(name=_FONT, size=10, bold=True, color="FFFFFF"), PatternFill("solid", fgColor="16324F")),
    "given": (Font(name=_FONT, size=10, color="1D4F91"), PatternFill("solid", fgColor="EAF2FB")),
    "made": (Font(name=_FONT, size=10), None),
    "published": (Font(name=_FONT, size=10, color="595959"), PatternFill("solid", fgColor="F2F2F2")),
    "difference": (Font(name=_FONT, size=10, bold=True), None),
    "text": (Font(name=_FONT, size=10), None),
}


class _Styles:
    """One finished style per look; giving each cell its fonts and fills one by one takes far longer than writing it."""

    def __init__(self) -> None:
        self.made: dict[tuple[str, str], Any] = {}

    def cell(self, place: Any, value: Any, look: str, form: str = "General") -> Any:
        """A cell; text stays text, and only what `_sheet` marks as a formula becomes one."""
        cell: Any = WriteOnlyCell(place)
        if isinstance(value, _Formula):
            cell.value = f"={value}"
        elif isinstance(value, str):
            cell.value = harmless(ILLEGAL_CHARACTERS_RE.sub("", value)) or None
            if value:
                cell.data_type = "s"
        else:
            cell.value = value
        if (look, form) not in self.made:
            font, fill = _LOOKS[look]
            made: Any = WriteOnlyCell(place)
            made.font, made.number_format = font, form
            made.alignment = Alignment(vertical="top", wrap_text=look in ("head", "text"))
            if look not in ("title", "text"):
                made.border = _BORDER
            if fill is not None:
                made.fill = fill
            self.made[look, form] = made._style
        cell._style = self.made[look, form]
        return cell


class _Formula(str):
    """Text that is meant to be calculated."""

    __slots__ = ()


def _sheet(book: Any, styles: _Styles, name: str, columns: Sequence[Column], rows: Iterable[Row]) -> None:
    place = book.create_sheet(name)
    letters = {column.key: get_column_letter(n) for n, column in enumerate(columns, 1)}
    for column in columns:
        place.column_dimensions[letters[column.key]].width = max(column.width, 12)
    place.freeze_panes = f"C{FIRST_ROW}"
    place.print_title_rows = f"2:{FIRST_ROW - 1}"
    on_paper(place)
    place.row_dimensions[2].height = place.row_dimensions[3].height = TWO_LINES
    place.append([styles.cell(place, TITLES[name], "title")])
    place.append([styles.cell(place, column.zh, "head") for column in columns])
    place.append([styles.cell(place, column.en, "head") for column in columns])
    same_row = {column.key: re.sub(r"\[(\w+)\]", lambda m: f"{letters[m[1]]}<row>", column.formula) for column in columns}
    for number, row in enumerate(rows, FIRST_ROW):
        made = []
        for column in columns:
            value: Any = row.get(column.key)
            if column.formula and column.key not in row:
                text = same_row[column.key].replace("<row>", str(number))
                value = _Formula(_filled(text, row))
            made.append(styles.cell(place, value, column.role, column.form))
        place.append(made)


def _filled(formula: str, row: Row) -> str:
    """A formula with the row's own references in place of `{name}`."""
    return re.sub(r"\{\w+\}", lambda reference: str(row[reference[0]]), formula)


def _read_me(book: Any, styles: _Styles, city: City, rows: Mapping[str, int]) -> None:
    place = book.create_sheet("说明 Read me")
    for letter, width in zip("ABCD", (62, 17, 17, 100), strict=True):
        place.column_dimensions[letter].width = width
    on_paper(place)
    place.append([styles.cell(place, f"复算工作簿 Recalculation workbook {city.as_of}", "title")])
    place.append([])
    place.row_dimensions[FIRST_ROW - 1].height = TWO_LINES
    heads = ("表 sheet", "比较了几个数 figures compared", "不一致 differences")
    place.append([styles.cell(place, text, "head") for text in heads])
    for name, columns in LEVELS.items():
        count = rows[name]
        ranges = [cells(name, columns, c.key, FIRST_ROW, count) for c in columns if c.role == "difference"] if count else []
        compared = "+".join(f"COUNT({r})" for r in ranges) or "0"
        differing = "+".join(f"COUNT({r})-COUNTIF({r},0)" for r in ranges) or "0"
        place.append([
            styles.cell(place, name, "given", "@"), styles.cell(place, _Formula(compared), "made", "0"),
            styles.cell(place, _Formula(differing), "difference", "[=0]0;[Red]General"),
        ])  # fmt: skip
    last = FIRST_ROW + len(LEVELS) - 1
    place.append([
        styles.cell(place, "合计 all", "given", "@"), styles.cell(place, _Formula(f"SUM(B{FIRST_ROW}:B{last})"), "made", "0"),
        styles.cell(place, _Formula(f"SUM(C{FIRST_ROW}:C{last})"), "difference", "[=0]0;[Red]General"),
    ])  # fmt: skip
    place.append([])
    for row, (zh, en) in enumerate(_ADVICE, last + 3):
        place.row_dimensions[row].height = TWO_LINES
        place.append([styles.cell(place, zh, "text"), None, None, styles.cell(place, en, "text")])


_ADVICE = (
    ("怎样使用", "How to use it"),
    ("蓝底是给定的：计数 A、B，权重，评分办法。白底是公式。灰底是公布的得分，旁边是差，应全为 0。",
     "Blue cells are given: counts A and B, weights, the policy. White cells are formulas. Grey cells are the published scores; "
     "the difference beside them should be 0 throughout."),
    ("点任一得分看它的公式，就能一级一级追到检查的 A 和 B；改一个数，看得分怎样变。",
     "Click any score to see its formula and follow it down to A and B of the checks; change a figure to see what becomes of a score."),
    ("若公式栏是空的，请点“启用编辑”，或按 Ctrl+Alt+F9 重新计算。",
     "If the formula columns look empty, choose Enable Editing, or press Ctrl+Alt+F9 to calculate."),
    ("X 六位小数，其余两位，各级四舍五入，印出的数就是下一步所用的数。公式先化成整数相除再舍入，恰在一半时也不会舍错。",
     "X has six places, everything else two, half up at each level; the printed number is the number used next. Formulas divide "
     "whole numbers before they round, so that ties cannot go wrong."),
    ("B 为 0 的检查不适用，留空，不算满分；其权重退出，其余重新归一。",
     "A check with B = 0 does not apply: it stays empty and is never 100; its weight drops out and the others are renormalised."),
)  # fmt: skip


def _without_clock(data: bytes, created: str) -> bytes:
    """The same package without the instants at which it was written, which openpyxl puts into it."""
    out = BytesIO()
    with zipfile.ZipFile(BytesIO(data)) as former, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as package:
        for entry in former.infolist():
            content = former.read(entry)
            if entry.filename == "docProps/core.xml":
                content = re.sub(rb"(<dcterms:modified[^>]*>)[^<]*", rb"\g<1>" + f"{created}Z".encode(), content)
            fixed = zipfile.ZipInfo(entry.filename, (1980, 1, 1, 0, 0, 0))
            fixed.compress_type, fixed.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            package.writestr(fixed, content)
    return out.getvalue()
