"""What is wrong, said so that a clerk can mend it: a stable code, a place, the value, a sentence in two languages.

Bad data is a finding, never an exception. The catalogue of codes is `findings.yaml` beside this file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class Kind:
    """One entry of the catalogue. `zh` and `en` are whole sentences with {placeholders}, the advice at their end; `indicator` is a
    sub-indicator of GB/T 36344 or None; the advice is empty where nothing is to be done."""

    code: str
    severity: str
    zh: str
    en: str
    title_zh: str
    title_en: str
    indicator: str | None = None
    advice_zh: str = ""
    advice_en: str = ""

    @property
    def dimension(self) -> str | None:
        return self.indicator and self.indicator[:2]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong in a file, a column, a row or a cell. `value` is masked already if it is personal."""

    code: str
    severity: str
    message_zh: str
    message_en: str
    sheet: str | None = None
    row: int | None = None
    column_name: str | None = None
    header: str | None = None
    value: str | None = None


@cache
def kinds() -> Mapping[str, Kind]:
    """Every finding code the platform can report."""
    text = (Path(__file__).parent / "findings.yaml").read_text(encoding="utf-8")
    return {code: _kind(code, entry) for code, entry in yaml.safe_load(text).items()}


def _kind(code: str, entry: Mapping[str, Any]) -> Kind:
    title = entry.get("title") or {"zh": code, "en": code}
    zh, en = entry.get("advice_zh", ""), entry.get("advice_en", "")
    return Kind(
        code, entry["severity"], entry["zh"] + zh, " ".join(part for part in (entry["en"], en) if part), title["zh"], title["en"],
        entry.get("indicator"), zh, en,
    )  # fmt: skip


def finding(
    code: str,
    *,
    severity: str | None = None,
    sheet: str | None = None,
    row: int | None = None,
    column_name: str | None = None,
    header: str | None = None,
    value: str | None = None,
    **facts: Any,
) -> Finding:
    """The finding `code` with its sentences filled in from the same facts the test used."""
    kind = kinds()[code]
    words = {"sheet": sheet, "row": row, "header": header, "value": value, **facts}
    return Finding(
        code, severity or kind.severity, kind.zh.format(**words), kind.en.format(**words), sheet, row, column_name, header, value
    )


def masked(value: str) -> str:
    """A personal value as people may see it: the first character, and the last where it is long enough to hide the rest."""
    if len(value) <= 1:
        return "*"
    return value[0] + "***" + (value[-1] if len(value) >= 5 else "")


def first_told_sql(count: int) -> str:
    """Of a group of rows of `quality.finding` (or `quality.clash`) the first `count` in the order of the files, as SQL: a list of
    structs f (file), s (sheet), r (row), z and e (message). Keeps no more than these in memory."""
    return (
        'arg_min(struct_pack(f := file_name, s := sheet, r := "row", z := message_zh, e := message_en), '
        'struct_pack(b := batch, ns := sheet IS NULL, s := coalesce(sheet, \'\'), nr := "row" IS NULL, r := coalesce("row", 0), '
        f"m := message_zh), {count})"
    )


def masked_sql(expression: str) -> str:
    """`masked` as SQL, for findings that are made by the million."""
    return (
        f"CASE WHEN length({expression}) <= 1 THEN '*' "
        f"ELSE substr({expression}, 1, 1) || '***' || CASE WHEN length({expression}) >= 5 "
        f"THEN substr({expression}, length({expression}), 1) ELSE '' END END"
    )
