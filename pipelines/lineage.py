"""Lineage of a golden field or a standard column down to the headers of the files, over the SQL that really runs."""

from __future__ import annotations

from dataclasses import dataclass

from catalog.contract import Contract
from catalog.lineage import column_lineage
from catalog.yaml_file import CatalogError, nearest
from pipelines.clean import compile_contract
from pipelines.reference import DIVISION
from pipelines.run import Run


@dataclass(frozen=True)
class Edge:
    """`to` is made of `of`. `of` None: unknown, and said so."""

    to: str
    of: str | None
    how: str


def trace_column(run: Run, wanted: str) -> list[Edge]:
    """Edges from `entity.attribute` or `source.column` down to `file of source: header`.

    Raises CatalogError for a table or column that is in no contract or entity.
    """
    table, _, column = wanted.removeprefix("base.").removeprefix("std.").rpartition(".")
    if table in run.catalog.entities:
        return _golden(run, table, column)
    if table in run.catalog.contracts:
        return _standard(run.catalog.contract(table), column)
    raise CatalogError(
        f"no table `{table}`{nearest(table, [*run.catalog.entities, *run.catalog.contracts])}; "
        "write entity.attribute or source.column"
    )


def _golden(run: Run, entity_id: str, attribute: str) -> list[Edge]:
    entity = run.catalog.entity(entity_id)
    names = [a.name for a in entity.attributes]
    if attribute not in names:
        raise CatalogError(f"`{entity_id}` has no attribute `{attribute}`{nearest(attribute, names)}")
    feeding = [c for c in run.catalog.sources_of(entity_id) if attribute in [m.to for m in c.mapped]]
    edges: list[Edge] = []
    for contract in sorted(feeding, key=lambda c: (entity.rank(attribute, c.id), c.id)):
        rank = entity.rank(attribute, contract.id)
        edges.append(Edge(f"base.{entity_id}.{attribute}", f"std.{contract.id}.{attribute}", f"authority rank {rank}"))
        edges += _standard(contract, attribute)
    return edges


def _standard(contract: Contract, column: str) -> list[Edge]:
    names = [c.name for c in contract.mapped]
    if column not in names:
        raise CatalogError(f"`{contract.id}` has no column `{column}`{nearest(column, names)}")
    raw = dict.fromkeys(("_batch", "_sheet", "_row", "_defect", *(c.source for c in contract.columns)), "VARCHAR")
    origins = column_lineage(column, compile_contract(contract).judged_sql, {"raw": raw, "ref_division": DIVISION})
    rules = [r.name for r in (*contract.clean, *contract.column(column).clean, *contract.column(column).check)]
    how = ", ".join(rules) or "as sent"
    if origins is None:
        return [Edge(f"std.{contract.id}.{column}", None, how)]
    return [
        Edge(f"std.{contract.id}.{column}", f"raw.{contract.id}.{o.column}", how)
        for o in sorted(origins, key=str)
        if o.table == "raw"
    ]
