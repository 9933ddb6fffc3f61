"""Decisions: what people found out about records that no rule can tell, kept in the catalogue and obeyed by every fusion.

One YAML per entity in `decisions/`, named like it; see the README there.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from catalog.contract import BothLanguages, Model
from catalog.yaml_file import build, read_mapping

RECORD = re.compile(r"^[0-9a-f]{64}$")


class Decision(Model):
    """Records that are one, or of which no two are."""

    must_link: tuple[str, ...] = Field((), description="records that are one, as `dmp trace` prints them")
    cannot_link: tuple[str, ...] = Field((), description="records of which no two are one, be it through a third")
    reason: BothLanguages
    decided_by: str = Field(min_length=1, description="who answers for it")
    decided_on: dt.date

    @model_validator(mode="after")
    def _is_one_of_two(self) -> Self:
        if bool(self.must_link) == bool(self.cannot_link):
            raise ValueError("a decision has `must_link` or `cannot_link`, one of the two")
        if len(set(self.records)) != len(self.records) or len(self.records) < 2:
            raise ValueError("name two different records or more")
        return self

    @field_validator("must_link", "cannot_link")
    @classmethod
    def _are_records(cls, value: Any) -> Any:
        for record in value:
            if not RECORD.match(record):
                raise ValueError(f"`{record}` is no record: write the 64 characters that `dmp trace` prints beside it")
        return value

    @property
    def records(self) -> tuple[str, ...]:
        return self.must_link or self.cannot_link


class DecisionFile(Model):
    """All decisions about one entity."""

    decisions: tuple[Decision, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _agree(self) -> Self:
        one = together(self.decisions)
        for decision in self.decisions:
            groups = [one.get(r, r) for r in decision.cannot_link]
            for place, group in enumerate(groups):
                if group in groups[:place]:
                    first = decision.cannot_link[groups.index(group)]
                    raise ValueError(
                        f"`{decision.cannot_link[place][:12]}` and `{first[:12]}` may not be linked, yet `must_link` makes them one; "
                        "settle which holds and remove the other"
                    )
        return self


def together(decisions: Sequence[Decision]) -> dict[str, str]:
    """Record -> the smallest record that it is one with, for all that a `must_link` names, chains followed."""
    parent: dict[str, str] = {}

    def first(record: str) -> str:
        while (above := parent.setdefault(record, record)) != record:
            parent[record] = record = parent[above]
        return record

    for decision in decisions:
        groups = {first(r) for r in decision.must_link}
        for group in groups:
            parent[group] = min(groups)
    return {record: first(record) for record in parent}


def load_decisions(path: Path) -> tuple[Decision, ...]:
    """The decisions in `path`. Raises CatalogError with file, line, and what contradicts what."""
    return build(DecisionFile, read_mapping(path), path).decisions
