"""Bytes to UTF-8 text: strictly, streaming, the whole file, before anything is parsed.

The contract names the encoding and the bytes confirm it; nothing is guessed. Bytes that cannot be decoded become
U+FFFD in their place, so that exactly the rows that hold them are refused and the others go on.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from quality.finding import Finding, finding

CHUNK = 1 << 22
MARK = "\ufffd"
_PRIVATE = re.compile("[\ue000-\uf8ff\U000f0000-\U0010ffff]")

#: Characters that GB 18030-2022 moved out of the private-use area and that Python 3.11 still decodes into it.
#: The bytes A8BC, A6D9-A6DF, A6EC-A6ED, A6F3, FE51-FE53, FE59, FE61, FE66-67, FE6C-6D, FE76, FE7E, FE90-91, FEA0.
GB18030_2022 = {
    0xE7C7: 0x1E3F, 0xE78D: 0xFE10, 0xE78E: 0xFE12, 0xE78F: 0xFE11, 0xE790: 0xFE13, 0xE791: 0xFE14, 0xE792: 0xFE15,
    0xE793: 0xFE16, 0xE794: 0xFE17, 0xE795: 0xFE18, 0xE796: 0xFE19, 0xE816: 0x20087, 0xE817: 0x20089, 0xE818: 0x200CC,
    0xE81E: 0x9FB4, 0xE826: 0x9FB5, 0xE82B: 0x9FB6, 0xE82C: 0x9FB7, 0xE831: 0x215D7, 0xE832: 0x9FB8, 0xE83B: 0x2298F,
    0xE843: 0x9FB9, 0xE854: 0x9FBA, 0xE855: 0x241FE, 0xE864: 0x9FBB,
}  # fmt: skip

#: Encodings that give the same bytes back for every text they decode to (a test goes through all their characters). GB 18030
#: does so but for the characters above.
REVERSIBLE = frozenset({"utf-8", "ascii", "gb18030", "gbk", "iso8859-1", "cp1252", "utf-16", "utf-16-le", "utf-16-be", "utf-32"})

_MAGIC: Sequence[tuple[bytes, str]] = (
    (b"PK\x03\x04", "file_is_a_workbook"),
    (b"\xd0\xcf\x11\xe0", "file_is_a_workbook"),
    (b"%PDF", "file_is_not_text"),
    (b"\x1f\x8b", "file_is_not_text"),
    (b"PAR1", "file_is_not_text"),
)
_MARKUP = (b"<html", b"<table", b"<!doctype html", b"<meta", b"<workbook")


@dataclass(frozen=True)
class Decoded:
    """The UTF-8 copy and what was seen on the way. `encoding` is None where the file could not be read as text."""

    path: Path
    encoding: str | None
    marked: int
    private: int
    line_ends: str
    ends_with_break: bool
    findings: tuple[Finding, ...]


def decode(path: Path, encodings: Sequence[str], out: Path, longest_line: int | None = None) -> Decoded:
    """Write `path` as UTF-8 to `out`, under the first declared encoding that reads every byte.

    Where none does, the first declared one is used with marks, unless so many bytes fail that the declaration
    must be wrong: then the file is held. A file with a line of more than `longest_line` bytes is held.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(4096)
    if not head.strip() and size == len(head):
        return _refused(out, finding("file_empty", size=size))
    for magic, code in _MAGIC:
        if head.startswith(magic):
            return _refused(out, finding(code))
    if is_markup(head):
        return _refused(out, finding("file_is_html"))
    if longest_line and size > longest_line and (row := _endless_line(path, longest_line)):
        return _refused(out, finding("cell_too_long", row=row, most=longest_line))
    names = [codecs.lookup(encoding).name for encoding in encodings]
    # Text in UTF-16 has a mark in front, or every other byte of its digits and letters is zero.
    if not any(n.startswith(("utf-16", "utf-32")) for n in names) and (
        head.startswith((b"\xff\xfe", b"\xfe\xff")) or 4 * head.count(0) > len(head)
    ):
        return _refused(out, finding("file_is_utf16"))
    if not all(n.startswith("utf-8") for n in names) and _is_utf8(path):
        # Chinese text in UTF-8 is often readable as GB 18030 too, as nonsense.
        if not any(n.startswith("utf-8") for n in names):
            return _refused(out, finding("encoding_differs", declared=encodings[0], seen="utf-8"))
        encodings = sorted(encodings, key=lambda e: not codecs.lookup(e).name.startswith("utf-8"))
    result = next((r for e in encodings if (r := _attempt(path, e, out, strict=True))), None)
    result = result or _attempt(path, encodings[0], out, strict=False)
    if result is None or result.marked > max(20, _count(out, b"\n") // 20):
        zeros = result is not None and any(f.code == "character_nul" for f in result.findings)
        seen = None if zeros else next((e for e in ("utf-8", "gb18030") if e not in names and _reads(path, e)), None)
        hint_zh = f"；这些字节像是 {seen} 编码" if seen else ""
        hint_en = f"; the bytes look like {seen}" if seen else ""
        return _refused(
            out,
            finding(
                "encoding_wrong",
                declared=", ".join(encodings),
                count=result.marked if result else 1,
                hint_zh=hint_zh,
                hint_en=hint_en,
            ),
        )
    return result


def _endless_line(path: Path, most: int) -> int | None:
    """Row of the first line of more than `most` bytes. None: every line ends before."""
    row, since = 1, 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            last = max(chunk.rfind(b"\n"), chunk.rfind(b"\r"))
            since = len(chunk) - last - 1 if last >= 0 else since + len(chunk)
            row += chunk.count(b"\n")
            if since >= most:
                return row
    return None


def transcode(path: Path, encoding: str, out: Path) -> Decoded:
    """Write `path` as UTF-8 to `out`; what cannot be decoded is marked in its place. For formats that name their encoding."""
    return (
        _attempt(path, encoding, out, strict=True)
        or _attempt(path, encoding, out, strict=False)
        or _refused(out, finding("encoding_wrong", declared=encoding, count=1, hint_zh="", hint_en=""))
    )


def is_markup(head: bytes) -> bool:
    """Whether the file begins as a web page or XML does: what some systems call an export to Excel."""
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return start.startswith(b"<") and any(tag in start for tag in _MARKUP)


def _refused(out: Path, why: Finding) -> Decoded:
    return Decoded(out, None, 0, 0, "", True, (why,))


def _mark(error: UnicodeError) -> tuple[str, int]:
    if isinstance(error, UnicodeDecodeError):
        return MARK, error.end
    raise error


codecs.register_error("dmp_mark", _mark)


def _attempt(path: Path, encoding: str, out: Path, *, strict: bool) -> Decoded | None:
    name = codecs.lookup(encoding).name
    decoder = codecs.getincrementaldecoder(name)("strict" if strict else "dmp_mark")
    chinese = name in ("gb18030", "gbk", "gb2312", "hz")
    marked = private = nul = mapped = 0
    back = None if name in REVERSIBLE or not strict else _Back(name)
    crlf = lf = cr = 0
    last = ""
    first = True
    findings: list[Finding] = []
    with path.open("rb") as source, out.open("wb") as target:
        while True:
            raw = source.read(CHUNK)
            try:
                text = decoder.decode(raw, final=not raw)
            except UnicodeError:
                return None
            if back:
                back.compare(raw, text)
            if first and text.startswith("\ufeff"):
                text = text[1:]
                findings.append(finding("byte_order_mark"))
            first = first and not text
            if text:
                if chinese and _PRIVATE.search(text):
                    before = len(_PRIVATE.findall(text))
                    text = text.translate(GB18030_2022)
                    mapped += before - len(_PRIVATE.findall(text))
                if not text.isascii():
                    private += len(_PRIVATE.findall(text))
                    marked += text.count(MARK)
                if "\0" in text:
                    nul += text.count("\0")
                    text = text.replace("\0", MARK)
                pair = text.count("\r\n") + (1 if last == "\r" and text[0] == "\n" else 0)
                crlf += pair
                lf += text.count("\n") - pair
                cr += text.count("\r") - pair
                last = text[-1]
                target.write(text.encode("utf-8"))
            if not raw:
                break
    if private:
        findings.append(finding("character_private_use", count=private))
    if nul:
        findings.append(finding("character_nul", count=nul))
    if mapped:
        findings.append(finding("characters_mapped", count=mapped))
    if back and back.first:
        findings.append(finding("bytes_not_reversible", encoding=name, row=back.first))
    ends = "+".join(word for word, count in (("CRLF", crlf), ("LF", lf), ("CR", cr)) if count)
    return Decoded(out, name, marked + nul, private, ends, last in "\r\n", tuple(findings))


class _Back:
    """Encodes the text again beside the decoding, and tells the first row where other bytes come out."""

    def __init__(self, name: str) -> None:
        self.encoder = codecs.getincrementalencoder(name)("strict")
        self.pending = b""
        self.row = 1
        self.first: int | None = None

    def compare(self, raw: bytes, text: str) -> None:
        if self.first is not None:
            return
        self.pending += raw
        again = self.encoder.encode(text)
        if not self.pending.startswith(again):
            same = next(i for i, byte in enumerate(again) if self.pending[i : i + 1] != bytes([byte]))
            self.first = self.row + again[:same].count(b"\n")
        self.pending = self.pending[len(again) :]
        self.row += text.count("\n")


def _is_utf8(path: Path) -> bool:
    """Whether the whole file is valid UTF-8 with several characters beyond ASCII: no accident in any other encoding."""
    decoder = codecs.getincrementaldecoder("utf-8")("strict")
    beyond = 0
    try:
        with path.open("rb") as file:
            while raw := file.read(CHUNK):
                text = decoder.decode(raw)
                beyond += 0 if text.isascii() else len(text.encode()) - len(text)
            decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return beyond >= 8


def _reads(path: Path, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    try:
        with path.open("rb") as file:
            while raw := file.read(CHUNK):
                decoder.decode(raw)
            decoder.decode(b"", final=True)
    except UnicodeError:
        return False
    return True


def _count(path: Path, needle: bytes) -> int:
    with path.open("rb") as file:
        return sum(chunk.count(needle) for chunk in iter(lambda: file.read(CHUNK), b""))
