"""The cleaning rules: one `.sql` file each in this folder; the file stem is the rule's name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from pipelines.rules.rule_file import (
    ALLOWED_FUNCTIONS,
    Argument,
    Example,
    Rule,
    RuleError,
    Step,
    load_rule,
    nearest,
)

__all__ = [
    "ALLOWED_FUNCTIONS",
    "Argument",
    "Example",
    "Rule",
    "RuleError",
    "Step",
    "find_rule",
    "load_folder",
    "load_rule",
    "nearest",
    "rule_catalogue",
]

FOLDER = Path(__file__).parent


def rule_catalogue() -> list[Rule]:
    """Every shipped rule, by name: the source of the generated rule pages and of the finding codes."""
    return list(_shipped().values())


def find_rule(name: str, kind: Literal["clean", "check"]) -> Rule:
    """Find the shipped rule of that name and kind.

    Raises  RuleError naming the nearest valid rule
    """
    found = _shipped().get(name)
    if found is not None and found.kind == kind:
        return found
    names = [rule.name for rule in rule_catalogue() if rule.kind == kind]
    what = f"'{name}' is a {found.kind} rule" if found else f"there is no rule '{name}'"
    raise RuleError(f"{what}{nearest(name, names)} The {kind} rules are: {', '.join(names)}.")


def load_folder(folder: Path) -> dict[str, Rule]:
    """Load every `.sql` of a folder, by name.

    Raises  RuleError with file and line when one of them is not a rule
    """
    return {path.stem: load_rule(path) for path in sorted(folder.glob("*.sql"))}


@cache
def _shipped() -> Mapping[str, Rule]:
    return MappingProxyType(load_folder(FOLDER))
