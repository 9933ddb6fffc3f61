"""What all readers share: the header matched against the contract, raw rows written as Parquet, and the account of lines."""

from __future__ import annotations

import difflib
import json
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as pq

from catalog.contract import Contract
from quality.finding import Finding, finding

#: Rows per written group: bounded memory, and row groups that DuckDB can skip.
GROUP = 50_000
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


def plain(text: object) -> str:
    """A header as it is compared: width, blanks, breaks and letter case do not count."""
    return "".join(unicodedata.normalize("NFKC", str(text)).split()).casefold()


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
            extra[position] = cell.strip() or f"column {position + 1}"
    findings: list[Finding] = []
    row = contract.format.header_row
    missing = [c for c in contract.columns if c.source not in place and not c.optional]
    for column in missing:
        near = difflib.get_close_matches(column.source, list(extra.values()), n=1, cutoff=0.5)
        hint_zh = f"；文件里有相近的“{near[0]}”" if near else ""
        hint_en = f"; the file has a similar `{near[0]}`" if near else ""
        findings.append(finding("column_missing", sheet=sheet, row=row, header=column.source,
                                column_name=column.to, hint_zh=hint_zh, hint_en=hint_en,
                                found=len(header), declared=len(contract.columns)))
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

    def write(self, layout: Layout, sheet: str | None, numbers: Sequence[int], cells: Sequence[Sequence[str | None]],
              defects: Mapping[int, str]) -> None:
        """One group of rows. `cells` are as wide as the header or wider; `defects` maps an index to a finding code."""
        if not cells:
            return
        columns: list[Sequence[str | None]] = list(zip(*cells, strict=True))
        nothing: list[str | None] = [None] * len(cells)

        def text(position: int | None) -> pa.Array:
            if position is None or position >= len(columns):
                return pa.array(nothing, pa.string())
            return pa.array([value or None for value in columns[position]], pa.string())

        extra = nothing
        beyond = {p: f"column {p + 1}" for p in range(layout.width, len(columns))}
        if layout.extra or beyond:
            named = {**layout.extra, **beyond}
            extra = [_json({name: row[p] for p, name in named.items() if p < len(row) and row[p]}) for row in cells]
        self._writer.write_table(pa.table(
            [pa.array([self.batch] * len(cells), pa.string()), pa.array([sheet] * len(cells), pa.string()),
             pa.array(numbers, pa.int64())]
            + [text(layout.place.get(source)) for source in self.sources]
            + [pa.array(extra, pa.string()), pa.array([defects.get(i) for i in range(len(cells))], pa.string())],
            schema=self.schema,
        ))
        self.rows += len(cells)


def _json(cells: Mapping[str, str | None]) -> str | None:
    return json.dumps(cells, ensure_ascii=False) if cells else None


def sort_rows(
    layout: Layout, rows: Sequence[tuple[int, list[str]]], bad: str = "\ufffd"
) -> tuple[list[int], list[list[str]], dict[int, str], Counter[str]]:
    """Tell data rows from other lines, and sound rows from broken ones.

    Returns row numbers, cells (all padded to one width), defects by index, and the count of lines that are no data.
    """
    width = layout.width
    heading = [plain(c) for c in layout.header]
    numbers: list[int] = []
    cells: list[list[str]] = []
    defects: dict[int, str] = {}
    other: Counter[str] = Counter()
    widest = width
    spare = 2 * sum(len(row) > width and not any(row[width:]) for _, row in rows) > len(rows)
    for number, row in rows:
        if not any(row) or not any(cell.strip() for cell in row):
            other["blank"] += 1
            continue
        if len(row) != width:
            if spare and len(row) > width and not any(row[width:]):
                # Most lines end with spare delimiters. On a single line it is a value that holds the delimiter, and
                # everything behind it would stand in the wrong column.
                row = row[:width]
            elif len(row) < width:
                defects[len(cells)] = "row_too_short"
                row = row + [""] * (width - len(row))
            else:
                defects[len(cells)] = "row_too_long"
                widest = max(widest, len(row))
        elif row[0] and plain(row[0]) == heading[0] and [plain(c) for c in row] == heading:
            defects[len(cells)] = "header_repeated"
        for cell in row:
            if bad in cell:
                defects[len(cells)] = "character_unreadable"
                break
        numbers.append(number)
        cells.append(row)
    if widest > width:
        cells = [row + [""] * (widest - len(row)) for row in cells]
    return numbers, cells, defects, other


def spell_out(
    layout: Layout, sheet: str | None, numbers: Sequence[int], cells: Sequence[Sequence[str]],
    defects: Mapping[int, str], room: int, bad: str = "\ufffd",
) -> list[Finding]:
    """A finding per broken row, at most `room`. Values are not shown: which cell holds what is just what is unsure."""
    found: list[Finding] = []
    for index, code in list(defects.items())[:room]:
        row = [c for c in cells[index] if c]
        header = None
        if code == "character_unreadable":
            position = next(i for i, c in enumerate(cells[index]) if bad in c)
            header = layout.header[position] if position < layout.width else None
        found.append(finding(code, sheet=sheet, row=numbers[index], header=header, got=len(row), expected=layout.width))
    return found
