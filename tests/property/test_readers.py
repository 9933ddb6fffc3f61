"""Reading keeps every cell: whatever a program writes comes back cell by cell, and no bytes at all can lose a line.

Two ways lead from a text file to raw rows, DuckDB's and Python's; these tests hold them together.
"""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from catalog.contract import Contract
from pipelines.readers import READERS, delimited
from pipelines.readers.rows import Reading
from quality.finding import kinds

Table = list[list[str]]

ASCII = "ab09 ,;|\t.\"'-"
CHINESE = "张三丰公司０１ＡＢ　（）"
BREAKS = "\n\r"
ALPHABETS = {
    "utf-8": ASCII + BREAKS + CHINESE + "é€𠮷\u00a0\u2028\x85\x0b\x1c",
    "utf-8-sig": ASCII + BREAKS + CHINESE + "𠮷",
    "gb18030": ASCII + BREAKS + CHINESE + "é€𠮷",
    "gbk": ASCII + BREAKS + CHINESE,
    "big5": ASCII + BREAKS + "張公司（）",
    "cp1252": ASCII + BREAKS + "éü€",
    "utf-16": ASCII + BREAKS + CHINESE + "𠮷",
}
HEADERS = ["编号", "Name", "列 三", "d", "é"]


def contract(headers: list[str], **form: Any) -> Contract:
    return Contract.model_validate({
        "id": "test__source", "title": "t", "department": "test", "load": "append", "arrival": {"drop": "*", "cycle": "daily"},
        "format": form, "columns": [{"from": h, "to": f"c{i}"} for i, h in enumerate(headers)],
    })  # fmt: skip


@contextmanager
def file_of(data: bytes) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        path.write_bytes(data)
        yield path


def read(data: bytes, agreed: Contract) -> tuple[Reading, list[dict[str, Any]]]:
    """What the reader of the contract makes of these bytes: its account, and the raw rows it wrote."""
    with file_of(data) as path:
        out = path.with_name("raw.parquet")
        reading = READERS[agreed.format.reader].read(path, agreed, "batch", out)
        rows = pq.read_table(out).to_pylist() if out.exists() else []
        assert sorted(p.name for p in path.parent.iterdir() if p != out) == ["file"], "scratch files stay behind"
    return reading, rows


@st.composite
def written(draw: st.DrawFn) -> tuple[list[str], Table, str, str, str, str, int]:
    encoding = draw(st.sampled_from(sorted(ALPHABETS)))
    width = draw(st.integers(1, 4))
    headers = [h for h in HEADERS if encodable(h, encoding)][:width]
    cell = st.text(ALPHABETS[encoding], max_size=8)
    row = st.lists(cell, min_size=len(headers), max_size=len(headers))
    delimiter = draw(st.sampled_from([",", "|", ";", "\t", "^", "~"]))
    quote = draw(st.sampled_from(['"', "'"]))
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    table = draw(st.lists(row, min_size=1, max_size=12))
    # Python's own writer leaves a lone carriage return without quotes.
    breaks = any(c in BREAKS for cells in table for cell in cells for c in cell)
    quoting = csv.QUOTE_ALL if breaks else draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    return headers, table, encoding, delimiter, quote, end, quoting


def encodable(text: str, encoding: str) -> bool:
    try:
        return text.encode(encoding).decode(encoding) == text
    except UnicodeError:
        return False


@settings(max_examples=80)
@given(written())
@example((["编号"], [[""], ["a"]], "utf-8", ",", '"', "\n", csv.QUOTE_MINIMAL))
def test_every_cell_comes_back_with_its_row_number(case: tuple[list[str], Table, str, str, str, str, int]) -> None:
    headers, table, encoding, delimiter, quote, end, quoting = case
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, quotechar=quote, lineterminator=end, quoting=quoting)  # type: ignore[arg-type]
    writer.writerows([headers, *table])
    agreed = contract(headers, encoding=encoding, delimiter=delimiter, quote=quote)
    reading, rows = read(text.getvalue().encode(encoding), agreed)
    data = [(number, row) for number, row in enumerate(table, 2) if any(cell.strip() for cell in row)]
    assert [(r["_row"], [r[h] or "" for h in headers]) for r in rows] == data
    assert reading.records == len(table) + 1
    assert {r["_defect"] for r in rows} <= {None, "header_repeated"}
    assert reading.rows + sum(reading.other.values()) == reading.records


CELLS = ["a", "7", "张三", " ", "　", "", "\u00a0", "编号", "名 称", "ＩＤ", "id", "x'y", "a b", "\x85", "0"]
LINES = st.lists(st.lists(st.sampled_from(CELLS), min_size=1, max_size=4), min_size=1, max_size=10)
TWO_HEADERS = st.sampled_from([["编号", "名称"], ["Id", "a", "b"]])


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=LINES, end=st.sampled_from(["\n", "\r\n"]), last=st.booleans(), headers=TWO_HEADERS, quote=st.sampled_from(['"', ""])
)
@example(lines=[["Id", "a", "b"]], end="\n", last=True, headers=["Id", "a", "b"], quote='"')
@example(lines=[["a", "7", ""], ["", "", ""]], end="\n", last=True, headers=["Id", "a", "b"], quote='"')
@example(lines=[[" ", "　", "\x85"], ["a", "7", "x"]], end="\n", last=False, headers=["Id", "a", "b"], quote='"')
@example(lines=[["a", "7", "", ""], ["b", "8", "", ""]], end="\r\n", last=True, headers=["Id", "a", "b"], quote='"')
def test_the_fast_way_is_the_exact_way(
    lines: Table, end: str, last: bool, headers: list[str], quote: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = end.join([",".join(headers), *(",".join(line) for line in lines)]) + (end if last else "")
    agreed = contract(headers, quote=quote)
    monkeypatch.setattr(delimited, "SMALL", 0)
    fast = read(text.encode(), agreed)
    monkeypatch.setattr(delimited, "SMALL", 1 << 60)
    exact = read(text.encode(), agreed)
    assert replace(fast[0], findings=()) == replace(exact[0], findings=())
    assert fast == exact


def test_plain_files_take_the_fast_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the test above compares the exact way with itself. In order, over several blocks and threads."""
    taken = []
    way = delimited._fast
    monkeypatch.setattr(delimited, "_fast", lambda *a: taken.append(way(*a)) or taken[-1])
    for end in ("\n", "\r\n"):
        text = f"编号,名称{end}" + "".join(f"{n},公司{n % 97}{end}" for n in range(600_000))
        reading, rows = read(text.encode("gb18030"), contract(["编号", "名称"], encoding="gb18030"))
        assert taken.pop() is not None
        assert reading.rows == 600_000 and reading.records == 600_001
        assert all(r["_row"] == int(r["编号"]) + 2 for r in rows)


PIECES = st.sampled_from([
    b"id,name\n", b"id,name", b"1,a\n", b"2,b\r\n", b'3,"c\n', b'"', b'""', b",", b"\n", b"\r", b"\0", b"\xff", b"\x81",
    b"\xd5\xc5", b"\xe5\xbc\xa0", b"\xef\xbb\xbf", b"PK\x03\x04", b"<html>", b"   ", b"\t", b"4,d,e,f\n", b"5\n",
    b"\x00\x31\x00\x32", b"\xfe\x51", b"id\n",
])  # fmt: skip
MANY = st.lists(PIECES, max_size=25).map(b"".join)
ANY = st.one_of(st.binary(max_size=200), MANY, MANY.map(lambda data: b"id,name\n" + data))


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=ANY,
    encoding=st.sampled_from(["utf-8", "gb18030", "utf-16", "cp1252"]),
    quote=st.sampled_from(['"', ""]),
    header_row=st.integers(1, 3),
    small=st.sampled_from([0, 1 << 18]),
)
def test_no_bytes_lose_a_line(
    data: bytes, encoding: str, quote: str, header_row: int, small: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was dropped: no exception, records = rows + named other lines, and every row is either sound or says why not."""
    monkeypatch.setattr(delimited, "SMALL", small)
    reading, rows = read(data, contract(["id", "name"], encoding=encoding, quote=quote, header_row=header_row))
    assert reading.records == reading.rows + sum(reading.other.values())
    assert len(rows) == reading.rows
    assert reading.rows > 0 or reading.held
    numbers = [r["_row"] for r in rows]
    assert numbers == sorted(set(numbers))
    assert {r["_defect"] for r in rows} - {None} <= set(kinds())


@pytest.fixture(scope="module")
def workbook() -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for row in (["id", "name"], ["1", "a"], [2, "b"], [None, None], ["3", "c"]):
        sheet.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 6000), at=st.integers(0, 6000), new=st.binary(max_size=4))
def test_no_damaged_workbook_is_an_exception(cut: int, at: int, new: bytes, workbook: bytes) -> None:
    damaged = workbook[:at] + new + workbook[at + len(new) :]
    damaged = damaged if cut % 3 else damaged[:cut]
    reading, rows = read(damaged, contract(["id", "name"], reader="workbook"))
    assert reading.records == reading.rows + sum(reading.other.values())
    assert len(rows) == reading.rows
    assert reading.rows > 0 or reading.held
