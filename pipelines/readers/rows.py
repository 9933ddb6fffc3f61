"""What all readers share: the header matched against the contract, raw rows written as Parquet, and the account of lines."""

from __future__ import annotations

import difflib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as pq

from catalog.contract import Contract
from catalog.contract import plain_header as plain
from quality.finding import Finding, finding, masked

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
    """Where each declared column stands in the file. `extra` are cells that no column declares, by position."""

    header: tuple[str, ...]
    place: Mapping[str, int]
    extra: Mapping[int, str]
    findings: tuple[Finding, ...]

    @property
    def width(self) -> int:
        return len(self.header)


def match_header(contract: Contract, cells: Sequence[str], sheet: str | None = None) -> Layout:
    """Match the header row. A missing declared column holds the batch; an undeclared one is kept and reported."""
    header = list(cells)
    while header and not header[-1].strip():
        header.pop()  # empty columns at the right edge, as spreadsheets leave them
    spelled = {plain(alias): column.source for column in contract.columns for alias in column.from_}
    place: dict[str, int] = {}
    extra: dict[int, str] = {}
    for position, cell in enumerate(header):
        source = spelled.get(plain(cell))
        if source is not None and source not in place:
            place[source] = position
        else:
            name = cell.strip() or f"column {position + 1}"
            extra[position] = name if name not in extra.values() else f"{name} ({position + 1})"
    findings: list[Finding] = []
    row = (contract.format.header_row or (1,))[-1]
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
    return Layout(tuple(header), place, extra, tuple(findings))


def header_elsewhere(contract: Contract, rows: Sequence[Sequence[str]]) -> int | None:
    """Row (from 1) that looks like the header, where the declared one does not: most declared names, at least half."""
    wanted = {plain(alias) for column in contract.columns for alias in column.from_}
    best = max(range(len(rows)), key=lambda i: len(wanted & {plain(c) for c in rows[i]}), default=None)
    if best is None or 2 * len(wanted & {plain(c) for c in rows[best]}) < len(contract.columns):
        return None
    return best + 1


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


class RawWriter:
    """Collects rows of cells and writes them as the raw Parquet of one batch."""

    def __init__(self, contract: Contract, batch: str, out: Path) -> None:
        self.sources = [c.source for c in contract.columns]
        self.batch = batch
        self.out = out
        self.rows = 0
        self.schema = pa.schema(
            [("_batch", pa.string()), ("_sheet", pa.string()), ("_row", pa.int64())]
            + [(s, pa.string()) for s in self.sources]
            + [("_extra", pa.string()), ("_defect", pa.string())]
        )

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

        extra = nothing
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


def sort_rows(layout: Layout, rows: Sequence[tuple[int, list[str]]], *, all_readable: bool = False) -> SortedRows:
    """Tell data rows from other lines, and sound rows from broken ones. `all_readable`: no need to look for marks."""
    width = layout.width
    heading = [plain(c) for c in layout.header]
    found = SortedRows()
    spare = 2 * sum(len(row) > width and not any(row[width:]) for _, row in rows) > len(rows)
    for number, row in rows:
        if not any(row) or not any(cell.strip() for cell in row):
            found.other["blank"] += 1
            continue
        index = len(found.cells)
        size, defect = len(row), None
        if not all_readable and any(UNREADABLE in cell for cell in row):
            defect = "character_unreadable"
        if size < width:
            defect = defect or "row_too_short"
            row = row + [""] * (width - size)
        elif size > width:
            # Most lines end with spare delimiters. On a single line it is a value that holds the delimiter, and
            # everything behind it would stand in the wrong column.
            if not spare or any(row[width:]):
                defect = defect or "row_too_long"
                found.surplus[index] = row[width:]
            row = row[:width]
        elif row[0] and plain(row[0]) == heading[0] and [plain(c) for c in row] == heading:
            defect = defect or "header_repeated"
        if defect:
            found.defects[index], found.sizes[index] = defect, size
        found.numbers.append(number)
        found.cells.append(row)
    return found


def spell_out(layout: Layout, sheet: str | None, rows: SortedRows, room: int) -> list[Finding]:
    """A finding per broken row, at most `room`. Values are not shown: which cell holds what is just what is unsure."""
    found: list[Finding] = []
    for index, code in list(rows.defects.items())[: max(0, room)]:
        header = None
        if code == "character_unreadable":
            cells = [*rows.cells[index], *rows.surplus.get(index, ())]
            position = next(i for i, cell in enumerate(cells) if UNREADABLE in cell)
            header = layout.header[position] if position < layout.width else f"column {position + 1}"
        found.append(
            finding(code, sheet=sheet, row=rows.numbers[index], header=header, got=rows.sizes[index], expected=layout.width)
        )
    return found


def not_spelled_out(sheet: str | None, broken: int, spelled: int) -> list[Finding]:
    """What is to be said of broken rows beyond those that got a finding each."""
    return [finding("more_rows_broken", sheet=sheet, count=broken - spelled)] if broken > spelled else []
