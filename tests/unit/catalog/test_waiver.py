"""Waivers are written by people: what is wrong with one is said with file, line, key and the nearest word."""

from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from catalog.registry import SHIPPED, Catalog
from catalog.waiver import Waiver, from_plain
from catalog.yaml_file import CatalogError
from pipelines.contract_check import check
from pipelines.schemas import waiver_schema
from pipelines.waivers import waivers_of
from tests.support import make_catalog

SOURCE = """\
title: {zh: 登记, en: Register}
department: office
load: increment
period: {from: file_name, pattern: "_(?P<date>\\\\d{8})"}
arrival: {drop: "register_*", cycle: daily}
entity: shop
columns:
  - {from: 编号, to: shop_no, key: true}
  - {from: 电话, to: phone, personal: true}
  - {from: 等级, to: fire_grade}
expect:
  - {columns_as_declared: , severity: hold}
  - {value_in_set: fire_grade, values: [一, 二]}
"""

GOOD = """\
waivers:
  - code: phone_unreadable
    column: phone
    reason: {zh: 旧号码改造中, en: old numbers are being moved}
    approver: 数据局 王主任
    from: 2026-03-01
    until: 2026-06-30
  - check: value_in_set_fire_grade
    reason: {zh: 三级待发文, en: grade three awaits its decree}
    approver: 消防局
    from: 2026-03-01
    until: 2026-06-30
"""


def catalog(folder: Path, waivers: str = GOOD, source: str = "office__register") -> Catalog:
    made = make_catalog(folder, {"office__register": SOURCE})
    (made / "waivers").mkdir()
    (made / "waivers" / f"{source}.yaml").write_text(waivers, encoding="utf-8")
    return Catalog(made)


def test_a_sound_file_says_what_is_waived_why_by_whom_and_until_when(tmp_path: Path) -> None:
    found = catalog(tmp_path / "c")
    assert check(found) == []
    first, second = waivers_of(found, found.contract("office__register"))
    assert (first.name, second.name) == ("phone_unreadable_phone", "value_in_set_fire_grade")
    assert [first.stands_on(date(2026, m, d)) for m, d in ((2, 28), (3, 1), (6, 30), (7, 1))] == [False, True, True, False]
    assert from_plain(json.loads(json.dumps(first.plain()))).plain() == first.plain()


@pytest.mark.parametrize(
    ("change", "to", "said"),
    [
        ("code: phone_unreadable", "code: phone_unreadble", [":2:", "`waivers.0.code`", "did you mean `phone_unreadable`"]),
        ("code: phone_unreadable", "code: delimiter_differs", [":2:", "holds the batch"]),
        ("code: phone_unreadable", "code: check_failed", [":2:", "name the one that is meant"]),
        ("column: phone", "column: phon", [":3:", "`waivers.0.column`", "did you mean `phone`"]),
        ("check: value_in_set_fire_grade", "check: value_in_set_grade", [":8:", "did you mean `value_in_set_fire_grade`"]),
        ("check: value_in_set_fire_grade", "check: columns_as_declared", [":8:", "`severity: hold`"]),
        ("column: phone", "column: phone\n    value: 暂无", [":4:", "`waivers.0.value`", "masked"]),
        ("code: phone_unreadable", "code: phone_unreadable\n    check: no_dirty_rows", [":2:", "one of the two"]),
        ("    column: phone\n", "    value: 暂无\n", [":2:", "needs the `column`"]),
        ("until: 2026-06-30\n  - check", "until: 2026-02-28\n  - check", [":2:", "is before `from"]),
        ("until: 2026-06-30\n  - check", "until: 2036-06-30\n  - check", [":2:", "more than a year"]),
        ("    approver: 数据局 王主任\n", "", [":2:", "`waivers.0.approver`", "required"]),
        ("approver: 数据局 王主任", "approver: ' '", [":5:", "name the person or office"]),
        ("{zh: 旧号码改造中, en: old numbers are being moved}", "''", [":4:", "say why"]),
        ("until: 2026-06-30\n  - check", "untill: 2026-06-30\n  - check", ["`waivers.0.untill`", "did you mean `until`"]),
        ("check: value_in_set_fire_grade", "code: phone_unreadable\n    column: phone", ["two waivers are called"]),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, change: str, to: str, said: list[str]) -> None:
    assert change in GOOD
    found = catalog(tmp_path / "c", GOOD.replace(change, to, 1))
    problems = "\n".join(check(found))
    for part in ("office__register.yaml", *said):
        assert part in problems, problems
    with pytest.raises(CatalogError):
        waivers_of(found, found.contract("office__register"))


def test_a_file_for_a_source_that_there_is_not_is_named(tmp_path: Path) -> None:
    (problem,) = check(catalog(tmp_path / "c", source="office__registr"))
    assert "office__registr.yaml:1: no source `office__registr`" in problem and "did you mean `office__register`" in problem


def test_a_broken_file_of_waivers_is_no_reason_to_stop_another_source(tmp_path: Path) -> None:
    found = catalog(tmp_path / "c", "waivers: [", source="other__source")
    assert waivers_of(found, found.contract("office__register")) == ()


def test_waiving_changes_no_contract(tmp_path: Path) -> None:
    """Else every file that is sent again would be a new version of its period."""
    hashes = {catalog(tmp_path / str(n), text).contract("office__register").hash for n, text in enumerate((GOOD, "{}"))}
    assert len(hashes) == 1


def test_editors_know_the_keys_and_the_codes() -> None:
    schema = json.loads(waiver_schema())
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)

    def wrong(text: str) -> bool:
        return any(validator.iter_errors(json.loads(json.dumps(yaml.safe_load(text), default=str))))

    assert not wrong(GOOD)
    assert wrong(GOOD.replace("phone_unreadable", "phone_unreadble")) and wrong(GOOD.replace("approver", "aprover"))


def test_the_example_of_the_folder_can_be_used_as_it_stands(tmp_path: Path) -> None:
    (example,) = re.findall(r"^```yaml\n(.*?)^```", (SHIPPED / "waivers" / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    assert check(catalog(tmp_path / "c", example)) == []


def test_a_waiver_needs_no_translation_where_one_text_serves_both() -> None:
    made = Waiver.model_validate(
        {"code": "total_row", "reason": "合计 total", "approver": "王", "from": "2026-03-01", "until": "2026-03-31"}
    )
    assert made.reason.zh == made.reason.en == "合计 total"
