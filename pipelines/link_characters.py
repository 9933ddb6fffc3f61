"""Chinese characters for matching: one form for variants, and how each is read.

Two functions for DuckDB, both over whole Arrow batches: a batch is one long text to the look-up, so the cost is per character
and none of it per row.

    simplified(v)  NFKC (half width, compatibility forms), then simplified for traditional and variant characters: 陳 -> 陈
    readings(v)    each Chinese character by its readings, syllables without tones, likeliest first, at most three, a blank behind
                   each: 单丽 -> `dan/chan/shan li `; other characters stay as they are

Forms for comparing only: golden values keep the characters that were sent.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import Any

import duckdb
import pyarrow as pa
from duckdb.func import PythonUDFType

#: Marks the end of a value in the long text; a noncharacter, so no text holds it.
_END = "\U0010ffff"
_MOST_READINGS = 3
_HAN = (*range(0x3400, 0x4DC0), *range(0x4E00, 0xA000), *range(0x20000, 0x33480))
_TONES = dict.fromkeys(map(ord, "\u0300\u0301\u0304\u030c"))

#: Other writings of one character that OpenCC leaves as they are.
_VARIANTS = {"迺": "乃", "衞": "卫", "呉": "吴", "邨": "村", "煕": "熙", "黒": "黑", "徳": "德", "恵": "惠", "広": "广", "沢": "泽", "辺": "边"}  # fmt: skip


@cache
def variants() -> dict[int, str]:
    """Code point -> the character that stands for it in comparisons; only those that differ."""
    from opencc import OpenCC

    characters = [chr(c) for c in _HAN]
    written = OpenCC("t2s").convert("\n".join(characters)).split("\n")
    return {ord(a): b for a, b in zip(characters, written, strict=True) if a != b} | {ord(a): b for a, b in _VARIANTS.items()}


@cache
def syllables() -> dict[int, str]:
    """Code point -> its readings without tones, `dan/chan/shan `."""
    from pypinyin.constants import PINYIN_DICT

    found = {}
    for point, readings in PINYIN_DICT.items():
        bare = unicodedata.normalize("NFC", unicodedata.normalize("NFD", readings).translate(_TONES))
        found[point] = "/".join(dict.fromkeys(bare.split(",")[: 2 * _MOST_READINGS])) + " "
    return {point: "/".join(text.split("/")[:_MOST_READINGS]).strip() + " " for point, text in found.items()}


def _batch(values: Any, change: Any) -> Any:
    texts = values.to_pylist()
    joined = _END.join(texts)
    if joined.isascii():
        return pa.array(texts, pa.string())
    return pa.array(change(joined).split(_END), pa.string())


def _simplified(values: Any) -> Any:
    return _batch(values, lambda text: unicodedata.normalize("NFKC", text).translate(variants()))


def _readings(values: Any) -> Any:
    return _batch(values, lambda text: text.translate(syllables()))


def register(con: duckdb.DuckDBPyConnection) -> None:
    """Make both functions known to the database of `con`; a second time changes nothing."""
    for name, function in (("simplified", _simplified), ("readings", _readings)):
        if not con.execute("SELECT 1 FROM duckdb_functions() WHERE function_name = ?", [name]).fetchall():
            con.create_function(name, function, ["VARCHAR"], "VARCHAR", type=PythonUDFType.ARROW)
