"""Every key falls into exactly one portion, however many there are."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import duckdb
from hypothesis import given
from hypothesis import strategies as st

from pipelines import portions


def holders(key: Any, bounds: Sequence[Any]) -> int:
    return sum(low <= key < high for low, high in pairwise(bounds))


@given(st.integers(-5, 10), st.integers(0, 50), st.integers(0, 60 * portions.ROWS), st.data())
def test_numbers(first: int, more: int, rows: int, data: st.DataObject) -> None:
    bounds = portions.numbers(first, first + more, rows)
    assert len(bounds) == max(1, -(-rows // portions.ROWS)) + 1
    assert holders(data.draw(st.integers(first, first + more)), bounds) == 1


@given(st.binary(), st.integers(0, 600 * portions.ROWS))
def test_digests(content: bytes, rows: int) -> None:
    assert holders(hashlib.sha256(content).hexdigest()[:32], portions.digests(rows)) == 1


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=30), st.integers(0, 9 * portions.ROWS))
def test_texts(texts: list[str], rows: int) -> None:
    con = duckdb.connect()
    con.execute("CREATE TABLE sent AS SELECT unnest($1::VARCHAR[]) AS v", [texts])
    con.execute("CREATE TABLE found (v VARCHAR)")
    sql = f"SELECT v FROM sent WHERE {portions.within(portions.number_of_text('v'))}"
    portions.fill(con, "found", sql, portions.of_text(rows))
    assert sorted(v for (v,) in con.execute("FROM found").fetchall()) == sorted(texts)
