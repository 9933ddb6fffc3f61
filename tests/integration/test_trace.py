"""A trace explains a golden record: who says what, why it was chosen, and why its rows belong together."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from catalog.entity import Compare, Kind
from pipelines import link, models
from pipelines.link_explain import explain
from pipelines.link_kinds import look
from pipelines.said import tell
from pipelines.trace import Trace, confidence, trace
from pipelines.trace_words import LEVELS, told
from tests.support import ENTITY, SOURCES, Town, town
from warehouse.lake import reading

HEAD = "编号,名称,成立日期,备注\n"
NAMED = SOURCES | {"tax__payer": SOURCES["tax__payer"].replace("to: phone, personal: true", "to: shop_name")}


def traced(place: Town, wanted: str, *, reveal: bool = False) -> Trace:
    with place.run("2026-03-06T12:00:00+08:00") as run:
        return trace(run, "shop", wanted, reveal=reveal)


def payer(day: str, *rows: str) -> tuple[str, str, bytes]:
    return "tax", f"payer_{day}.csv", "\n".join(["编号,电话", *rows, ""]).encode("gb18030")


def test_a_field_names_who_says_so_and_who_says_otherwise_since_when(tmp_path: Path) -> None:
    place = town(tmp_path, NAMED)
    place.drop("market", "shop_20260302.csv", HEAD + "S1,东风商店,2001-05-06,\n")
    place.drop(*payer("20260302", "S1,东风商店"))
    place.run_at("2026-03-03T08:30:00+08:00")
    place.drop(*payer("20260303", "S1,西风商店"))
    place.run_at("2026-03-04T08:30:00+08:00")
    place.drop(*payer("20260304", "S1,西风商店"))
    place.run_at("2026-03-05T08:30:00+08:00")
    found = traced(place, "S1")
    name = next(f for f in found.fields if f.attribute == "shop_name")
    assert [(o.value, o.row, o.since.isoformat()[:10], o.agrees) for o in name.others] == [("西风商店", 2, "2026-03-04", False)]
    assert name.since is not None and name.since.isoformat()[:10] == "2026-03-03"
    zh, en = told(found), told(found, "en")
    assert "市监局《店铺》这样说：文件 shop_20260302.csv 第 2 行“名称”列，2026-03-03到达" in zh
    assert "采用理由：市监局《店铺》是此项的权威来源" in zh
    assert "可信程度：一般。1 个来源说法不同，没有来源说法相同" in zh
    assert "未采用：“西风商店”，税务局《纳税人》自2026-03-04起这样说，文件 payer_20260304.csv 第 2 行" in zh
    assert "Not taken: `西风商店`, said by Tax office (Payers) since 2026-03-04, file payer_20260304.csv, row 2" in en
    assert "与 [2] 的shop_no相同" in zh and "same shop_no as [2]" in en


def test_old_and_unconfirmed_values_are_said_to_be_so(tmp_path: Path) -> None:
    place = town(tmp_path, NAMED)
    place.drop("market", "shop_20260302.csv", HEAD + "S1,东风商店,2001-05-06,\n")
    place.drop(*payer("20260302", "S1,东风商店", "S2,只有税务"))
    place.run_at("2026-03-03T08:30:00+08:00")
    place.drop("market", "shop_20260303.csv", HEAD + "S1,,2001-05-06,\n")
    place.run_at("2026-03-04T08:30:00+08:00")
    old, alone = told(traced(place, "S1"), "en"), told(traced(place, "S2"), "en")
    assert "its newest row leaves the cell empty, so its last good value stands and may be old" in old
    assert "Confidence: fair. 1 other source(s) say the same, none says otherwise" in old
    assert (
        "the authority (Market office (Shops)) has no value, so it is taken from the next best department, unconfirmed" in alone
    )
    assert "Confidence: low" in alone


def test_personal_values_are_masked_wherever_they_are_said(tmp_path: Path) -> None:
    fire = SOURCES["fire__permit"].replace("to: fire_grade", "to: phone, personal: true")
    place = town(tmp_path, SOURCES | {"fire__permit": fire})
    place.drop(*payer("20260302", "S1,13900139000"))
    place.drop("fire", "permit_20260302.txt", "编号|等级\nS1|13811112222\n")
    place.run_at("2026-03-03T08:30:00+08:00")
    found = traced(place, "S1")
    for text in (told(found), told(found, "en"), repr(found)):
        assert "13900139000" not in text and "13811112222" not in text
    shown = told(traced(place, "S1", reveal=True))
    assert "13900139000" in shown and "13811112222" in shown
    assert "phone：1***2" in told(found), "the cell as sent stands for the digest that the golden record keeps"


@pytest.mark.parametrize(
    ("status", "agreeing", "disagreeing", "grade"),
    [
        ("authority", 2, 0, "high"), ("authority", 0, 0, "good"), ("authority", 3, 1, "fair"), ("stale", 1, 0, "fair"),
        ("stale", 0, 0, "low"), ("unconfirmed", 2, 1, "low"), ("unconfirmed", 1, 0, "fair"),
    ],
)  # fmt: skip
def test_confidence_follows_from_who_says_it_and_who_else_does(status: str, agreeing: int, disagreeing: int, grade: str) -> None:
    assert confidence(status, agreeing, disagreeing) == grade


#: Names and dates by their words and digits, grades also by how common they are, phones by how many shops share one.
MATCHED = ENTITY.replace(
    "identifiers: [shop_no]", "match: {compare: [shop_name, opened_on, fire_grade, phone], threshold: 0.5}"
).replace("{name: fire_grade, kind: code}", "{name: fire_grade}")


@pytest.fixture(scope="module", params=["learned anew", "pinned"])
def alike(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Town:
    """200 shops in two registers that share no number: names with words of differing rarity, slips in dates."""
    pick = random.Random(3)
    words = [a + b for a in "东西南北金银红绿" for b in "风山湖海城门桥路"]
    market, fire = [], []
    for n in range(200):
        name = pick.choice(words) + pick.choice(words) + pick.choice(["书店", "商店", "饭店", "药房"])
        day, grade = (
            f"20{pick.randrange(10, 25)}-{pick.randrange(1, 13):02}-{pick.randrange(1, 29):02}",
            f"第{min(pick.randrange(90), pick.randrange(90))}级",
        )
        phone = f"1390000{pick.randrange(60):04}"
        market.append(f"M{n},{name},{day},{grade},{phone}")
        other = name[:-2] + pick.choice(["", "总店"]) if n % 3 == 0 else name
        fire.append(f"F{n}|{other}|{day[:-1] + '9' if n % 5 == 0 else day}|{grade if n % 4 else ''}|{phone if n % 7 else ''}")
    phoned = "to: fire_grade}\n  - {from: 电话, to: phone, personal: true}"
    columns = SOURCES["market__shop"].replace("备注, ignore: free text, optional: true}", f"备注, {phoned}")
    more = "{from: 名称, to: shop_name}\n  - {from: 日期, to: opened_on, type: date}\n  - {from: 等级, " + phoned
    permit = SOURCES["fire__permit"].replace("{from: 等级, to: fire_grade}", more).replace("to: shop_no", "to: permit_no")
    place = town(tmp_path_factory.mktemp("alike"), {"market__shop": columns, "fire__permit": permit})
    (place.catalog / "entities" / "shop.yaml").write_text(MATCHED, encoding="utf-8")
    place.drop("market", "shop_20260302.csv", "编号,名称,成立日期,备注,电话\n" + "\n".join(market) + "\n")
    place.drop("fire", "permit_20260302.txt", "编号|名称|日期|等级|电话\n" + "\n".join(fire) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(link, "PIN_AT", 100 if request.param == "pinned" else link.PIN_AT)
        place.run_at("2026-03-03T08:30:00+08:00")
    assert bool(models.newest(place.workspace, "shop")) == (request.param == "pinned")
    return place


def test_the_weights_of_a_link_are_those_that_linking_used(alike: Town) -> None:
    """Prior, levels and rarity of values, worked out again, come to the probability that Splink gave, digit for digit."""
    with alike.run("2026-03-06T12:00:00+08:00") as run, reading(run.workspace) as con:
        con.execute("CREATE TEMP TABLE wanted AS SELECT _entity, attribute FROM lake.base.shop__origin")
        entity = run.catalog.entity("shop")
        tell(run, con, entity)
        pairs = con.execute(
            "SELECT _record, _matched_to, _probability FROM lake.base.shop__member WHERE _matched_to IS NOT NULL"
        ).fetchall()
        found = explain(run, con, entity, pairs)
    assert len(found) == len(pairs) > 100
    assert sum(p < 0.9999 for *_, p in pairs) > 20
    for a, b, probability in pairs:
        assert round(found[a, b].probability, 6) == pytest.approx(probability, abs=1.5e-6), found[a, b]
    weights = [w for likeness in found.values() for w in likeness.weights]
    assert len({w.level for w in weights}) > 4
    assert any(w.rarity for w in weights if w.attribute == "phone"), "how common a value is counts for phones"


def test_the_printed_parts_of_a_likeness_add_up_to_what_is_printed_below_them(alike: Town) -> None:
    ids = sorted({m["_entity"] for m in alike.tables()["base.shop__member"] if m["_link"] == "matched"})
    for one in ids[:2]:
        found = traced(alike, one)
        for language, together in (("zh", "合计"), ("en", "Together")):
            lines = [line for line in told(found, language).splitlines() if f"{together} " in line]
            assert len(lines) == len(found.members)
            for line in lines:
                parts, total = line.split(together)
                summands = [float(n) for n in re.findall(r"\(([+-]\d+\.\d)\)", parts)]
                assert round(sum(summands), 1) == float(re.findall(r"[+-]\d+\.\d", total)[0]), line


def test_a_model_that_can_no_longer_be_read_leaves_the_probability(alike: Town) -> None:
    [one] = sorted({m["_entity"] for m in alike.tables()["base.shop__member"] if m["_link"] == "matched"})[:1]
    found = traced(alike, one)
    forgotten = replace(found, members=tuple(replace(m, likeness=None) for m in found.members))
    assert "the weights cannot be worked out any more" in told(forgotten, "en")


def test_what_people_decided_is_told_with_their_reason(tmp_path: Path) -> None:
    place = town(tmp_path)
    place.drop("market", "shop_20260302.csv", HEAD + "S1,东风店,2001-05-06,\nS2,东风分店,2001-05-06,\nS3,南店,2001-05-06,\n")
    place.run_at("2026-03-03T08:30:00+08:00")
    a, b, c = (traced(place, s).members[0].record for s in ("S1", "S2", "S3"))
    said = "reason: {zh: 已看执照, en: licence seen}, decided_by: 李科长, decided_on: 2026-03-04}\n"
    (place.catalog / "decisions").mkdir()
    text = f"decisions:\n  - {{must_link: [{a}, {b}], {said}  - {{cannot_link: [{a}, {c}], {said}"
    (place.catalog / "decisions" / "shop.yaml").write_text(text, encoding="utf-8")
    place.run_at("2026-03-04T08:30:00+08:00")
    one = next(m["_entity"] for m in place.tables()["base.shop__member"] if m["_record"] == a)
    other = next(m["_entity"] for m in place.tables()["base.shop__member"] if m["_record"] == c)
    zh, en = told(traced(place, one)), told(traced(place, one), "en")
    assert "[1]、[2] 由李科长于 2026-03-04 判定为同一主体，理由：已看执照" in zh
    assert f"was declared not to be one with {c[:12]} (in {other[:12]}) by 李科长 on 2026-03-04, because: licence seen" in en


def test_every_level_of_likeness_has_a_name_in_chinese() -> None:
    kinds = get_args(Kind)
    labels = {level.label for kind in kinds for level in look(Compare(attribute="a"), kind).levels}
    assert {"equal", "missing", "different"} | labels <= set(LEVELS)
