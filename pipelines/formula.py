"""Text that a spreadsheet program would run as a formula (CWE-1236), and how it is kept from that: one rule for all we write."""

from __future__ import annotations

import re

#: Programs skip blanks before the sign, and take full-width signs for the plain ones.
_BEGINNING = r"^[ \t\r\n\f\x0b\u00a0\u2000-\u200b\u3000\ufeff]*[=+\-@＝＋－＠]|^[\t\r\n]"
_RUNS = re.compile(_BEGINNING)


def runs(text: str) -> bool:
    """Whether a spreadsheet program may take `text` for a formula."""
    return _RUNS.match(text) is not None


def harmless(text: str) -> str:
    """`text`, preceded by an apostrophe where it would run."""
    return f"'{text}" if runs(text) else text


def harmless_sql(expression: str) -> str:
    """The same as SQL over a text expression."""
    pattern = re.sub(r"\\u(....)", r"\\x{\1}", _BEGINNING)
    return f"CASE WHEN regexp_matches({expression}, '{pattern}') THEN '''' || {expression} ELSE {expression} END"
