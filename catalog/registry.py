"""The whole catalogue folder: every contract, every entity, every code table. The folder is the registry."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from catalog.contract import Contract, load_contract
from catalog.decision import Decision, load_decisions
from catalog.entity import Entity, load_entity
from catalog.waiver import Waiver, load_waivers
from catalog.yaml_file import CatalogError, nearest

T = TypeVar("T")

#: The catalogue shipped with the product: a synthetic city.
SHIPPED = Path(__file__).parent


@dataclass(frozen=True)
class Catalog:
    """A folder with `sources/`, `entities/` and, where the user has any, code tables in `standards/`, `waivers/` and
    `decisions/`."""

    root: Path

    @cached_property
    def contracts(self) -> Mapping[str, Contract]:
        return self._load("sources", load_contract)

    @cached_property
    def entities(self) -> Mapping[str, Entity]:
        return self._load("entities", load_entity)

    def _load(self, folder: str, load: Callable[[Path], T]) -> Mapping[str, T]:
        found: dict[str, T] = {}
        problems: list[str] = []
        for path in sorted((self.root / folder).glob("*.yaml")):
            if path.stem.startswith("_"):
                continue
            try:
                found[path.stem] = load(path)
            except CatalogError as error:
                problems.append(str(error))
        if problems:
            raise CatalogError("\n".join(problems))
        return found

    def contract(self, source: str) -> Contract:
        """One contract, read alone: a file beside it that cannot be read is no reason to stop this source."""
        path = self.root / "sources" / f"{source}.yaml"
        if "contracts" not in self.__dict__ and not source.startswith("_") and path.is_file() and path.stem == source:
            return load_contract(path)
        if source not in self.contracts:
            raise CatalogError(f"no source `{source}` in {self.root / 'sources'}{nearest(source, list(self.contracts))}")
        return self.contracts[source]

    @cached_property
    def waivers(self) -> Mapping[str, tuple[Waiver, ...]]:
        """Source -> its waivers, for every file in `waivers/`."""
        return self._load("waivers", load_waivers)

    def waivers_of(self, source: str) -> tuple[Waiver, ...]:
        """The waivers of one source, read alone as its contract is."""
        path = self.root / "waivers" / f"{source}.yaml"
        return load_waivers(path) if path.is_file() else ()

    @cached_property
    def decisions(self) -> Mapping[str, tuple[Decision, ...]]:
        """Entity -> what people decided about its records, for every file in `decisions/`."""
        return self._load("decisions", load_decisions)

    def entity(self, entity: str) -> Entity:
        if entity not in self.entities:
            raise CatalogError(f"no entity `{entity}` in {self.root / 'entities'}{nearest(entity, list(self.entities))}")
        return self.entities[entity]

    def sources_of(self, entity: str) -> tuple[Contract, ...]:
        return tuple(c for c in self.contracts.values() if c.entity == entity)

    def department_titles(self) -> Mapping[str, tuple[str, str]]:
        """Department id -> (Chinese, English); any contract that spells the names out tells them for all."""
        titles: dict[str, tuple[str, str]] = {}
        for contract in self.contracts.values():
            department = contract.department
            if department.id not in titles or department.zh != department.id:
                titles[department.id] = (department.zh, department.en)
        return titles

    def code_table(self, name: str) -> Path | None:
        """`standards/<name>.csv` of this folder, else of the shipped one; its first column is `code`."""
        for root in (self.root, SHIPPED):
            path = root / "standards" / f"{name}.csv"
            if path.is_file():
                return path
        return None


def open_catalog(root: Path | None = None) -> Catalog:
    """The catalogue named by `root`, else by DMP_CATALOG, else the shipped one."""
    path = root or Path(os.environ.get("DMP_CATALOG") or SHIPPED)
    if not (path / "sources").is_dir():
        raise CatalogError(f"{path}: no `sources` folder; `dmp init --catalog {path}` makes one, or set DMP_CATALOG")
    return Catalog(path.resolve())
