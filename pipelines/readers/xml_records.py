"""XML: one record an element, fields its children and attributes by path (`holder/name` is `holder.name`, `@id`).

Parsed by defusedxml: entities, external references and document types with entities are refused, never followed.
"""

from __future__ import annotations

import codecs
import functools
import itertools
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import iterparse

from catalog.contract import Contract
from pipelines.readers.records import DEEPEST, LOOKED_AT, Patient, Record, Unreadable, flat, likely_place, write_records
from pipelines.readers.rows import Reading
from pipelines.readers.text import transcode
from quality.finding import finding

#: Encodings that the parser reads itself.
_KNOWN = ("utf-8", "utf8", "utf-16", "us-ascii", "ascii", "iso-8859-1")
_PROLOG = re.compile(rb"""^(?:\xef\xbb\xbf)?\s*<\?xml[^>]*?encoding=["']([A-Za-z0-9._-]+)["'][^>]*\?>""")


def read(path: Path, contract: Contract, batch: str, out: Path) -> Reading:
    """Raw rows of one file: an element at the agreed path (`records`) is a record, else the elements with the agreed fields.

    The file's own first line names its encoding.
    """
    with path.open("rb") as file:
        head = file.read(4096)
    if not head.strip():
        return Reading(findings=(finding("file_empty", size=path.stat().st_size),))
    named = _PROLOG.match(head)
    encoding = named.group(1).decode() if named else "utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    if encoding.lower() in _KNOWN:
        return replace(_read(path, contract, batch, out), encoding=encoding.lower())
    copy = out.with_suffix(".utf8")
    try:
        # What calls itself GB2312 or GBK is nearly always GB 18030, which holds both.
        name = {"gb2312": "gb18030", "gbk": "gb18030"}.get(encoding.lower(), encoding)
        known = codecs.lookup(name)
        if not getattr(known, "_is_text_encoding", True):
            raise LookupError(name)
        text = transcode(path, known.name, copy)
        if text.encoding is None:
            return Reading(findings=text.findings)
        with copy.open("r+b") as file:
            first = file.read(4096)
            file.seek(0)
            file.write(re.sub(rb"encoding=(['\"])[^'\"]*['\"]", lambda m: b" " * len(m.group()), first, count=1))
        reading = _read(copy, contract, batch, out)
        return replace(reading, encoding=text.encoding, findings=(*text.findings, *reading.findings))
    except LookupError:
        return Reading(findings=(finding("xml_unreadable", why=encoding),))
    finally:
        copy.unlink(missing_ok=True)


def _read(path: Path, contract: Contract, batch: str, out: Path) -> Reading:
    agreed = tuple(part for part in (contract.format.records or "").split("/") if part)
    place = functools.cache(lambda: agreed or _found(path, contract))

    def records() -> Iterator[tuple[int, Record]]:
        return _elements(path, place())

    return write_records(records, contract, batch, out)


def _found(path: Path, contract: Contract) -> tuple[str, ...]:
    """Path of the elements that have the agreed fields. Raises Unreadable where one has no end; of what is no XML the reading
    itself says what is wrong."""
    fields: dict[tuple[str, ...], set[str]] = {}
    stack: list[str] = []
    try:
        with path.open("rb") as file:
            patient = Patient(file)
            for event, element in itertools.islice(iterparse(patient, events=("start", "end")), LOOKED_AT):
                patient.field(len(element.attrib))
                if event == "end":
                    stack.pop()
                    continue
                stack.append(_local(element.tag))
                fields.setdefault(tuple(stack), set()).update(f"@{_local(name)}" for name in element.attrib)
                if len(stack) > 1:
                    fields[tuple(stack[:-1])].add(stack[-1])
    except (DefusedXmlException, ParseError, ValueError, LookupError):
        pass
    return likely_place({p: f for p, f in fields.items() if len(p) > 1}, contract) or ()


def _elements(path: Path, place: tuple[str, ...]) -> Iterator[tuple[int, Record]]:
    stack: list[Element] = []
    number = 0
    inside: int | None = None
    try:
        with path.open("rb") as file:
            patient = Patient(file)
            for event, element in iterparse(patient, events=("start", "end")):
                if inside is None:
                    patient.between()
                if event == "start":
                    patient.field(1 + len(element.attrib))
                    stack.append(element)
                    if len(stack) > DEEPEST + 8:
                        raise Unreadable(finding("xml_unreadable", why=f"> {DEEPEST} levels"))
                    if inside is None and _is_record(stack, place):
                        inside = len(stack)
                    continue
                if inside == len(stack):
                    number += 1
                    yield number, flat(_fields(element, ""))
                    inside = None
                stack.pop()
                if inside is None:
                    element.clear()
                    if stack:
                        stack[-1].remove(element)
    except DefusedXmlException:
        raise Unreadable(finding("xml_entities")) from None
    except (ParseError, ValueError, LookupError) as error:
        position: Any = getattr(error, "position", None)
        why = f"第 {position[0]} 行 line {position[0]}" if position else type(error).__name__
        raise Unreadable(finding("xml_unreadable", why=why)) from None
    if not number:
        raise Unreadable(finding("records_absent", path="/" + "/".join(place or ("*", "*"))))


def _is_record(stack: list[Element], place: tuple[str, ...]) -> bool:
    if not place:
        return len(stack) == 2
    return len(stack) == len(place) and all(_local(e.tag) == name for e, name in zip(stack, place, strict=True))


def _local(tag: str) -> str:
    """The name without its namespace."""
    return tag.rpartition("}")[2]


def _fields(element: Element, path: str) -> Iterator[tuple[str, str]]:
    for name, value in element.attrib.items():
        yield (f"{path}.@{_local(name)}" if path else f"@{_local(name)}"), value
    text = (element.text or "").strip()
    if path and (text or not len(element)):
        yield path, text
    for child in element:
        name = _local(child.tag)
        yield from _fields(child, f"{path}.{name}" if path else name)
