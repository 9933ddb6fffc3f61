"""What all readers share: the header matched against the contract, raw rows written as Parquet, and the account of lines."""

from __future__ import annotations

import difflib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from catalog.contract import Contract
from catalog.contract import plain_header as plain
from pipelines.readers.text import Decoded, decode
from quality.finding import Finding, finding, masked
from warehouse.lake import literal, quoted

#: Rows and cells per written group: bounded memory, and row groups that DuckDB can skip.
GROUP = 50_000
GROUP_CELLS = 2_000_000
#: A header of more columns is a wrong delimiter or a sheet that was not meant.
MOST_COLUMNS = 5_000
#: Findings of one kind that are spelled out for a file; the rest is counted.
SPELLED_OUT = 1_000


@dataclass(frozen=True)
class Reading:
    """What a reader found. `records = rows + sum(other.values())`: every line is accounted for."""

    encoding: str | None = None
    dialect: Mapping[str, str] = field(default_factory=dict)
    header: tuple[str, ...] = ()
    present: Mapping[str, bool] = field(default_factory=dict)
    records: int = 0
    rows: int = 0
    other: Mapping[str, int] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    @property
    def held(self) -> bool:
        return any(f.severity == "hold" for f in self.findings)


@dataclass(frozen=True)
class Layout:
    """Where each declared column stands in a row. `extra` are cells that no column declares, by position. The last `virtual`
    columns stand in no cell of their own: they were read above the header or from the rows that head a group. `blank` cells
    without a name stand at the right end of the header."""

    header: tuple[str, ...]
    place: Mapping[str, int]
    extra: Mapping[int, str]
    findings: tuple[Finding, ...]
    virtual: int = 0
    blank: int = 0

    @property
    def width(self) -> int:
        """Cells of a sound row."""
        return len(self.header) - self.virtual

    @property
    def held(self) -> bool:
        return any(f.severity == "hold" for f in self.findings)


def match_header(
    contract: Contract, cells: Sequence[str], sheet: str | None = None, row: int = 1, virtual: Sequence[str] = ()
) -> Layout:
    """Match the header row, which stands in `row`. A missing declared column holds the batch, unless the contract's `drift`
    says otherwise; an undeclared one is kept and reported."""
    header = list(cells)
    while header and not header[-1].strip():
        header.pop()  # empty columns at the right edge, as spreadsheets leave them
    blank = len(cells) - len(header)
    spelled = {plain(alias): column.source for column in contract.columns for alias in column.from_}
    place: dict[str, int] = {}
    extra: dict[int, str] = {}
    for position, cell in enumerate([*header, *virtual]):
        name = cell.strip() or f"column {position + 1}"
        source = spelled.get(plain(name))
        if source is not None and source not in place:
            place[source] = position
        elif position < len(header):
            extra[position] = name if name not in extra.values() else f"{name} ({position + 1})"
    findings: list[Finding] = []
    if 2 * len(place) < sum(not c.optional for c in contract.columns):
        # Hardly one of the agreed names: probably a row of data, about people perhaps, and told to nobody.
        header = [masked(cell) if position in extra else cell for position, cell in enumerate(header)]
        extra = {}
    missing = [c for c in contract.columns if c.source not in place and not c.optional]
    for column in missing:
        near = difflib.get_close_matches(column.source, list(extra.values()), n=1, cutoff=0.5)
        hint_zh = f"；文件里有相近的“{near[0]}”" if near else ""
        hint_en = f"; the file has a similar `{near[0]}`" if near else ""
        findings.append(
            finding(
                "column_missing",
                severity="warn" if contract.drift == "evolve" and not column.key else None,
                sheet=sheet,
                row=row,
                header=column.source,
                column_name=column.to,
                hint_zh=hint_zh,
                hint_en=hint_en,
                found=len(header),
                declared=len(contract.columns),
            )
        )
    for name in extra.values():
        findings.append(finding("column_undeclared", sheet=sheet, row=row, header=name))
    return Layout((*header, *virtual), place, extra, tuple(findings), len(virtual), blank)


#: Leading rows among which the header is looked for.
HEAD = 50


@dataclass(frozen=True)
class Heading:
    """The header: `first` and `last` row (from 1; 0: the file has none), its cells, what was found out about it."""

    first: int
    last: int
    cells: tuple[str, ...]
    findings: tuple[Finding, ...] = ()


def find_heading(contract: Contract, head: Sequence[Sequence[str]], sheet: str | None = None) -> Heading | Finding:
    """The header among the leading rows: where the contract says it is, else where the agreed names are."""
    declared = contract.format.header_row
    if declared == (0,):
        return Heading(0, 0, tuple(c.source for c in contract.columns))
    found: tuple[Finding, ...] = ()
    if declared is None:
        row = header_elsewhere(contract, head[:HEAD]) or next((i for i, r in enumerate(head, 1) if any(c.strip() for c in r)), 1)
        if row > 1:
            found = (finding("header_found", sheet=sheet, row=row),)
        declared = (row,)
    if len(head) < declared[-1] or not any(cell.strip() for row in declared for cell in head[row - 1]):
        return finding("header_absent", sheet=sheet, row=declared[-1])
    cells = joined([head[row - 1] for row in declared])
    if (count := sum(1 for cell in cells if cell.strip())) > MOST_COLUMNS:
        return finding("too_many_columns", sheet=sheet, count=count, most=MOST_COLUMNS)
    return Heading(declared[0], declared[-1], tuple(cells), found)


def joined(rows: Sequence[Sequence[str]]) -> list[str]:
    """One header of several rows. In the upper ones a text goes for the blank cells at its right, as far as they are headed
    by nothing else."""
    if len(rows) == 1:
        cells = list(rows[0])
    else:
        width = max(len(row) for row in rows)
        parts: list[list[str]] = []
        for number, row in enumerate(rows):
            full = [*row, *[""] * (width - len(row))]
            if number < len(rows) - 1:
                for position in range(1, width):
                    below = any(len(r) > position and r[position].strip() for r in rows[number + 1 :])
                    if not full[position].strip() and below:
                        full[position] = full[position - 1]
            parts.append(full)
        cells = [" ".join(dict.fromkeys(text for part in parts if (text := part[i].strip()))) for i in range(width)]
    return cells


def header_elsewhere(contract: Contract, rows: Sequence[Sequence[str]]) -> int | None:
    """Row (from 1) that looks like the header, where the declared one does not: most declared names, at least half."""
    wanted = {plain(alias) for column in contract.columns for alias in column.from_}
    virtual = {plain(name) for name in virtual_names(contract)}
    counts = [len(wanted & {plain(c) for c in row if c}) for row in rows]
    best = max(range(len(rows)), key=lambda i: counts[i], default=None)
    expected = sum(not virtual & {plain(a) for a in column.from_} for column in contract.columns)
    if best is None or not counts[best] or 2 * counts[best] < expected:
        return None
    return best + 1


def virtual_names(contract: Contract, above: Sequence[Sequence[str]] | None = None) -> tuple[str, ...]:
    """Columns that stand in no cell of their own row; of those above the header only what is found there, if that is given."""
    form = contract.format
    names = re.compile(form.above_header).groupindex if form.above_header else ()
    found = names if above is None else _above(form.above_header, above)
    return (
        *(name for name in names if name in found),
        *(name for name in (re.compile(form.group_rows).groupindex if form.group_rows else ()) if name != "count"),
    )


@dataclass(frozen=True)
class SortedRows:
    """Data rows of one group, each as wide as the header.

    By index of the row, for broken ones: `defects` the finding code, `sizes` the number of values sent, `surplus` those
    beyond the header's width. `other` counts the lines that are no data.
    """

    numbers: list[int] = field(default_factory=list)
    cells: list[list[str]] = field(default_factory=list)
    defects: dict[int, str] = field(default_factory=dict)
    sizes: dict[int, int] = field(default_factory=dict)
    surplus: dict[int, list[str]] = field(default_factory=dict)
    other: Counter[str] = field(default_factory=Counter)


#: First cell of a row that adds up others. Undeclared, such a row is refused: it is no record.
TOTALS = re.compile(r"(合计|总计|小计|共计|总合计|grandtotal|total|subtotal)[:：]?", re.IGNORECASE)


class Body:
    """The rows below one header, told apart: data, blank lines, notes, rows that head a group, totals; sound and broken rows.

    Keeps what must be known from one group of rows to the next. `findings` tells what was left out, once the last row was
    sorted (`close`).
    """

    def __init__(
        self, contract: Contract, layout: Layout, sheet: str | None, above: Sequence[Sequence[str]], *, all_readable: bool = False
    ) -> None:
        form = contract.format
        self.layout, self.sheet, self.all_readable = layout, sheet, all_readable
        self.heading = [plain(c) for c in layout.header[: layout.width]]
        self.headless = form.header_row == (0,)
        self.notes = re.compile(form.notes, re.IGNORECASE) if form.notes else None
        self.totals = re.compile(form.totals) if form.totals else None
        self.groups = re.compile(form.group_rows) if form.group_rows else None
        self.fill = [p for p, h in enumerate(layout.header) if h in form.fill_down]
        self.filled: dict[int, str] = {}
        self.constants = _above(form.above_header, above)
        self.group: dict[str, str] = {}
        self.findings: list[Finding] = []
        self._note_rows: list[int] = []
        self.nameless: set[int] = set()
        self._in_notes = False
        self._group: tuple[int, str, int] | None = None  # row, its text, rows it announces
        self._below = 0

    def sort(self, rows: Sequence[tuple[int, list[str]]]) -> SortedRows:
        """Tell data rows from other lines, and sound rows from broken ones."""
        layout, width = self.layout, self.layout.width
        found = SortedRows()
        spare = 2 * sum(len(row) > width and not any(row[width:]) for _, row in rows) > len(rows)
        # Most rows have values under a header without a name: a column of its own, and no delimiter within a value.
        nameless = width + layout.blank
        if 2 * sum(width < len(row) <= nameless and any(row[width:]) for _, row in rows) <= len(rows):
            nameless = width
        for number, row in rows:
            filled = [cell for cell in row if cell and not cell.isspace()]
            if not filled:
                found.other["blank"] += 1
                continue
            size = len(row)
            odd = size != width or len(filled) < size or self._in_notes or self.totals is not None
            if odd and (kind := self._no_data(number, row, filled)):
                found.other[kind] += 1
                continue
            index = len(found.cells)
            defect = None
            if not self.all_readable and any(UNREADABLE in cell for cell in row):
                defect = "character_unreadable"
            if size < width:
                defect = defect or "row_too_short"
                row = row + [""] * (width - size)
            elif size > width:
                # Most lines end with spare delimiters. On a single line it is a value that holds the delimiter, and
                # everything behind it would stand in the wrong column.
                if size <= nameless and any(row[width:]):
                    found.surplus[index] = row[width:]
                    self.nameless |= {position for position in range(width, size) if row[position]}
                elif not spare or any(row[width:]):
                    defect = defect or "row_too_long"
                    found.surplus[index] = row[width:]
                row = row[:width]
            elif not self.headless and row[0] and plain(row[0]) == self.heading[0] and [plain(c) for c in row] == self.heading:
                defect = defect or "header_repeated"
            if defect is None and len(filled[0]) <= 12 and TOTALS.fullmatch("".join(filled[0].split())):
                defect = "total_row"
            for position in self.fill:
                if row[position].strip():
                    self.filled[position] = row[position]
                elif position in self.filled:
                    row[position] = self.filled[position]
            if layout.virtual:
                row = [*row, *(self.group.get(n) or self.constants.get(n, "") for n in layout.header[width:])]
            if defect:
                found.defects[index], found.sizes[index] = defect, size
            found.numbers.append(number)
            found.cells.append(row)
            self._below += 1
        return found

    def _no_data(self, number: int, row: Sequence[str], filled: Sequence[str]) -> str | None:
        first = filled[0]
        if self.groups is not None and len(filled) == 1 and (match := self.groups.search(first.strip())):
            self._check_group()
            named = match.groupdict()
            told = "".join(c for c in named.pop("count", None) or "" if c.isdigit())
            self._group = (number, first.strip(), int(told)) if told else None
            self._below = 0
            self.group |= {k: v or "" for k, v in named.items()}
            return "group_heading"
        if self.totals is not None and self.totals.search(first.strip()):
            return "total"
        few = 2 * len(filled) <= max(4, self.layout.width)
        if self.notes is not None and few and (self.notes.search(first) or (self._in_notes and len(filled) == 1)):
            self._in_notes = True
            self._note_rows.append(number)
            return "note"
        if len(filled) > 1:
            self._in_notes = False
        return None

    def _check_group(self) -> None:
        if self._group and self._group[2] != self._below:
            row, text, told = self._group
            self.findings.append(
                finding("group_count_differs", sheet=self.sheet, row=row, group=text, told=told, count=self._below)
            )

    def close(self) -> list[Finding]:
        """After the last row: what was left out, and whether the last group has the rows it announced."""
        self._check_group()
        for position in sorted(self.nameless):
            self.findings.append(finding("column_undeclared", sheet=self.sheet, header=f"column {position + 1}"))
        if self._note_rows:
            shown = "、".join(map(str, self._note_rows[:10])) + ("…" if len(self._note_rows) > 10 else "")
            self.findings.append(finding("notes_left_out", sheet=self.sheet, rows=shown, count=len(self._note_rows)))
        return self.findings


def _above(pattern: str | None, rows: Sequence[Sequence[str]]) -> dict[str, str]:
    """Named groups of `pattern`, found in the lines above the header."""
    if not pattern:
        return {}
    text = "\n".join(" ".join(cell.strip() for cell in row if cell.strip()) for row in rows)
    found: dict[str, str] = {}
    for match in re.finditer(pattern, text, re.MULTILINE):
        found = {k: v.strip() for k, v in match.groupdict().items() if v} | found
    return found


def groups(rows: Iterable[tuple[int, list[str]]]) -> Iterator[list[tuple[int, list[str]]]]:
    """The rows in groups of at most GROUP rows and about GROUP_CELLS cells."""
    group: list[tuple[int, list[str]]] = []
    cells = 0
    for row in rows:
        group.append(row)
        cells += len(row[1])
        if len(group) >= GROUP or cells >= GROUP_CELLS:
            yield group
            group, cells = [], 0
    if group:
        yield group


def raw_schema(contract: Contract) -> pa.Schema:
    """Columns of the raw Parquet of a source."""
    return pa.schema(
        [("_batch", pa.string()), ("_sheet", pa.string()), ("_row", pa.int64())]
        + [(c.source, pa.string()) for c in contract.columns]
        + [("_extra", pa.string()), ("_defect", pa.string())]
    )


class RawWriter:
    """Collects rows of cells and writes them as the raw Parquet of one batch."""

    def __init__(self, contract: Contract, batch: str, out: Path) -> None:
        self.sources = [c.source for c in contract.columns]
        self.batch = batch
        self.out = out
        self.rows = 0
        self.schema = raw_schema(contract)

    def __enter__(self) -> RawWriter:
        self.out.parent.mkdir(parents=True, exist_ok=True)
        self._writer = pq.ParquetWriter(self.out, self.schema, compression="zstd", compression_level=1)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._writer.close()

    def write(self, layout: Layout, sheet: str | None, sorted_rows: SortedRows) -> None:
        """One group of rows."""
        numbers, cells, defects = sorted_rows.numbers, sorted_rows.cells, sorted_rows.defects
        if not cells:
            return
        columns: list[Sequence[str | None]] = list(zip(*cells, strict=True))
        nothing: list[str | None] = [None] * len(cells)

        def text(position: int | None) -> pa.Array:
            if position is None:
                return pa.array(nothing, pa.string())
            return pa.array([value or None for value in columns[position]], pa.string())

        extra = list(nothing)
        if layout.extra:
            extra = [_json({name: row[p] for p, name in layout.extra.items() if row[p]}) for row in cells]
        for index, surplus in sorted_rows.surplus.items():
            beyond = {f"column {layout.width + i + 1}": cell for i, cell in enumerate(surplus) if cell}
            extra[index] = _json({**json.loads(extra[index] or "{}"), **beyond})
        self._writer.write_table(
            pa.table(
                [
                    pa.array([self.batch] * len(cells), pa.string()),
                    pa.array([sheet] * len(cells), pa.string()),
                    pa.array(numbers, pa.int64()),
                ]
                + [text(layout.place.get(source)) for source in self.sources]
                + [pa.array(extra, pa.string()), pa.array([defects.get(i) for i in range(len(cells))], pa.string())],
                schema=self.schema,
            )
        )
        self.rows += len(cells)


def _json(cells: Mapping[str, str | None]) -> str | None:
    return json.dumps(cells, ensure_ascii=False) if cells else None


#: Stands where bytes could not be decoded; a row that holds one is broken.
UNREADABLE = "\ufffd"


def spell_out(layout: Layout, sheet: str | None, rows: SortedRows, room: int) -> list[Finding]:
    """A finding per broken row, at most `room`. Values are not shown: which cell holds what is just what is unsure."""
    found: list[Finding] = []
    for index, code in list(rows.defects.items())[: max(0, room)]:
        headers: list[str | None] = [None]
        if code == "character_unreadable":
            cells = [*rows.cells[index], *rows.surplus.get(index, ())]
            headers = [
                layout.header[position] if position < layout.width else f"column {position + 1}"
                for position, cell in enumerate(cells)
                if UNREADABLE in cell
            ]
        for header in headers:
            found.append(
                finding(code, sheet=sheet, row=rows.numbers[index], header=header, got=rows.sizes[index], expected=layout.width)
            )
    return found


def not_spelled_out(sheet: str | None, broken: int, spelled: int) -> list[Finding]:
    """What is to be said of broken rows beyond those that got a finding each."""
    return [finding("more_rows_broken", sheet=sheet, count=broken - spelled)] if broken > spelled else []


@dataclass(frozen=True)
class Written:
    """What came of the rows of one table. `last` is the number and the defect of the last data row, where it has one, and
    whether one of its cells holds a line break."""

    reading: Reading
    last: tuple[int, str, bool] | None = None


def write_rows(
    rows: Iterable[tuple[int, list[str]]],
    contract: Contract,
    writer: RawWriter,
    heading: Heading,
    layout: Layout,
    *,
    sheet: str | None = None,
    above: Sequence[Sequence[str]] = (),
    room: int = SPELLED_OUT,
    all_readable: bool = False,
    look: Callable[[list[tuple[int, list[str]]]], list[Finding]] | None = None,
) -> Written:
    """Write the data rows of one table, the rows above its header included in the count.

    `above` are the lines above the header, `room` the number of findings that may be spelled out, `look` sees the rows below
    the header before they are sorted.
    """
    body = Body(contract, layout, sheet, above, all_readable=all_readable)
    findings: list[Finding] = [*heading.findings, *layout.findings]
    other: Counter[str] = Counter()
    before, records, broken, spelled = writer.rows, 0, 0, 0
    last: tuple[int, str, bool] | None = None
    for group in groups(rows):
        records += len(group)
        if group[0][0] <= heading.last:
            other["above_header"] += sum(number < heading.first for number, _ in group)
            other["header"] += sum(heading.first <= number <= heading.last for number, _ in group)
            group = [item for item in group if item[0] > heading.last]
        if look:
            findings += look(group)
        found = body.sort(group)
        other += found.other
        writer.write(layout, sheet, found)
        said = spell_out(layout, sheet, found, room - len(findings))
        findings += said
        broken += len(found.defects)
        spelled += min(len(found.defects), len({f.row for f in said}))
        if found.numbers:
            end = len(found.numbers) - 1
            defect = found.defects.get(end)
            last = (found.numbers[end], defect, any("\n" in cell for cell in found.cells[end])) if defect else None
    findings += body.close()
    findings += not_spelled_out(sheet, broken, spelled)
    reading = Reading(
        header=(*layout.header[: layout.width], *(f"column {position + 1}" for position in sorted(body.nameless))),
        present={c.source: c.source in layout.place for c in contract.columns},
        records=records,
        rows=writer.rows - before,
        other={k: v for k, v in other.items() if v},
        findings=tuple(findings),
    )
    return Written(reading, last)


def not_read(
    records: int, findings: Iterable[Finding], layout: Layout | None = None, contract: Contract | None = None
) -> Reading:
    """A table of which nothing is taken; its lines are counted so that the receipt says how much."""
    header = layout.header[: layout.width] if layout else ()
    present = {c.source: c.source in layout.place for c in contract.columns} if layout and contract else {}
    return Reading(
        header=header, present=present, records=records, other={"not_read": records} if records else {}, findings=tuple(findings)
    )


def read_text(path: Path, contract: Contract, out: Path, longest_line: int, read: Callable[[Decoded], Reading]) -> Reading:
    """What the readers of text share: the UTF-8 copy that `read` gets, and what is told of the file's characters."""
    copy = out.with_suffix(".utf8")
    try:
        text = decode(path, contract.format.encoding, copy, longest_line)
        if text.encoding is None:
            return Reading(findings=text.findings)
        reading = read(text)
        findings = [*text.findings, *reading.findings]
        if text.private and out.is_file():
            findings += private_use(out, contract)
        dialect = {**reading.dialect, "line_ends": text.line_ends}
        return replace(reading, encoding=text.encoding, dialect=dialect, findings=tuple(findings))
    finally:
        copy.unlink(missing_ok=True)


def private_use(out: Path, contract: Contract) -> list[Finding]:
    """Every cell with a character that no other system can show (private-use area), as far as they are spelled out."""
    where = "regexp_extract({0}, '[\\x{{E000}}-\\x{{F8FF}}\\x{{F0000}}-\\x{{10FFFD}}]')"
    parts = " UNION ALL ".join(
        f"SELECT _sheet, _row, {i} AS i, {where.format(quoted(c.source))} AS c FROM raw WHERE {where.format(quoted(c.source))} <> ''"
        for i, c in enumerate(contract.columns)
    )
    with duckdb.connect() as con:
        con.execute(f"CREATE VIEW raw AS FROM read_parquet({literal(str(out))})")
        rows = con.execute(f"SELECT * FROM ({parts}) ORDER BY _sheet, _row, i LIMIT {SPELLED_OUT}").fetchall()
    return [
        finding(
            "cell_private_use",
            sheet=sheet,
            row=row,
            header=contract.columns[i].source,
            column_name=contract.columns[i].to,
            point=f"U+{ord(character):04X}",
        )
        for sheet, row, i, character in rows
    ]
