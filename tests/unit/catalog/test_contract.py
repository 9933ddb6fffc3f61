"""Contracts: what is wrong is said with file, line, key, what was expected and the nearest word."""

from __future__ import annotations

from pathlib import Path

import pytest

from catalog.contract import from_canonical_json, load_contract
from catalog.registry import SHIPPED, Catalog
from catalog.yaml_file import CatalogError
from pipelines.contract_check import check

GOOD = """\
title: {zh: 店铺, en: Shops}
department: market
load: increment
period: {from: file_name, pattern: "shop_(?P<date>\\\\d{8})"}
arrival: {drop: "shop_*.csv", cycle: daily}
columns:
  - {from: 编号, to: shop_no, key: true}
  - {from: 名称, to: shop_name, clean: [trim_text]}
  - {from: 备注, ignore: free text}
"""


def catalog(folder: Path, **files: str) -> Catalog:
    (folder / "sources").mkdir()
    (folder / "entities").mkdir()
    for name, text in files.items():
        (folder / "sources" / f"{name}.yaml").write_text(text, encoding="utf-8")
    return Catalog(folder)


def test_every_shipped_contract_and_entity_is_sound() -> None:
    shipped = Catalog(SHIPPED)
    assert check(shipped) == []
    assert len(shipped.contracts) >= 10 and len(shipped.entities) >= 3


@pytest.mark.parametrize(
    ("change", "to", "said"),
    [
        ("load: increment", "laod: increment", [":3:", "`laod`", "unknown key", "did you mean `load`"]),
        ("load: increment", "load: incremental", [":3:", "`load`", "got `incremental`", "snapshot", "did you mean `increment`"]),
        ("cycle: daily", "cycle: dayly", [":5:", "`arrival.cycle`", "did you mean `daily`"]),
        ("key: true}", "kee: true}", [":7:", "`columns.0.kee`", "did you mean `key`"]),
        ("ignore: free text", "to: remark, ignore: free text", [":9:", "one of the two"]),
        ("to: shop_name", "to: 名称", [":8:", "lower-case name"]),
        ("to: shop_name", "to: shop_no", ["two columns are mapped to `shop_no`"]),
        ("shop_*.csv", "../shop_*.csv", [":5:", "without folders"]),
        ("(?P<date>", "(", ["named group"]),
        ("key: true", "required: true", ["replaces rows by key"]),
        ("[trim_text]", "[trim_txt]", ["did you mean 'trim_text'"]),
        ("title: {zh: 店铺, en: Shops}", "title: {zh: 店铺}", [":1:", "`title.en`", "required"]),
        ("load: increment", "load: increment\nload: append", [":4:", "given twice"]),
        ("department: market", "department: &d market\nsteward: *d", ["aliases"]),
        ("department: market", "department: !!python/object:os.system {}", ["not valid YAML"]),
    ],
)
def test_a_wrong_contract_says_where_and_what_to_write(tmp_path: Path, change: str, to: str, said: list[str]) -> None:
    assert change in GOOD
    problems = "\n".join(check(catalog(tmp_path, market__shop=GOOD.replace(change, to, 1))))
    assert "market__shop.yaml" in problems
    for part in said:
        assert part in problems


def test_a_book_is_no_contract(tmp_path: Path) -> None:
    problems = check(catalog(tmp_path, market__shop=GOOD + "# " + "x" * 1_000_001))
    assert "larger than 1,000,000 bytes" in problems[0]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("value_is_presnt: shop_name", "did you mean `value_is_present`"),
        ("value_is_present: shop_nam", "did you mean `shop_name`"),
        ("{value_in_set: shop_name, valus: [a]}", "did you mean `values`"),
        ("value_in_set: shop_name", "needs `values`"),
        ("{value_in_code_table: shop_no, table: nowhere}", "no code table nowhere.csv"),
        ("dates_in_order: shop_no", "needs two columns"),
        ("{record_lag: shop_no, within: soon}", "7 working days"),
        ("sql: SELECT 1", "{batch}"),
        ("sql: SELECT * FROM {batch}; DROP TABLE x", "one SELECT"),
        ("sql: SELECT * FROM {batch} JOIN read_csv('/etc/passwd') USING (a)", "only {batch}"),
        ("sql: COPY (SELECT * FROM {batch}) TO 'x'", "one SELECT"),
        ("sql: SELECT * FROM {batch}, lake.std.other", "only {batch}"),
    ],
)
def test_a_wrong_expectation_says_what_would_be_right(tmp_path: Path, line: str, said: str) -> None:
    problems = "\n".join(check(catalog(tmp_path, market__shop=GOOD + f"expect:\n  - {line}\n")))
    assert said in problems


def test_a_form_is_shared_by_like_and_own_words_win(tmp_path: Path) -> None:
    form = GOOD.replace("department: market\n", "")
    own = "like: _form\ntitle: {zh: 越秀区店铺, en: Yuexiu shops}\ncolumns:\n  - {from: 店名, to: shop_name}\n  - {from: 面积, to: area_m2, type: number}\n"
    shops = catalog(tmp_path, _form=form, yuexiu__shop=own, tianhe__shop="like: _form\n").contracts
    assert set(shops) == {"yuexiu__shop", "tianhe__shop"}, "a form is no source"
    assert shops["yuexiu__shop"].title.zh == "越秀区店铺" and shops["tianhe__shop"].department.id == "tianhe"
    names = [c.to for c in shops["yuexiu__shop"].mapped]
    assert names == ["shop_no", "shop_name", "area_m2"]
    changed = shops["yuexiu__shop"].column("shop_name")
    assert changed.source == "店名" and [r.name for r in changed.clean] == ["trim_text"], "what is not said again is taken over"


def test_like_in_a_circle_is_refused(tmp_path: Path) -> None:
    both = catalog(tmp_path, a__x="like: b__x\n", b__x="like: a__x\n")
    with pytest.raises(CatalogError, match="leads back to itself"):
        assert both.contracts


def test_the_hash_is_of_what_is_agreed_not_of_how_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, second = tmp_path / "a" / "market__shop.yaml", tmp_path / "b" / "market__shop.yaml"
    first.write_text(GOOD, encoding="utf-8")
    lines = GOOD.splitlines()
    second.write_text("# a remark\n" + "\n".join([lines[2], lines[1], lines[0], *lines[3:]]) + "\n", encoding="utf-8")
    assert load_contract(first).hash == load_contract(second).hash
    second.write_text(GOOD.replace("trim_text", "upper"), encoding="utf-8")
    assert load_contract(first).hash != load_contract(second).hash


def test_the_archived_form_of_every_shipped_contract_reads_back_as_the_same_agreement() -> None:
    for contract in Catalog(SHIPPED).contracts.values():
        assert from_canonical_json(contract.canonical_json()).hash == contract.hash


def test_one_broken_contract_does_not_hide_the_one_that_is_asked_for(tmp_path: Path) -> None:
    both = catalog(tmp_path, market__shop=GOOD, tax__payer="columns: 1\n")
    assert both.contract("market__shop").id == "market__shop"
    with pytest.raises(CatalogError, match="tax__payer"):
        assert both.contracts
