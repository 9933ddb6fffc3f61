"""Delimited text: any delimiter and quote, declared encodings, every line accounted for.

Two ways to the same rows. Files without quotes, blank lines or broken rows (most of a healthy city's volume) are read
by DuckDB in parallel; the count of lines proves that nothing was skipped. Anything else is read record by record with
Python's csv module, which says for each row what is wrong with it. A property test holds the two ways together.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TextIO

import duckdb

from catalog.contract import NOTES, Contract
from catalog.contract import plain_header as plain
from pipelines.readers.rows import (
    HEAD,
    Heading,
    Layout,
    RawWriter,
    Reading,
    find_heading,
    header_elsewhere,
    match_header,
    not_read,
    read_text,
    virtual_names,
    write_rows,
)
from pipelines.readers.text import Decoded
from quality.finding import Finding, finding
from warehouse.lake import PARQUET, literal, quoted

#: A cell longer than this is an unclosed quote that swallowed the file, not a value.
LONGEST_CELL = 4 << 20
#: A file of fewer bytes is read before DuckDB has started.
SMALL = 1 << 18
#: A noncharacter of Unicode: no text holds it.
STAND_IN = "\ufdd0"


#: What departments use, in the order in which it is tried where the contract leaves it open.
DELIMITERS = (",", "\t", "|", ";", "^", "~", "||", "@@", "|#|", "\x01")


def read(path: Path, contract: Contract, batch: str, out: Path) -> Reading:
    """Raw rows of one text file; see the package docstring for what is written."""
    return read_text(path, contract, out, 4 * LONGEST_CELL, lambda text: _read_text(text, contract, batch, out))


def _read_text(text: Decoded, contract: Contract, batch: str, out: Path) -> Reading:
    form = contract.format
    delimiter = form.delimiter or _likely_delimiter(text, contract)
    reading = _read_delimited(text, delimiter, contract, batch, out)
    found = form.delimiter is None and delimiter != ","
    return replace(
        reading,
        dialect={"delimiter": delimiter, "quote": form.quote},
        findings=(*reading.findings, *([finding("delimiter_found", seen=_shown(delimiter))] if found else ())),
    )


def _read_delimited(text: Decoded, delimiter: str, contract: Contract, batch: str, out: Path) -> Reading:
    declared = (contract.format.header_row or (0,))[-1]
    try:
        head = [row for _, row in itertools.islice(_records(text.path, delimiter, contract.format.quote), HEAD + declared)]
    except _Broken as broken:
        return _count_only([broken.finding], text)
    heading = find_heading(contract, head)
    if isinstance(heading, Finding):
        return _count_only([heading], text)
    above = head[: max(0, heading.first - 1)]
    layout = match_header(contract, heading.cells, None, heading.last, virtual_names(contract, above))
    findings = [*heading.findings, *layout.findings]
    if layout.held:
        found = header_elsewhere(contract, head[:HEAD])
        if found and not heading.first <= found <= heading.last:
            findings.append(finding("header_elsewhere", row=found, declared=heading.last))
        elif layout.width == 1 and len(contract.columns) > 1:
            findings.append(_other_delimiter(heading.cells[0], delimiter))
        return _count_only(findings, text, layout, contract)
    fast = _fast(heading, layout, delimiter, text, contract, batch, out)
    return fast or _exact(heading, layout, above, delimiter, text, contract, batch, out)


def _exact(
    heading: Heading, layout: Layout, above: Sequence[Sequence[str]], delimiter: str, text: Decoded, contract: Contract,
    batch: str, out: Path,
) -> Reading:  # fmt: skip
    try:
        with RawWriter(contract, batch, out) as writer:
            records = _records(text.path, delimiter, contract.format.quote)
            written = write_rows(records, contract, writer, heading, layout, above=above, all_readable=not text.marked)
    except _Broken as why:
        # What stands behind an unclosed quote cannot be told apart, so nothing of the file is taken.
        out.unlink(missing_ok=True)
        return _count_only([*heading.findings, *layout.findings, why.finding], text, layout, contract)
    findings = list(written.reading.findings)
    if written.last and written.last[1] == "row_too_short":
        row, _, swallowed = written.last
        if swallowed:
            findings.append(finding("quote_unclosed", row=row))
        elif not text.ends_with_break:
            findings.append(finding("file_truncated", row=row))
    if not writer.rows:
        findings.append(finding("no_data_rows"))
    return replace(written.reading, findings=tuple(findings))


class _Broken(Exception):
    def __init__(self, why: Finding) -> None:
        super().__init__(why.code)
        self.finding = why


def _records(path: Path, delimiter: str, quote: str) -> Iterator[tuple[int, list[str]]]:
    """(row as a spreadsheet shows it, cells). Raises _Broken where a quote is never closed or a line never ends."""
    csv.field_size_limit(LONGEST_CELL)
    number = 0
    # Python's csv module knows delimiters of one character: a longer one is put for one that no text holds.
    one = delimiter if len(delimiter) == 1 else STAND_IN
    with path.open(encoding="utf-8", newline="") as file:
        lines = _lines(file) if one == delimiter else (line.replace(delimiter, one) for line in _lines(file))
        reader = csv.reader(
            lines, delimiter=one, quotechar=quote or None, quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
            doublequote=True, strict=False,
        )  # fmt: skip
        try:
            for number, cells in enumerate(reader, 1):
                yield number, cells if one == delimiter else [cell.replace(one, delimiter) for cell in cells]
        except (csv.Error, _EndlessLine):
            raise _Broken(finding("cell_too_long", row=number + 1, most=LONGEST_CELL)) from None


class _EndlessLine(Exception):
    pass


def _lines(file: TextIO) -> Iterator[str]:
    """The lines of a text file, none of them longer than the longest cell: a file without line ends is not loaded whole."""
    while line := file.readline(LONGEST_CELL):
        if len(line) >= LONGEST_CELL:
            raise _EndlessLine
        yield line


def _fast(
    heading: Heading, layout: Layout, delimiter: str, text: Decoded, contract: Contract, batch: str, out: Path
) -> Reading | None:
    """The whole file through DuckDB, or None where it is not plain enough to be sure that each line is one row."""
    form = contract.format
    if text.path.stat().st_size < SMALL or heading.first != heading.last or text.marked or text.line_ends not in ("LF", "CRLF"):
        return None
    if layout.extra or layout.virtual or form.totals or form.fill_down or form.notes != NOTES or len(delimiter) > 1:
        return None
    at = heading.last
    quote, breaks, blank = _shape(text.path, form.quote)
    lines = breaks + (0 if text.ends_with_break else 1)
    if quote or blank or layout.width < 2 or lines <= at:
        return None
    names = [f"c{i}: 'VARCHAR'" for i in range(layout.width)]
    source = (
        f"read_csv({literal(str(text.path))}, auto_detect = false, header = false, skip = {at}, delim = {literal(delimiter)}, "
        "quote = '', escape = '', new_line = " + ("'\\r\\n'" if text.line_ends == "CRLF" else "'\\n'") + ", "
        f"max_line_size = {LONGEST_CELL}, columns = {{{', '.join(names)}}})"
    )
    place = {source: f"c{position}" for source, position in layout.place.items()}
    cells = ", ".join(f"{place.get(c.source, 'NULL::VARCHAR')} AS {quoted(c.source)}" for c in contract.columns)
    probe = next(c.source for c in contract.columns if c.source in layout.place)
    told = layout.header[layout.place[probe]] if at else "\0"
    first = next(source for source, position in layout.place.items() if position == 0)
    with duckdb.connect() as con:
        try:
            con.execute(
                f"COPY (SELECT {literal(batch)} AS _batch, NULL::VARCHAR AS _sheet, row_number() OVER () + {at} AS _row, "
                f"{cells}, NULL::VARCHAR AS _extra, NULL::VARCHAR AS _defect FROM {source}) "
                f"TO {literal(str(out))} {PARQUET}"
            )
        except duckdb.Error:
            return None
        written = literal(str(out))
        rows, repeated, empty = con.execute(
            f"SELECT (SELECT count(*) FROM {written}), (SELECT count(*) FROM {written} WHERE {_may_repeat(quoted(probe))}), "
            f"(SELECT count(*) FROM {written} WHERE {_may_be_blank(layout)} OR {_may_be_no_data(quoted(first))})",
            [told, plain(told)],
        ).fetchall()[0]
    if rows != lines - at or repeated or empty:
        return None
    other = {"above_header": at - 1, "header": 1} if at else {}
    return Reading(
        header=layout.header,
        present={c.source: c.source in layout.place for c in contract.columns},
        records=lines,
        rows=rows,
        other={k: v for k, v in other.items() if v},
        findings=(*heading.findings, *layout.findings),
    )


_WIDE = "".join(chr(c) for c in range(0xFF01, 0xFF5F))
_NARROW = "".join(chr(c) for c in range(0x21, 0x7F))


def _may_repeat(probe: str) -> str:
    """Whether a row may be the header again; $1 is the heading of the column `probe`, $2 the same made plain."""
    folded = f"lower(regexp_replace(translate({probe}, {literal(_WIDE)}, {literal(_NARROW)}), '[\\s\\x{{3000}}]', '', 'g'))"
    return f"{probe} = $1 OR {folded} = $2"


def _may_be_blank(layout: Layout) -> str:
    """Whether a row may have nothing to see in any cell."""
    visible = r"[!-~\x{00A1}-\x{167F}\x{1681}-\x{1FFF}\x{2030}-\x{205E}\x{2070}-\x{2FFF}\x{3001}-\x{FEFE}\x{FF00}-\x{10FFFF}]"
    return " AND ".join(f"regexp_matches({quoted(source)}, {literal(visible)}) IS NOT TRUE" for source in layout.place)


def _may_be_no_data(first: str) -> str:
    """Whether a row may be a note or a total, by its first cell: what the exact way then decides."""
    words = "注|附注|备注|说明|数据来源|资料来源|来源|填表人|填报人|制表|审核人|note|source|remark|合计|总计|小计|共计|总合计|grand|total|subtotal"
    return f"regexp_matches({first}, '(?i)^[\\s\\x{{3000}}(（\\[【*※]*({words})')"


def _shape(path: Path, quote: str) -> tuple[bool, int, bool]:
    """Whether the quote character occurs, the number of line breaks, whether there is a line without text."""
    needle = quote.encode()
    breaks, seen, blank, tail = 0, False, False, b"\n"
    with path.open("rb") as file:
        while chunk := file.read(1 << 22):
            breaks += chunk.count(b"\n")
            seen = seen or (bool(needle) and needle in chunk)
            joined = tail + chunk
            blank = blank or b"\n\n" in joined or b"\n\r\n" in joined
            tail = chunk[-2:]
    return seen, breaks, blank


def _count_only(
    findings: Sequence[Finding], text: Decoded, layout: Layout | None = None, contract: Contract | None = None
) -> Reading:
    """A held file is not read further; its lines are counted so that the receipt says how much was not taken."""
    with text.path.open("rb") as file:
        lines = sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 22), b""))
    return not_read(lines + (0 if text.ends_with_break else 1), findings, layout, contract)


def _likely_delimiter(text: Decoded, contract: Contract) -> str:
    """The delimiter under which most of the agreed column names stand in one of the first rows, with the fewest other cells; a
    comma where none does."""
    wanted = {plain(alias) for column in contract.columns for alias in column.from_}
    headless = contract.format.header_row == (0,)

    def fits(delimiter: str) -> tuple[int, int]:
        try:
            head = [row for _, row in itertools.islice(_records(text.path, delimiter, contract.format.quote), HEAD)]
        except _Broken:
            return 0, 0
        if headless:
            return sum(len(row) == len(contract.columns) for row in head), 0
        return max(((n := len(wanted & {plain(cell) for cell in row}), n - len(row)) for row in head), default=(0, 0))

    found = {d: fits(d) for d in DELIMITERS}
    best = max(DELIMITERS, key=lambda d: (found[d], -DELIMITERS.index(d)))
    return best if found[best][0] else ","


def _shown(delimiter: str) -> str:
    return {"\t": "tab", "\x01": "\\x01"}.get(delimiter, delimiter)


def _other_delimiter(header: str, declared: str) -> Finding:
    counts = {d: header.count(d) for d in DELIMITERS if d != declared}
    likely = max(counts, key=lambda d: counts[d])
    return finding("delimiter_differs", declared=_shown(declared), seen=_shown(likely) if counts[likely] else "?")
