"""What formats of named fields share (JSON, XML): records of any shape become rows under one header."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, TypeVar

from catalog.contract import Contract
from catalog.contract import plain_header as plain
from pipelines.readers.rows import (
    MOST_COLUMNS,
    Heading,
    RawWriter,
    Reading,
    SortedRows,
    match_header,
    not_read,
    private_use,
    spell_out,
    write_rows,
)
from quality.finding import Finding, finding

#: A record's fields as text, by path; None where the record cannot be read.
Record = Mapping[str, str] | None
Place = TypeVar("Place", bound=Hashable)
#: More characters in one record are no record of a table.
LONGEST_RECORD = 16 << 20
#: Nesting beyond this is no record of a table.
DEEPEST = 64
#: More fields in one record, repeated ones counted, are no record of a table: they are taken apart only after it ends.
MOST_FIELDS = 100_000

#: Bytes that a parser may read before it must have given the next record.
LONGEST_GAP = 64 << 20
#: Elements or objects that are looked at to find out where the records are.
LOOKED_AT = 5_000


class Patient:
    """A file for a parser that gives records: ends the reading where one of them has no end."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.between()

    def between(self) -> None:
        """No record is open: the next one has the whole patience."""
        self.since = self.fields = 0

    def field(self, count: int = 1) -> None:
        self.fields += count
        if self.fields > MOST_FIELDS:
            raise Unreadable(finding("record_too_wide", most=MOST_FIELDS))

    def read(self, size: int = -1) -> bytes:
        """A megabyte, whatever is asked for: a parser looks at an unfinished token anew with each piece it gets. Nothing where
        nothing is asked for: so a parser learns whether this is bytes or text."""
        if not size:
            return b""
        data = self.file.read(1 << 20)
        self.since += len(data)
        if self.since > LONGEST_GAP:
            raise Unreadable(finding("record_endless", most=LONGEST_GAP >> 20))
        return data


def likely_place(fields: Mapping[Place, set[str]], contract: Contract) -> Place | None:
    """Where the records are: the place with most of the agreed field names; of equals the one that came first."""
    wanted = {plain(alias) for column in contract.columns for alias in column.from_}
    found = {place: len(wanted & {plain(name) for name in names}) for place, names in fields.items()}
    best = max(found, key=lambda place: found[place], default=None)
    return best if best is not None and found[best] else None


class Unreadable(Exception):
    """The file ends, or is no file of its format, after some records."""

    def __init__(self, why: Finding) -> None:
        super().__init__(why.code)
        self.finding = why


def write_records(records: Callable[[], Iterator[tuple[int, Record]]], contract: Contract, batch: str, out: Path) -> Reading:
    """Two passes: the first learns the fields, the second writes. `records` gives (number from 1, fields).

    A record that cannot be read is a broken row; the others go on. Raises nothing: what stops the format's parser holds.
    """
    header: dict[str, None] = {}
    count = broken = 0
    try:
        for _, record in records():
            count += 1
            broken += record is None
            if record is not None:
                header |= dict.fromkeys(record)
            if len(header) > MOST_COLUMNS:
                return not_read(count, [finding("too_many_columns", count=len(header), most=MOST_COLUMNS)])
    except Unreadable as why:
        return not_read(count, [why.finding])
    if not count:
        return not_read(0, [finding("no_data_rows")])
    layout = match_header(contract, list(header))
    if layout.held:
        return not_read(count, layout.findings, layout, contract)
    names = list(layout.header)
    damaged: list[int] = []

    def rows() -> Iterator[tuple[int, list[str]]]:
        for number, record in records():
            if record is None:
                damaged.append(number)
            else:
                # A record without any field is a row all the same: it stands in the file.
                yield number, [record.get(name, "") for name in names]

    with RawWriter(contract, batch, out) as writer:
        written = write_rows(rows(), contract, writer, Heading(0, 0, tuple(names)), layout).reading
        sorted_rows = SortedRows(
            damaged, [[""] * len(names) for _ in damaged], dict.fromkeys(range(len(damaged)), "record_unreadable"),
            dict.fromkeys(range(len(damaged)), 0),
        )  # fmt: skip
        writer.write(layout, None, sorted_rows)
        findings = [*written.findings, *spell_out(layout, None, sorted_rows, 1000)]
    if not writer.rows:
        findings.append(finding("no_data_rows"))
    else:
        findings += private_use(out, contract)
    return Reading(
        header=written.header,
        present=written.present,
        records=count,
        rows=writer.rows,
        other=written.other,
        findings=tuple(findings),
    )


def flat(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Fields by path; a path that comes twice keeps all its values, one after the other."""
    found: dict[str, list[str]] = {}
    for path, value in pairs:
        found.setdefault(path, []).append(value)
    return {path: values[0] if len(values) == 1 else "; ".join(filter(None, values)) for path, values in found.items()}
