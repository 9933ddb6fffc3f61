"""Column lineage: proved for everything the product compiles, and said to be unknown where it cannot be."""

from __future__ import annotations

from functools import cache

import pytest

from catalog.lineage import Origin, column_lineage
from catalog.registry import SHIPPED, Catalog
from pipelines.clean import compile_contract
from pipelines.reference import DIVISION

SHIPPED_COLUMNS = [(c.id, column.name) for c in Catalog(SHIPPED).contracts.values() for column in c.mapped]


@cache
def judged(source: str) -> str:
    return compile_contract(Catalog(SHIPPED).contract(source)).judged_sql


@pytest.mark.parametrize(("source", "name"), SHIPPED_COLUMNS)
def test_every_standard_column_is_traced_to_the_header_its_contract_names(source: str, name: str) -> None:
    contract = Catalog(SHIPPED).contract(source)
    raw = dict.fromkeys(("_batch", "_sheet", "_row", "_defect", *(c.source for c in contract.columns)), "VARCHAR")
    origins = column_lineage(name, judged(source), {"raw": raw, "ref_division": DIVISION})
    assert origins is not None
    assert Origin("raw", contract.column(name).source) in origins


def test_a_join_reads_both_sides() -> None:
    sql = "SELECT a.x || b.y AS z FROM a JOIN b ON a.k = b.k"
    found = column_lineage("z", sql, {"a": {"k": "INT", "x": "TEXT"}, "b": {"k": "INT", "y": "TEXT"}})
    assert found == {Origin("a", "x"), Origin("b", "y")}


def test_a_star_over_an_unknown_table_is_unknown_not_a_guess() -> None:
    assert column_lineage("x", "SELECT * FROM (SELECT * FROM nowhere)", {"a": {"x": "TEXT"}}) is None


def test_sql_that_cannot_be_read_is_unknown() -> None:
    assert column_lineage("x", "SELEC x FRM a", {"a": {"x": "TEXT"}}) is None
