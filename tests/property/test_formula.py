"""Cells that a spreadsheet program would run: the rule in Python and the rule in SQL are one rule."""

from __future__ import annotations

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.formula import harmless, harmless_sql

SIGNS = "=+-@＝＋－＠"
BLANKS = " \t\r\n\f\x0b\u00a0\u2003\u200b\u3000\ufeff"


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("blank", ["", *BLANKS])
def test_a_sign_behind_any_blank_is_made_harmless(blank: str, sign: str) -> None:
    assert harmless(f"{blank}{sign}1") == f"'{blank}{sign}1"


def test_other_text_is_left_alone() -> None:
    assert [harmless(text) for text in ("", "a=1", "'=1", "1-2", " 越秀")] == ["", "a=1", "'=1", "1-2", " 越秀"]


@given(st.lists(st.text(st.sampled_from(SIGNS + BLANKS + "a1'\\"), max_size=6), min_size=1, max_size=50))
def test_sql_and_python_agree(texts: list[str]) -> None:
    told = duckdb.execute(f"SELECT list({harmless_sql('t')} ORDER BY i) FROM (SELECT unnest(?) AS t, unnest(?) AS i)",
                          [texts, list(range(len(texts)))]).fetchall()  # fmt: skip
    assert told == [([harmless(text) for text in texts],)]
