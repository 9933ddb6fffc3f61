"""Waivers: known noise that is told and no longer asked about, for a reason, on somebody's word, until a day.

One YAML per source in `waivers/`, named like its contract. It stands beside the contract and not in it: a contract says what
was agreed with the department, and changing it makes another version of every file that is sent again.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from catalog.contract import BothLanguages, Model, Names
from catalog.yaml_file import build, read_mapping

#: A waiver is a promise to look again; one that never ends would be a change of the contract.
LONGEST = dt.timedelta(days=366)


class Waiver(Model):
    """Findings of one code (in one column, of some values), or one check, of one source. It changes no count and no score,
    lets no refused row in, and never covers what holds a batch."""

    id: str = Field("", description="its name within the file; default: the code or check, and the column")
    code: str | None = Field(None, description="finding code, such as `phone_unreadable`")
    check: str | None = Field(None, description="check id as the report prints it, such as `value_in_code_table_division_code`")
    column: str | None = Field(None, description="only in this column of the contract (its standard name)")
    header: str | None = Field(None, description="only under this header, for a column that the contract does not have")
    value: Names = Field((), description="only these values as they were sent; not for personal columns, which are masked")
    reason: BothLanguages
    approver: str = Field(description="who decided it, as in `数据局 / data office`; printed in the report")
    from_: dt.date = Field(alias="from", description="first day; day by day, by the time zone of the source")
    until: dt.date = Field(description="last day; at most a year later. Then it has no effect until somebody renews it")

    @field_validator("reason")
    @classmethod
    def _is_said(cls, value: Any) -> Any:
        if not value.zh.strip() or not value.en.strip():
            raise ValueError("say why this is no news, in words that a stranger understands")
        return value

    @field_validator("approver")
    @classmethod
    def _is_somebody(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("name the person or office that answers for it")
        return value

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if (self.code is None) == (self.check is None):
            raise ValueError("a waiver names a finding (`code: phone_unreadable`) or a check (`check: <its id>`), one of the two")
        if self.check and (self.column or self.header or self.value):
            raise ValueError("`column`, `header` and `value` narrow a `code`; a check is waived whole")
        if self.column and self.header:
            raise ValueError("`column` is one of the contract, `header` one that it does not have; give one of the two")
        if self.value and not self.column:
            raise ValueError("`value` needs the `column` that it stands in")
        if self.until < self.from_:
            raise ValueError(f"`until: {self.until}` is before `from: {self.from_}`")
        if self.until - self.from_ > LONGEST:
            raise ValueError(f"`until: {self.until}` is more than a year after `from`; end it earlier and renew it when due")
        return self

    @property
    def name(self) -> str:
        return self.id or "_".join(str(part) for part in (self.code or self.check, self.column or self.header) if part)

    def stands_on(self, day: dt.date) -> bool:
        return self.from_ <= day <= self.until

    def plain(self) -> dict[str, Any]:
        """As JSON, for the archive; `from_plain` reads it back."""
        return {**self.model_dump(mode="json", by_alias=True, exclude_defaults=True), "id": self.name}


def from_plain(data: Mapping[str, Any]) -> Waiver:
    return Waiver.model_validate(data)


class WaiverFile(Model):
    """All waivers of one source."""

    waivers: tuple[Waiver, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _have_names(self) -> Self:
        names = [w.name for w in self.waivers]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two waivers are called `{name}`; give one of them its own `id`, such as `{name}_2`")
        return self


def load_waivers(path: Path) -> tuple[Waiver, ...]:
    """The waivers in `path`. Raises CatalogError with file, line, key and the nearest valid word."""
    return build(WaiverFile, read_mapping(path), path).waivers
