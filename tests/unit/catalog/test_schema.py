"""The JSON Schemas that editors complete from: made from the code, true of every shipped YAML, and of use while writing."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from catalog.registry import SHIPPED
from pipelines.schemas import contract_schema, entity_schema

CONTRACT = Draft202012Validator(json.loads(contract_schema()))
ENTITY = Draft202012Validator(json.loads(entity_schema()))


def plain(value: Any) -> Any:
    """As an editor sees it: JSON has no dates."""
    return json.loads(json.dumps(value, default=lambda day: day.isoformat() if isinstance(day, dt.date) else str(day)))


def problems(validator: Draft202012Validator, text: str) -> list[str]:
    return [error.message for error in validator.iter_errors(plain(yaml.safe_load(text)))]


@pytest.mark.parametrize(("name", "text"), [("contract", contract_schema()), ("entity", entity_schema())])
def test_the_files_are_those_that_the_code_makes(name: str, text: str) -> None:
    assert (SHIPPED / f"{name}.schema.json").read_text(encoding="utf-8") == text, "stale: `make generated` writes it"
    Draft202012Validator.check_schema(json.loads(text))


@pytest.mark.parametrize("path", sorted((SHIPPED / "sources").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_shipped_contract_and_form_is_valid_as_written(path: Path) -> None:
    assert problems(CONTRACT, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", sorted((SHIPPED / "entities").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_shipped_entity_is_valid_as_written(path: Path) -> None:
    assert problems(ENTITY, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("text", [
    "clean: trim_text",
    "clean: [trim_text, {date_month_first: {}}]",
    "columns: [{from: [甲, 乙], to: a, clean: upper, check: {division_known: {as_of: b}}}, {from: 丙, ignore: not read}]",
    "expect: [key_is_unique, {value_is_present: a, weight: 5}, {gx: expect_x, column: a, regex: '^1'}, {dates_in_order: [a, b]}]",
    "title: 名册\ndepartment: police",
    "title: {zh: 名册, en: Register}\ndepartment: {id: police, zh: 公安局, en: Police}",
    "arrival: {drop: [a*.csv, b*.csv], cycle: daily, grace: 2, since: 2026-01-01}",
    "like: _daily\nformat: {encoding: [gb18030, utf-8], delimiter: tab}",
])  # fmt: skip
def test_every_short_form_is_accepted(text: str) -> None:
    assert problems(CONTRACT, text) == []


@pytest.mark.parametrize("text", [
    "clean: trim_txt",
    "columns: [{from: 甲, to: a, check: upper}]",
    "columns: [{to: a}]",
    "columns: [{from: 甲, to: a, kee: true}]",
    "expect: [key_is_uniqe]",
    "expect: [{value_is_present: a, weight: 9}]",
    "load: incremental",
    "arrival: {cycle: dayly}",
])  # fmt: skip
def test_a_slip_is_shown_while_writing(text: str) -> None:
    assert problems(CONTRACT, text)


def test_short_forms_of_entities() -> None:
    entity = "title: 店\nauthority: a__b\nattributes: [{name: x}]\n"
    assert (
        problems(
            ENTITY, entity + "identifiers: [x, ['x', 'x?']]\nmatch: {compare: [x, {attribute: x, match: exact}], block: [x, [x]]}"
        )
        == []
    )
    assert problems(ENTITY, entity + "atributes: []")
    assert problems(ENTITY, "title: 店\nauthority: a__b\n"), "attributes are required"
