"""Check a whole catalogue before anything runs: every rule, check, expectation, due rule and code table it names."""

from __future__ import annotations

from catalog.registry import Catalog
from catalog.yaml_file import CatalogError
from pipelines.clean import compile_contract
from pipelines.rules import RuleError
from pipelines.slots import schedule_of
from quality.expectations import prepare
from quality.gx import check_expectation


def check(catalog: Catalog) -> list[str]:
    """Every problem as one line; an empty list means sound."""
    problems: list[str] = []
    for load in (lambda: catalog.contracts, lambda: catalog.entities):
        try:
            load()
        except CatalogError as error:
            problems += str(error).splitlines()
    if problems:
        return problems
    for contract in catalog.contracts.values():
        path = catalog.root / "sources" / f"{contract.id}.yaml"
        try:
            compile_contract(contract)
            schedule_of(contract)
            for prepared in prepare(contract):
                if prepared.kind == "gx":
                    check_expectation(prepared.expectation)  # imports Great Expectations, so only where a contract asks for it
        except (CatalogError, RuleError, ValueError) as error:
            problems += [f"{path}: {line}" for line in str(error).splitlines()]
        for line in contract.expect:
            table = line.options.get("table")
            if table and catalog.code_table(str(table)) is None:
                problems.append(f"{path}: no code table {table}.csv in {catalog.root / 'standards'}")
        if contract.entity and contract.entity not in catalog.entities:
            problems.append(f"{path}: `entity: {contract.entity}` is no file in {catalog.root / 'entities'}")
        elif contract.entity:
            types = {a.name: a.type for a in catalog.entity(contract.entity).attributes}
            problems += [
                f"{path}: `{c.name}` is {c.type} here and {types[c.name]} in entity {contract.entity}; give both one type"
                for c in contract.mapped
                if types.get(c.name, "text") not in ("text", c.type) and (c.type, types[c.name]) != ("integer", "number")
            ]
    for entity in catalog.entities.values():
        if not catalog.sources_of(entity.id):
            problems.append(
                f"{catalog.root / 'entities' / entity.id}.yaml: no source feeds it; write `entity: {entity.id}` into one"
            )
    return problems
