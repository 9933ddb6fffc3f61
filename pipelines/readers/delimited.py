"""Delimited text: any one-character delimiter and quote, declared encodings, every line accounted for.

Two ways to the same rows. Files without quotes, blank lines or broken rows (most of a healthy city's volume) are read
by DuckDB in parallel; the count of lines proves that nothing was skipped. Anything else is read record by record with
Python's csv module, which says for each row what is wrong with it. A property test holds the two ways together.
"""

from __future__ import annotations

import csv
import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TextIO

import duckdb

from catalog.contract import Contract
from catalog.contract import plain_header as plain
from pipelines.readers.rows import (
    MOST_COLUMNS,
    SPELLED_OUT,
    Layout,
    RawWriter,
    Reading,
    groups,
    header_elsewhere,
    match_header,
    not_spelled_out,
    sort_rows,
    spell_out,
)
from pipelines.readers.text import Decoded, decode
from quality.finding import Finding, finding
from warehouse.lake import literal, quoted

#: A cell longer than this is an unclosed quote that swallowed the file, not a value.
LONGEST_CELL = 4 << 20
#: A file of fewer bytes is read before DuckDB has started.
SMALL = 1 << 18


def read(path: Path, contract: Contract, batch: str, out: Path) -> Reading:
    """Raw rows of one text file; see the package docstring for what is written."""
    form = contract.format
    dialect = {"delimiter": (form.delimiter or ","), "quote": form.quote}
    copy = out.with_suffix(".utf8")
    try:
        text = decode(path, form.encoding, copy)
        if text.encoding is None:
            return Reading(dialect=dialect, findings=text.findings)
        dialect["line_ends"] = text.line_ends
        reading = _read_text(text, contract, batch, out)
        return replace(reading, encoding=text.encoding, dialect=dialect, findings=text.findings + reading.findings)
    finally:
        copy.unlink(missing_ok=True)


def _read_text(text: Decoded, contract: Contract, batch: str, out: Path) -> Reading:
    at = (contract.format.header_row or (1,))[-1]
    try:
        head = [row for _, row in itertools.islice(_records(text.path, contract), 50 + at)]
    except _Broken as broken:
        return _count_only(Reading(findings=(broken.finding,)), text)
    if len(head) < at or not any(cell.strip() for cell in head[at - 1]):
        return _count_only(Reading(findings=(finding("header_absent", row=at),)), text)
    if len(head[at - 1]) > MOST_COLUMNS:
        return _count_only(Reading(findings=(finding("too_many_columns", count=len(head[at - 1]), most=MOST_COLUMNS),)), text)
    layout = match_header(contract, head[at - 1])
    present = {c.source: c.source in layout.place for c in contract.columns}
    findings = list(layout.findings)
    if any(f.severity == "hold" for f in findings):
        found = header_elsewhere(contract, head[:50])
        if found and found != at:
            findings.append(finding("header_elsewhere", row=found, declared=at))
        elif len(layout.header) == 1 and len(contract.columns) > 1:
            findings.append(_other_delimiter(head[at - 1][0], contract))
    base = Reading(header=layout.header, present=present, findings=tuple(findings))
    if base.held:
        return _count_only(base, text)
    return _fast(base, layout, text, contract, batch, out) or _exact(base, layout, text, contract, batch, out)


def _exact(base: Reading, layout: Layout, text: Decoded, contract: Contract, batch: str, out: Path) -> Reading:
    findings: list[Finding] = list(base.findings)
    other: Counter[str] = Counter()
    records = broken = spelled = 0
    at = (contract.format.header_row or (1,))[-1]
    last_defect: tuple[int, str] | None = None
    swallowed = False
    try:
        with RawWriter(contract, batch, out) as writer:
            for group in groups(_records(text.path, contract)):
                records += len(group)
                if group[0][0] <= at:
                    other["above_header"] += sum(1 for number, _ in group if number < at)
                    other["header"] += sum(1 for number, _ in group if number == at)
                    group = [item for item in group if item[0] > at]
                rows = sort_rows(layout, group, all_readable=not text.marked)
                other += rows.other
                writer.write(layout, None, rows)
                said = spell_out(layout, None, rows, SPELLED_OUT - len(findings))
                findings += said
                broken += len(rows.defects)
                spelled += len(said)
                if rows.numbers:
                    last = len(rows.numbers) - 1
                    last_defect = (rows.numbers[last], rows.defects[last]) if last in rows.defects else None
                    swallowed = any("\n" in cell for cell in rows.cells[last])
    except _Broken as why:
        # What stands behind an unclosed quote cannot be told apart, so nothing of the file is taken.
        out.unlink(missing_ok=True)
        return _count_only(replace(base, findings=(*findings, why.finding)), text)
    findings += not_spelled_out(None, broken, spelled)
    if last_defect and last_defect[1] == "row_too_short" and swallowed:
        findings.append(finding("quote_unclosed", row=last_defect[0]))
    elif last_defect and last_defect[1] == "row_too_short" and not text.ends_with_break:
        findings.append(finding("file_truncated", row=last_defect[0]))
    if not writer.rows:
        findings.append(finding("no_data_rows"))
    return replace(base, records=records, rows=writer.rows, other=dict(other), findings=tuple(findings))


class _Broken(Exception):
    def __init__(self, why: Finding) -> None:
        self.finding = why


def _records(path: Path, contract: Contract) -> Iterator[tuple[int, list[str]]]:
    """(row as a spreadsheet shows it, cells). Raises _Broken where a quote is never closed or a line never ends."""
    form = contract.format
    csv.field_size_limit(LONGEST_CELL)
    number = 0
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.reader(
            _lines(file), delimiter=(form.delimiter or ','), quotechar=form.quote or None,
            quoting=csv.QUOTE_MINIMAL if form.quote else csv.QUOTE_NONE, doublequote=True, strict=False,
        )  # fmt: skip
        try:
            for number, cells in enumerate(reader, 1):
                yield number, cells
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


def _fast(base: Reading, layout: Layout, text: Decoded, contract: Contract, batch: str, out: Path) -> Reading | None:
    """The whole file through DuckDB, or None where it is not plain enough to be sure that each line is one row."""
    form = contract.format
    at = (form.header_row or (1,))[-1]
    if text.path.stat().st_size < SMALL or at != 1 or text.marked or text.line_ends not in ("LF", "CRLF") or layout.extra:
        return None
    quote, breaks, blank = _shape(text.path, form.quote)
    lines = breaks + (0 if text.ends_with_break else 1)
    if quote or blank or layout.width < 2 or lines < 2:
        return None
    names = [f"c{i}: 'VARCHAR'" for i in range(layout.width)]
    source = (
        f"read_csv({literal(str(text.path))}, auto_detect = false, header = false, skip = 1, delim = {literal((form.delimiter or ','))}, "
        "quote = '', escape = '', new_line = " + ("'\\r\\n'" if text.line_ends == "CRLF" else "'\\n'") + ", "
        f"max_line_size = {LONGEST_CELL}, columns = {{{', '.join(names)}}})"
    )
    place = {source: f"c{position}" for source, position in layout.place.items()}
    cells = ", ".join(f"{place.get(c.source, 'NULL::VARCHAR')} AS {quoted(c.source)}" for c in contract.columns)
    probe = next(c.source for c in contract.columns if c.source in layout.place)
    heading = layout.header[layout.place[probe]]
    with duckdb.connect() as con:
        try:
            con.execute(
                f"COPY (SELECT {literal(batch)} AS _batch, NULL::VARCHAR AS _sheet, row_number() OVER () + 1 AS _row, "
                f"{cells}, NULL::VARCHAR AS _extra, NULL::VARCHAR AS _defect FROM {source}) "
                f"TO {literal(str(out))} (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)"
            )
        except duckdb.Error:
            return None
        written = literal(str(out))
        rows, repeated, empty = con.execute(
            f"SELECT (SELECT count(*) FROM {written}), (SELECT count(*) FROM {written} WHERE {_may_repeat(quoted(probe))}), "
            f"(SELECT count(*) FROM {written} WHERE {_may_be_blank(layout)})",
            [heading, plain(heading)],
        ).fetchall()[0]
    if rows != lines - 1 or repeated or empty:
        return None
    return replace(base, records=lines, rows=rows, other={"header": 1})


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


def _count_only(base: Reading, text: Decoded) -> Reading:
    """A held file is not read further; its lines are counted so that the receipt says how much was not taken."""
    with text.path.open("rb") as file:
        lines = sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 22), b""))
    lines += 0 if text.ends_with_break else 1
    return replace(base, records=lines, rows=0, other={"not_read": lines})


def _other_delimiter(header: str, contract: Contract) -> Finding:
    counts = {d: header.count(d) for d in ",|;\t^~" if d != (contract.format.delimiter or ",")}
    likely = max(counts, key=lambda d: counts[d])
    shown = {"\t": "tab"}.get(likely, likely) if counts[likely] else "?"
    declared = {"\t": "tab"}.get((contract.format.delimiter or ","), (contract.format.delimiter or ","))
    return finding("delimiter_differs", declared=declared, seen=shown)
