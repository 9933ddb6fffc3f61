"""The recalculation kit's workbook: every score as a live formula over A, B and the policy, beside the published one.

Spreadsheets calculate in binary floating point, where a tie such as 91.865 may stand a hair below itself and be rounded down.
So each formula rounds a quotient of whole numbers to a whole number, ROUND(n / d, 0), and divides by a power of ten afterwards:
a tie of whole numbers is k + 1/2, which binary holds exactly. Weights may have 6 decimals, floors and targets 9.

Formulas read cells, none holds a figure of the policy: who changes a count, a weight or a floor sees what follows.
"""

from __future__ import annotations

import re
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from io import BytesIO
from typing import Any, Literal

from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
from openpyxl.styles import Alignment, Border, Font, PatternFill, Side
from openpyxl.utils import get_column_letter

from pipelines.formula import harmless
from pipelines.report_files import CITY_ITEMS, DEPARTMENT_ITEMS, policies, policy_figures
from pipelines.report_view import City, DepartmentView, SourceView
from quality.dimensions import DIMENSIONS, SUB_INDICATORS, TIMELINESS
from quality.policy import Curve, Policy
from quality.scoring import ScoredCheck

Role = Literal["given", "made", "published", "difference"]

#: Above the rows of every sheet: its title, headings in Chinese, headings in English.
FIRST_ROW = 4

#: Mean of values by weight, to 2 places: `wv` are cells of weight x value, `w` of the weights that apply.
MEAN = 'IF(SUM({w})=0,"",ROUND(ROUND(100000000*SUM({wv}),0)/ROUND(1000000*SUM({w}),0),0)/100)'

#: Share of the weights that apply, to 6 places.
SHARE = "ROUND(1000000*ROUND(1000000*SUM({applied}),0)/ROUND(1000000*SUM({all}),0),0)/1000000"


@dataclass(frozen=True)
class Column:
    """A column of a sheet. In `formula` [key] is a cell of the same row, {name} a reference that the row brings along."""

    key: str
    zh: str
    en: str
    role: Role = "given"
    form: str = "General"
    width: float = 10
    formula: str = ""


def _difference(key: str, zh: str, en: str) -> tuple[Column, Column]:
    """The published number beside a recalculated one, and the difference; a number on one side only counts as 1."""
    form = "0.000000" if key in ("x", "coverage") else "0" if key == "rank" else "0.00"
    return (
        Column(f"published_{key}", f"公布的{zh}", f"{en} published", "published", form),
        Column(
            f"difference_{key}", f"{zh}之差", f"{en} difference", "difference", "[=0]0;[Red]General", 10,
            f"IF(ISNUMBER([{key}]),IF(ISNUMBER([published_{key}]),ROUND([{key}]-[published_{key}],6),1),"
            f"IF(ISNUMBER([published_{key}]),1,0))",
        ),
    )  # fmt: skip


def _grade_difference() -> tuple[Column, Column]:
    return (
        Column("published_grade", "公布的等级", "grade published", "published", "@", 15),
        Column(
            "difference_grade", "等级不同", "grade differs", "difference", "[=0]0;[Red]General", 10,
            "IF([grade]=[published_grade],0,1)",
        ),
    )  # fmt: skip


POLICY = "评分办法 Policy"
POLICY_COLUMNS = (
    Column("policy", "版本", "version", form="@"),
    Column("part", "类别", "part", form="@", width=22),
    Column("item", "项目", "item", form="@", width=16),
    Column("zh", "名称", "name (Chinese)", form="@", width=30),
    Column("en", "英文名称", "name (English)", form="@", width=34),
    Column("value", "数值", "value"),
)

CHECKS = "检查 Checks"
CHECK_COLUMNS = (
    Column("source", "数据源", "source", form="@", width=28),
    Column("check", "检查", "check", form="@", width=28),
    Column("zh", "检查内容", "what is checked (Chinese)", form="@", width=26),
    Column("en", "检查内容（英文）", "what is checked (English)", form="@", width=26),
    Column("sub", "子指标", "sub-indicator", form="@"),
    Column("w", "权重 w", "weight w"),
    Column("a", "A", "A"),
    Column("b", "B", "B"),
    Column("failed", "未能运行（1 是）", "failed to run (1: yes)"),
    Column("plain", "Y=100X（1 是）", "Y=100X (1: yes)"),
    Column("own_floor", "约定的下限", "own floor"),
    Column("own_target", "约定的目标", "own target"),
    Column("major", "重要检查（1 是）", "major (1: yes)"),
    Column("floor", "所用下限 f", "floor f used", "made", "General", 10,
           'IF([own_floor]<>"",[own_floor],IF([plain]=1,"",IF([own_target]="",{floor},MIN({floor},[own_target]))))'),
    Column("target", "所用目标 t", "target t used", "made", "General", 10,
           'IF([plain]=1,"",IF([own_target]<>"",[own_target],MAX({target},[floor])))'),
    # 0303 and 0305 count bad elements.
    Column("x", "X", "X", "made", "0.000000", 10,
           'IF([failed]=1,0,IF(OR([a]<0,[a]>[b]),0,IF([b]=0,"",ROUND(ROUND(1000000*'
           'IF(OR([sub]="0303",[sub]="0305"),[b]-[a],[a]),0)/[b],0)/1000000)))'),
    Column("y", "Y", "Y", "made", "0.00", 10,
           'IF([x]="","",IF(OR([floor]="",[target]=""),ROUND(ROUND(1000000*[x],0)/100,0)/100,IF([x]>=[target],100,'
           "IF([x]>=[floor],(6000+ROUND(4000*(ROUND(1000000000*[x],0)-ROUND(1000000000*[floor],0))/"
           "(ROUND(1000000000*[target],0)-ROUND(1000000000*[floor],0)),0))/100,"
           "ROUND(6000*ROUND(1000000000*[x],0)/ROUND(1000000000*[floor],0),0)/100))))"),
    Column("below", "低于下限（1 是）", "below floor (1: yes)", "made", "0", 10,
           'IF([x]="",0,IF([floor]="",0,IF([x]<[floor],1,0)))'),
    Column("applied", "计入的权重", "weight applied", "made", "General", 10, 'IF([y]="",0,[w])'),
    Column("product", "w x Y", "w x Y", "made", "0.00", 10, 'IF([y]="",0,[w]*[y])'),
    Column("major_below", "重要且低于下限", "major and below", "made", "0", 10, "[major]*[below]"),
    *_difference("x", "X", "X"),
    *_difference("y", "Y", "Y"),
)  # fmt: skip

SUBS = "子指标 Sub-indicators"
SUB_COLUMNS = (
    Column("source", "数据源", "source", form="@", width=28),
    Column("code", "子指标", "sub-indicator", form="@"),
    Column("zh", "名称", "name (Chinese)", form="@", width=22),
    Column("en", "英文名称", "name (English)", form="@", width=26),
    Column("v", "权重 v", "weight v", "made", "General", 10, "{v}"),
    Column("score", "S", "S", "made", "0.00", 10, MEAN),
    Column("applied", "计入的权重", "weight applied", "made", "General", 10, 'IF([score]="",0,[v])'),
    Column("product", "v x S", "v x S", "made", "0.00", 10, 'IF([score]="",0,[v]*[score])'),
    *_difference("score", "S", "S"),
)

DIMENSION_SHEET = "维度 Dimensions"
DIMENSION_COLUMNS = (
    Column("source", "数据源", "source", form="@", width=28),
    Column("code", "维度", "dimension", form="@"),
    Column("zh", "名称", "name (Chinese)", form="@", width=16),
    Column("en", "英文名称", "name (English)", form="@", width=16),
    Column("weight", "在 Q 中的权重", "weight in Q", "made", "General", 10, "{weight}"),
    Column("score", "D", "D", "made", "0.00", 10, MEAN),
    Column("applied", "计入的权重", "weight applied", "made", "General", 10, 'IF([score]="",0,[weight])'),
    Column("product", "权重 x D", "weight x D", "made", "0.0000", 10, 'IF([score]="",0,[weight]*[score])'),
    Column("coverage", "覆盖率", "coverage", "made", "0.000000", 10, SHARE),
    *_difference("score", "D", "D"),
    *_difference("coverage", "覆盖率", "coverage"),
)

SOURCES = "数据源 Sources"
SOURCE_COLUMNS = (
    Column("source", "数据源", "source", form="@", width=28),
    Column("zh", "名称", "title (Chinese)", form="@", width=24),
    Column("en", "英文名称", "title (English)", form="@", width=24),
    Column("department", "部门", "department", form="@", width=18),
    Column("tier", "类别", "tier", form="@", width=13),
    Column("due", "应报期数", "due slots"),
    Column("t", "T", "T", "made", "0.00", 10, "{t}"),
    Column("uncapped", "封顶前的 Q", "Q before the cap", "made", "0.00", 10, MEAN),
    Column("majors", "重要且低于下限的检查", "major checks below floor", "made", "0", 10, "SUM({majors})"),
    Column("cap", "封顶", "cap", "made", "General", 10, 'IF([majors]=0,"",IF([majors]=1,{one_major},{several_majors}))'),
    Column("q", "Q", "Q", "made", "0.00", 10,
           'IF([uncapped]="","",IF([cap]="",[uncapped],ROUND(100*MIN([uncapped],[cap]),0)/100))'),
    Column("o", "O", "O", "made", "0.00", 10,
           'IF(AND([t]="",[q]=""),"",ROUND(ROUND(100000000*(IF([t]="",0,{wt}*[t])+IF([q]="",0,{wq}*[q])),0)/'
           'ROUND(1000000*(IF([t]="",0,{wt})+IF([q]="",0,{wq})),0),0)/100)'),
    Column("grade", "等级", "grade", "made", "General", 15, 'IF([o]="","",LOOKUP([o],{at_least},{grade_zh})&" "&LOOKUP([o],{at_least},{grade_en}))'),
    Column("coverage", "覆盖率", "coverage", "made", "0.000000", 10, SHARE),
    Column("u", "在部门中的权重 u", "weight u", "made", "General", 10, "{u}"),
    Column("applied", "有 O 的权重", "weight with O", "made", "General", 10, 'IF([o]="",0,[u])'),
    Column("product", "u x O", "u x O", "made", "0.00", 10, 'IF([o]="",0,[u]*[o])'),
    Column("applied_t", "有 T 的权重", "weight with T", "made", "General", 10, 'IF([t]="",0,[u])'),
    Column("product_t", "u x T", "u x T", "made", "0.00", 10, 'IF([t]="",0,[u]*[t])'),
    Column("applied_q", "有 Q 的权重", "weight with Q", "made", "General", 10, 'IF([q]="",0,[u])'),
    Column("product_q", "u x Q", "u x Q", "made", "0.00", 10, 'IF([q]="",0,[u]*[q])'),
    *_difference("t", "T", "T"),
    *_difference("q", "Q", "Q"),
    *_difference("o", "O", "O"),
    *_difference("coverage", "覆盖率", "coverage"),
    *_grade_difference(),
)  # fmt: skip

DEPARTMENTS = "部门 Departments"
DEPARTMENT_COLUMNS = (
    Column("department", "部门", "department", form="@", width=18),
    Column("zh", "名称", "title (Chinese)", form="@", width=20),
    Column("en", "英文名称", "title (English)", form="@", width=24),
    Column("on_time", "按期整改", "corrections closed in time"),
    Column("to_close", "到期整改", "corrections due"),
    Column("valid", "已填目录字段", "catalogue fields filled"),
    Column("required", "应填目录字段", "catalogue fields required"),
    Column("due", "应报期数", "due slots", "made", "0", 10, "SUM({due})"),
    Column("m", f"M {DEPARTMENT_ITEMS['M'][0]}", f"M {DEPARTMENT_ITEMS['M'][1]}", "made", "0.00", 10, MEAN),
    Column("r", f"R {DEPARTMENT_ITEMS['R'][0]}", f"R {DEPARTMENT_ITEMS['R'][1]}", "made", "0.00", 10,
           'IF([to_close]=0,"",ROUND(10000*[on_time]/[to_close],0)/100)'),
    Column("k", f"K {DEPARTMENT_ITEMS['K'][0]}", f"K {DEPARTMENT_ITEMS['K'][1]}", "made", "0.00", 10,
           'IF([required]=0,"",ROUND(10000*[valid]/[required],0)/100)'),
    Column("i", f"I {DEPARTMENT_ITEMS['I'][0]}", f"I {DEPARTMENT_ITEMS['I'][1]}", "made", "0.00", 10,
           'IF([m]="","",ROUND(ROUND(100000000*({wm}*[m]+IF([r]="",0,{wr}*[r])+IF([k]="",0,{wk}*[k])),0)/'
           'ROUND(1000000*({wm}+IF([r]="",0,{wr})+IF([k]="",0,{wk})),0),0)/100)'),
    Column("grade", "等级", "grade", "made", "General", 15, 'IF([i]="","",LOOKUP([i],{at_least},{grade_zh})&" "&LOOKUP([i],{at_least},{grade_en}))'),
    Column("ranked", "参加排名的 I", "I where ranked", "made", "0.00", 10, 'IF([due]>={min_due},[i],"")'),
    Column("rank", "名次", "rank", "made", "0", 10, 'IF([ranked]="","",RANK([ranked],{all_ranked},0))'),
    *_difference("m", "M", "M"),
    *_difference("r", "R", "R"),
    *_difference("k", "K", "K"),
    *_difference("i", "I", "I"),
    *_difference("rank", "名次", "rank"),
    *_grade_difference(),
)  # fmt: skip

CITY = "全市 City"
CITY_COLUMNS = (
    Column("item", "得分", "score", form="@"),
    Column("zh", "名称", "name (Chinese)", form="@", width=16),
    Column("en", "英文名称", "name (English)", form="@", width=18),
    Column("score", "各数据源按 u 的平均", "mean of the sources by u", "made", "0.00", 14, MEAN),
    Column("grade", "等级", "grade", "made", "General", 15,
           'IF([score]="","",LOOKUP([score],{at_least},{grade_zh})&" "&LOOKUP([score],{at_least},{grade_en}))'),
    *_difference("score", "得分", "score"),
    *_grade_difference(),
)  # fmt: skip

#: Sheets with differences, in the order of the arithmetic.
LEVELS: Mapping[str, Sequence[Column]] = {
    CHECKS: CHECK_COLUMNS,
    SUBS: SUB_COLUMNS,
    DIMENSION_SHEET: DIMENSION_COLUMNS,
    SOURCES: SOURCE_COLUMNS,
    DEPARTMENTS: DEPARTMENT_COLUMNS,
    CITY: CITY_COLUMNS,
}

TITLES: Mapping[str, str] = {
    POLICY: "评分办法：改这里的数字，以下各表随之改变 Scoring policy: change a figure and every sheet follows",
    CHECKS: "检查：A、B 是计数，X、Y 由公式得出 Checks: A and B are counts, X and Y formulas",
    SUBS: "子指标：S = Σ(w x Y) / Σw Sub-indicators",
    DIMENSION_SHEET: "维度：D = Σ(v x S) / Σv Dimensions",
    SOURCES: "数据源：T = D05，Q，封顶，O Sources: T = D05, Q, cap, O",
    DEPARTMENTS: "部门：M，R，K，指数 I，名次 Departments: M, R, K, index I, rank",
    CITY: "全市：首页上的 T，Q，O The city: T, Q and O of the first page",
}

Row = Mapping[str, Any]


def recalculation_book(city: City) -> bytes:
    """The workbook as bytes. The same city gives the same bytes."""
    figures = {policy.version: list(_policy_rows(policy)) for policy in policies(city)}
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
    _sheet(book, styles, POLICY, POLICY_COLUMNS, [row for version in figures.values() for row in version])
    for name, columns in LEVELS.items():
        _sheet(book, styles, name, columns, rows[name])
    data = BytesIO()
    book.save(data)
    return _without_clock(data.getvalue(), book.properties.created.isoformat())


# --- where things stand ---------------------------------------------------------------------------


def cells(sheet: str, columns: Sequence[Column], key: str, first: int, count: int) -> str:
    """Reference to `count` cells of a column from row `first` on."""
    letter = get_column_letter([column.key for column in columns].index(key) + 1)
    return f"'{sheet}'!${letter}${first}" + (f":${letter}${first + count - 1}" if count > 1 else "")


class _Places:
    """The first row of every source, sub-indicator and figure, from which references are made."""

    def __init__(self, city: City, figures: Mapping[str, Sequence[Row]]) -> None:
        self.city = city
        self.figures: dict[tuple[str, str, str], int] = {}
        self.grades: dict[str, tuple[int, int]] = {}
        row = FIRST_ROW
        for version, lines in figures.items():
            for line in lines:
                self.figures[version, line["part"], line["item"]] = row
                row += 1
            count = sum(line["part"] == "grade" for line in lines)
            self.grades[version] = (row - count, count)  # they stand last
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

    def figure(self, policy: Policy, part: str, item: str) -> str:
        return cells(POLICY, POLICY_COLUMNS, "value", self.figures[policy.version, part, item], 1)

    def grade(self, policy: Policy) -> dict[str, str]:
        first, count = self.grades[policy.version]
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
    check, line, policy = one.check, source.card.checks.get(one.check.id), source.policy
    of_kind = policy.curves.by_kind.get(check.kind)
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
            "{v}": places.figure(source.policy, "sub_indicator_weight", level.code),
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
            row["{weight}"] = places.figure(source.policy, "dimension_weight", level.code)
        yield row


def _source(places: _Places, source: SourceView) -> Row:
    score, contract, policy = source.card.score, source.contract, source.policy
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
        "{u}": places.figure(places.city.policy, "source_weight", contract.tier),
    } | {f"{{{name}}}": reference for name, reference in places.grade(policy).items()}  # fmt: skip
    if score.checks:
        row["{majors}"] = cells(CHECKS, CHECK_COLUMNS, "major_below", *places.checks[source.id])
    else:
        row["majors"] = 0
    return row


def _department(places: _Places, department: DepartmentView) -> Row:
    score, policy = department.score, places.city.policy
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
        } | {f"{{{name}}}": reference for name, reference in places.grade(city.policy).items()}  # fmt: skip
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
        place.column_dimensions[letters[column.key]].width = column.width
    place.freeze_panes = f"C{FIRST_ROW}"
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
                value = _Formula(re.sub(r"\{\w+\}", lambda m, row=row: row[m[0]], text))  # type: ignore[misc]
            made.append(styles.cell(place, value, column.role, column.form))
        place.append(made)


def _read_me(book: Any, styles: _Styles, city: City, rows: Mapping[str, int]) -> None:
    place = book.create_sheet("说明 Read me")
    for letter, width in zip("ABCD", (60, 16, 16, 80), strict=True):
        place.column_dimensions[letter].width = width
    place.append([styles.cell(place, f"复算工作簿 Recalculation workbook {city.as_of}", "title")])
    place.append([])
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
    for zh, en in _ADVICE:
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
