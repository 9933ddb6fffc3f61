"""The sheets of the recalculation workbook: columns, headings in both languages, and the formulas that make the scores.

Spreadsheets calculate in binary floating point, where a tie such as 91.865 may stand a hair below itself and be rounded down.
So each formula rounds a quotient of whole numbers to a whole number, ROUND(n / d, 0), and divides by a power of ten afterwards:
a tie of whole numbers is k + 1/2, which binary holds exactly. Weights may have 6 decimals, floors and targets 9.

Formulas read cells, none holds a figure of the policy: who changes a count, a weight or a floor sees what follows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from openpyxl.utils import get_column_letter

from pipelines.report_files import DEPARTMENT_ITEMS

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


def _made(key: str, zh: str, en: str, formula: str, form: str = "0.00", width: float = 12) -> Column:
    return Column(key, zh, en, "made", form, width, formula)


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
    _made("floor", "所用下限 f", "floor f used",
          'IF([own_floor]<>"",[own_floor],IF([plain]=1,"",IF([own_target]="",{floor},MIN({floor},[own_target]))))', "General"),
    _made("target", "所用目标 t", "target t used",
          'IF([plain]=1,"",IF([own_target]<>"",[own_target],MAX({target},[floor])))', "General"),
    # 0303 and 0305 count bad elements.
    _made("x", "X", "X",
          'IF([failed]=1,0,IF(OR([a]<0,[a]>[b]),0,IF([b]=0,"",ROUND(ROUND(1000000*'
          'IF(OR([sub]="0303",[sub]="0305"),[b]-[a],[a]),0)/[b],0)/1000000)))', "0.000000"),
    _made("y", "Y", "Y",
          'IF([x]="","",IF(OR([floor]="",[target]=""),ROUND(ROUND(1000000*[x],0)/100,0)/100,IF([x]>=[target],100,'
          "IF([x]>=[floor],(6000+ROUND(4000*(ROUND(1000000000*[x],0)-ROUND(1000000000*[floor],0))/"
          "(ROUND(1000000000*[target],0)-ROUND(1000000000*[floor],0)),0))/100,"
          "ROUND(6000*ROUND(1000000000*[x],0)/ROUND(1000000000*[floor],0),0)/100))))"),
    _made("below", "低于下限（1 是）", "below floor (1: yes)", 'IF([x]="",0,IF([floor]="",0,IF([x]<[floor],1,0)))', "0"),
    _made("applied", "计入的权重", "weight applied", 'IF([y]="",0,[w])', "General"),
    _made("product", "w x Y", "w x Y", 'IF([y]="",0,[w]*[y])'),
    _made("major_below", "重要且低于下限", "major and below", "[major]*[below]", "0"),
    *_difference("x", "X", "X"),
    *_difference("y", "Y", "Y"),
)  # fmt: skip

SUBS = "子指标 Sub-indicators"
SUB_COLUMNS = (
    Column("source", "数据源", "source", form="@", width=28),
    Column("code", "子指标", "sub-indicator", form="@"),
    Column("zh", "名称", "name (Chinese)", form="@", width=22),
    Column("en", "英文名称", "name (English)", form="@", width=26),
    _made("v", "权重 v", "weight v", "{v}", "General"),
    _made("score", "S", "S", MEAN),
    _made("applied", "计入的权重", "weight applied", 'IF([score]="",0,[v])', "General"),
    _made("product", "v x S", "v x S", 'IF([score]="",0,[v]*[score])'),
    *_difference("score", "S", "S"),
)

DIMENSION_SHEET = "维度 Dimensions"
DIMENSION_COLUMNS = (
    Column("source", "数据源", "source", form="@", width=28),
    Column("code", "维度", "dimension", form="@"),
    Column("zh", "名称", "name (Chinese)", form="@", width=16),
    Column("en", "英文名称", "name (English)", form="@", width=16),
    _made("weight", "在 Q 中的权重", "weight in Q", "{weight}", "General"),
    _made("score", "D", "D", MEAN),
    _made("applied", "计入的权重", "weight applied", 'IF([score]="",0,[weight])', "General"),
    _made("product", "权重 x D", "weight x D", 'IF([score]="",0,[weight]*[score])', "0.0000"),
    _made("coverage", "覆盖率", "coverage", SHARE, "0.000000"),
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
    _made("t", "T", "T", "{t}"),
    _made("uncapped", "封顶前的 Q", "Q before the cap", MEAN),
    _made("majors", "重要且低于下限的检查", "major checks below floor", "SUM({majors})", "0"),
    _made("cap", "封顶", "cap", 'IF([majors]=0,"",IF([majors]=1,{one_major},{several_majors}))', "General"),
    _made("q", "Q", "Q", 'IF([uncapped]="","",IF([cap]="",[uncapped],ROUND(100*MIN([uncapped],[cap]),0)/100))'),
    _made("o", "O", "O",
          'IF(AND([t]="",[q]=""),"",ROUND(ROUND(100000000*(IF([t]="",0,{wt}*[t])+IF([q]="",0,{wq}*[q])),0)/'
          'ROUND(1000000*(IF([t]="",0,{wt})+IF([q]="",0,{wq})),0),0)/100)'),
    _made("grade", "等级", "grade",
          'IF([o]="","",LOOKUP([o],{at_least},{grade_zh})&" "&LOOKUP([o],{at_least},{grade_en}))', "General", 15),
    _made("coverage", "覆盖率", "coverage", SHARE, "0.000000"),
    _made("u", "在部门中的权重 u", "weight u", "{u}", "General"),
    _made("applied", "有 O 的权重", "weight with O", 'IF([o]="",0,[u])', "General"),
    _made("product", "u x O", "u x O", 'IF([o]="",0,[u]*[o])'),
    _made("applied_t", "有 T 的权重", "weight with T", 'IF([t]="",0,[u])', "General"),
    _made("product_t", "u x T", "u x T", 'IF([t]="",0,[u]*[t])'),
    _made("applied_q", "有 Q 的权重", "weight with Q", 'IF([q]="",0,[u])', "General"),
    _made("product_q", "u x Q", "u x Q", 'IF([q]="",0,[u]*[q])'),
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
    _made("due", "应报期数", "due slots", "SUM({due})", "0"),
    _made("m", f"M {DEPARTMENT_ITEMS['M'][0]}", f"M {DEPARTMENT_ITEMS['M'][1]}", MEAN),
    _made("r", f"R {DEPARTMENT_ITEMS['R'][0]}", f"R {DEPARTMENT_ITEMS['R'][1]}",
          'IF([to_close]=0,"",ROUND(10000*[on_time]/[to_close],0)/100)'),
    _made("k", f"K {DEPARTMENT_ITEMS['K'][0]}", f"K {DEPARTMENT_ITEMS['K'][1]}",
          'IF([required]=0,"",ROUND(10000*[valid]/[required],0)/100)'),
    _made("i", f"I {DEPARTMENT_ITEMS['I'][0]}", f"I {DEPARTMENT_ITEMS['I'][1]}",
          'IF([m]="","",ROUND(ROUND(100000000*({wm}*[m]+IF([r]="",0,{wr}*[r])+IF([k]="",0,{wk}*[k])),0)/'
          'ROUND(1000000*({wm}+IF([r]="",0,{wr})+IF([k]="",0,{wk})),0),0)/100)'),
    _made("grade", "等级", "grade",
          'IF([i]="","",LOOKUP([i],{at_least},{grade_zh})&" "&LOOKUP([i],{at_least},{grade_en}))', "General", 15),
    _made("ranked", "参加排名的 I", "I where ranked", 'IF([due]>={min_due},[i],"")'),
    _made("rank", "名次", "rank", 'IF([ranked]="","",RANK([ranked],{all_ranked},0))', "0"),
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
    _made("score", "各数据源按 u 的平均", "mean of the sources by u", MEAN, "0.00", 14),
    _made("grade", "等级", "grade",
          'IF([score]="","",LOOKUP([score],{at_least},{grade_zh})&" "&LOOKUP([score],{at_least},{grade_en}))', "General", 15),
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


def cells(sheet: str, columns: Sequence[Column], key: str, first: int, count: int) -> str:
    """Reference to `count` cells of a column from row `first` on."""
    letter = get_column_letter([column.key for column in columns].index(key) + 1)
    return f"'{sheet}'!${letter}${first}" + (f":${letter}${first + count - 1}" if count > 1 else "")
