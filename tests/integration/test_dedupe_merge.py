"""Dedupe and merge: the latest row per key, one golden record per entity, each field from the best source that has it."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from pipelines.trace import trace
from tests.support import SOURCES, Town, town

HEAD = "编号,名称,成立日期,备注\n"
MORNING = "2026-03-05T08:30:00+08:00"


def shops(place: Town) -> list[tuple[Any, ...]]:
    with place.run(MORNING) as run:
        return run.con.execute(
            "SELECT shop_no, shop_name, opened_on::VARCHAR, fire_grade FROM lake.base.shop ORDER BY shop_no"
        ).fetchall()


def origin(place: Town, shop: str, attribute: str) -> dict[str, Any]:
    with place.run(MORNING) as run:
        found = run.con.execute(
            "SELECT o.* FROM lake.base.shop__origin AS o JOIN lake.base.shop AS s USING (_entity) WHERE s.shop_no = ? AND attribute = ?",
            [shop, attribute],
        )
        return dict(zip([d[0] for d in found.description], found.fetchall()[0], strict=True))


@pytest.mark.parametrize("order", list(itertools.permutations(["20260302", "20260303", "20260304"])))
def test_the_latest_period_wins_in_whatever_order_the_files_arrive(tmp_path: Path, order: tuple[str, ...]) -> None:
    place = town(tmp_path)
    for number, day in enumerate(order):
        place.drop("market", f"shop_{day}.csv", HEAD + f"S1,名称{day},2020-01-02,\n")
        place.run_at(f"2026-03-05T08:{number:02}:00+08:00")
    assert shops(place) == [("S1", "名称20260304", "2020-01-02", None)]
    assert origin(place, "S1", "shop_name")["_batch"] == "market__shop@2026-03-04.v1"


def test_of_two_rows_with_one_key_the_later_row_of_the_file_survives(tmp_path: Path) -> None:
    place = town(tmp_path)
    place.drop("market", "shop_20260302.csv", HEAD + "S1,旧名,2020-01-02,\nS1,新名,2020-01-02,\n")
    place.run_at(MORNING)
    assert shops(place) == [("S1", "新名", "2020-01-02", None)]
    with place.run(MORNING) as run:
        equation = run.con.execute("SELECT equation FROM lake.ledger.stage WHERE stage = 'dedupe'").fetchall()
    assert equation == [("2 = 1 surviving + 1 superseded",)]


def test_a_correction_replaces_its_period_and_an_increment_keeps_the_others(tmp_path: Path) -> None:
    place = town(tmp_path)
    place.drop("market", "shop_20260302.csv", HEAD + "S1,甲,2020-01-02,\nS2,乙,2020-01-02,\n")
    place.drop("market", "shop_20260303.csv", HEAD + "S3,丙,2020-01-02,\n")
    place.run_at(MORNING)
    place.drop("market", "shop_20260302.csv", HEAD + "S1,甲改,2020-01-02,\n")
    place.run_at(MORNING)
    assert [row[:2] for row in shops(place)] == [("S1", "甲改"), ("S3", "丙")], "S2 stood in the superseded version only"


def test_a_snapshot_speaks_through_its_latest_period_alone(tmp_path: Path) -> None:
    place = town(tmp_path)
    place.drop("fire", "permit_20260302.txt", "编号|等级\nS1|A\nS2|B\n")
    place.drop("fire", "permit_20260303.txt", "编号|等级\nS2|C\n")
    place.run_at(MORNING)
    assert [(row[0], row[3]) for row in shops(place)] == [("S2", "C")]


def test_the_authority_wins_and_what_others_say_is_unconfirmed(tmp_path: Path) -> None:
    sources = SOURCES | {"tax__payer": SOURCES["tax__payer"].replace("to: phone, personal: true", "to: shop_name")}
    place = town(tmp_path, sources)
    place.drop("tax", "payer_20260303.csv", "编号,电话\nS1,税务写法\nS2,只有税务\n".encode("gb18030"))
    place.drop("market", "shop_20260302.csv", HEAD + "S1,市监写法,2020-01-02,\n")
    place.run_at(MORNING)
    assert [row[:2] for row in shops(place)] == [("S1", "市监写法"), ("S2", "只有税务")]
    first, second = origin(place, "S1", "shop_name"), origin(place, "S2", "shop_name")
    assert (first["status"], first["values_seen"], first["sources_with_value"]) == ("authority", 2, 2)
    assert (second["status"], second["_source"]) == ("unconfirmed", "tax__payer")


def test_the_last_good_value_of_the_authority_is_kept_and_marked_stale(tmp_path: Path) -> None:
    place = town(tmp_path)
    place.drop("market", "shop_20260302.csv", HEAD + "S1,东风商店,2020-01-02,\n")
    place.drop("market", "shop_20260303.csv", HEAD + "S1,,2020-01-02,\n")
    place.run_at(MORNING)
    assert shops(place)[0][:2] == ("S1", "东风商店")
    stale = origin(place, "S1", "shop_name")
    assert (stale["status"], stale["_batch"], stale["_row"]) == ("stale", "market__shop@2026-03-02.v1", 2)
    assert origin(place, "S1", "opened_on")["_batch"] == "market__shop@2026-03-03.v1"


def test_a_held_batch_leaves_the_last_good_data_in_force(tmp_path: Path) -> None:
    place = town(tmp_path)
    place.drop("market", "shop_20260302.csv", HEAD + "S1,好的,2020-01-02,\n")
    place.run_at(MORNING)
    place.drop("market", "shop_20260302.csv", "编号\nS1\n")
    held = place.run_at(MORNING)
    assert [v.state for v in held.verdicts] == ["hold"] and held.fused == ()
    assert shops(place)[0][:2] == ("S1", "好的")


def test_a_personal_identifier_is_a_digest_in_base_and_plain_nowhere_behind_std(tmp_path: Path) -> None:
    place = town(tmp_path)
    place.drop("tax", "payer_20260302.csv", "编号,电话\nS1,13912345678\n".encode("gb18030"))
    place.run_at(MORNING)
    behind = {name: rows for name, rows in place.tables().items() if name.split(".")[0] in ("base", "quality", "ledger")}
    assert "13912345678" not in str(behind)
    (shop,) = behind["base.shop"]
    assert len(shop["phone"]) == 64
    with place.run(MORNING) as run:
        hidden = next(f for f in trace(run, "shop", "S1").fields if f.attribute == "phone")
        shown = next(f for f in trace(run, "shop", "S1", reveal=True).fields if f.attribute == "phone")
    assert hidden.as_sent == "1***8" and shown.as_sent == "13912345678"


def test_a_fusion_whose_sources_did_not_change_does_nothing(tmp_path: Path) -> None:
    place = town(tmp_path)
    place.drop("market", "shop_20260302.csv", HEAD + "S1,甲,2020-01-02,\n")
    assert place.run_at(MORNING).fused == ("shop",)
    before = place.tables()
    assert place.run_at(MORNING).fused == ()
    assert place.tables() == before
