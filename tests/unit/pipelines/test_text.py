"""Which encodings give back the bytes they were read from."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.readers.text import GB18030_2022, REVERSIBLE, decode


def sequences(encoding: str) -> Iterator[bytes]:
    """Every character's bytes: one, two, and for GB 18030 four."""
    yield from (bytes([i]) for i in range(256))
    if encoding in ("gb18030", "gbk"):
        yield from (bytes(pair) for pair in itertools.product(range(0x81, 0xFF), range(0x40, 0xFF)))
    if encoding == "gb18030":
        digits, leads = range(0x30, 0x3A), range(0x81, 0xFF)
        # All of the basic plane, and a part of the planes above it.
        yield from (bytes(four) for four in itertools.product((*range(0x81, 0x85), 0x90, 0xE3), digits, leads, digits))


@pytest.mark.parametrize("encoding", sorted(e for e in REVERSIBLE if not e.startswith("utf")))
def test_every_character_of_a_reversible_encoding_gives_its_bytes_back(encoding: str) -> None:
    known = 0
    for raw in sequences(encoding):
        try:
            text = raw.decode(encoding)
        except UnicodeDecodeError:
            continue
        known += 1
        assert text.encode(encoding) == raw
    assert known >= 128


def test_every_character_of_unicode_gives_its_bytes_back() -> None:
    text = "".join(chr(c) for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF and c != 0xFEFF)
    for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
        raw = text.encode(encoding)
        assert raw.decode(encoding).encode(encoding) == raw


def told(data: bytes, encoding: str, folder: Path) -> dict[str, str]:
    (folder / "a").write_bytes(data)
    return {f.code: f.message_en for f in decode(folder / "a", (encoding,), folder / "b").findings}


def test_characters_that_were_given_regular_codes_are_counted(tmp_path: Path) -> None:
    moved = "".join(map(chr, GB18030_2022)).encode("gb18030")
    found = told("编号,名称\n1,".encode("gb18030") + moved + b"\n", "gb18030", tmp_path)
    assert str(len(GB18030_2022)) in found["characters_mapped"]
    assert "characters_mapped" not in told("编号,名称\n1,张三\n".encode("gb18030"), "gb18030", tmp_path)


def test_bytes_that_do_not_come_back_are_told_with_their_row(tmp_path: Path) -> None:
    """NEC's and IBM's rows of Shift JIS hold the same characters twice."""
    found = told("a,b\nあ,い\n".encode("cp932") + b"\xfa\x5c,x\n", "cp932", tmp_path)
    assert "row 3" in found["bytes_not_reversible"]
    assert not told("a,b\nあ,い\n".encode("cp932"), "cp932", tmp_path)
