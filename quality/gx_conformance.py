"""How Great Expectations on DuckDB compares with its own engines: what is held against what, and which differences are meant.

The facts stand in `gx_conformance.yaml`. A test runs all of them; the page docs/gx-conformance.md is made of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from catalog.yaml_file import build, read_mapping

Oracle = Literal["pandas", "sqlite"]


class _Facts(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Reason(_Facts):
    zh: str
    en: str


class Compared(_Facts):
    """An expectation, the engine it is compared with, the arguments of each run, and which arguments are refused here."""

    oracle: Oracle
    cases: list[dict[str, Any]]
    limit: Reason | None = None


class Shown(_Facts):
    """One expectation on one small table: what it gives `here` and what it gives `there`, on the oracle.

    `table` maps `<column> <DuckDB type>` to the values. Of the two sides only what they name is compared.
    """

    type: str
    kwargs: dict[str, Any]
    table: dict[str, list[Any]]
    oracle: Oracle
    here: dict[str, Any]
    there: dict[str, Any]


class Difference(Reason):
    shown: list[Shown]


class Conformance(_Facts):
    """The file. `great_expectations` is the version it accounts for."""

    great_expectations: str
    compared: dict[str, Compared]
    pandas_only: list[str]
    not_covered: dict[str, Reason]
    differences: dict[str, Difference]

    @property
    def in_sql(self) -> set[str]:
        """What Great Expectations implements for SQL."""
        return {*self.compared, *self.not_covered} - {*self.pandas_only}

    def differing(self) -> Mapping[str, list[str]]:
        """The differences that each expectation shows."""
        shown = {(shown.type, name) for name, difference in self.differences.items() for shown in difference.shown}
        return {kind: sorted(name for other, name in shown if other == kind) for kind in self.compared}


@cache
def conformance() -> Conformance:
    """What `gx_conformance.yaml` says."""
    path = Path(__file__).with_suffix(".yaml")
    return build(Conformance, read_mapping(path), path)
