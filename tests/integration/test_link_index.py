"""A town that fuses only what changed has the golden records, ids and clashes of one that fuses everything each day."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from pipelines import link_index, portions
from pipelines.rebuild import rebuild
from pipelines.verify import verify
from tests.support import Tables, Town, tables, town

SOURCES = {
    "market__shop": """\
title: {zh: 店铺, en: Shops}
department: {id: market, zh: 市监局, en: Market office}
entity: shop
load: snapshot
period: {from: file_name, pattern: "shop_(?P<date>\\\\d{8})"}
arrival: {drop: "shop_*.csv", cycle: daily, due: "09:00 next working day"}
columns:
  - {from: 登记号, to: register_no, key: true}
  - {from: 编号, to: shop_no}
  - {from: 名称, to: shop_name}
  - {from: 电话, to: phone, personal: true}
  - {from: 成立日期, to: opened_on, type: date, clean: date_any_format}
""",
    "tax__payer": """\
title: {zh: 纳税人, en: Payers}
department: {id: tax, zh: 税务局, en: Tax office}
entity: shop
load: increment
period: {from: file_name, pattern: "payer_(?P<date>\\\\d{8})"}
arrival: {drop: "payer_*.csv", cycle: daily, due: "09:00 next working day"}
columns:
  - {from: 税号, to: tax_no, key: true}
  - {from: 编号, to: shop_no}
  - {from: 名称, to: shop_name}
  - {from: 电话, to: phone, personal: true}
  - {from: 成立日期, to: opened_on, type: date, clean: date_any_format}
""",
    "fire__visit": """\
title: {zh: 消防检查, en: Fire visits}
department: {id: fire, zh: 消防局, en: Fire office}
entity: shop
load: append
period: {from: file_name, pattern: "visit_(?P<date>\\\\d{8})"}
arrival: {drop: "visit_*.csv", cycle: daily, due: "09:00 next working day"}
columns:
  - {from: 编号, to: shop_no}
  - {from: 名称, to: shop_name}
  - {from: 等级, to: fire_grade}
""",
}
ENTITY = """\
title: {zh: 店铺, en: Shop}
identifiers: [shop_no]
match: {compare: [shop_name, phone, opened_on], threshold: 0.8}
authority: [market__shop, "*"]
attributes:
  - {name: shop_no, kind: code}
  - {name: shop_name, kind: organisation_name}
  - {name: opened_on, type: date, kind: date}
  - {name: phone, kind: phone, personal: true, digest: true}
  - {name: fire_grade, kind: code}
"""
HEADS = {
    "market": ("shop", "登记号,编号,名称,电话,成立日期"), "tax": ("payer", "税号,编号,名称,电话,成立日期"), "fire": ("visit", "编号,名称,等级"),
}  # fmt: skip
WORDS = ["明月", "春风", "长江", "西湖", "金山", "福满", "东方", "天河", "白云", "珠江", "荔湾", "永安"]


def shops(count: int) -> list[list[str]]:
    draw = random.Random(7)
    found = []
    for n in range(count):
        name = draw.choice(WORDS) + draw.choice(WORDS) + draw.choice(["茶餐厅", "便利店", "五金店", "药房"])
        found.append(
            [f"S{n}", name, f"020{draw.randrange(10**8):08d}", f"20{draw.randrange(10, 24)}-0{draw.randrange(1, 10)}-15"]
        )
    return found


def days() -> list[dict[str, list[str]]]:
    """Department -> lines, day by day: shops come, go, get other numbers, names and phones; some rows have no number."""
    draw = random.Random(11)
    known = shops(70)
    told = []
    for day in range(5):
        for _ in range(6 if day else 0):
            place = draw.randrange(len(known))
            field = draw.randrange(4)
            known[place] = [*known[place][:field], known[draw.randrange(len(known))][field], *known[place][field + 1 :]]
        open_ones = [i for i in range(len(known)) if i % 9 != day]
        market = [",".join([f"R{i}", known[i][0] if i % 4 else "", *known[i][1:]]) for i in open_ones if i % 3]
        tax = [",".join([f"T{i}", known[i][0] if i % 5 else "", *known[i][1:]]) for i in open_ones if not day or i % 8 == day]
        fire = [f"{known[i][0] if i % 2 else ''},{known[i][1]},{'AB'[i % 2]}" for i in open_ones if i % 7 == day]
        told.append({"market": market, "tax": tax, "fire": fire})
    told[3] = {"tax": told[3]["tax"]}  # one source alone
    return told


def land(place: Town, day: int, lines: dict[str, list[str]]) -> None:
    for department, rows in lines.items():
        name, head = HEADS[department]
        place.drop(department, f"{name}_202603{day + 2:02}.csv", "\n".join([head, *rows]) + "\n")


def new_town(root: Path) -> Town:
    place = town(root, SOURCES)
    (place.catalog / "entities" / "shop.yaml").write_text(ENTITY, encoding="utf-8")
    return place


#: What no one may see from: how a fusion went about its work.
APART_FROM = ("ledger.statement", "ledger.stage")


def golden(place: Town) -> Tables:
    found = {n: rows for n, rows in place.tables().items() if n not in APART_FROM}
    for row in found["ledger.fusion"]:
        row.pop("linking")  # how many records were compared
    return found


def index(place: Town) -> Path:
    return link_index.path(place.workspace, "shop")


def at(day: int) -> str:
    return f"2026-03-{day + 2:02}T20:00:00+08:00"


@pytest.fixture
def pinned_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.link.PIN_AT", 1)


@pytest.mark.slow
@pytest.mark.usefixtures("pinned_at_once")
def test_day_by_day_the_same_as_everything_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick, slow, killed = (new_town(tmp_path / name) for name in ("quick", "slow", "killed"))
    for day, lines in enumerate(days()):
        for place in (quick, slow, killed):
            land(place, day, lines)
            if place is slow:
                index(place).unlink(missing_ok=True)
            if place is killed:
                with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
                    patch.setattr(link_index, "learn", interrupted)  # right after the commit
                    place.run_at(at(day))
            place.run_at(at(day))
        assert golden(quick) == golden(slow)
    assert golden(killed) == golden(quick)
    links = {str(row["_link"]) for row in quick.tables()["base.shop__member"]}
    assert links >= {"identifier", "matched", "alone"}
    asked = [r for r in quick.tables()["ledger.statement"] if r["title"] == "what hangs together with the change"]
    assert {r["subject"] for r in asked} == {f"shop#{n}" for n in range(2, 6)}
    with quick.run(at(9)) as run:
        assert verify(run) == []
        again = rebuild(run, tmp_path / "again")
    was, now = quick.tables(), tables(again)
    for name in ("base.shop", "base.shop__origin", "base.shop__member", "quality.clash"):
        assert now[name] == was[name], name
    told = [row for row in now["ledger.entity_change"] if row["number"] <= 5]
    assert told == was["ledger.entity_change"]


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.slow
@pytest.mark.usefixtures("pinned_at_once")
def test_an_index_that_is_damaged_or_of_another_fusion_is_made_anew(tmp_path: Path) -> None:
    place, other = new_town(tmp_path / "one"), new_town(tmp_path / "other")
    told = days()
    for day in range(3):
        land(place, day, told[day])
        land(other, day, told[day])
        if day == 1:
            before = index(place).read_bytes()
        if day == 2:
            index(place).write_bytes(before if day % 2 else before[: len(before) // 2])
        place.run_at(at(day))
        other.run_at(at(day))
    assert golden(place) == golden(other)
    index(place).write_bytes(before)  # that of the first fusion
    land(place, 3, told[3])
    land(other, 3, told[3])
    place.run_at(at(3))
    other.run_at(at(3))
    assert golden(place) == golden(other)


@pytest.mark.usefixtures("pinned_at_once")
def test_grouped_portion_by_portion_a_town_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With keys whose names the statements use themselves."""
    for name, text in SOURCES.items():
        monkeypatch.setitem(SOURCES, name, text.replace("to: register_no", "to: recency").replace("to: tax_no", "to: batch"))
    whole, piecewise = (new_town(tmp_path / name) for name in ("whole", "piecewise"))
    for day, lines in enumerate(days()[:2]):
        for place, rows in ((whole, portions.ROWS), (piecewise, 9)):
            land(place, day, lines)
            with monkeypatch.context() as patch:
                patch.setattr(portions, "ROWS", rows)
                place.run_at(at(day))
        assert golden(whole) == golden(piecewise)
