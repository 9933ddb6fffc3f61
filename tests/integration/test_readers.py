"""Files as departments really send them: each trouble is named so that a clerk can mend it, and stops only what it must.

Every case goes the whole way from the landing folder to the verdict, in one workspace, each as the drop of another day.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import string
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.flow import intake
from pipelines.gate import Verdict
from pipelines.readers import workbook_parts
from pipelines.readers.text import GB18030_2022
from pipelines.rules import rule_catalogue
from quality import expectations
from quality.finding import kinds
from tests.support import Town, town
from warehouse.lake import literal

HEADER = "编号,姓名,电话"
FORM = """\
title: {{zh: 名册, en: Register}}
department: office
load: append
period: {{from: file_name, pattern: "_(?P<date>\\\\d{{8}})"}}
arrival: {{drop: "{drop}", cycle: daily, due: "09:00 next working day"}}
format: {form}
columns:
  - {{from: 编号, to: person_no, key: true}}
  - {{from: 姓名, to: person_name, clean: person_name, personal: true}}
  - {{from: 电话, to: phone, clean: phone, grade: G3}}
"""
SOURCES = {
    "office__utf8": FORM.format(drop="utf8_*", form="{encoding: utf-8}"),
    "office__gb": FORM.format(drop="gb_*", form="{encoding: gb18030}"),
    "office__either": FORM.format(drop="either_*", form="{encoding: [gb18030, utf-8]}"),
    "office__wide": FORM.format(drop="wide_*", form="{encoding: utf-16}"),
    "office__pipe": FORM.format(drop="pipe_*", form="{delimiter: '|', quote: ''}"),
    "office__title": FORM.format(drop="title_*", form="{header_row: 3}"),
    "office__book": FORM.format(drop="book_*", form="{reader: workbook}"),
    "office__json": FORM.format(drop="json_*", form="{reader: json}"),
    "office__xml": FORM.format(drop="xml_*", form="{reader: xml}"),
    "office__fixed": FORM.format(drop="fixed_*", form="{reader: fixed_width, encoding: gbk}")
    .replace("编号,", "编号, at: [1, 4],")
    .replace("姓名,", "姓名, at: [5, 8],")
    .replace("电话,", "电话, at: [13, 11],"),
    "office__parquet": FORM.format(drop="parquet_*", form="{reader: parquet}"),
    "office__marks": FORM.format(drop="marks_*", form="{delimiter: '|#|'}"),
    "office__bare": FORM.format(drop="bare_*", form="{header_row: 0}"),
    "office__two": FORM.format(drop="two_*", form="{header_row: [2, 3]}").replace("from: 电话", "from: 联系 电话"),
    "office__groups": FORM.format(
        drop="groups_*",
        form="{above_header: '^指标：(?P<指标>.+)$', group_rows: '^(?P<街道>.+?)（(?P<count>[0-9]+)人）$', totals: '^合计', fill_down: 姓名}",
    )
    + "  - {from: 街道, to: street}\n  - {from: 指标, to: topic}\n",
    "office__months": FORM.format(drop="months_*", form="{reader: workbook, sheet: ['*月']}"),
    "office__one": FORM.format(drop="one_*", form="{member: '*.csv'}"),
    "office__sheet": FORM.format(drop="sheet_*", form="{reader: workbook, sheet: 名册}"),
}


def rows(*lines: str, end: str = "\n", header: str = HEADER) -> str:
    return end.join([header, *lines]) + end


def workbook(*sheets: tuple[str, list[list[Any]]], hidden: tuple[str, ...] = ()) -> bytes:
    book = openpyxl.Workbook()
    book.remove(book.worksheets[0])
    for name, cells in sheets:
        sheet = book.create_sheet(name)
        sheet.sheet_state = "hidden" if name in hidden else "visible"
        for row in cells:
            sheet.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def with_cell_at(address: str) -> bytes:
    """A workbook of three cells, one of them far away."""
    book = openpyxl.load_workbook(io.BytesIO(workbook(("一", [HEADER.split(","), ["1", "张三", "13800138000"]]))))
    book.worksheets[0][address] = "x"
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def unpacks_to(megabytes: int) -> bytes:
    """A small workbook with a part of blanks that unpacks to a great many bytes."""
    out = io.BytesIO(workbook(("一", [HEADER.split(",")])))
    with zipfile.ZipFile(out, "a", zipfile.ZIP_DEFLATED) as archive, archive.open("xl/media.xml", "w", force_zip64=True) as part:
        for _ in range(megabytes):
            part.write(b" " * (1 << 20))
    return out.getvalue()


def zipped(*members: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return out.getvalue()


def xml(body: str) -> bytes:
    return f'<?xml version="1.0" encoding="UTF-8"?><名册>{body}</名册>'.encode()


def parquet_of(columns: dict[str, list[Any]]) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out)
    return out.getvalue()


def changed(change: Callable[[Any], None]) -> bytes:
    """The sound workbook after a change to its sheet."""
    book = openpyxl.load_workbook(io.BytesIO(workbook(("一", CELLS))))
    change(book.worksheets[0])
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def with_merged(cells: str) -> bytes:
    return changed(lambda sheet: sheet.merge_cells(cells))


def with_formula_and_hidden() -> bytes:
    def change(sheet: Any) -> None:
        sheet["D2"] = "=1+1"
        sheet.row_dimensions[3].hidden = True

    return changed(change)


RECORDS = [{"编号": "1", "姓名": "张三", "电话": "13800138000"}, {"编号": "2", "姓名": "李四", "电话": 13900139000}]
GOOD = ["1,张三,13800138000", "2,李四,13900139000"]
CELLS: list[list[Any]] = [["编号", "姓名", "电话"], ["1", "张三", "13800138000"], ["2", "李四", "13900139000"]]


@dataclass(frozen=True)
class Case:
    """One drop and what must come of it. `says` are words of the finding, per code, in both languages."""

    source: str
    data: bytes
    verdict: str
    accepted: int = 0
    refused: int = 0
    codes: set[str] = field(default_factory=set)
    says: tuple[str, ...] = ()
    other: dict[str, int] = field(default_factory=dict)


CASES = {
    "sound": Case("office__utf8", rows(*GOOD).encode(), "pass", 2),
    "carriage returns alone": Case("office__utf8", rows(*GOOD, end="\r").encode(), "pass", 2),
    "no last line break": Case("office__utf8", rows(*GOOD).encode().rstrip(), "pass", 2),
    "byte-order mark": Case("office__utf8", b"\xef\xbb\xbf" + rows(*GOOD).encode(), "pass", 2, codes={"byte_order_mark"}),
    "byte that is none": Case(
        "office__gb", rows(*GOOD).encode("gb18030") + b"3,\xff\xc8\xfd,13700137000\n", "warn", 2, 1, {"character_unreadable"},
        ("第 4 行", "Row 4", "姓名")),
    "half a character swallows no row": Case(
        "office__gb", rows("9,张三\x00,13800138000", *GOOD).encode("gb18030").replace(b"\x00", b"\x81"), "warn", 2, 1),
    "GB 18030 where UTF-8 was agreed": Case(
        "office__utf8", rows(*(f"{n},张三丰,13800138000" for n in range(30))).encode("gb18030"), "hold", codes={"encoding_wrong"},
        says=("utf-8", "gb18030")),
    "UTF-8 where GB 18030 was agreed": Case(
        "office__gb", rows(*GOOD).encode(), "hold", codes={"encoding_differs"}, says=("gb18030", "utf-8")),
    "UTF-8 where both were agreed": Case("office__either", rows(*GOOD).encode(), "pass", 2),
    "GB 18030 where both were agreed": Case("office__either", rows(*GOOD).encode("gb18030"), "pass", 2),
    "UTF-16 from Excel": Case("office__utf8", rows(*GOOD).encode("utf-16"), "hold", codes={"file_is_utf16"}, says=("UTF-16",)),
    "UTF-16 without a mark": Case("office__gb", rows(*GOOD).encode("utf-16-le"), "hold", codes={"file_is_utf16"}),
    "UTF-16 as agreed": Case("office__wide", rows(*GOOD).encode("utf-16"), "pass", 2),
    "NUL": Case("office__utf8", rows("1,张\0三,13800138000", *GOOD[1:]).encode(), "warn", 1, 1,
                {"character_nul", "character_unreadable"}, ("NUL", "第 2 行")),
    "empty": Case("office__utf8", b"", "hold", codes={"file_empty"}, says=("0 字节", "0 bytes")),
    "blanks only": Case("office__utf8", b"\n \n\n", "hold", codes={"file_empty"}),
    "many blanks only": Case("office__utf8", b"\n" * 9000, "hold", codes={"header_absent"}),
    "header only": Case("office__utf8", rows().encode(), "hold", codes={"no_data_rows"}, other={"header": 1}),
    "wrong header": Case(
        "office__utf8", rows(*GOOD, header="编号,姓  名,手机电话").encode(), "hold", codes={"column_missing", "column_undeclared"},
        says=("“电话”", "“手机电话”", "`手机电话`")),
    "no header at all": Case(
        "office__utf8", "\n".join(GOOD).encode(), "hold", codes={"column_missing"}, says=("编号", "姓名", "电话")),
    "header found where it was left open": Case(
        "office__utf8", ("全市名册,,\n2026 年,,\n" + rows(*GOOD)).encode(), "pass", 2, codes={"header_found"},
        says=("第 3 行", "row 3"), other={"above_header": 2, "header": 1}),
    "header in another row": Case(
        "office__title", ("名册\n" + rows(*GOOD)).encode(), "hold", codes={"column_missing", "header_elsewhere"},
        says=("第 2 行", "row 2")),
    "title above the header, as agreed": Case(
        "office__title", ("全市名册\n\n" + rows(*GOOD)).encode(), "pass", 2, other={"above_header": 2, "header": 1}),
    "header shorter than agreed": Case("office__title", b"a\n", "hold", codes={"header_absent"}, says=("第 3 行", "Row 3")),
    "other delimiter": Case(
        "office__pipe", rows(*GOOD).encode(), "hold", codes={"column_missing", "delimiter_differs"}, says=("“|”", "“,”")),
    "delimiter in a quoted value": Case("office__utf8", rows('1,"张三",13800138000', '2,"李,四",13900139000').encode(), "pass", 2),
    "delimiter in a value": Case("office__utf8", rows("1,张,三,13800138000", GOOD[1]).encode(), "warn", 1, 1, {"row_too_long"},
                                 ("第 2 行", "3 列", "3 columns")),
    "lost delimiter": Case("office__utf8", rows("1张三,13800138000", GOOD[1]).encode(), "warn", 1, 1, {"row_too_short"},
                           ("第 2 行只有 2 个值", "Row 2 has 2 values")),
    "spare delimiters everywhere": Case("office__utf8", rows(*(f"{line},," for line in GOOD), header=HEADER + ",,").encode(), "pass", 2),
    "one row with 100,000 delimiters": Case("office__utf8", rows(GOOD[0] + "," * 100_000 + "x", GOOD[1]).encode(), "warn", 1, 1,
                                            {"row_too_long"}),
    "header repeated": Case("office__utf8", rows(GOOD[0], HEADER, GOOD[1]).encode(), "warn", 2, 1, {"header_repeated"}, ("第 3 行",)),
    "a column without a name": Case("office__utf8", (HEADER + ",\n" + "".join(f"{line},x{i}\n" for i, line in enumerate(GOOD))).encode(), "warn", 2,
                                    codes={"column_undeclared"}, says=("column 4",)),
    "blank lines": Case("office__utf8", rows("", GOOD[0], ",,", "  ", GOOD[1]).encode(), "pass", 2, other={"blank": 3, "header": 1}),
    "truncated": Case("office__utf8", rows(GOOD[0]).encode() + "2,李".encode(), "warn", 1, 1, {"row_too_short", "file_truncated"},
                      ("第 3 行", "row 3")),
    "quote never closed": Case("office__utf8", rows(GOOD[0], '2,"李四,13900139000', *GOOD * 3).encode(), "hold", 1, 1,
                               {"row_too_short", "quote_unclosed"}, ("第 3 行", "row 3")),
    "quote never closed in a large file": Case(
        "office__utf8", rows('1,"张三,13800138000').encode() + (GOOD[1] + "\n").encode() * 400_000, "hold",
        codes={"cell_too_long"}, says=("第 2 行", "Row 2")),
    "a line of 50 MB": Case("office__utf8", rows(GOOD[0]).encode() + b"x" * (50 << 20), "hold", codes={"cell_too_long"}, says=("第 3 行",)),
    "10,000 columns": Case("office__utf8", ",".join(map(str, range(10_000))).encode(), "hold", codes={"too_many_columns"},
                           says=("10000", "5000")),
    "unreadable in every row": Case("office__gb", rows(*("1,a,b" for _ in range(30))).encode("gb18030").replace(b"a,b", b"\xff,b"),
                                    "hold", codes={"encoding_wrong"}),
    "private-use characters": Case("office__gb", rows("1,张\ue000,13800138000").encode("gb18030"), "warn", 1,
                                   codes={"character_private_use", "cell_private_use"},
                                   says=("1 个自造字", "1 private-use", "第 2 行“姓名”", "U+E000")),
    "workbook where text was agreed": Case("office__utf8", workbook(("一", CELLS)), "hold", codes={"file_is_a_workbook"}, says=("CSV",)),
    "text where a workbook was agreed": Case("office__book", rows(*GOOD).encode(), "hold", codes={"file_is_not_a_workbook"}, says=("xlsx",)),
    "web page called .xls": Case("office__book", b"<html><table><tr><td>1</td></tr></table></html>", "hold", codes={"file_is_html"},
                                 says=("HTML",)),
    "web page called .csv": Case("office__utf8", b"\r\n<!DOCTYPE html><table></table>", "hold", codes={"file_is_html"}),
    "a tag in a value is no web page": Case("office__utf8", rows("1,<table>,13800138000", GOOD[1]).encode(), "pass", 2),
    "zip that is no workbook": Case("office__book", b"PK\x05\x06" + bytes(18), "hold", codes={"file_is_not_a_workbook"}),
    "damaged workbook": Case("office__book", workbook(("一", CELLS))[:2000], "hold", codes={"workbook_unreadable"}),
    "old workbook format damaged": Case("office__book", b"\xd0\xcf\x11\xe0" + bytes(600), "hold", codes={"workbook_unreadable"}),
    "sound workbook": Case("office__book", workbook(("一", CELLS)), "pass", 2),
    "hidden first sheet": Case("office__book", workbook(("代码", [["x"]]), ("一", CELLS), hidden=("代码",)), "pass", 2),
    "second sheet not read": Case("office__book", workbook(("一", CELLS), ("说明", [["x"]])), "pass", 2, codes={"sheets_not_read"}, says=("说明",)),
    "sheet missing": Case("office__sheet", workbook(("一", CELLS)), "hold", codes={"sheet_missing"}, says=("“名册”", "一")),
    "empty sheet": Case("office__book", workbook(("一", [])), "hold", codes={"header_absent"}),
    "number where text was agreed": Case("office__book", workbook(("一", [CELLS[0], [12345678901234567, "张三", "13800138000"]])), "warn", 1,
                                         codes={"number_in_text_column"}, says=("A2", "编号")),
    "10,000 columns in a workbook": Case("office__book", workbook(("一", [list(range(10_000))])), "hold", codes={"too_many_columns"}),
    "delimiter left open": Case("office__utf8", rows(*GOOD).replace(",", "\t").encode(), "pass", 2, codes={"delimiter_found"}, says=("tab",)),
    "delimiter of three characters": Case(
        "office__marks", rows(GOOD[0], '2,"李|#|四",1').replace(",", "|#|").encode(), "warn", 2, codes=set()),
    "no header, as agreed": Case("office__bare", "\n".join(GOOD).encode(), "pass", 2),
    "header of two rows": Case("office__two", ("名册,,\n编号,姓名,联系\n,,电话\n" + "\n".join(GOOD)).encode(), "pass", 2,
                               other={"above_header": 1, "header": 2}),
    "mixed line ends": Case("office__utf8", f"{HEADER}\r\n{GOOD[0]}\n{GOOD[1]}\r3,王五,13700137000".encode(), "pass", 3),
    "notes below the table": Case(
        "office__utf8", rows(*GOOD, "注：1.口径见说明,,", '"　　　2.电话, 手机",,', "数据来源：统计局").encode(), "pass", 2,
        codes={"notes_left_out"}, says=("第 4、5、6 行", "rows 4、5、6"), other={"header": 1, "note": 3}),
    "a total nobody agreed on": Case("office__utf8", rows(*GOOD, "合 计,2,").encode(), "warn", 2, 1, {"total_row"}, ("第 4 行",)),
    "groups, totals, text above, cells to fill": Case(
        "office__groups", ("指标：常住\n" + rows("北街（2人）,,", *GOOD, "南街（2人）,,", "3,王五,1", "4,,2", "合计,4,")).encode(), "warn", 4,
        codes={"header_found"}, other={"above_header": 1, "header": 1, "group_heading": 2, "total": 1}),
    "a group with fewer rows than it says": Case(
        "office__groups", ("指标：常住\n" + rows("北街（3人）,,", *GOOD)).encode(), "warn", 2, codes={"group_count_differs", "header_found"},
        says=("“北街（3人）”说有 3 行，实际有 2 行",)),
    "text above the header is missing": Case("office__groups", rows("北街（2人）,,", *GOOD).encode(), "hold", codes={"column_missing"}, says=("指标",)),
    "GB 18030-2022 characters": Case("office__gb", rows("1,张一,13800138000").encode("gb18030").replace("一".encode("gb18030"), b"\xfe\x59"),
                                     "pass", 1, codes={"characters_mapped"}),
    "gzip": Case("office__utf8", gzip.compress(rows(*GOOD).encode()), "pass", 2, codes={"archive_unpacked"}),
    "zip": Case("office__utf8", zipped(("名册.csv", rows(*GOOD).encode())), "pass", 2, codes={"archive_unpacked"}, says=("名册.csv",)),
    "zip of two files": Case("office__utf8", zipped(("a.csv", b"x"), ("b.csv", b"y")), "hold", codes={"archive_members"}, says=("a.csv、b.csv",)),
    "zip of which one file was agreed": Case("office__one", zipped(("a.csv", rows(*GOOD).encode()), ("../b.txt", b"y")), "pass", 2,
                                             codes={"archive_unpacked"}),
    "zip within a zip": Case("office__utf8", zipped(("a.zip", zipped(("b.csv", rows(*GOOD).encode())))), "hold",
                             codes={"archive_unpacked", "file_is_a_workbook"}),
    "zip bomb": Case("office__utf8", zipped(("a.csv", bytes(200 << 20))), "hold", codes={"archive_bomb"}),
    "gzip cut short": Case("office__utf8", gzip.compress(rows(*GOOD).encode())[:-12], "hold", codes={"archive_unreadable"}),
    "JSON list": Case("office__json", json.dumps(RECORDS).encode(), "pass", 2),
    "JSON list somewhere within": Case("office__json", json.dumps({"n": [1, 2], "body": {"rows": RECORDS}}).encode(), "pass", 2),
    "JSON lines, one of them broken": Case(
        "office__json", "\n".join([*(json.dumps(r, ensure_ascii=False) for r in RECORDS), '{"编号": 3'])
        .encode(), "warn", 2, 1, {"record_unreadable"}, ("第 3 条",)),
    "JSON with a field more": Case("office__json", json.dumps([{**r, "备注": {"a": 1.10}} for r in RECORDS]).encode(), "warn", 2,
                                   codes={"column_undeclared"}, says=("备注.a",)),
    "JSON cut short": Case("office__json", json.dumps(RECORDS).encode()[:-5], "hold", codes={"json_unreadable"}),
    "JSON without records": Case("office__json", b'{"a": 1, "b": {"c": []}}', "hold", codes={"records_absent"}),
    "JSON nested without end": Case("office__json", b"[" * 100_000, "hold", codes={"json_unreadable"}),
    "XML": Case("office__xml", xml("<人><编号>1</编号><姓名>张三</姓名><电话>13800138000</电话></人>"), "pass", 1),
    "XML with attributes and a namespace": Case(
        "office__xml", '<a xmlns="urn:x"><b><人 k="1"><编号>1</编号><姓名>张三</姓名><电话>13800138000</电话></人></b></a>'.encode(), "warn", 1,
        codes={"column_undeclared"}, says=("@k",)),
    "XML in GB 18030": Case(
        "office__xml", '<?xml version="1.0" encoding="gb2312"?><x><人><编号>1</编号><姓名>张三</姓名><电话>13800138000</电话></人></x>'
        .encode("gb18030"), "pass", 1),
    "XML with entities": Case("office__xml", b'<!DOCTYPE x [<!ENTITY a "b">]><x><r><c>&a;</c></r></x>', "hold", codes={"xml_entities"}),
    "XML from a file outside": Case("office__xml", b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><x><r/></x>', "hold"),
    "XML cut short": Case("office__xml", xml("<人><编号>1</编号></人>")[:-9], "hold", codes={"xml_unreadable"}),
    "fixed width in GBK": Case("office__fixed", "0001张三    13800138000\n0002李四    13900139000\n".encode("gbk"), "pass", 2),
    "fixed width, a line short and a line long": Case(
        "office__fixed", "0001张三    13800138000\n0002李四\n0003王五    13700137000xyz\n".encode("gbk"), "warn", 1, 2,
        {"row_too_short", "row_too_long"}),
    "Parquet": Case("office__parquet", parquet_of({"编号": ["1", "2"], "姓名": ["张三", "李四"], "电话": ["13800138000", None]}), "pass", 2),
    "Parquet with numbers for codes": Case(
        "office__parquet", parquet_of({"编号": [1, 2], "姓名": ["张三", "李四"], "电话": ["13800138000", "13900139000"]}), "warn", 2,
        codes={"number_in_text_column"}),
    "Parquet cut short": Case("office__parquet", parquet_of({"编号": ["1"]})[:-9], "hold", codes={"parquet_unreadable"}),
    "sheets of the months": Case(
        "office__months", workbook(("1月", CELLS), ("2月", [CELLS[0], ["3", "王五", "13700137000"]]), ("说明", [["x"]])), "pass", 3),
    "title and notes in a workbook": Case(
        "office__book", workbook(("一", [["全市名册"], [], *CELLS, ["注：仅供测试"]])), "pass", 2, codes={"header_found", "notes_left_out"}),
    "cells merged downwards": Case("office__book", with_merged("B2:B3"), "pass", 2, codes={"cells_merged"}),
    "date where a code was agreed": Case("office__book", workbook(("一", [CELLS[0], [date(2026, 3, 2), "张三", "13800138000"]])), "warn", 1,
                                         codes={"date_in_text_column"}, says=("A2",)),
    "formulas and hidden rows": Case("office__book", with_formula_and_hidden(), "warn", 2, codes={"formulas_as_values", "cells_hidden"}),
    "locked workbook or other old file": Case("office__book", b"\xd0\xcf\x11\xe0" + bytes(2000), "hold", codes={"workbook_unreadable"}),
    "stray cell far away": Case("office__book", with_cell_at("XFD1048576"), "hold", codes={"sheet_too_large"}, says=("1048576", "16384")),
}  # fmt: skip


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Town:
    return town(tmp_path_factory.mktemp("office"), SOURCES)


@pytest.fixture(scope="module")
def days() -> Iterator[date]:
    """Each case is the drop of a day of its own."""
    return iter(date(2026, 1, 1) + timedelta(days=n) for n in range(10_000))


def play(office: Town, source: str, data: bytes, day: date) -> Verdict:
    """Drop a file and run its source."""
    office.drop("office", f"{source.removeprefix('office__')}_{day:%Y%m%d}.txt", data)
    with office.run(f"{day}T20:00:00+08:00") as run:
        (verdict,) = intake(run, source)
    return verdict


def recorded(office: Town, batch: str) -> tuple[dict[str, Any], list[dict[str, Any]], dict[str, int]]:
    """Ledger row, findings, and the row account of collect."""
    with office.run() as run:
        ledger = run.con.execute("SELECT * FROM lake.ledger.batch WHERE batch = ?", [batch]).to_arrow_table().to_pylist()[0]
        findings = run.con.execute("SELECT * FROM lake.quality.finding WHERE batch = ?", [batch]).to_arrow_table().to_pylist()
        account = run.con.execute(
            "SELECT rows_out FROM lake.ledger.stage WHERE subject = ? AND stage = 'collect'", [batch]
        ).fetchall()
    return ledger, findings, json.loads(account[0][0])


@pytest.mark.parametrize("name", CASES)
def test_trouble(name: str, office: Town, days: Iterator[date]) -> None:
    case = CASES[name]
    verdict = play(office, case.source, case.data, next(days))
    ledger, findings, account = recorded(office, verdict.batch)
    drift = {c for c in kinds() if c.startswith("column_")} - {"column_missing", "column_undeclared"}  # against the file before
    findings = [f for f in findings if f["code"] not in drift]
    codes = {f["code"] for f in findings if not f["code"].endswith(("_unreadable", "_missing")) or f["code"] in case.codes}
    assert verdict.state == case.verdict, verdict.sentence
    assert codes == case.codes
    assert (ledger["rows_accepted"], ledger["rows_refused"]) == (case.accepted, case.refused)
    said = " ".join(f"{f['message_zh']} {f['message_en']}" for f in findings)
    for word in case.says:
        assert word in said
    if case.other:
        assert {k: v for k, v in account.items() if k != "rows"} == case.other
    if case.verdict == "hold":
        # The sentence a department gets says what to do; it is one of the findings that hold, in both languages.
        holding = [f for f in findings if f["severity"] == "hold"]
        assert holding and all(f["message_zh"] in verdict.zh and f["message_en"] in verdict.en for f in holding)
        assert re.search("请", verdict.zh)


def test_bad_file_stops_nobody_else(tmp_path: Path) -> None:
    place = town(tmp_path, {k: SOURCES[k] for k in ("office__utf8", "office__gb", "office__book")})
    place.drop("office", "book_20260302.xlsx", with_cell_at("XFD1048576"))
    place.drop("office", "gb_20260302.csv", b"\xff" * 1000)
    place.drop("office", "utf8_20260302.csv", rows(*GOOD))
    outcome = place.run_at("2026-03-02T20:00:00+08:00")
    assert {v.batch.split("@")[0]: v.state for v in outcome.verdicts} == {
        "office__book": "hold", "office__gb": "hold", "office__utf8": "pass"}  # fmt: skip


def test_zip_bomb_is_not_unpacked(office: Town, days: Iterator[date], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbook_parts, "MOST_UNPACKED", 10 << 20)
    bomb = unpacks_to(20)
    assert len(bomb) < 100_000
    verdict = play(office, "office__book", bomb, next(days))
    _, findings, _ = recorded(office, verdict.batch)
    assert verdict.state == "hold" and [f["code"] for f in findings] == ["workbook_too_large"]
    assert "10 MB" in verdict.zh and "10 MB" in verdict.en


def test_cells_of_a_workbook_are_kept_as_they_are(office: Town, days: Iterator[date]) -> None:
    """No invention: identifiers without a point or an exponent, dates in ISO form, text as it is."""
    day = next(days)
    cells = [
        CELLS[0],
        [440402199003071234, datetime(2026, 3, 2), "0756"],
        [1.5, datetime(2026, 3, 2, 8, 30), True],
        [" 7", "1900-01-01", None],
    ]
    verdict = play(office, "office__book", workbook(("一", cells)), day)
    with office.run() as run:
        raw = run.con.execute(
            'SELECT "_sheet", "_row", "编号", "姓名", "电话" FROM lake.raw."office__book" WHERE _batch = ? ORDER BY _row',
            [verdict.batch],
        ).fetchall()
    # A number in a cell has 15 digits; what stood behind them was lost before we saw it, hence the warning.
    assert raw == [
        ("一", 2, str(int(float(440402199003071234))), "2026-03-02", "0756"),
        ("一", 3, "1.5", "2026-03-02 08:30:00", "TRUE"),
        ("一", 4, " 7", "1900-01-01", None),
    ]
    _, findings, _ = recorded(office, verdict.batch)
    assert [f["message_zh"].split("（")[0] for f in findings if f["code"] == "number_in_text_column"] == [
        "单元格 A2",
        "单元格 A3",
    ]


def test_characters_of_gb18030_2022(office: Town, days: Iterator[date]) -> None:
    """The 25 code positions that Python still decodes into the private-use area, against the C library's table."""
    for private, standard in GB18030_2022.items():
        encoded = chr(private).encode("gb18030")
        decoded = subprocess.run(["iconv", "-f", "GB18030", "-t", "UTF-8"], input=encoded, capture_output=True, check=True).stdout
        assert decoded.decode() == chr(standard), encoded.hex()
    assert len(GB18030_2022) == 25
    day = next(days)
    data = rows(*(f"{n},{chr(private)},13800138000" for n, private in enumerate(GB18030_2022))).encode("gb18030")
    verdict = play(office, "office__gb", data, day)
    with office.run() as run:
        raw = run.con.execute(
            'SELECT "姓名" FROM lake.raw."office__gb" WHERE _batch = ? ORDER BY _row', [verdict.batch]
        ).fetchall()
    assert [name for (name,) in raw] == [chr(c) for c in GB18030_2022.values()]
    assert "character_private_use" not in {f["code"] for f in recorded(office, verdict.batch)[1]}


def test_thousands_of_broken_rows_are_told_but_not_all_listed(office: Town, days: Iterator[date]) -> None:
    data = rows(*(f"{n},张三" for n in range(2_500)), GOOD[0])
    verdict = play(office, "office__utf8", data.encode(), next(days))
    ledger, findings, _ = recorded(office, verdict.batch)
    assert (ledger["rows_accepted"], ledger["rows_refused"]) == (1, 2_500)
    listed = [f for f in findings if f["code"] == "row_too_short"]
    assert len(listed) == 1_000
    assert [f["message_en"].split()[0] for f in findings if f["code"] == "more_rows_broken"] == ["1500"]


# -- findings are said from the facts, and never say who it is about


def test_every_code_in_the_source_has_its_words() -> None:
    """Codes of readers and stages, those that rules and expectation kinds name; and no entry that nobody uses."""
    root = Path(__file__).parents[2]
    used = {code for rule in rule_catalogue() for code in rule.findings.values()}
    used |= {kind.finding for kind in expectations.kinds().values() if kind.finding}
    for path in [*(root / "pipelines").rglob("*.py"), *(root / "quality").rglob("*.py")]:
        text = path.read_text(encoding="utf-8")
        used |= {code for code in re.findall(r'"([a-z_0-9]+)"', text) if code in kinds()}
        assert set(re.findall(r'\bfinding\(\s*"([a-z_0-9]+)"', text)) <= set(kinds()), path
    assert used == set(kinds())


def test_every_rule_finding_has_an_entry() -> None:
    for rule in rule_catalogue():
        assert set(rule.findings.values()) <= set(kinds()), rule.name


def test_words_of_a_finding_use_the_same_facts_in_both_languages() -> None:
    for kind in kinds().values():
        places = [sorted({name for _, name, _, _ in string.Formatter().parse(text) if name}) for text in (kind.zh, kind.en)]
        chinese, english = ([n.removesuffix("_zh").removesuffix("_en") for n in names] for names in places)
        assert chinese == english, kind.code
        assert kind.severity in ("note", "warn", "refuse", "hold")
        assert re.search(r"[一-鿿]", kind.zh) and not re.search(r"[一-鿿]", re.sub(r"[是否男女未知]", "", kind.en)), kind.code


def test_what_cleaning_finds_needs_no_other_facts() -> None:
    """Their sentences are filled in by SQL, which knows row, header and value."""
    cells = {code for rule in rule_catalogue() for code in rule.findings.values()} | {"value_missing"}
    for code in cells:
        for text in (kinds()[code].zh, kinds()[code].en):
            assert {name for _, name, _, _ in string.Formatter().parse(text) if name} <= {"row", "header", "value"}, code


PEOPLE = ["440402199003071234", "欧阳锋", "13812345678"]


@pytest.mark.parametrize(("what", "data"), [
    ("bad values", rows(f"1,{PEOPLE[1]},{PEOPLE[0]}", f"2,{PEOPLE[0]},{PEOPLE[2]}x")),
    ("no header, one person per line", f"{PEOPLE[0]},{PEOPLE[1]},{PEOPLE[2]}\n" * 3),
    ("header somewhere else", f"{PEOPLE[0]},{PEOPLE[1]},{PEOPLE[2]}\n" + rows(*GOOD)),
    ("other delimiter", f"{PEOPLE[0]};{PEOPLE[1]};{PEOPLE[2]}\n"),
    ("broken rows", rows(f"{PEOPLE[0]},{PEOPLE[1]}", f"{PEOPLE[0]},{PEOPLE[1]},{PEOPLE[2]},{PEOPLE[2]}", f"1,{PEOPLE[1]}\0,{PEOPLE[2]}")),
])  # fmt: skip
def test_nobody_can_be_recognised_outside_the_restricted_layers(what: str, data: str, office: Town, days: Iterator[date]) -> None:
    verdict = play(office, "office__utf8", data.encode(), next(days))
    with office.run() as run:
        for schema, table in run.con.execute(
            "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = 'lake' AND schema_name IN ('quality', 'ledger')"
        ).fetchall():
            rows_as_text = run.con.execute(f'SELECT CAST(t AS VARCHAR) FROM lake."{schema}"."{table}" AS t').fetchall()
            for (text,) in rows_as_text:
                for secret in PEOPLE:
                    assert secret not in text, f"{schema}.{table}: {what}"
        assert run.con.execute(f"SELECT {literal(PEOPLE[0])}").fetchall()
    for secret in PEOPLE:
        assert secret not in verdict.sentence


def test_cells_that_no_column_declares_stand_aside_and_in_no_other_column(tmp_path: Path) -> None:
    """An optional column is absent, and every row has a value under a header without a name."""
    source = FORM.format(drop="utf8_*", form="{}") + "  - {from: 备注, to: remark, optional: true}\n"
    place = town(tmp_path, {"office__utf8": source})
    play(place, "office__utf8", (HEADER + ",\n" + "".join(f"{line},x\n" for line in GOOD)).encode(), date(2026, 3, 2))
    tables = place.tables()
    assert [r["remark"] for r in tables["std.office__utf8"]] == [None, None]
    assert [json.loads(r["_extra"]) for r in tables["raw.office__utf8"]] == [{"column 4": "x"}] * 2
