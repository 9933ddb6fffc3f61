"""Which pairs of records a person is asked about: drawn tables of linking in, doubts out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import duckdb
import pytest

from pipelines import link_doubts
from pipelines.link import link
from pipelines.link_doubts import band, find
from pipelines.link_script import Script
from tests.integration.test_clash import COLUMNS, LI, WANG, person
from tests.integration.test_decisions import decided, record
from tests.integration.test_link import draw

THRESHOLD = 0.9


def doubts(
    groups: list[str],
    pairs: dict[str, float],
    *,
    nodes: Sequence[str] = (),
    clashed: Sequence[tuple[Any, ...]] = (),
    values: Mapping[str, str] = MappingProxyType({}),
    **said: str,
) -> dict[str, tuple[Any, ...]]:
    """`groups` and `nodes` as `"a b"`, `pairs` as `{"a b": 0.9}`; pair -> kind, records on each side, priority, most pressing first.
    Nodes are what identifiers joined."""
    names = sorted(n for g in groups for n in g.split())
    number = {n: i for i, n in enumerate(names)}
    cluster = {n: min(number[m] for m in g.split()) for g in groups for n in g.split()}
    node = {n: min(number[m] for m in g.split()) for g in nodes for n in g.split()}
    con = duckdb.connect()
    con.execute(
        "CREATE TABLE all_records (_n BIGINT, _record VARCHAR, value VARCHAR); CREATE TABLE scored (l BIGINT, r BIGINT, p DOUBLE)"
    )
    con.execute("CREATE TABLE grouped (_n BIGINT, node BIGINT, cluster BIGINT)")
    con.execute('CREATE TABLE clashed (_n BIGINT, identifier VARCHAR, "first" BIGINT, other BIGINT, unclear BOOLEAN)')
    con.executemany("INSERT INTO all_records VALUES (?, ?, ?)", [[number[n], record(n), values.get(n)] for n in names])
    con.executemany("INSERT INTO grouped VALUES (?, ?, ?)", [[number[n], node.get(n, number[n]), cluster[n]] for n in names])
    for pair, p in pairs.items():
        con.execute("INSERT INTO scored VALUES (?, ?, ?)", [*sorted(number[n] for n in pair.split()), p])
    for a, other, unclear in clashed:
        con.execute("INSERT INTO clashed VALUES (?, 'no', 0, ?, ?)", [number[a], number[other], unclear])
    find(Script(con), THRESHOLD, decided(**said))
    rows = con.execute(
        "SELECT _left, _right, kind, l_records, r_records, priority FROM doubted ORDER BY priority DESC, _left, _right"
    ).fetchall()
    called = {record(n): n for n in names}
    return {f"{called[a]} {called[b]}": tuple(rest) for a, b, *rest in rows}


def kinds(*arguments: Any, **more: Any) -> dict[str, str]:
    return {pair: row[0] for pair, row in doubts(*arguments, **more).items()}


def test_the_band_is_three_bits_of_evidence_on_either_side() -> None:
    low, high = band(0.95)
    assert (round(low, 4), round(high, 4)) == (0.7037, 0.9935)
    odds = [p / (1 - p) for p in (low, 0.95, high)]
    assert odds[1] / odds[0] == pytest.approx(8) and odds[2] / odds[1] == pytest.approx(8)


def test_pairs_near_the_threshold_are_asked_and_sure_ones_are_not() -> None:
    groups = ["a", "b", "c", "d", "e f", "g h"]
    pairs = {"a b": 0.85, "c d": 0.2, "e f": 0.95, "g h": 0.9999}
    assert kinds(groups, pairs) == {"a b": "near", "e f": "weak"}


def test_one_question_per_pair_of_groups_and_the_likest_records_of_them() -> None:
    found = kinds(["a b", "c d"], {"a b": 0.9999, "c d": 0.9999, "a c": 0.7, "b c": 0.86, "b d": 0.86})
    assert found == {"b c": "near"}


def test_a_weak_pair_that_others_hold_up_is_no_doubt() -> None:
    assert kinds(["a b c"], {"a b": 0.999, "b c": 0.999, "a c": 0.91}) == {}


def test_a_pair_that_alone_holds_two_sure_groups_together_is_a_bridge() -> None:
    found = doubts(["a b c d"], {"a b": 0.999, "c d": 0.999, "b c": 0.95, "a d": 0.92})
    assert {pair: row[:3] for pair, row in found.items()} == {"b c": ("bridge", 2, 2)}


def test_what_an_identifier_joined_counts_as_one_with_all_its_records() -> None:
    found = doubts(["a b c d"], {"a d": 0.95, "b d": 0.93}, nodes=["a b c"])
    assert {pair: row[:3] for pair, row in found.items()} == {"a d": ("weak", 3, 1)}


def test_alike_but_left_apart_is_asked() -> None:
    assert kinds(["a b", "c"], {"a b": 0.999, "b c": 0.95}) == {"b c": "apart"}


def test_what_is_merged_below_the_threshold_or_apart_above_it_is_as_doubtful_as_it_gets() -> None:
    merged, apart = doubts(["a b"], {"a b": 0.3}), doubts(["a", "b"], {"a b": 0.9999})
    assert (merged["a b"][0], merged["a b"][3]) == ("weak", 1.0)
    assert (apart["a b"][0], apart["a b"][3]) == ("apart", 0.5)


def test_records_that_clash_are_asked_and_a_value_on_too_many_is_not() -> None:
    assert kinds(["a", "b"], {}, clashed=[("a", "b", False), ("b", "a", False)]) == {"a b": "clash"}
    many = [f"r{i:02}" for i in range(link_doubts.MOST_SIDES + 1)]
    assert kinds(many, {}, clashed=[(r, "r00" if r != "r00" else "r01", False) for r in many]) == {}


def test_of_a_group_too_large_the_two_that_differ_are_asked_and_equal_ones_never() -> None:
    many = [f"r{i:02}" for i in range(link_doubts.LARGE + 1)]
    group, same = [" ".join(many)], dict.fromkeys(many, "x")
    assert kinds(group, {}, nodes=group, values=same) == {}
    found = doubts(group, {}, nodes=group, values=same | {"r07": "y"})
    assert {pair: row[:3] for pair, row in found.items()} == {"r00 r07": ("large", 21, 21)}
    assert kinds(group, {}, nodes=group, values=same | {"r07": "y"}, must="r00 r07") == {"r01 r07": "large"}


def test_what_people_decided_is_no_doubt_any_more_nor_between_other_records_of_the_same_groups() -> None:
    groups, pairs = ["a b", "c d"], {"a b": 0.9999, "c d": 0.9999, "b c": 0.86}
    assert kinds(groups, pairs) == {"b c": "near"}
    assert kinds(groups, pairs, cannot="b c") == {} == kinds(groups, pairs, cannot="a d")
    assert kinds(["a", "b"], {}, clashed=[("a", "b", False)], cannot="a b") == {}


def test_the_most_uncertain_and_what_moves_most_records_comes_first() -> None:
    groups = ["a1 a2 a3", "b1 b2 b3", "c", "d", "e", "f"]
    sure = {"a1 a2": 0.9999, "a2 a3": 0.9999, "b1 b2": 0.9999, "b2 b3": 0.9999}
    found = doubts(groups, {**sure, "a1 b1": 0.88, "c d": 0.88, "e f": 0.6})
    assert list(found) == ["a1 b1", "c d", "e f"]
    assert found["a1 b1"][3] == pytest.approx(2 * found["c d"][3], abs=1e-3), "log2(1 + 3) to log2(1 + 1)"


def test_linking_writes_doubts_in_the_same_way_whatever_the_order_of_rows() -> None:
    rows = [("a", "110", None, *WANG), ("b", "110", None, *LI), ("c", "220", None, *WANG), ("d", "220", None, *LI)]
    told = []
    for order in (rows, rows[::-1]):
        con = duckdb.connect()
        draw(con, COLUMNS, [(record(r[0]), *r[1:]) for r in order])
        link(con, person(), "records", "linked", "clashes", doubts="doubts")
        told.append(con.execute("SELECT * FROM doubts").fetchall())
    assert told[0] == told[1]
    assert [(a, b, kind) for a, b, kind, *_ in told[0]] == [
        (record("a"), record("b"), "clash"),
        (record("c"), record("d"), "clash"),
    ]
