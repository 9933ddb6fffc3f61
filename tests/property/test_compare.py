"""What became of the rows between two batches: counted in SQL as anybody would count it by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.contract import Contract, load_contract
from pipelines.compare import compare_sql
from tests.support import SOURCES

Row = tuple[str | None, str | None]
ROWS = st.lists(st.tuples(st.sampled_from(["1", "2", "3", None]), st.sampled_from(["甲", "乙", None])), max_size=6)


@pytest.fixture(scope="module")
def contract(tmp_path_factory: pytest.TempPathFactory) -> Contract:
    path = Path(tmp_path_factory.mktemp("catalog") / "fire__permit.yaml")
    path.write_text(SOURCES["fire__permit"], encoding="utf-8")
    return load_contract(path)


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as con:
        con.execute("ATTACH ':memory:' AS lake; CREATE SCHEMA lake.std")
        columns = '"_batch" VARCHAR, "_sheet" VARCHAR, "_row" BIGINT, shop_no VARCHAR, fire_grade VARCHAR'
        con.execute(f"CREATE TABLE lake.std.fire__permit ({columns}); CREATE TABLE accepted ({columns})")
        yield con


@settings(max_examples=60)
@given(before=ROWS, after=ROWS)
def test_every_row_of_either_batch_is_counted_once(
    con: duckdb.DuckDBPyConnection, contract: Contract, before: list[Row], after: list[Row]
) -> None:
    """Of the rows with one key the last counts; a key that is not given is one key too."""
    for table, rows in (("lake.std.fire__permit", before), ("accepted", after)):
        con.execute(f"DELETE FROM {table}")
        for number, row in enumerate(rows, 2):
            con.execute(f"INSERT INTO {table} VALUES ('b', NULL, ?, ?, ?)", [number, *row])
    old, new = dict(before), dict(after)
    both = old.keys() & new.keys()
    same = sum(old[key] == new[key] for key in both)
    wanted = (
        len(new.keys() - old.keys()), len(both) - same, len(old.keys() - new.keys()), same,
        len(after) - len(new), len(before) - len(old),
    )  # fmt: skip
    stored = dict.fromkeys(("shop_no", "fire_grade"), "VARCHAR")
    assert con.execute(compare_sql(contract, "accepted", "b", stored)).fetchall() == [wanted]
