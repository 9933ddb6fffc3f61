"""Fixed width: each column stands at its position, counted in bytes of the declared encoding, as mainframes export."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from catalog.contract import Contract
from pipelines.readers.rows import (
    HEAD,
    RawWriter,
    Reading,
    find_heading,
    match_header,
    not_read,
    read_text,
    virtual_names,
    write_rows,
)
from pipelines.readers.text import Decoded
from quality.finding import Finding, finding

#: A longer line is no line of a table.
LONGEST_LINE = 1 << 20


def read(path: Path, contract: Contract, batch: str, out: Path) -> Reading:
    """Raw rows of one text file without delimiters. There is no header unless the contract names its row."""
    return read_text(path, contract, out, 16 * LONGEST_LINE, lambda text: _read_text(text, contract, batch, out))


def _read_text(text: Decoded, contract: Contract, batch: str, out: Path) -> Reading:
    copy, encoding = text.path, str(text.encoding)
    plain = contract if contract.format.header_row else _headless(contract)
    try:
        head = list(itertools.islice(_records(copy, encoding, contract), HEAD))
        heading = find_heading(plain, [row for _, row in head])
        if isinstance(heading, Finding):
            return not_read(_count(copy, encoding, contract), [heading])
        above = [row for _, row in head[: max(0, heading.first - 1)]]
        layout = match_header(plain, heading.cells, None, heading.last, virtual_names(contract, above))
        if layout.held:
            return not_read(_count(copy, encoding, contract), [*heading.findings, *layout.findings], layout, contract)
        with RawWriter(contract, batch, out) as writer:
            rows = _records(copy, encoding, contract)
            reading = write_rows(rows, plain, writer, heading, layout, above=above).reading
    except _EndlessLine as endless:
        out.unlink(missing_ok=True)
        return not_read(endless.row, [finding("cell_too_long", row=endless.row, most=LONGEST_LINE)])
    return reading if writer.rows else replace(reading, findings=(*reading.findings, finding("no_data_rows")))


def _headless(contract: Contract) -> Contract:
    return contract.model_copy(update={"format": contract.format.model_copy(update={"header_row": (0,)})})


class _EndlessLine(Exception):
    def __init__(self, row: int) -> None:
        super().__init__(row)
        self.row = row


def _records(copy: Path, encoding: str, contract: Contract) -> Iterator[tuple[int, list[str]]]:
    """(line, cells). A line that ends before its last column begins is short of cells; text behind the last one is a cell more."""
    places = [(first - 1, first - 1 + length) for first, length in (c.at for c in contract.columns if c.at)]
    last = max(range(len(places)), key=lambda i: places[i][0])
    width = max(end for _, end in places)
    with copy.open(encoding="utf-8", newline=None) as file:
        number = 0
        while line := file.readline(LONGEST_LINE):
            number += 1
            if len(line) >= LONGEST_LINE:
                raise _EndlessLine(number)
            # What could not be decoded is marked; the mark itself has to keep its place.
            bytes_ = line.rstrip("\n").replace("\ufffd", "\x1a").encode(encoding, "replace")
            cells = [bytes_[a:b].decode(encoding, "replace").replace("\x1a", "\ufffd").strip() for a, b in places]
            if not bytes_.strip():
                cells = [""]
            elif len(bytes_) <= places[last][0]:
                cells = cells[:-1]
            elif bytes_[width:].strip():
                cells.append(bytes_[width:].decode(encoding, "replace"))
            yield number, cells


def _count(copy: Path, encoding: str, contract: Contract) -> int:
    return sum(1 for _ in _records(copy, encoding, contract))
