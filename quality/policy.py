"""Scoring policy: weights, floors, targets, caps, grades and triggers, as YAML in `quality/policies/`."""

from __future__ import annotations

import hashlib
from datetime import date
from decimal import Decimal
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from catalog.yaml_file import CatalogError, build, read_mapping
from quality.dimensions import DIMENSIONS, SUB_INDICATORS, TIMELINESS

FOLDER = Path(__file__).with_name("policies")

Share = Annotated[Decimal, Field(gt=0, le=1)]
Points = Annotated[Decimal, Field(ge=0, le=100)]
Weight = Annotated[Decimal, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Title(_Strict):
    zh: str
    en: str


class Curve(_Strict):
    """Y is 60 at the floor and 100 from the target up."""

    floor: Annotated[Decimal, Field(ge=0, le=1)]
    target: Share

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.floor > self.target:
            raise ValueError(f"floor {self.floor} is above target {self.target}; expected floor <= target")
        return self


class Curves(_Strict):
    by_sub_indicator: dict[str, Curve]
    by_kind: dict[str, Curve | Literal["plain"]] = {}


class OverallWeights(_Strict):
    timeliness: Share
    quality: Share


class Caps(_Strict):
    one_major: Points
    several_majors: Points


class DepartmentWeights(_Strict):
    sources: Share
    corrections: Share
    catalogue: Share


class SourceWeights(_Strict):
    base_library: Weight
    theme: Weight
    other: Weight


class Ranking(_Strict):
    min_due_slots: Count


class Grade(_Strict):
    code: str
    zh: str
    en: str
    at_least: Points


class RepeatedlyBelow(_Strict):
    score: Points
    periods: Count


class Triggers(_Strict):
    reminder_below: Points
    circular_below: Points
    interview_after_periods_below: RepeatedlyBelow
    interview_after_slots_missing: Count


class Policy(_Strict):
    """One version of the policy. Print `digest` with every score: it tells two files of one name apart."""

    version: str
    title: Title
    effective_from: date
    quality_weights: dict[str, Share]
    overall_weights: OverallWeights
    sub_indicator_weights: dict[str, Weight]
    caps: Caps
    curves: Curves
    department_weights: DepartmentWeights
    source_weights: SourceWeights
    ranking: Ranking
    grades: tuple[Grade, ...]
    triggers: Triggers
    appeal_working_days: Count

    @model_validator(mode="after")
    def _complete(self) -> Self:
        _same_codes("quality_weights", self.quality_weights, [code for code in DIMENSIONS if code != TIMELINESS])
        _same_codes("curves.by_sub_indicator", self.curves.by_sub_indicator, list(SUB_INDICATORS))
        if unknown := set(self.sub_indicator_weights) - set(SUB_INDICATORS):
            raise ValueError(f"sub_indicator_weights names {sorted(unknown)}; expected codes such as '0502'")
        overall, department = self.overall_weights, self.department_weights
        for key, total in (
            ("quality_weights", sum(self.quality_weights.values())),
            ("overall_weights", overall.timeliness + overall.quality),
            ("department_weights", department.sources + department.corrections + department.catalogue),
        ):
            if total != 1:
                raise ValueError(f"{key} add up to {total}; expected 1")
        if self.caps.several_majors > self.caps.one_major:
            raise ValueError("caps.several_majors is above caps.one_major; expected it to be the lower one")
        cuts = [grade.at_least for grade in self.grades]
        if not cuts or cuts[-1] != 0 or any(low >= high for high, low in pairwise(cuts)):
            raise ValueError(f"grades start at {[str(cut) for cut in cuts]}; expected falling cut-offs that end at 0")
        if self.triggers.circular_below > self.triggers.reminder_below:
            raise ValueError("triggers.circular_below is above reminder_below; expected it to be the lower one")
        return self

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    def curve(self, sub_indicator: str, kind: str = "") -> Curve | None:
        """Default floor and target by kind of check, else by sub-indicator. None means Y = 100 X."""
        chosen = self.curves.by_kind.get(kind, self.curves.by_sub_indicator[sub_indicator])
        return None if chosen == "plain" else chosen

    def sub_indicator_weight(self, code: str) -> Decimal:
        return self.sub_indicator_weights.get(code, Decimal(1))

    def grade(self, score: Decimal) -> Grade:
        """The grade of a score from 0 to 100, as printed to two places."""
        return next(grade for grade in self.grades if score >= grade.at_least)


def _same_codes(key: str, found: dict[str, Any], expected: list[str]) -> None:
    if missing := sorted(set(expected) - set(found)):
        raise ValueError(f"{key} lacks {missing}; expected {expected}")
    if unknown := sorted(set(found) - set(expected)):
        raise ValueError(f"{key} names {unknown}; expected only {expected}")


def policy_versions() -> list[str]:
    """The shipped versions, oldest first."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


@lru_cache(maxsize=16)
def load_policy(version: str | Path | None = None) -> Policy:
    """A policy by its version (`2026-01`) or by the path of a YAML file; without either, the newest one.

    Raises CatalogError with file, line, key, value found and value expected.
    """
    named = str(version) if version is not None else policy_versions()[-1]
    path = Path(named) if named.endswith((".yaml", ".yml")) else FOLDER / f"{named}.yaml"
    if not path.is_file():
        raise CatalogError(
            f"no scoring policy {named!r}; expected one of {', '.join(policy_versions())}, or the path of a .yaml file"
        )
    policy = build(Policy, read_mapping(path), path)
    if policy.version != path.stem:
        raise CatalogError(f"{path}: version is {policy.version!r}; expected {path.stem!r}, the file's name")
    return policy
