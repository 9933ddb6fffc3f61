"""Which changes of a contract break somebody, as a reviewer reads it before the contract is in force."""

from __future__ import annotations

from pathlib import Path

import pytest

from catalog.contract import load_contract
from catalog.diff import compare, read_contract
from catalog.yaml_file import CatalogError

CONTRACT = """\
title: {zh: 店铺, en: Shops}
department: market
load: increment
period: {from: file_name, pattern: "shop_(?P<date>\\\\d{8})"}
arrival: {drop: "shop_*.csv", cycle: daily, due: "09:00 next working day"}
format: {encoding: [gb18030, utf-8]}
columns:
  - {from: 编号, to: shop_no, key: true}
  - {from: [名称, 店名], to: shop_name, grade: G3}
  - {from: 等级, to: shop_grade, type: integer}
  - {from: 备注, ignore: free text, optional: true}
expect:
  - {value_is_present: shop_name, floor: 0.9}
"""


def diff(root: Path, *replaced: tuple[str, str], before: str = CONTRACT) -> list[tuple[bool, str]]:
    """(breaking, where) of every change that these replacements make."""
    after = before
    for old, new in replaced:
        assert old in after
        after = after.replace(old, new)
    paths = []
    for name, text in (("old", before), ("new", after)):
        (root / name).mkdir(exist_ok=True)
        paths.append(root / name / "market__shop.yaml")
        paths[-1].write_text(text, encoding="utf-8")
    changes = compare(*(load_contract(path) for path in paths))
    assert all(c.zh and c.en for c in changes)
    return [(c.breaking, c.where) for c in changes]


def test_the_same_contract_written_otherwise_has_no_difference(tmp_path: Path) -> None:
    assert diff(tmp_path, ("title: {zh: 店铺, en: Shops}", "# said once more\ntitle: {en: Shops, zh: 店铺}")) == []


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("  - {from: 等级, to: shop_grade, type: integer}\n", "", "columns.shop_grade"),
        ("to: shop_grade", "to: stars", "columns.stars.to"),
        ("to: shop_grade, type: integer", "ignore: nobody reads it", "columns.shop_grade.ignore"),
        ("type: integer", "type: date", "columns.shop_grade.type"),
        ("type: integer", "type: number", "columns.shop_grade.type"),
        ("[名称, 店名]", "名称", "columns.shop_name.from"),
        ("to: shop_name", "to: shop_name, key: true", "columns.key"),
        ("optional: true", "optional: false", "columns.(备注).optional"),
        ("to: shop_name", "to: shop_name, on_missing: refuse", "columns.shop_name.on_missing"),
        ("grade: G3", "grade: G1", "columns.shop_name.grade"),
        ("  - {from: 备注", "  - {from: 电话, to: phone}\n  - {from: 备注", "columns.phone"),
        ("[gb18030, utf-8]", "utf-8", "format.encoding"),
        ("[gb18030, utf-8]", "[utf-8, gb18030]", "format.encoding"),
        ("format: {encoding: [gb18030, utf-8]}", 'format: {encoding: [gb18030, utf-8], delimiter: "|"}', "format.delimiter"),
        ("shop_(?P", "店铺_(?P", "period"),
        ("cycle: daily", "cycle: monthly", "arrival.cycle"),
        ("09:00 next", "08:00 next", "arrival.due"),
        ('"shop_*.csv"', '"store_*.csv"', "arrival.drop"),
        ("load: increment", "load: snapshot", "load"),
        ("load: increment", "load: increment\ndrift: hold", "drift"),
        ("floor: 0.9", "floor: 0.9, severity: hold", "expect.value_is_present shop_name"),
        ("expect:\n", "expect:\n  - {key_is_unique: , severity: hold}\n", "expect.key_is_unique"),
    ],
)
def test_what_holds_files_refuses_rows_or_changes_a_table_is_breaking(tmp_path: Path, old: str, new: str, where: str) -> None:
    assert (True, where) in diff(tmp_path, (old, new))


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("en: Shops", "en: Stores", "title"),
        ("[名称, 店名]", "[名称, 店名, 店铺名]", "columns.shop_name.from"),
        ("  - {from: 备注", "  - {from: 电话, to: phone, optional: true}\n  - {from: 备注", "columns.phone"),
        ("  - {from: 备注, ignore: free text, optional: true}\n", "", "columns.(备注)"),
        ("type: integer", "type: integer, optional: true", "columns.shop_grade.optional"),
        ("grade: G3", "grade: G4", "columns.shop_name.grade"),
        ("grade: G3", "grade: G3, clean: trim_text", "columns.shop_name.clean"),
        ("[gb18030, utf-8]", "[gb18030, utf-8, big5]", "format.encoding"),
        ("load: increment", "load: increment\ndrift: evolve", "drift"),
        ("floor: 0.9", "floor: 0.8", "expect.value_is_present shop_name"),
        ("expect:\n", "expect:\n  - key_is_unique\n", "expect.key_is_unique"),
    ],
)
def test_what_takes_more_than_before_or_only_counts_otherwise_is_not_breaking(
    tmp_path: Path, old: str, new: str, where: str
) -> None:
    assert diff(tmp_path, (old, new)) == [(False, where)]


def test_breaking_changes_come_first(tmp_path: Path) -> None:
    found = diff(tmp_path, ("en: Shops", "en: Stores"), ("type: integer", "type: date"))
    assert found == [(True, "columns.shop_grade.type"), (False, "title")]


def test_a_file_that_is_no_contract_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="no such file"):
        read_contract(tmp_path / "market__shop.yaml")
    (tmp_path / "new.yaml").write_text(CONTRACT, encoding="utf-8")
    with pytest.raises(CatalogError, match="into another folder"):
        read_contract(tmp_path / "new.yaml")
