"""How a workbook of refused rows looks: the department's own columns, faulty cells coloured, one sentence per fault."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol

from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
from openpyxl.packaging.custom import StringProperty
from openpyxl.styles import Alignment, Border, Font, PatternFill, Side
from openpyxl.utils import get_column_letter

from catalog.contract import Title
from pipelines.formula import runs
from pipelines.mend_mark import BATCH, CONTENT
from pipelines.paper import on_paper
from warehouse.layout import write_atomically

#: Headings of the columns that are ours. No department writes these brackets, and `mark` must come back.
OWN = {
    "mark": "【勿删】dmp",
    "row": "【原文件行号】",
    "sheet": "【原工作表】",
    "key": "【主键】",
    "zh": "【问题和改法】",
    "en": "【What is wrong】",
}

#: What a cell of a workbook can hold.
LONGEST = 32_767


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong in a line; `source` is the raw column, None where the line as a whole is meant."""

    source: str | None
    code: str
    severity: str
    zh: str
    en: str


@dataclass(frozen=True)
class Line:
    """One row of the department, as sent."""

    mark: str
    row: int
    sheet: str | None
    key: str
    cells: tuple[str, ...]
    faults: tuple[Fault, ...]


class Heading(Protocol):
    """A column as the department calls it."""

    @property
    def heading(self) -> str: ...
    @property
    def source(self) -> str | None: ...
    @property
    def extra(self) -> str | None: ...


@dataclass(frozen=True)
class Sheet:
    """Everything one workbook shows. `more` counts rows beyond those that have a line."""

    batch: str
    content: str
    title: Title
    department: str
    file_name: str
    keys: tuple[str, ...]
    columns: tuple[Heading, ...]
    lines: tuple[Line, ...]
    several_sheets: bool
    more: int
    steward: str | None


def shown(value: str | None) -> str:
    """A raw value as a cell of a workbook can hold it; the same on the way out and for the comparison on the way back."""
    text = ILLEGAL_CHARACTERS_RE.sub("", value or "")
    return re.sub(r"\r\n?", "\n", text)[:LONGEST]


def write(out: Path, sheet: Sheet) -> None:
    """The workbook, whole or not at all."""
    book: Any = Workbook(write_only=True)  # its stubs know neither properties nor shared styles
    for name, text in ((BATCH, sheet.batch), (CONTENT, sheet.content)):
        book.custom_doc_props.append(StringProperty(name=name, value=text))
    book.properties.title = f"{sheet.title.zh} {sheet.batch}"
    book.properties.creator = "dmp"
    _rows(book, sheet)
    _how_to(book, sheet)
    data = BytesIO()
    book.save(data)
    write_atomically(out, data.getvalue(), mode=0o640)


#: Width of a column of sentences.
_SAID = 58
_THIN = Side(style="thin", color="D9D9D9")
_BORDER = Border(left=_THIN, right=_THIN, top=_THIN, bottom=_THIN)
_TOP = Alignment(vertical="top")
_WRAP = Alignment(vertical="top", wrap_text=True)
_FONT = "Microsoft YaHei"
_HEAD = Font(name=_FONT, size=10, bold=True, color="FFFFFF")
_PLAIN = Font(name=_FONT, size=10)
_STRONG = Font(name=_FONT, size=10, bold=True, color="9C0006")
_SOFT = Font(name=_FONT, size=10, color="7F7F7F")
_REFUSED = PatternFill("solid", fgColor="FFC7CE")
_WARNED = PatternFill("solid", fgColor="FFEB9C")
_BROKEN = PatternFill("solid", fgColor="FCE4D6")
_OURS = PatternFill("solid", fgColor="F2F2F2")
_HEAD_OURS = PatternFill("solid", fgColor="7F7F7F")
_HEAD_THEIRS = PatternFill("solid", fgColor="16324F")
_HEAD_KEY = PatternFill("solid", fgColor="1D6FA5")


class _Styles:
    """One finished style per look; giving each of 100,000 cells its fonts and fills one by one takes minutes."""

    def __init__(self, place: Any) -> None:
        self.place = place
        self.made: dict[tuple[int, ...], Any] = {}

    def cell(self, text: str, font: Font, fill: PatternFill | None = None, alignment: Alignment = _TOP) -> Any:
        """A cell of text. It stays text when somebody types into it, and is never taken for a formula."""
        cell: Any = WriteOnlyCell(self.place)
        cell.value = text or None
        risky = runs(text)
        if text:
            cell.data_type = "s"  # openpyxl takes `=` for a formula
        look = (id(font), id(fill), id(alignment), risky)
        if look not in self.made:
            made: Any = WriteOnlyCell(self.place)
            made.font, made.alignment, made.border, made.number_format = font, alignment, _BORDER, "@"
            if fill is not None:
                made.fill = fill
            made.quotePrefix = risky
            self.made[look] = made._style
        cell._style = copy(self.made[look])
        return cell


def _rows(book: Workbook, sheet: Sheet) -> None:
    place = book.create_sheet("待改正 To mend")
    own = ["mark", "row", *(["sheet"] if sheet.several_sheets else []), *(["key"] if sheet.keys else []), "zh"]
    heads = [OWN[o] + (" " + " / ".join(sheet.keys) if o == "key" else "") for o in own]
    widths = {"mark": 4, "row": 16, "sheet": 14, "key": 20, "zh": _SAID}
    for position, name in enumerate(own, 1):
        place.column_dimensions[get_column_letter(position)].width = widths[name]
    place.column_dimensions["A"].hidden = True
    for position, column in enumerate(sheet.columns, len(own) + 1):
        place.column_dimensions[get_column_letter(position)].width = _width(sheet, position - len(own) - 1, column.heading)
    place.column_dimensions[get_column_letter(len(own) + len(sheet.columns) + 1)].width = _SAID
    on_paper(place)
    place.freeze_panes = f"{get_column_letter(len(own) + 1)}2"
    place.sheet_view.zoomScale = 100
    made = _Styles(place)
    theirs = [made.cell(c.heading, _HEAD, _HEAD_KEY if c.source in sheet.keys else _HEAD_THEIRS, _WRAP) for c in sheet.columns]
    place.append(
        [*(made.cell(h, _HEAD, _HEAD_OURS, _WRAP) for h in heads), *theirs, made.cell(OWN["en"], _HEAD, _HEAD_OURS, _WRAP)]
    )
    for number, line in enumerate(sheet.lines, 2):
        zh, en = _sentences(line, "zh"), _sentences(line, "en")
        told = {"mark": line.mark, "row": str(line.row), "sheet": line.sheet or "", "key": line.key, "zh": zh}
        place.row_dimensions[number].height = height(
            (zh, _SAID), (en, _SAID), *((text, 40) for text in line.cells if "\n" in text)
        )
        place.append([
            *(made.cell(told[o], _STRONG if o == "zh" else _SOFT, _OURS, _WRAP) for o in own),
            *(made.cell(text, _PLAIN, _fill(line, column, text), _WRAP if "\n" in text else _TOP)
              for column, text in zip(sheet.columns, line.cells, strict=True)),
            made.cell(en, _SOFT, _OURS, _WRAP),
        ])  # fmt: skip


def height(*texts: tuple[str, int]) -> float:
    """Of a row with these wrapped texts, each in a column of so many characters: not every program finds it out by itself."""
    lines = max(sum(max(1, -(-_places(part) // (width - 2))) for part in text.split("\n")) for text, width in texts)
    return min(409.0, 15.5 * lines + 1)


def _places(text: str) -> int:
    """Chinese characters take two places."""
    return len(text) + sum(ord(c) > 0x2E7F for c in text)


def _width(sheet: Sheet, position: int, heading: str) -> float:
    """As wide as its widest text, within reason."""
    texts = [heading, *(line.cells[position] for line in sheet.lines[:200])]
    widest = max(_places(text.split("\n")[0][:60]) for text in texts)
    return min(40.0, max(9.0, widest + 2.5))


def _sentences(line: Line, language: str) -> str:
    told = [fault.zh if language == "zh" else fault.en for fault in line.faults]
    if len(told) == 1:
        return told[0]
    return "\n".join(f"{i}. {text}" for i, text in enumerate(told, 1))


def _fill(line: Line, column: Heading, text: str) -> PatternFill | None:
    """Red: why the row was refused; yellow: wrong too, but no reason to refuse; pale: the shape of the whole row."""
    names = {column.source, column.extra, column.heading} - {None}
    own = [f.severity for f in line.faults if f.source in names]
    if own:
        return _REFUSED if any(s in ("refuse", "hold") for s in own) else _WARNED
    whole = [f.code for f in line.faults if f.source is None]
    if "row_too_long" in whole and column.extra and column.extra.startswith("column "):
        return _REFUSED
    if "row_too_short" in whole and not text:
        return _REFUSED
    return _BROKEN if whole else None


def _how_to(book: Workbook, sheet: Sheet) -> None:
    place = book.create_sheet("说明 How to")
    place.column_dimensions["A"].width = 4
    place.column_dimensions["B"].width = 62
    place.column_dimensions["C"].width = 70
    on_paper(place)
    made = _Styles(place)
    for row, (number, zh, en) in enumerate(_advice(sheet), 1):
        place.row_dimensions[row].height = height((zh, 62), (en, 70))
        head = not number
        font = Font(name=_FONT, size=11, bold=True) if head else _PLAIN
        cells = [made.cell(text, font if i < 2 else _SOFT, None, _WRAP) for i, text in enumerate((number, zh, en))]
        place.append(cells)


def _advice(sheet: Sheet) -> Iterator[tuple[str, str, str]]:
    period = sheet.batch.split("@")[-1]
    yield "", f"{sheet.department}　{sheet.title.zh}　{period}", f"{sheet.title.en}, {period}"
    yield (
        "",
        f"文件：{sheet.file_name}；需要改正的共 {len(sheet.lines) + sheet.more} 行",
        f"{len(sheet.lines) + sheet.more} rows to mend",
    )
    if sheet.more:
        yield (
            "",
            f"这里只列出前 {len(sheet.lines)} 行，另有 {sheet.more} 行。问题这么多，请先改正导出程序，再重新报送整个文件。",
            f"Only the first {len(sheet.lines)} are here, {sheet.more} more are not. Mend the exporting system and send the file again.",
        )
    steps = (
        ("在“待改正”表里改单元格，就在原来的位置改。红色：因它拒收；黄色：也有问题；浅橙色：整行的形状有误。",
         "Correct the cells of the first sheet in place. Red: why the row was refused; yellow: wrong too; pale: the row's shape."),
        ("“问题和改法”一栏逐条写明哪里不对、正确的写法。行号是原文件里的行号。",
         "The column of sentences says what is wrong and what is right. Row numbers are those of the original file."),
        ("所有单元格都是文本格式，号码不会变形。请不要改成数字格式。",
         "Every cell is text, so that long codes stay as they are. Please do not change that."),
        ("可以排序、筛选、删去不改的行，也可以自己加列（不会采用）。请不要改表头，不要删隐藏的 A 列，不要加新行。",
         "Sort, filter, delete lines, add columns of your own (not used). Leave the headings and the hidden column A; add no rows."),
        ("保存为 .xlsx，放回原来的报送文件夹，文件名随意。只采用改动过的行，没改的行仍按未接收处理。",
         "Save as .xlsx and drop it into your landing folder under any name. Only changed rows are taken; the others stay refused."),
        ("新增的数据、要撤销的数据，请按平常的文件报送，不要写在这里。",
         "New rows, and rows to be withdrawn, belong into your usual file, not here."),
        ("本工作簿含原始数据，只给报送部门自己使用，请勿转发。", "It holds the data as sent, for the sender only. Do not pass it on."),
    )  # fmt: skip
    for number, (zh, en) in enumerate(steps, 1):
        yield str(number), zh, en
    if sheet.steward:
        yield "", f"联系：{sheet.steward}", f"Contact: {sheet.steward}"
    yield "", "问题汇总", "What was found"
    told: dict[str, Fault] = {}
    count: Counter[str] = Counter()
    for line in sheet.lines:
        for fault in line.faults:
            count[fault.code] += 1
            told.setdefault(fault.code, fault)
    for code, times in count.most_common():
        yield str(times), told[code].zh, told[code].en
