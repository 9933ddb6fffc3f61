"""A merged entity: what identifies it, how rows without an identifier are matched, who is believed for each attribute.

One YAML per entity in `entities/`. Sources join it by naming it (`entity:` in their contract); their columns feed the
attributes of the same standard name, so a new source touches no file but its own.
"""

from __future__ import annotations

import hashlib
import json
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from catalog.contract import NAME, BothLanguages, Model, Names, Type
from catalog.yaml_file import CatalogError, build, nearest, read_mapping

#: What an attribute is, for matching: it chooses comparison, normal form and blocking.
Kind = Literal["text", "person_name", "organisation_name", "address", "phone", "date", "code", "email", "number"]


class Attribute(Model):
    """One field of the golden record."""

    name: str
    title: BothLanguages | None = None
    type: Type = "text"
    kind: Kind = "text"
    grade: Literal["G1", "G2", "G3", "G4"] = "G2"
    personal: bool = False
    digest: bool = Field(False, description="the golden record keeps a keyed digest, never the plain value")
    authority: Names | None = Field(None, description="source ids or patterns, best first; default: the entity's")

    @property
    def called(self) -> BothLanguages:
        """Its title, or its name where it has none."""
        return self.title or BothLanguages(zh=self.name, en=self.name)

    @property
    def is_masked(self) -> bool:
        """Whether people see its values masked, in messages, logs and reports."""
        return self.personal or self.digest or self.grade in ("G3", "G4")

    @field_validator("name")
    @classmethod
    def _is_a_name(cls, value: str) -> str:
        if not NAME.match(value) or "__" in value:
            raise ValueError("an attribute is a lower-case name such as `person_name`")
        return value


class Compare(Model):
    """One attribute that matching looks at; `match: exact` turns fuzzy comparison off."""

    attribute: str
    match: Literal["by_kind", "exact"] = "by_kind"


def _compare(value: Any) -> Any:
    return {"attribute": value} if isinstance(value, str) else value


def _block(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Block = Annotated[tuple[str, ...], BeforeValidator(_block, json_schema_input_type=str | list[str])]


class Match(Model):
    """Probabilistic matching of rows that carry no identifier (Fellegi-Sunter, by Splink)."""

    compare: tuple[Annotated[Compare, BeforeValidator(_compare, json_schema_input_type=str | Compare)], ...] = Field(min_length=1)
    block: tuple[Block, ...] = Field((), description="attributes that must agree before a pair is looked at; default by kind")
    threshold: float = Field(0.9, gt=0, lt=1, description="match probability from which two rows are one")


class Identifier(Model):
    """Attributes that together identify; a name that ends in `?` may be blank, and blank equals blank."""

    attributes: tuple[str, ...]
    may_be_blank: frozenset[str] = frozenset()


def _identifier(value: Any) -> Any:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not all(isinstance(n, str) for n in names):
        return value
    return {
        "attributes": [n.removesuffix("?") for n in names],
        "may_be_blank": [n.removesuffix("?") for n in names if n.endswith("?")],
    }


class Entity(Model):
    """One entity, strongest identifier first."""

    id: str
    title: BothLanguages
    library: str | None = Field(None, description="the base library it belongs to, such as population")
    identifiers: tuple[Annotated[Identifier, BeforeValidator(_identifier, json_schema_input_type=str | list[str])], ...] = ()
    match: Match | None = None
    clash: tuple[Block, ...] | None = Field(
        None,
        description="records of one identifier that differ in earnest in all of these are not merged; a list holds attributes that "
        "may stand for each other, such as name and former name; default: the first name and the first date; `[]`: never",
    )
    authority: Names = Field(description="source ids or patterns (`nhc__*`), best first, for every attribute without its own")
    attributes: tuple[Attribute, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        names = [a.name for a in self.attributes]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"attribute `{name}` is given twice")
        used = [n for i in self.identifiers for n in i.attributes]
        used += [n for names_ in self.clash or () for n in names_]
        if self.clash and len(self.clash) < 2:
            raise ValueError("`clash` needs two attributes or more: one that differs alone is settled by the authority order")
        if self.match:
            used += [c.attribute for c in self.match.compare] + [n for b in self.match.block for n in b]
        for name in used:
            if name not in names:
                raise ValueError(f"`{name}` is no attribute of this entity{nearest(name, names)}")
        if not self.identifiers and not self.match:
            raise ValueError("needs `identifiers:` or `match:` (or both), else nothing can be merged")
        return self

    def attribute(self, name: str) -> Attribute:
        return next(a for a in self.attributes if a.name == name)

    @property
    def clashing(self) -> tuple[tuple[str, ...], ...]:
        """`clash`, or what stands for it: the first name and the first date among the attributes; empty where one is lacking."""
        if self.clash is not None:
            return self.clash
        names = [a.name for a in self.attributes if a.kind in ("person_name", "organisation_name")]
        dates = [a.name for a in self.attributes if a.kind == "date" or a.type == "date"]
        return ((names[0],), (dates[0],)) if names and dates else ()

    def rank(self, attribute: str, source: str) -> int:
        """Place of `source` in the authority order of `attribute`, 1 the best; sources not named come last."""
        order = self.attribute(attribute).authority or self.authority
        return next((i for i, pattern in enumerate(order, 1) if fnmatchcase(source, pattern)), len(order) + 1)

    @property
    def hash(self) -> str:
        """SHA-256 of the resolved entity in canonical JSON."""
        data = self.model_dump(mode="json", exclude_defaults=True)
        for identifier in data.get("identifiers", ()):
            if "may_be_blank" in identifier:
                identifier["may_be_blank"] = sorted(identifier["may_be_blank"])
        return hashlib.sha256(json.dumps(data, ensure_ascii=False, sort_keys=True).encode()).hexdigest()


def load_entity(path: Path) -> Entity:
    """The entity in `path`. Raises CatalogError with file, line, key and the nearest valid word."""
    data = read_mapping(path)
    data.setdefault("id", path.stem)
    if data["id"] != path.stem or not NAME.match(path.stem):
        raise CatalogError(f"{path}:1: `id` and the file name must be the same lower-case word, such as legal_entity")
    return build(Entity, data, path)
