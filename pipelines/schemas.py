"""JSON Schemas of the three kinds of YAML in a catalogue, for completion and early warning in editors.

They know every key, and every rule and expectation by name. What is missing they leave to `dmp contract check`: a key may
be taken over through `like:`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from catalog.contract import Contract
from catalog.entity import Entity
from catalog.waiver import WaiverFile
from pipelines.rules import rule_catalogue
from pipelines.waivers import OF_CHECKS, OF_FUSIONS
from quality.expectations import kinds
from quality.finding import kinds as finding_kinds


def contract_schema() -> str:
    """Of `sources/<department>__<dataset>.yaml` and of forms, `sources/_<name>.yaml`."""
    schema = Contract.model_json_schema(by_alias=True)
    taken_over = "another contract or form that this one takes over and changes"
    schema["properties"]["like"] = {"type": "string", "description": taken_over}
    for part in (schema, schema["$defs"]["Arrival"]):
        del part["required"]
    clean, check = ([r.name for r in rule_catalogue() if r.kind == kind] for kind in ("clean", "check"))
    schema["properties"]["clean"] |= _calls(clean)
    columns = schema["$defs"]["Column"]["properties"]
    columns["clean"] |= _calls(clean)
    columns["check"] |= _calls(check)
    schema["$defs"]["WrittenExpect"]["properties"] |= {name: {"description": kind.en} for name, kind in kinds().items()}
    alone = [name for name, kind in kinds().items() if kind.argument == "none" and "required" not in kind.options.values()]
    schema["properties"]["expect"]["items"]["anyOf"][0]["enum"] = alone
    return _text(schema, "Contract of one source")


def entity_schema() -> str:
    """Of `entities/<entity>.yaml`."""
    schema = Entity.model_json_schema(by_alias=True)
    schema["required"].remove("id")
    return _text(schema, "Merged entity")


def waiver_schema() -> str:
    """Of `waivers/<source>.yaml`."""
    schema = WaiverFile.model_json_schema(by_alias=True)
    waivable = [code for code, kind in finding_kinds().items() if kind.severity != "hold" and code not in OF_CHECKS | OF_FUSIONS]
    schema["$defs"]["Waiver"]["properties"]["code"]["anyOf"][0]["enum"] = waivable
    return _text(schema, "Waivers of one source")


def _calls(names: Sequence[str]) -> dict[str, Any]:
    """A rule by name, one with arguments, or a list of both."""
    name = {"enum": list(names)}
    one = [{"type": "string", **name}, {"type": "object", "propertyNames": name, "maxProperties": 1}]
    return {"anyOf": [*one, {"type": "array", "items": {"anyOf": one}}]}


def _text(schema: dict[str, Any], title: str) -> str:
    return (
        json.dumps(
            {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": title}, ensure_ascii=False, indent=1
        )
        + "\n"
    )
