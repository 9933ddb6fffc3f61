"""Check a whole catalogue before anything runs: every rule, check, expectation, due rule and code table it names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from catalog.contract import Contract, Expect
from catalog.registry import Catalog
from catalog.yaml_file import CatalogError, line_of, nearest
from pipelines.clean import compile_contract
from pipelines.rules import RuleError
from pipelines.slots import schedule_of
from pipelines.waivers import waiver_problems
from quality.expectations import kinds, prepare
from quality.expectations.beyond import pairing
from quality.gx import check_expectation


def check(catalog: Catalog) -> list[str]:
    """Every problem as one line; an empty list means sound."""
    problems: list[str] = []
    for load in (lambda: catalog.contracts, lambda: catalog.entities, lambda: catalog.decisions):
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
            at = getattr(error, "at", ())
            where = f"{path}:{line_of(path, at)}" if at else f"{path}"
            problems += [f"{where}: {line}" for line in str(error).splitlines()]
        else:
            problems += _other_sources(catalog, contract, path)
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
    problems += waiver_problems(catalog)
    problems += [
        f"{catalog.root / 'decisions' / entity}.yaml: no entity `{entity}`{nearest(entity, list(catalog.entities))}"
        for entity in catalog.decisions
        if entity not in catalog.entities
    ]
    for entity in catalog.entities.values():
        if not catalog.sources_of(entity.id):
            problems.append(
                f"{catalog.root / 'entities' / entity.id}.yaml: no source feeds it; write `entity: {entity.id}` into one"
            )
    return problems


def _other_sources(catalog: Catalog, contract: Contract, path: Path) -> Iterator[str]:
    """Sources and columns of theirs that the checks name: there, and of a type that can equal ours."""
    for number, line in enumerate(contract.expect):
        kind = kinds().get(line.kind)
        if kind is None or kind.beyond != "source":
            continue
        pair = pairing(contract, line, _argument(line))
        if pair.source not in catalog.contracts:
            where = f"{path}:{line_of(path, ('expect', number, 'source'))}"
            yield f"{where}: `{line.kind}` reads source `{pair.source}`{nearest(pair.source, list(catalog.contracts))}"
            continue
        types = {c.name: c.type for c in catalog.contract(pair.source).mapped}
        for own, theirs in pair.theirs.items():
            option = "column" if own in _argument(line) else "by"
            where = f"{path}:{line_of(path, ('expect', number, option))}"
            ours = contract.column(own).type
            if theirs not in types:
                yield f"{where}: `{line.kind}` reads column `{theirs}` of {pair.source}{nearest(theirs, list(types))}"
            elif ours != types[theirs] and {ours, types[theirs]} != {"integer", "number"}:
                yield f"{where}: `{own}` is {ours} here and `{theirs}` is {types[theirs]} in {pair.source}; give both one type"


def _argument(line: Expect) -> list[str]:
    return [str(n) for n in (line.argument if isinstance(line.argument, list) else [line.argument])]
