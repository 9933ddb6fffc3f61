"""JSON and JSON Lines: one record an object, numbers as they are written, nested objects by path (`holder.name`)."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import ijson

from catalog.contract import Contract
from catalog.contract import plain_header as plain
from pipelines.readers.records import (
    DEEPEST,
    LONGEST_RECORD,
    LOOKED_AT,
    Patient,
    Record,
    Unreadable,
    flat,
    likely_place,
    write_records,
)
from pipelines.readers.rows import Reading
from pipelines.readers.text import decode
from quality.finding import finding


def read(path: Path, contract: Contract, batch: str, out: Path) -> Reading:
    """Raw rows of one file: a list of objects at the agreed place (`records`), or one object a line."""
    copy = out.with_suffix(".utf8")
    try:
        text = decode(path, contract.format.encoding, copy)
        if text.encoding is None:
            return Reading(findings=text.findings)
        lines = contract.format.records is None and _is_lines(copy, contract)
        place = contract.format.records
        if place is None and not lines:
            place = _found(copy, contract)

        def records() -> Iterator[tuple[int, Record]]:
            return _lines(copy) if lines else _listed(copy, place or "")

        reading = write_records(records, contract, batch, out)
        dialect = {"form": "JSON Lines" if lines else "JSON", "line_ends": text.line_ends}
        return replace(reading, encoding=text.encoding, dialect=dialect, findings=(*text.findings, *reading.findings))
    finally:
        copy.unlink(missing_ok=True)


def _found(copy: Path, contract: Contract) -> str:
    """Path of the list that holds objects with the agreed fields."""
    fields: dict[str, set[str]] = {}
    try:
        with copy.open("rb") as file:
            for prefix, event, value in itertools.islice(ijson.parse(_events(_Digits(file))), LOOKED_AT * 20):
                if event == "map_key" and prefix.split(".").count("item") == 1 and prefix.endswith("item"):
                    fields.setdefault(prefix, set()).add(value)
    except (ijson.JSONError, UnicodeError, Unreadable, RecursionError, _TooDeep):
        pass  # the reading itself says what is wrong
    return (likely_place(fields, contract) or "item").removesuffix("item").removesuffix(".")


def _is_lines(copy: Path, contract: Contract) -> bool:
    """Whether the file is one object a line rather than one document. A single line is, if it has an agreed field itself."""
    with copy.open(encoding="utf-8") as file:
        lines = (line.strip() for line in iter(lambda: file.readline(LONGEST_RECORD), ""))
        first, second = (next((line for line in lines if line), "") for _ in range(2))
    if not first.startswith("{") or not first.endswith("}"):
        return first.startswith("{") and second.startswith("{")
    wanted = {plain(alias) for column in contract.columns for alias in column.from_}
    return bool(second) or any(plain(name) in wanted for name in _line(first) or ())


def _lines(copy: Path) -> Iterator[tuple[int, Record]]:
    with copy.open(encoding="utf-8") as file:
        number = 0
        while line := file.readline(LONGEST_RECORD):
            number += 1
            if len(line) >= LONGEST_RECORD:
                raise Unreadable(finding("cell_too_long", row=number, most=LONGEST_RECORD))
            if line.strip():
                yield number, _line(line)


def _line(line: str) -> Record:
    try:
        value = json.loads(line, parse_int=str, parse_float=str, parse_constant=str, object_pairs_hook=_Pairs)
        return flat(_fields(value, "")) if isinstance(value, _Pairs) else None
    except (ValueError, RecursionError):
        return None


def _listed(copy: Path, place: str) -> Iterator[tuple[int, Record]]:
    """Objects of the list at `place`, whatever else the document holds; without a place, of the only list or object."""
    prefix = ".".join(part for part in (place, "item") if part)
    number = 0
    with copy.open("rb") as file:
        patient = _Digits(file)
        try:
            for number, value in enumerate(ijson.items(ijson.parse(_events(patient)), prefix), 1):
                patient.between()
                yield number, flat(_fields(value, "")) if isinstance(value, dict) else None
        except (ijson.JSONError, UnicodeError) as error:  # half a character is an error of its own to the parser
            raise Unreadable(finding("json_unreadable", why=_why(error))) from None
        except (RecursionError, MemoryError, _TooDeep):
            raise Unreadable(finding("json_unreadable", why=f"> {DEEPEST} levels")) from None
    if not number:
        raise Unreadable(finding("records_absent", path=place or "[...]"))


class _Digits(Patient):
    """The parser fails hard on numbers of many thousand digits, so such a file does not reach it."""

    def read(self, size: int = -1) -> bytes:
        data = super().read(size)
        if _ENDLESS_NUMBER.search(data):
            raise Unreadable(finding("json_unreadable", why="> 2,000 digits"))
        return data


_ENDLESS_NUMBER = re.compile(rb"[0-9]{2000}")


def _events(file: Patient) -> Iterator[tuple[str, Any]]:
    """The parser's events. It keeps a path for every level it is in, so the depth is bounded before it is asked for paths."""
    depth = 0
    for event, value in ijson.basic_parse(file, use_float=False):
        if event in ("start_map", "start_array"):
            depth += 1
            if depth > DEEPEST:
                raise _TooDeep
        elif event in ("end_map", "end_array"):
            depth -= 1
        elif event == "map_key":
            file.field()
        yield event, value


def _why(error: Exception) -> str:
    """The parser's reason without the text around it: that is somebody's data."""
    if isinstance(error, UnicodeError):
        return "\\ud800"
    return str(error).splitlines()[0].split(":")[0][:80]


#: Halves of characters, and NUL: JSON can spell them, no text can hold them. The mark makes the row a broken one.
_UNWRITABLE = re.compile("[\ud800-\udfff\0]")


class _Pairs(list[tuple[str, Any]]):
    """An object with its members in order, repeated ones included."""


class _TooDeep(ValueError):
    pass


def _fields(value: Any, path: str, depth: int = 0) -> Iterator[tuple[str, str]]:
    if depth > DEEPEST:
        raise _TooDeep
    members = value if isinstance(value, _Pairs) else value.items() if isinstance(value, dict) else None
    if members is not None:
        for name, inner in members:
            yield from _fields(inner, f"{path}.{name}" if path else str(name), depth + 1)
    else:
        yield path, _text(value)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _UNWRITABLE.sub("\ufffd", value) if _UNWRITABLE.search(value) else value
    if isinstance(value, Decimal | int):
        return str(value)
    return json.dumps(_plain(value), ensure_ascii=False, default=str)


def _plain(value: Any) -> Any:
    if isinstance(value, _Pairs):
        return {name: _plain(inner) for name, inner in value}
    return [_plain(v) for v in value] if isinstance(value, list) else value
