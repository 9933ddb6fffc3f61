"""A town whose departments contradict each other, for tests of what is told about it: three registers of shops that share numbers.

Who is believed: the market office for names, the fire office for grades; the tax office sends both.
"""

from __future__ import annotations

from pathlib import Path

from tests.support import ENTITY, SOURCES, Town, town

TAX = """\
title: {zh: 纳税人<b>甲</b>, en: Payers <b>A</b>}
department: {id: tax, zh: 税务局, en: Tax office}
entity: shop
load: increment
period: {from: file_name, pattern: "payer_(?P<date>\\\\d{8})"}
arrival: {drop: "payer_*.csv", cycle: daily, due: "09:00 next working day"}
columns:
  - {from: 编号, to: shop_no, key: true}
  - {from: 名称, to: shop_name}
  - {from: 电话, to: phone, personal: true}
  - {from: 等级, to: fire_grade}
"""
MARKET = SOURCES["market__shop"].replace("备注, ignore: free text, optional: true", "备注, to: phone, personal: true")
GRADED = ENTITY.replace("{name: fire_grade, kind: code}", "{name: fire_grade, kind: code, authority: fire__permit}")

#: Values that no page, line or file may show.
PERSONAL = ("13912345678", "13898765432")


def make(root: Path) -> Town:
    """Three days: on the first everybody agrees; then the tax office changes names and grades, the fire office leaves one grade empty."""
    made = town(root, {"market__shop": MARKET, "tax__payer": TAX, "fire__permit": SOURCES["fire__permit"]})
    (made.catalog / "entities" / "shop.yaml").write_text(GRADED.replace(", digest: true", ""), encoding="utf-8")
    head = "编号,名称,成立日期,备注\n"
    made.drop(
        "market", "shop_20260302.csv", head + f"S1,东店,2001-05-06,{PERSONAL[0]}\nS2,西店,2001-05-06,\nS3,南店,2001-05-06,\n"
    )
    made.drop("fire", "permit_20260302.txt", "编号|等级\nS1|甲\nS2|乙\nS3|\n")
    made.drop("tax", "payer_20260302.csv", f"编号,名称,电话,等级\nS1,东店,{PERSONAL[1]},甲\nS2,西店,,乙\nS3,南店,,丙\n")
    made.run_at("2026-03-03T08:30:00+08:00")
    made.drop("tax", "payer_20260303.csv", "编号,名称,电话,等级\nS1,东方店,,乙\n")
    made.run_at("2026-03-04T08:30:00+08:00")
    made.drop("tax", "payer_20260304.csv", "编号,名称,电话,等级\nS1,东方店,,丁\nS2,西<script>店,,乙\n")
    made.run_at("2026-03-05T08:30:00+08:00")
    return made
