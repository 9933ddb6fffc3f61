"""One number on two people or two firms: found, kept apart, told to both departments."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalog.entity import Entity
from pipelines import link_clash
from pipelines.link import link
from pipelines.link_kinds import MACROS
from pipelines.report import report
from pipelines.trace import trace
from tests.integration.test_link import draw, groups, people, sets
from tests.support import SOURCES, Town, town

KINDS = {
    "resident_id": "code", "card_no": "code", "person_name": "person_name", "former_name": "person_name",
    "born_on": "date", "phone": "phone",
}  # fmt: skip
COLUMNS = "_record resident_id card_no person_name former_name born_on phone"
WANG, LI = ("王小明", None, "1949-12-31", None), ("李芳", None, "1992-11-11", None)


def person(**more: Any) -> Entity:
    return Entity.model_validate(
        {
            "id": "tested",
            "title": {"zh": "测试", "en": "tested"},
            "authority": "*",
            "identifiers": ["resident_id", "card_no"],
            "clash": [["person_name", "former_name"], "born_on"],
            "attributes": [{"name": name, "kind": kind} for name, kind in KINDS.items()],
            **more,
        }
    )


@pytest.fixture
def con() -> duckdb.DuckDBPyConnection:
    return duckdb.connect()


def linked(con: duckdb.DuckDBPyConnection, what: Entity, rows: list[tuple[Any, ...]]) -> set[frozenset[str]]:
    draw(con, COLUMNS, rows)
    link(con, what, "records", "linked", "clashes")
    return groups(con)


def clashes(con: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
    return con.execute("SELECT _record, _identifier, _other, _unclear FROM clashes ORDER BY ALL").fetchall()


def test_one_number_on_two_people_does_not_make_them_one(con: duckdb.DuckDBPyConnection) -> None:
    rows = [("a", "110", None, *WANG), ("b", "110", None, *LI), ("c", "110", None, *WANG), ("d", "220", None, *LI)]
    assert linked(con, person(), rows) == sets("a c", "b", "d")
    assert clashes(con) == [
        ("a", "resident_id", "b", False),
        ("b", "resident_id", "a", False),
        ("c", "resident_id", "b", False),
    ]


@pytest.mark.parametrize(
    ("name", "former", "born"),
    [
        ("李芳", None, "1949-12-31"),  # another name alone
        ("王小明", None, "1992-11-11"),  # another date alone
        ("李芳", None, None),
        (None, None, "1992-11-11"),
        ("李芳", "王小明", "1992-11-11"),  # she was called so
        ("王晓明", None, "1992-11-11"),  # one character mistaken
        ("王明", None, "1992-11-11"),  # one left out
        ("小明王", None, "1992-11-11"),
        ("王*", None, "1992-11-11"),  # masked by its sender
        ("Wang Xiaoming", None, "1992-11-11"),  # another script
        ("李芳", None, "1949-12-13"),  # a slip in the date
        ("李芳", None, "1994-12-31"),
        ("李芳", None, "1949-11-09"),  # lunar and solar birthday
        ("李芳", None, "1949-01-01"),  # only the year was known
    ],
)
def test_what_a_slip_or_a_custom_explains_is_no_clash(
    con: duckdb.DuckDBPyConnection, name: str | None, former: str | None, born: str | None
) -> None:
    assert linked(con, person(), [("a", "110", None, *WANG), ("b", "110", None, name, former, born, None)]) == sets("a b")
    assert clashes(con) == []


def test_of_two_characters_one_is_half_the_name(con: duckdb.DuckDBPyConnection) -> None:
    rows = [("a", "110", None, "王伟", None, "1949-12-31", None), ("b", "110", None, "王芳", None, "1992-11-11", None)]
    assert linked(con, person(), rows) == sets("a", "b")


@pytest.mark.parametrize(
    ("one", "other", "differ"),
    [
        ("Mary Ann Smith", "Smith, Mary", False),
        ("Jon Smith", "John Smyth", False),
        ("John Smith", "Olga Petrova", True),
        ("阿卜杜拉·买买提", "阿卜杜拉", False),
    ],
)
def test_names_differ_in_earnest(con: duckdb.DuckDBPyConnection, one: str, other: str, differ: bool) -> None:
    for signature, body in {**MACROS, **link_clash.DIFFERENCES}.items():
        con.execute(f"CREATE MACRO {signature} AS {body}")
    asked = "SELECT person_differs(squeezed($1), squeezed($2)), person_differs(squeezed($2), squeezed($1))"
    assert con.execute(asked, [one, other]).fetchall() == [(differ, differ)]


def test_firms_clash_too(con: duckdb.DuckDBPyConnection) -> None:
    firm = Entity.model_validate(
        {
            "id": "firm",
            "title": {"zh": "企业", "en": "firm"},
            "authority": "*",
            "identifiers": ["uscc"],
            "attributes": [
                {"name": "uscc", "kind": "code"},
                {"name": "entity_name", "kind": "organisation_name"},
                {"name": "established_on", "type": "date", "kind": "date"},
            ],
        }
    )
    assert firm.clashing == (("entity_name",), ("established_on",))
    rows = [
        ("a", "91A", "广州启明星辰信息技术有限公司", "2001-05-06"),
        ("b", "91A", "启明星辰信息技术（广州）有限责任公司", "2015-09-17"),  # the name in another form
        ("c", "91A", "广州味美餐饮管理有限公司", "2015-09-17"),
    ]
    draw(con, "_record uscc entity_name established_on", rows)
    link(con, firm, "records", "linked", "clashes")
    assert groups(con) == sets("a", "b", "c"), "b has the name of one and the date of the other"
    assert clashes(con) == [("a", "uscc", "c", False), ("b", "uscc", "a", True), ("c", "uscc", "a", False)]


def test_who_says_little_goes_with_the_one_it_agrees_with_or_with_nobody(con: duckdb.DuckDBPyConnection) -> None:
    rows = [
        ("a", "110", None, *WANG),
        ("b", "110", None, *LI),
        ("c", "110", None, "王小明", None, None, None),  # his name
        ("d", "110", None, None, None, None, "1"),  # nothing
        ("e", "110", None, "王小明", None, "1992-11-11", None),  # his name, her birthday
    ]
    assert linked(con, person(), rows) == sets("a c", "b", "d", "e")
    assert [(r, unclear) for r, _, _, unclear in clashes(con)] == [
        ("a", False),
        ("b", False),
        ("c", False),
        ("d", True),
        ("e", True),
    ]


def test_a_weaker_number_does_not_tie_together_what_clashes(con: duckdb.DuckDBPyConnection) -> None:
    rows = [("a", "110", "k1", *WANG), ("b", "110", "k1", *LI), ("c", None, "k1", None, None, None, None)]
    assert linked(con, person(), rows) == sets("a", "b", "c")


def test_no_chain_of_numbers_ties_together_what_clashes(con: duckdb.DuckDBPyConnection) -> None:
    """a and c share no number but k1, on which they clash; b is one with a by the stronger number, and as like c as can be."""
    rows = [
        ("a", "110", "k1", *WANG),
        ("b", "110", "k1", "李芳", None, None, None),
        ("c", None, "k1", *LI),
    ]
    found = linked(con, person(), rows)
    assert found == sets("a b", "c")


def test_likeness_does_not_tie_together_what_clashes(con: duckdb.DuckDBPyConnection) -> None:
    """x has no number, the phone of both, and the name and date of one: it may join one of them."""
    what = person(match={"compare": ["person_name", "born_on", "phone"], "threshold": 0.5})
    rows: list[tuple[Any, ...]] = [(r[0], r[1], None, r[2], None, r[3], r[4]) for r in people(150)]
    rows += [
        ("a", "110", None, "欧阳文静", None, "1949-12-31", "13800138000"),
        ("b", "110", None, "李芳", None, "1992-11-11", "13800138000"),
        *[(f"x{i}", None, None, "欧阳文静", None, "1992-11-11", "13800138000") for i in range(3)],
        ("y", None, None, "欧阳文静", None, "1949-12-31", "13800138000"),
    ]
    found = linked(con, what, rows)
    assert not any({"a", "b"} <= g for g in found)
    assert any({"a", "y"} <= g for g in found), "what was kept apart is still found by its like"


def test_a_number_on_a_crowd_identifies_nobody(con: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_clash, "MOST_PROFILES", 20)
    rows: list[tuple[Any, ...]] = [(r[0], "999", None, r[2], None, r[3], None) for r in people(60)]
    rows += [("same", "999", None, *rows[7][3:])]
    found = linked(con, person(), rows)
    assert {g for g in found if len(g) > 1} == sets(f"{rows[7][0]} same")
    assert len(clashes(con)) == 61


NAMES = st.sampled_from([None, "王小明", "王晓明", "李芳", "赵铁柱"])
DATES = st.sampled_from([None, "1949-12-31", "1992-11-11", "1992-11-12", "2003-04-05"])
CODES = st.sampled_from([None, "1", "2", "3"])
PHONES = st.sampled_from([None, "13800138000", "13911112222"])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(CODES, CODES, NAMES, st.none(), DATES, PHONES), max_size=14), st.randoms(use_true_random=False))
def test_two_that_clash_are_never_one_in_whatever_order_they_come(rows: list[tuple[Any, ...]], pick: random.Random) -> None:
    con = duckdb.connect()
    what = person()
    numbered = [(f"r{i:02}", *row) for i, row in enumerate(rows)]
    found = linked(con, what, numbered)
    told = clashes(con)
    pick.shuffle(numbered)
    assert linked(con, what, numbered) == found
    assert clashes(con) == told
    content = {r[0]: r for r in numbered}
    same_person = {frozenset({"王小明", "王晓明"})}
    for group in found:
        for a in group:
            for b in group:
                (_, *one, name, _, born, _), (_, *two, other, _, day, _) = content[a], content[b]
                if not any(x == y and x is not None for x, y in zip(one, two, strict=True)):
                    continue
                names = {name, other} - {None}
                dates = {born, day} - {None}
                near = dates == {"1992-11-11", "1992-11-12"}
                assert len(names) < 2 or frozenset(names) in same_person or len(dates) < 2 or near, (content[a], content[b])


CLASHING = SOURCES | {
    "tax__payer": SOURCES["tax__payer"].replace(
        "  - {from: 电话, to: phone, personal: true}\n",
        "  - {from: 名称, to: shop_name}\n  - {from: 开业, to: opened_on, type: date, clean: date_any_format}\n",
    )
}
MORNING = "2026-03-05T08:30:00+08:00"


def clashing_town(tmp_path: Path) -> Town:
    place = town(tmp_path, CLASHING)
    place.drop("market", "shop_20260302.csv", "编号,名称,成立日期,备注\nS1,东风小卖部,2001-05-06,\nS2,西山书店,2002-02-02,\n")
    place.drop("tax", "payer_20260302.csv", "编号,名称,开业\nS2,西山书店,2002-02-02\nS1,味美餐饮,2019-09-17\n".encode("gb18030"))
    place.run_at(MORNING)
    return place


def test_both_departments_are_told_with_the_rows_and_both_records_stand(tmp_path: Path) -> None:
    found = clashing_town(tmp_path).tables()
    golden = {(s["shop_no"], s["shop_name"], s["_clash"]) for s in found["base.shop"]}
    assert golden == {("S1", "东风小卖部", True), ("S1", "味美餐饮", True), ("S2", "西山书店", False)}
    assert len({s["_entity"] for s in found["base.shop"]}) == 3
    told = {c["source"]: c for c in found["quality.clash"]}
    assert set(told) == {"market__shop", "tax__payer"}
    mine = told["market__shop"]
    assert (mine["file_name"], mine["row"], mine["code"]) == ("shop_20260302.csv", 2, "identifier_clash")
    assert (mine["other_file_name"], mine["other_row"]) == ("payer_20260302.csv", 3)
    assert "S1" in mine["message_en"] and "row 3 of payer_20260302.csv (Tax office)" in mine["message_en"]
    assert "税务局" in mine["message_zh"] and "{" not in mine["message_zh"] + mine["message_en"]
    assert mine["clash"] == told["tax__payer"]["clash"] and mine["other_entity"] == told["tax__payer"]["_entity"]


def test_a_clash_that_was_mended_is_gone(tmp_path: Path) -> None:
    place = clashing_town(tmp_path)
    place.drop("tax", "payer_20260302.csv", "编号,名称,开业\nS2,西山书店,2002-02-02\nS7,味美餐饮,2019-09-17\n".encode("gb18030"))
    place.run_at(MORNING)
    found = place.tables()
    assert found["quality.clash"] == []
    assert {(s["shop_no"], s["_clash"]) for s in found["base.shop"]} == {("S1", False), ("S2", False), ("S7", False)}


def test_trace_says_who_else_uses_the_number(tmp_path: Path) -> None:
    place = clashing_town(tmp_path)
    one = next(s for s in place.tables()["base.shop"] if s["shop_name"] == "味美餐饮")
    with place.run(MORNING) as run:
        (clash,) = trace(run, "shop", one["_entity"]).clashes
    assert (clash.file_name, clash.row, clash.other_file_name, clash.other_row) == (
        "payer_20260302.csv",
        3,
        "shop_20260302.csv",
        2,
    )


def test_the_report_tells_it_on_the_page_of_either_source(tmp_path: Path) -> None:
    place = clashing_town(tmp_path)
    with place.run(MORNING) as run:
        site = report(run).parent
    for source, other_file in (("market__shop", "payer_20260302.csv"), ("tax__payer", "shop_20260302.csv")):
        for language in ("zh", "en"):
            text = (site / "source" / f"{source}.{language}.html").read_text(encoding="utf-8")
            assert other_file in text.partition('id="clashes"')[2].partition("</section>")[0]
    assert "一号多主，未合并 <b>1</b>" in (site / "index.zh.html").read_text(encoding="utf-8")
