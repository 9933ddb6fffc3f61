"""What people decided about records is obeyed, whatever numbers, likeness and later runs say."""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalog.decision import Decision
from catalog.yaml_file import CatalogError
from pipelines.contract_check import check
from pipelines.link import link
from pipelines.trace import trace
from tests.integration.test_clash import CODES, COLUMNS, DATES, LI, NAMES, PHONES, WANG, person
from tests.integration.test_link import draw, groups, people
from tests.support import Town, town


def record(name: str) -> str:
    """A record id that begins with `name`."""
    return name.encode().hex().ljust(64, "0")


def decided(**said: str) -> list[Decision]:
    """`must="a b"`, `cannot="c d"`; several with further words: `cannot_2=...`."""
    common = {"reason": {"zh": "查过", "en": "seen"}, "decided_by": "office", "decided_on": "2026-03-05"}
    kind = {"must": "must_link", "cannot": "cannot_link"}
    return [
        Decision.model_validate({kind[how.split("_")[0]]: [record(r) for r in names.split()], **common})
        for how, names in said.items()
    ]


def linked(rows: list[tuple[Any, ...]], decisions: list[Decision], **more: Any) -> set[frozenset[str]]:
    con = duckdb.connect()
    draw(con, COLUMNS, [(record(r[0]), *r[1:]) for r in rows])
    link(con, person(**more), "records", "linked", "clashes", decisions)
    name = {record(r[0]): r[0] for r in rows}
    return {frozenset(name[r] for r in g) for g in groups(con)}


def sets(*members: str) -> set[frozenset[str]]:
    return {frozenset(m.split()) for m in members}


def test_what_people_made_one_is_one_whatever_the_numbers_say() -> None:
    rows = [("a", "110", None, *WANG), ("b", "220", None, *LI), ("c", "220", None, *LI), ("d", "330", None, *LI)]
    assert linked(rows, decided(must="a b")) == sets("a b c", "d")
    assert linked(rows, decided(must="a b", must_2="b d")) == sets("a b c d")
    assert linked(rows, []) == sets("a", "b c", "d")


def test_what_clashes_may_be_made_one_by_people() -> None:
    rows = [("a", "110", None, *WANG), ("b", "110", None, *LI), ("c", "110", None, *LI)]
    assert linked(rows, []) == sets("a", "b c")
    assert linked(rows, decided(must="a b")) == sets("a b c")


def test_what_people_keep_apart_is_apart_though_it_shares_a_number() -> None:
    rows = [("a", "110", None, *WANG), ("b", "110", None, *WANG), ("c", "110", None, *LI[:1], None, None, None)]
    found = linked(rows, decided(cannot="a b"))
    assert frozenset({"a"}) in found and frozenset({"b"}) in found


def test_likeness_does_not_tie_together_what_people_keep_apart() -> None:
    match = {"compare": ["person_name", "born_on", "phone"], "threshold": 0.5}
    rows: list[tuple[Any, ...]] = [(r[0], r[1], None, r[2], None, r[3], r[4]) for r in people(120)]
    same = (None, None, "欧阳文静", None, "1981-03-04", "13800138000")
    rows += [(n, *same) for n in ("x1", "x2", "x3")]
    assert frozenset({"x1", "x2", "x3"}) in linked(rows, [], match=match)
    found = linked(rows, decided(cannot="x1 x2"), match=match)
    assert not any({"x1", "x2"} <= g for g in found)
    assert any("x3" in g and len(g) == 2 for g in found), "the third still goes with one of them"


def test_records_that_are_not_in_force_are_passed_over() -> None:
    rows = [("a", "110", None, *WANG), ("b", "110", None, *WANG)]
    assert linked(rows, decided(must="a gone", cannot="b gone gone2")) == sets("a b")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(
    st.lists(st.tuples(CODES, CODES, NAMES, st.none(), DATES, PHONES), min_size=2, max_size=12),
    st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11), st.booleans()), min_size=1, max_size=5),
    st.randoms(use_true_random=False),
)
def test_cannot_link_is_never_linked_and_must_link_always_is(
    rows: list[tuple[Any, ...]], pairs: list[tuple[int, int, bool]], pick: random.Random
) -> None:
    numbered = [(f"r{i:02}", *row) for i, row in enumerate(rows)]
    decisions: list[Decision] = []
    one = {i: i for i in range(len(rows))}
    apart: list[tuple[int, int]] = []
    for a, b, must in pairs:
        if max(a, b) >= len(rows) or a == b:
            continue
        if must:
            joined = {i: one[a] if g == one[b] else g for i, g in one.items()}
            if any(joined[x] == joined[y] for x, y in apart):
                continue
            one = joined
        elif one[a] == one[b]:
            continue
        else:
            apart.append((a, b))
        decisions += decided(**{"must" if must else "cannot": f"r{a:02} r{b:02}"})
    match = {"compare": ["person_name", "born_on", "phone"], "threshold": 0.5}
    found = linked(numbered, decisions, match=match)
    where = {r: g for g in found for r in g}
    assert not any(f"r{b:02}" in where[f"r{a:02}"] for a, b in apart)
    assert all(where[f"r{i:02}"] == where[f"r{g:02}"] for i, g in one.items())
    pick.shuffle(numbered)
    assert linked(numbered, decisions[::-1], match=match) == found


MORNING, NOON = "2026-03-05T08:30:00+08:00", "2026-03-05T12:00:00+08:00"


def write(place: Town, text: str) -> None:
    (place.catalog / "decisions").mkdir(exist_ok=True)
    (place.catalog / "decisions" / "shop.yaml").write_text("decisions:\n" + text, encoding="utf-8")


def test_a_decision_makes_the_next_fusion_and_every_later_one_obeys(tmp_path: Path) -> None:
    place = town(tmp_path)
    place.drop("market", "shop_20260302.csv", "编号,名称,成立日期,备注\nS1,东风店,2001-05-06,\n")
    place.drop("tax", "payer_20260302.csv", "编号,电话\nS1,13900139000\n".encode("gb18030"))
    place.run_at(MORNING)
    with place.run(MORNING) as run:
        first, second = (m.record for m in trace(run, "shop", "S1").members)
    said = "reason: {zh: 查过, en: seen}, decided_by: office, decided_on: 2026-03-05}\n"
    write(place, f"  - {{cannot_link: [{first}, {second}], {said}")
    assert place.run_at(NOON).fused == ("shop",)
    assert [len(s) for s in _records(place)] == [1, 1]
    place.drop("tax", "payer_20260303.csv", "编号,电话\nS1,13900139001\n".encode("gb18030"))
    place.run_at("2026-03-06T08:30:00+08:00")
    assert [len(s) for s in _records(place)] == [1, 1]
    assert place.run_at("2026-03-06T09:30:00+08:00").fused == ()
    write(place, f"  - {{must_link: [{first}, {second}], {said}")
    place.run_at("2026-03-06T10:30:00+08:00")
    assert [len(s) for s in _records(place)] == [2]


def _records(place: Town) -> list[set[str]]:
    members = sorted(place.tables()["base.shop__member"], key=lambda m: m["_entity"])
    return [{m["_record"] for m in g} for _, g in itertools.groupby(members, key=lambda m: m["_entity"])]


def test_decisions_that_contradict_each_other_are_told_before_anything_runs(tmp_path: Path) -> None:
    place = town(tmp_path)
    a, b, c = (f"'{record(n)}'" for n in "abc")
    said = "reason: {zh: 查过, en: seen}, decided_by: office, decided_on: 2026-03-05}\n"
    write(place, f"  - {{must_link: [{a}, {b}], {said}  - {{must_link: [{b}, {c}], {said}  - {{cannot_link: [{a}, {c}], {said}")
    with place.run(MORNING) as run:
        problem = " ".join(check(run.catalog))
        assert "shop.yaml" in problem and "may not be linked" in problem
        with pytest.raises(CatalogError, match="settle which holds"):
            _ = run.catalog.decisions
    write(place, f"  - {{must_link: [{a}, 'nobody'], {said}")
    with place.run(MORNING) as run:
        assert "dmp trace" in " ".join(check(run.catalog))
