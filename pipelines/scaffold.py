"""Scaffold a contract from a sample file: a person then corrects it instead of writing it."""

from __future__ import annotations

import codecs
import csv
import io
import re
import tempfile
import unicodedata
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from catalog.contract import plain_header as plain
from catalog.registry import SHIPPED
from pipelines.errors import NotFound
from pipelines.readers.packed import unpack
from quality.finding import Finding

SAMPLE_ROWS = 2_000
DELIMITERS = ",|\t;^"


@dataclass(frozen=True)
class Sample:
    """What the sample file looks like."""

    reader: str
    encoding: str | None
    delimiter: str | None
    sheet: str | None
    header_row: int
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def scaffold(path: Path) -> str:
    """YAML of a contract for files like `path`, with the places a person must look at marked by `# ?`."""
    if not path.is_file():
        raise NotFound(f"{path}: no such file; name a sample extract, as in `dmp contract new extract_20260302.csv`")
    sample = _unpacked_sample(path)
    if not any(sample.header):
        raise NotFound(f"{path}: no row looks like a header; name a sample with a header and some rows")
    fields = yaml.safe_load((SHIPPED / "standards" / "fields.yaml").read_text(encoding="utf-8"))
    known = {plain(header): (name, field) for name, field in fields.items() for header in field["headers"]}
    taken: set[str] = set()
    first = {plain(header): i for i, header in reversed(list(enumerate(sample.header))) if plain(header)}
    columns = [_column(sample.header[i], [row[i] for row in sample.rows], known, taken) for i in sorted(first.values())]
    keys = _candidate_keys(columns, sample)
    lines = [
        f"# Made from {path.name} by `dmp contract new`. Correct what is marked with ?, save it as",
        "# catalog/sources/<department>__<dataset>.yaml, then run `dmp contract check`.",
        f"title: {{zh: {_text(path.stem)}, en: {_text(path.stem)}}}   # ? what people call it",
        "# department: {id: police, zh: 公安局, en: Police}   # ? default: the part of the file name before __",
        "# entity: person            # ? the golden record it feeds, if any",
        f"load: {'increment' if keys else 'snapshot'}             # ? snapshot: each file is everything | increment: changed rows by key | append: new rows",
        *_period(path.name),
        "arrival:",
        f"  drop: {_text(re.sub(r'[0-9]+', '*', path.name))}",
        "  cycle: daily              # ? daily weekly monthly quarterly yearly event",
        '  due: "09:00 next working day"   # ?',
        *_unsure(sample),
        f"format: {_flow(_format(sample))}",
        "clean: [trim_text, null_tokens]",
        "columns:",
    ]
    for column in columns:
        body = {"from": column["from"], "to": column["to"]}
        if column["from"] in keys:
            body["key"] = True
        body |= {k: v for k, v in column.items() if k not in ("from", "to")}
        lines.append(f"  - {_flow(body)}")
    lines += [
        f"  # column {i + 1}, {_text(header) if header else 'without a header'}: no header of its own, so it is not read"
        for i, header in enumerate(sample.header)
        if i not in first.values()
    ]
    lines += [
        "# A column nobody needs: {from: header, ignore: the reason}",
        "expect: []                  # punctuality, keys, required and valid values are checked without being written",
    ]
    return "\n".join(lines) + "\n"


def _unpacked_sample(path: Path) -> Sample:
    with tempfile.TemporaryDirectory() as folder:
        inner = Path(folder) / "member"
        member = unpack(path, None, inner)
        if isinstance(member, Finding) and member.code != "archive_unreadable":
            raise NotFound(f"{path}: {member.message_en}")
        return _sample(inner if isinstance(member, str) else path)


def _sample(path: Path) -> Sample:
    with path.open("rb") as file:
        head = file.read(1 << 20)
    if head.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        from pipelines.readers.workbook import as_text, first_visible, load_sheet, open_workbook
        from pipelines.readers.workbook_parts import unfit

        opened = open_workbook(path)
        if isinstance(opened, Finding):
            raise NotFound(f"{path}: {opened.message_en}")
        book, zipped = opened
        sheet = first_visible(book)
        if zipped and (why := unfit(path, sheet)):
            raise NotFound(f"{path}: {why.message_en}")
        loaded = load_sheet(book, sheet, SAMPLE_ROWS)
        if loaded is None:
            raise NotFound(f"{path}: the workbook cannot be opened; name a sample that Excel opens")
        grid = [[as_text(c) for c in row] for row in loaded[1]]
        return _cut("workbook", None, None, sheet if len(book.sheet_names) > 1 else None, _header_row(grid), grid)
    if not head.strip():
        raise NotFound(f"{path}: empty; name a sample with a header and some rows")
    encoding = _encoding(path)
    text = codecs.getincrementaldecoder(encoding or "cp1252")("ignore").decode(head).removeprefix("\ufeff")
    lines = [line for line in text.splitlines()[:50] if line.strip()]
    delimiter = max(DELIMITERS, key=lambda d: (min((line.count(d) for line in lines[-10:]), default=0), -DELIMITERS.index(d)))
    csv.field_size_limit(len(text))
    grid = [row for _, row in zip(range(SAMPLE_ROWS), csv.reader(io.StringIO(text), delimiter=delimiter), strict=False)]
    return _cut("delimited", encoding, delimiter, None, _header_row(grid), grid)


def _cut(
    reader: str, encoding: str | None, delimiter: str | None, sheet: str | None, at: int, grid: Sequence[Sequence[str]]
) -> Sample:
    header = list(grid[at - 1]) if grid else []
    while header and not header[-1].strip():
        header.pop()
    width = len(header)
    rows = tuple(tuple(row[:width]) for row in grid[at:] if len(row) >= width and any(c.strip() for c in row))
    return Sample(reader, encoding, delimiter, sheet, at, tuple(h.strip() for h in header), rows)


def _encoding(path: Path) -> str | None:
    """UTF-8 or UTF-16 if the file is; GB 18030 or Big5 if all of it is and it looks like Chinese; None where a person must say.

    Text in a single-byte encoding often happens to be readable as Chinese, as rare characters that nobody writes.
    """
    with path.open("rb") as file:
        head = file.read(1 << 20)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    for encoding in ("utf-8-sig", "gb18030", "big5"):
        decoder = codecs.getincrementaldecoder(encoding)("strict")
        try:
            with path.open("rb") as file:
                while chunk := file.read(1 << 20):
                    decoder.decode(chunk)
                decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            continue
        if encoding == "utf-8-sig":
            return "utf-8"
        pairs = re.findall(rb"[\x81-\xfe][\x40-\xfe]", head)
        low, high, second = (0xB0, 0xD7, 0xA1) if encoding == "gb18030" else (0xA4, 0xC6, 0x40)
        common = sum(low <= pair[0] <= high and pair[1] >= second for pair in pairs)
        if 2 * common >= len(pairs):
            return encoding
    return None


def _header_row(grid: Sequence[Sequence[str]]) -> int:
    """The first of the leading rows that is as wide as the table, all text, and without repeats."""
    widths = [sum(bool(c.strip()) for c in row) for row in grid[:60]]
    widest = max(widths, default=0)
    for number, row in enumerate(grid[:60], 1):
        filled = [c.strip() for c in row if c.strip()]
        if len(filled) >= max(1, 0.8 * widest) and len(set(filled)) == len(filled) and not any(_is_number(c) for c in filled):
            return number
    return 1


def _is_number(text: str) -> bool:
    return bool(re.fullmatch(r"[+-]?\d[\d,.]*", text))


def _column(
    header: str, values: Sequence[str], known: Mapping[str, tuple[str, Mapping[str, Any]]], taken: set[str]
) -> dict[str, Any]:
    name, field = known.get(plain(header), (None, {}))
    if name is None or name in taken:
        name = _name(header, taken)
        field = {}
    taken.add(name)
    column: dict[str, Any] = {"from": header, "to": name}
    column |= {k: v for k, v in field.items() if k != "headers"}
    if not field and (kind := _type(values)):
        column |= kind
    return column


def _name(header: str, taken: set[str]) -> str:
    """An English-looking name from a header in any script; Chinese by its pinyin."""
    text = unicodedata.normalize("NFKC", header)
    if not text.isascii():
        from pypinyin import lazy_pinyin

        text = "_".join(lazy_pinyin(text))
    base = (
        re.sub(r"_+", "_", re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", text).lower()))
        .strip("_")[:40]
        .strip("_")
    )
    base = base if base and base[0].isalpha() else f"column_{base}".strip("_")
    name, number = base, 2
    while name in taken:
        name, number = f"{base}_{number}", number + 1
    return name


def _type(values: Sequence[str]) -> dict[str, Any] | None:
    filled = [v.strip() for v in values if v.strip()]
    if not filled:
        return None
    date = r"\d{4}[-/.年]\d{1,2}[-/.月]\d{1,2}日?( \d{1,2}:\d{2}(:\d{2})?)?"
    if all(re.fullmatch(date, v) for v in filled):
        return {"type": "date", "clean": ["date_any_format"]}
    # Leading zeros and long digits are codes, not quantities.
    if all(re.fullmatch(r"[+-]?(0|[1-9]\d{0,11})", v) for v in filled):
        return {"type": "integer"}
    if all(re.fullmatch(r"[+-]?(0|[1-9][\d,]{0,14})(\.\d+)?", v) for v in filled):
        return {"type": "number", "clean": ["number"]}
    return None


def _candidate_keys(columns: Sequence[Mapping[str, Any]], sample: Sample) -> set[str]:
    """The first column that is filled and different in every row of the sample."""
    for column in columns:
        place = sample.header.index(column["from"])
        values = [row[place].strip() for row in sample.rows]
        if len(values) > 1 and all(values) and len(set(values)) == len(values) and column.get("type") not in ("date", "number"):
            return {str(column["from"])}
    return set()


def _period(name: str) -> list[str]:
    for pattern, group in (
        (r"\d{8}", r"(?P<date>\\d{8})"),
        (r"\d{4}-\d{2}-\d{2}", r"(?P<date>\\d{4}-\\d{2}-\\d{2})"),
        (r"\d{6}", r"(?P<date>\\d{6})"),
    ):
        if re.search(pattern, name):
            before = re.split(pattern, name, maxsplit=1)[0]
            return [f'period: {{from: file_name, pattern: "{re.escape(before)}{group}"}}   # ?']
    return ["period: {from: arrival}   # ? the file name tells no date, so the day of arrival counts"]


def _unsure(sample: Sample) -> list[str]:
    """What to say where the bytes do not tell their encoding: how a value of the sample reads in the usual ones."""
    if sample.encoding or sample.reader != "delimited":
        return []
    texts = [cell for row in (sample.header, *sample.rows) for cell in row if not cell.isascii()]
    shown = []
    for name in ("cp1252", "gb18030", "big5", "cp1251", "iso8859-7", "cp949", "shift_jis"):
        with suppress(UnicodeError):
            shown.append(f"#   {name}: {texts[0].encode('cp1252').decode(name)}")
    return ["# ? The bytes fit several encodings. Ask the sender, and write the one in which this reads as it should:", *shown]


def _format(sample: Sample) -> dict[str, Any]:
    form: dict[str, Any] = {"reader": sample.reader}
    if sample.reader == "delimited":
        form["encoding"] = sample.encoding or "?"
    if sample.delimiter:
        form["delimiter"] = {"\t": "tab"}.get(sample.delimiter, sample.delimiter)
    if sample.sheet:
        form["sheet"] = sample.sheet
    if sample.header_row > 1:
        form["header_row"] = sample.header_row
    return form


def _text(value: str) -> str:
    return (
        yaml.safe_dump(value, allow_unicode=True, default_flow_style=True, width=10_000)
        .removesuffix("\n")
        .removesuffix("...")
        .strip()
    )


def _flow(value: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(value), allow_unicode=True, default_flow_style=True, sort_keys=False, width=10_000).strip()
