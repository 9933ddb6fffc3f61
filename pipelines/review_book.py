"""How a workbook of doubts looks, and how it is read back: three lines per doubt, record A, record B, and what differs."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any

from openpyxl import Workbook, load_workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.packaging.custom import StringProperty
from openpyxl.styles import Alignment, Border, Font, PatternFill, Side
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.datavalidation import DataValidation

from catalog.contract import Title
from pipelines.formula import runs
from pipelines.mend_book import height, shown
from pipelines.mend_mark import marks
from pipelines.paper import on_paper
from pipelines.review_journal import DIFFERENT, SAME, UNSURE, Verdict
from pipelines.review_queue import Question
from warehouse.layout import write_atomically

#: Custom properties that say what a workbook is, whatever a clerk calls the file.
ENTITY, REVIEWER = "dmp.review", "dmp.reviewer"

#: What can be chosen -> what it means. No commas: they separate the choices of a drop-down.
CHOICES = {"是同一个 same": SAME, "不是 different": DIFFERENT, "不确定 unsure": UNSURE}
_WORDS = {word.casefold(): meaning for text, meaning in CHOICES.items() for word in (text, *text.split(" "))}

#: Headings of the columns before those of the records. No attribute is called so.
OWN = {
    "mark": "【勿删】dmp",
    "number": "序号 No.",
    "why": "为什么问 Why asked",
    "decision": "【判定 Decision】",
    "reason": "【理由 Reason】",
    "which": "记录 Record",
    "department": "部门 Department",
    "place": "文件与行 File and row",
}
_WIDTHS = {"mark": 4, "number": 7, "why": 34, "decision": 18, "reason": 34, "which": 10, "department": 18, "place": 30}

_FIELD = 24

SHEET = "待判定 To decide"
MOST_BYTES = 32 << 20

_FONT = "Microsoft YaHei"
_PLAIN, _SOFT = Font(name=_FONT, size=10), Font(name=_FONT, size=9, color="555555")
_STRONG, _HEAD = Font(name=_FONT, size=10, bold=True), Font(name=_FONT, size=10, bold=True, color="FFFFFF")
_HEAD_OURS, _HEAD_THEIRS = PatternFill("solid", fgColor="7A4B00"), PatternFill("solid", fgColor="1F4E79")
_ASKED, _DIFFERS, _QUIET = (PatternFill("solid", fgColor=c) for c in ("FFF2CC", "FFD966", "F5F5F5"))
_LINE, _THICK = Side(style="thin", color="D0D0D0"), Side(style="medium", color="7F7F7F")
_BORDER = Border(left=_LINE, right=_LINE, top=_LINE, bottom=_LINE)
_LAST = Border(left=_LINE, right=_LINE, top=_LINE, bottom=_THICK)
_WRAP = Alignment(vertical="top", wrap_text=True)


@dataclass(frozen=True)
class Problem:
    """Something in the workbook that cannot be taken, by the row that a spreadsheet program shows; None: the whole of it."""

    row: int | None
    zh: str
    en: str


@dataclass
class Reading:
    """A workbook that came back. `lines` counts the doubts in it, `blank` those without an answer; an answer stands with the first row
    that says it."""

    entity: str = ""
    reviewer: str = ""
    lines: int = 0
    blank: int = 0
    answers: list[tuple[int, Verdict]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def write(
    out: Path, entity: str, title: Title, reviewer: str, asked: Sequence[Question], about: Sequence[tuple[str, str]]
) -> None:
    """The workbook, whole or not at all, readable by its owner only. `about`: sentences at the head of its how-to, in both languages."""
    book: Any = Workbook(write_only=True)
    for name, text in ((ENTITY, entity), (REVIEWER, reviewer)):
        if text:
            book.custom_doc_props.append(StringProperty(name=name, value=text))
    book.properties.title, book.properties.creator = f"{title.zh} {title.en}", "dmp"
    _questions(book, asked)
    _how_to(book, about)
    data = BytesIO()
    book.save(data)
    write_atomically(out, data.getvalue(), mode=0o600)


def _questions(book: Any, asked: Sequence[Question]) -> None:
    place = book.create_sheet(SHEET)
    fields = list(dict.fromkeys((f.attribute, f.zh, f.en) for q in asked for f in q.fields))
    for position, name in enumerate(OWN, 1):
        place.column_dimensions[get_column_letter(position)].width = _WIDTHS[name]
    for position in range(len(OWN) + 1, len(OWN) + len(fields) + 1):
        place.column_dimensions[get_column_letter(position)].width = _FIELD
    place.column_dimensions["A"].hidden = True
    on_paper(place)
    place.freeze_panes = f"{get_column_letter(len(OWN) + 1)}2"
    choose = DataValidation(type="list", formula1=f'"{",".join(CHOICES)}"', allow_blank=True, showErrorMessage=True)
    choose.error, choose.errorTitle = "请从列表中选择 · choose from the list", "判定 Decision"
    place.data_validations.append(choose)  # the sheet that is written once has no method for it
    heads = [_cell(place, h, _HEAD, _HEAD_OURS) for h in OWN.values()]
    place.append([*heads, *(_cell(place, zh if zh == en else f"{zh}\n{en}", _HEAD, _HEAD_THEIRS) for _, zh, en in fields)])
    for number, question in enumerate(asked, 1):
        choose.add(f"{get_column_letter(list(OWN).index('decision') + 1)}{3 * number - 1}")
        for at, line in enumerate(_lines(number, question, [name for name, _, _ in fields]), 3 * number - 1):
            widths = [*_WIDTHS.values(), *(_FIELD for _ in fields)]
            place.row_dimensions[at].height = height(*((text, w) for (text, *_), w in zip(line[1:], widths[1:], strict=True)))
            place.append([_cell(place, text, font, fill, last=line is not None and last) for text, font, fill, last in line])


def _lines(number: int, q: Question, names: Sequence[str]) -> Iterator[list[tuple[str, Font, PatternFill | None, bool]]]:
    mark = f"{q.doubt} {q.left.record} {q.right.record} {q.kind}"
    by_name = {f.attribute: f for f in q.fields}
    zh, en = q.why
    if q.probability is not None:
        zh, en = f"{zh}，匹配概率 {q.probability:.4f}", f"{en}; probability {q.probability:.4f}"
    if q.disputed:
        zh, en = f"【有分歧】{zh}", f"[disputed] {en}"
    moved = f"{q.records[0]} + {q.records[1]} 条记录 records" if q.kind != "large" else f"共 {q.records[0]} 条记录 records"
    for which, side in (("甲 A", q.left), ("乙 B", q.right)):
        first = which == "甲 A"
        row = f"第 {side.row} 行 row" if side.sheet is None else f"{side.sheet}，第 {side.row} 行 row"
        own = [
            (mark, _SOFT, None), (str(number), _PLAIN, None), (zh if first else en, _SOFT, None),
            ("", _STRONG, _ASKED if first else _QUIET), ("", _PLAIN, _ASKED if first else _QUIET), (which, _STRONG, None),
            (f"{side.department_zh} {side.department_en}", _PLAIN, None), (f"{side.file_name}，{row}", _SOFT, None),
        ]  # fmt: skip
        cells = []
        for name in names:
            f = by_name.get(name)
            text = "" if f is None else f.left if first else f.right
            cells.append((text, _PLAIN, _DIFFERS if f is not None and f.verdict == "differs" else None))
        yield [(*cell, False) for cell in [*own, *cells]]
    own = [
        (mark, _SOFT, None), (str(number), _SOFT, _QUIET), (moved, _SOFT, _QUIET), ("", _STRONG, _QUIET), ("", _PLAIN, _QUIET),
        ("比较 Compared", _SOFT, _QUIET), ("", _SOFT, _QUIET), ("", _SOFT, _QUIET),
    ]  # fmt: skip
    cells = [(f"{f.told_zh} {f.told_en}" if (f := by_name.get(n)) else "", _SOFT, _QUIET) for n in names]
    yield [(*cell, True) for cell in [*own, *cells]]


def _cell(place: Any, text: str, font: Font, fill: PatternFill | None = None, *, last: bool = False) -> Any:
    """A cell of text that is never taken for a formula."""
    made: Any = WriteOnlyCell(place)
    text = shown(text)
    made.value = text or None
    if text:
        made.data_type = "s"  # openpyxl takes `=` for a formula
    made.font, made.alignment, made.border, made.number_format = font, _WRAP, _LAST if last else _BORDER, "@"
    if fill is not None:
        made.fill = fill
    made.quotePrefix = runs(text)
    return made


def _how_to(book: Any, about: Sequence[tuple[str, str]]) -> None:
    place = book.create_sheet("说明 How to")
    for column, width in zip("ABC", (4, 62, 70), strict=True):
        place.column_dimensions[column].width = width
    on_paper(place)
    steps = (
        ("每三行是一个问题：记录甲、记录乙、逐项比较。请判定甲和乙是不是同一个（人、单位等）。黄色的是不同之处。",
         "Three lines are one question: record A, record B, what differs. Are A and B one (person, organisation)? Yellow is what differs."),
        ("在“判定”栏从列表中选：是同一个、不是、不确定。可以只做一部分，没选的以后再问。",
         "Choose in the column Decision: same, different, unsure. You may leave some blank; they are asked again."),
        ("选“是同一个”或“不是”必须写理由，例如核对了什么档案。理由里不要写证件号码、电话等个人信息。",
         "Same and different need a reason, such as the file you have seen. No identity numbers, phones or the like in it, please."),
        ("个人信息只显示判断所需的部分：号码只显示最后四位；两边相同的隐去中间；两边不同的全部显示。",
         "Personal values show what the question needs: numbers their last four characters; equal values their ends; what differs, whole."),
        ("判定一经导入，以后的合并都遵守；改变看法，请再导入一份。两位判定人意见不同的，视为有分歧，不作决定。",
         "Once imported, every later merge obeys. Import another workbook to change your mind. Where two reviewers disagree nothing is decided."),
        ("请不要改表头、隐藏的 A 列，不要加新行。可以删去整个问题的三行。保存为 .xlsx，然后运行 dmp review import 文件名。",
         "Leave the headings and the hidden column A, add no rows; whole questions may be deleted. Save as .xlsx, then dmp review import FILE."),
        ("本工作簿含个人信息，只给判定人使用，用完删除，请勿转发。", "It holds personal data, for its reviewer only. Delete it afterwards; do not pass it on."),
    )  # fmt: skip
    lines = [("", zh, en) for zh, en in about] + [(str(n), zh, en) for n, (zh, en) in enumerate(steps, 1)]
    for at, (number, zh, en) in enumerate(lines, 1):
        place.row_dimensions[at].height = height((zh, 62), (en, 70))
        fonts = (_PLAIN, _PLAIN, _SOFT) if number else (_STRONG, _STRONG, _STRONG)
        place.append([_cell(place, text, font) for text, font in zip((number, zh, en), fonts, strict=True)])


def read(path: Path) -> Reading:
    """What a workbook says, strictly: every line that says anything is an answer or a problem. Whether its doubts are ours, and whether
    its answers fit what stands, is for the caller."""
    told = marks(path)
    found = Reading(entity=told.get(ENTITY, ""), reviewer=told.get(REVIEWER, ""))
    if not found.entity:
        found.problems.append(
            Problem(
                None,
                "不是待判定工作簿，或其文档属性已丢失，请用导出的文件填写",
                "no workbook of doubts, or its properties are lost; fill in the exported file",
            )
        )
        return found
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError("too large")
        book = load_workbook(path, read_only=True, data_only=True)
        rows = list(book[SHEET].iter_rows(values_only=True))
        book.close()
    except (KeyError, ValueError, OSError, zipfile.BadZipFile) as error:
        found.problems.append(
            Problem(None, f"工作簿无法读取：{type(error).__name__}", f"the workbook cannot be read: {type(error).__name__}")
        )
        return found
    heads = [str(h or "").strip() for h in (rows[0] if rows else ())]
    missing = [OWN[n] for n in ("mark", "decision", "reason") if heads.count(OWN[n]) != 1]
    if missing:
        found.problems.append(
            Problem(1, f"表头被改动：找不到 {'、'.join(missing)}", f"the headings were changed: {', '.join(missing)} not found")
        )
        return found
    at = {n: heads.index(OWN[n]) for n in ("mark", "decision", "reason")}
    _take(found, rows, at)
    return found


def _take(found: Reading, rows: Sequence[Sequence[Any]], at: dict[str, int]) -> None:
    said: dict[str, tuple[int, Verdict]] = {}
    seen: set[str] = set()
    reasons: dict[str, tuple[int, str]] = {}
    for number, cells in enumerate(rows[1:], 2):
        mark, decision, reason = (str(cells[i] if i < len(cells) and cells[i] is not None else "").strip() for i in at.values())
        parts = mark.split(" ")
        if len(parts) != 4:
            if decision or reason or mark:
                found.problems.append(
                    Problem(
                        number,
                        "这一行不是导出的行（A 列标记缺失或被改）",
                        "no line of ours: its mark in column A is missing or changed",
                    )
                )
            continue
        doubt = parts[0]
        seen.add(doubt)
        if reason:
            reasons.setdefault(doubt, (number, reason))
        if not decision:
            continue
        if decision.casefold() not in _WORDS:
            found.problems.append(
                Problem(
                    number,
                    "判定请从列表中选择：是同一个、不是、不确定",
                    "choose the decision from the list: same, different, unsure",
                )
            )
            continue
        verdict = Verdict(doubt, parts[1], parts[2], parts[3], _WORDS[decision.casefold()], reason)
        first, before = said.setdefault(doubt, (number, verdict))
        if before.verdict != verdict.verdict:
            found.problems.append(Problem(number, f"与第 {first} 行的判定矛盾", f"contradicts the decision in row {first}"))
    for doubt, (number, _) in reasons.items():
        if doubt in seen and doubt not in said:
            found.problems.append(Problem(number, "写了理由，没有判定", "a reason without a decision"))
    for row, verdict in said.values():
        reason = verdict.reason or reasons.get(verdict.doubt, (0, ""))[1]
        if verdict.verdict != UNSURE and not reason:
            found.problems.append(Problem(row, "缺少理由", "the reason is missing"))
        found.answers.append((row, replace(verdict, reason=shown(reason))))
    found.lines, found.blank = len(seen), len(seen - said.keys())
