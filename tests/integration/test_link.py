"""Linking: small drawn tables in, groups out."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import duckdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import accuracy
from catalog.entity import Entity
from pipelines import link_groups
from pipelines.link import Links, link
from pipelines.link_groups import by_identifier, by_likeness

Row = Sequence[str | None]

KINDS = {
    "uscc": "code", "old_reg_no": "code", "resident_id": "code", "entity_name": "organisation_name", "address": "address",
    "phone": "phone", "person_name": "person_name", "born_on": "date", "id_type": "code",
}  # fmt: skip


def entity(*identifiers: Any, compare: Sequence[str] = (), block: Sequence[Any] = (), threshold: float = 0.9) -> Entity:
    data: dict[str, Any] = {
        "id": "tested",
        "title": {"zh": "测试", "en": "tested"},
        "authority": "*",
        "identifiers": list(identifiers),
        "attributes": [{"name": name, "kind": kind} for name, kind in KINDS.items()],
    }
    if compare:
        data["match"] = {"compare": list(compare), "block": list(block), "threshold": threshold}
    return Entity.model_validate(data)


def draw(con: duckdb.DuckDBPyConnection, columns: str, rows: Sequence[Row]) -> None:
    """`columns` starts with _record; every row comes from source s."""
    names = columns.split()
    con.execute(f"CREATE OR REPLACE TABLE records ({', '.join(f'{n} VARCHAR' for n in names)}, _source VARCHAR DEFAULT 's')")
    if rows:
        con.executemany(
            f"INSERT INTO records ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})", [list(r) for r in rows]
        )


def groups(con: duckdb.DuckDBPyConnection) -> set[frozenset[str]]:
    return {frozenset(r[0]) for r in con.execute("SELECT list(_record) FROM linked GROUP BY _cluster").fetchall()}


def linked(con: duckdb.DuckDBPyConnection, what: Entity, columns: str, rows: Sequence[Row]) -> set[frozenset[str]]:
    draw(con, columns, rows)
    link(con, what, "records", "linked")
    assert con.execute("SELECT count(*) FROM linked").fetchall() == [(len(rows),)]
    return groups(con)


def sets(*members: str) -> set[frozenset[str]]:
    return {frozenset(m.split()) for m in members}


@pytest.fixture
def con() -> duckdb.DuckDBPyConnection:
    return duckdb.connect()


def test_a_shared_identifier_joins_and_is_named(con: duckdb.DuckDBPyConnection) -> None:
    rows = [("b", "91A"), ("a", "91A"), ("c", "92B"), ("d", None), ("e", None)]
    assert linked(con, entity("uscc"), "_record uscc", rows) == sets("a b", "c", "d", "e")
    assert con.execute("SELECT * FROM linked ORDER BY 1").fetchall() == [
        ("a", "a", "identifier", "uscc", None, None),
        ("b", "a", "identifier", "uscc", None, None),
        ("c", "c", "alone", None, None, None),
        ("d", "d", "alone", None, None, None),
        ("e", "e", "alone", None, None, None),
    ]


def test_identifiers_chain(con: duckdb.DuckDBPyConnection) -> None:
    rows = [
        ("a", "91A", None),
        ("b", "91A", "110"),
        ("c", None, "110"),
        ("d", None, "220"),
        ("e", "93C", "330"),
        ("f", None, None),
    ]
    assert linked(con, entity("uscc", "old_reg_no"), "_record uscc old_reg_no", rows) == sets("a b c", "d", "e", "f")
    assert con.execute("SELECT _identifier FROM linked WHERE _record IN ('a', 'b', 'c') ORDER BY _record").fetchall() == [
        ("uscc",),
        ("uscc",),
        ("old_reg_no",),
    ]


def test_a_weaker_identifier_does_not_join_what_a_stronger_one_tells_apart(con: duckdb.DuckDBPyConnection) -> None:
    rows = [("a", "91A", "110"), ("b", "91A", None), ("c", "92B", "110"), ("d", None, "110"), ("e", None, "110")]
    assert linked(con, entity("uscc", "old_reg_no"), "_record uscc old_reg_no", rows) == sets("a b", "c", "d e")


def test_a_chain_of_weaker_identifiers_does_not_join_two_stronger_ones(con: duckdb.DuckDBPyConnection) -> None:
    """110 and 220 are each fine alone, together they would tie 91A to 92B."""
    rows = [("a", "91A", "110", None), ("b", None, "110", "x"), ("c", None, "220", "x"), ("d", "92B", "220", None)]
    found = linked(con, entity("uscc", "old_reg_no", "resident_id"), "_record uscc old_reg_no resident_id", rows)
    assert found == sets("a b", "c d")


def test_an_identifier_of_several_attributes_needs_all_but_those_that_may_be_blank(con: duckdb.DuckDBPyConnection) -> None:
    rows = [("a", "1", "p"), ("b", "1", None), ("c", "1", None), ("d", "1", "p"), ("e", None, "p"), ("f", None, "p")]
    columns = "_record resident_id id_type"
    assert linked(con, entity(["resident_id", "id_type?"]), columns, rows) == sets("a d", "b c", "e", "f")
    assert linked(con, entity(["resident_id", "id_type"]), columns, rows) == sets("a d", "b", "c", "e", "f")


CODES = st.lists(st.tuples(st.integers(-1, 3), st.integers(-1, 3), st.integers(-1, 3)), max_size=12)


@given(CODES, st.randoms(use_true_random=False))
def test_identifiers_group_the_same_way_in_any_order(rows: list[tuple[int, int, int]], pick: random.Random) -> None:
    def grouped(order: list[int]) -> set[frozenset[int]]:
        codes = [np.array([rows[i][k] for i in order], dtype=np.int64) for k in range(3)]
        found = by_identifier(codes, len(order)).group
        return {frozenset(order[i] for i in np.flatnonzero(found == g)) for g in set(found.tolist())}

    order = list(range(len(rows)))
    plain = grouped(order)
    pick.shuffle(order)
    assert grouped(order) == plain
    for group in plain:
        strongest = {rows[i][0] for i in group} - {-1}
        assert len(strongest) <= 1
        for i, row in enumerate(rows):
            assert i in group or row[0] not in strongest


def test_one_lucky_pair_does_not_chain_two_entities() -> None:
    """0-1-2 and 3-4-5 are alike throughout; only 2-3 looks like a match across."""
    left, right = np.array([0, 0, 1, 3, 3, 4, 2]), np.array([1, 2, 2, 4, 5, 5, 3])
    found, apart = by_likeness(np.arange(6), [], left, right, np.array([0.99] * 6 + [0.95]), 0.9)
    assert (found.tolist(), apart) == ([0, 0, 0, 3, 3, 3], 0)


def test_a_crowd_is_taken_apart_before_it_is_examined(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two sure groups of three, tied by many weaker matches, are more than may be examined at once."""
    monkeypatch.setattr(link_groups, "LARGEST_EXAMINED", 4)
    pairs = [(i, j, 0.999 if i // 3 == j // 3 else 0.92) for i in range(6) for j in range(i + 1, 6)]
    left, right, p = (np.array(c) for c in zip(*pairs, strict=True))
    found, apart = by_likeness(np.arange(6), [], left, right, p, 0.9)
    assert (found.tolist(), apart) == ([0, 0, 0, 3, 3, 3], 0)
    found, apart = by_likeness(np.arange(6), [], left, right, np.ones(len(p)), 0.9)
    assert (found.tolist(), apart) == ([0, 1, 2, 3, 4, 5], 6)


SURNAMES, GIVEN = "王李张刘陈杨赵黄周吴", "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超霞平刚"
HEADS = ("华信", "恒达", "金桥", "瑞丰", "天源", "博远", "鼎盛", "东升", "凯旋", "宏图")
TRADES = ("科技", "贸易", "建筑", "餐饮", "物流", "医药")
STREETS = ("中关村大街", "学院路", "知春路", "建国路", "朝阳路", "望京街", "人民路", "解放路")


def people(count: int) -> list[Row]:
    """Distinct people: name, birth date, phone, drawn once and for all."""
    pick = random.Random(7)
    rows = []
    for i in range(count):
        name = pick.choice(SURNAMES) + pick.choice(GIVEN) + pick.choice(["", pick.choice(GIVEN)])
        born = f"{pick.randint(1950, 2005)}-{pick.randint(1, 12):02}-{pick.randint(1, 28):02}"
        rows.append((f"p{i:04}", None, name, born, f"13{pick.randint(10**8, 10**9 - 1)}"))
    return rows


PERSON = entity("resident_id", compare=["person_name", "born_on", "phone"])
PERSON_COLUMNS = "_record resident_id person_name born_on phone"


def test_people_with_a_slip_are_one_and_namesakes_are_not(con: duckdb.DuckDBPyConnection) -> None:
    rows = [
        *people(300),
        ("x1", None, "欧阳文静", "1981-03-04", "13800138000"),
        ("x2", None, "欧阳文静", "1981-03-04", "138 0013 8000"),
        ("x3", None, "欧阳文婧", "1981-03-04", "13800138000"),  # one character wrong
        ("x4", None, "欧阳文静", "1981-04-03", "13800138000"),  # day and month swapped
        ("x5", None, "欧阳文静", "1962-11-30", "13911112222"),  # another person of that name
    ]
    found = linked(con, PERSON, PERSON_COLUMNS, rows)
    assert {g for g in found if any(m.startswith("x") for m in g)} == sets("x1 x2 x3 x4", "x5")
    assert len(found) >= 300  # strangers stay strangers
    link_, identifier, probability, other = con.execute(
        "SELECT _link, _identifier, _probability, _matched_to FROM linked WHERE _record = 'x3'"
    ).fetchall()[0]
    assert (link_, identifier) == ("matched", None)
    assert 0.9 <= probability <= 1
    assert other in {"x1", "x2", "x4"}


def test_a_row_without_identifier_joins_the_one_that_has_it(con: duckdb.DuckDBPyConnection) -> None:
    rows = [
        *people(200),
        ("x1", "110A", "欧阳文静", "1981-03-04", "13800138000"),
        ("x2", None, "欧阳文静", "1981-03-04", "13800138000"),
    ]
    assert frozenset({"x1", "x2"}) in linked(con, PERSON, PERSON_COLUMNS, rows)


def test_likeness_never_joins_two_identifiers(con: duckdb.DuckDBPyConnection) -> None:
    """x3 is as like the one as the other, and may join either, but must not tie them together."""
    same = ("欧阳文静", "1981-03-04", "13800138000")
    rows = [*people(200), ("x1", "110A", *same), ("x2", "110B", *same), ("x3", None, *same), ("x4", None, *same)]
    found = linked(con, PERSON, PERSON_COLUMNS, rows)
    assert not any({"x1", "x2"} <= g for g in found)
    assert any("x3" in g and len(g) > 1 for g in found)


def test_companies_with_other_forms_of_name_and_address_are_one(con: duckdb.DuckDBPyConnection) -> None:
    pick = random.Random(11)
    rows: list[Row] = []
    for i in range(240):
        name = f"北京{HEADS[i % 10]}{pick.choice(GIVEN)}{TRADES[i % 6]}有限公司"
        address = f"北京市海淀区{pick.choice(STREETS)}{pick.randint(1, 400)}号"
        rows.append((f"c{i:04}", None, name, address, f"010{pick.randint(50000000, 89999999)}"))
    rows += [
        ("x1", None, "北京启明星辰信息安全技术有限公司", "北京市海淀区东北旺西路8号", "010-82779088"),
        ("x2", None, "启明星辰信息安全技术有限责任公司（北京）", "海淀区东北旺西路8号", "82779088"),
        ("x3", None, "北京启明星辰信息安全技术公司", "东北旺西路8号院21号楼", None),
        ("x4", None, "北京启明科技有限公司", "北京市海淀区知春路8号", "010-62330000"),
    ]
    what = entity("uscc", compare=["entity_name", "address", "phone"])
    found = linked(con, what, "_record uscc entity_name address phone", rows)
    assert {g for g in found if any(m.startswith("x") for m in g)} == sets("x1 x2 x3", "x4")


def test_the_order_of_rows_does_not_matter(con: duckdb.DuckDBPyConnection) -> None:
    rows = people(150)
    rows += [(f"q{r[0]}", "7" if i == 3 else None, r[2], r[3], None if i % 3 else r[4]) for i, r in enumerate(rows[:60])]
    results = []
    for seed in range(3):
        random.Random(seed).shuffle(rows)
        linked(con, PERSON, PERSON_COLUMNS, rows)
        results.append(con.execute("SELECT * FROM linked ORDER BY _record").fetchall())
    assert results[0] == results[1] == results[2]
    assert any(row[2] == "matched" for row in results[0])


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [("a", None, "王伟", "1980-01-01", None)],
        [("a", None, None, None, None), ("b", None, None, None, None)],
        [("a", None, "王伟", None, None), ("b", None, "李芳", None, None), ("c", None, None, "1980-01-01", None)],
        [("a", "1", "王伟", "1980-01-01", None), ("b", "2", "王伟", "1980-01-01", None)],
        [(f"r{i}", None, "王伟", None, None) for i in range(40)],
    ],
    ids=["no rows", "one row", "all missing", "one attribute each", "only identified", "one name for all"],
)
def test_too_little_to_go_by_leaves_everyone_alone(con: duckdb.DuckDBPyConnection, rows: list[Row]) -> None:
    assert linked(con, PERSON, PERSON_COLUMNS, rows) == {frozenset({str(r[0])}) for r in rows}


def test_two_equal_rows_among_few_are_matched(con: duckdb.DuckDBPyConnection) -> None:
    """Nothing can be learned from five rows; the defaults of each kind must do."""
    rows = [
        ("a", None, "欧阳文静", "1981-03-04", "13800138000"),
        ("b", None, "欧阳文静", "1981-03-04", "13800138000"),
        *people(3),
    ]
    assert frozenset({"a", "b"}) in linked(con, PERSON, PERSON_COLUMNS, rows)


def test_a_value_everyone_has_does_not_explode_the_pairs(con: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines import link_pairs

    monkeypatch.setattr(link_pairs, "MOST_PAIRS", 3000)
    rows = [(r[0], None, r[2], "1900-01-01", r[4]) for r in people(400)]  # 79,800 pairs share the birth date
    rows += [("x1", None, "欧阳文静", "1900-01-01", "13800138000"), ("x2", None, "欧阳文静", "1900-01-01", "13800138000")]
    draw(con, PERSON_COLUMNS, rows)
    result = link(con, PERSON, "records", "linked")
    assert frozenset({"x1", "x2"}) in groups(con)
    assert any("pairs agreeing on born_on: 0 compared" in sql for _, sql in result.statements)


def test_only_pairs_that_agree_on_what_the_entity_says_are_compared(con: duckdb.DuckDBPyConnection) -> None:
    same_name_and_day = [
        ("x1", None, "欧阳文静", "1981-03-04", "13800138000"),
        ("x2", None, "欧阳文静", "1981-03-04", "13911112222"),
    ]
    rows = [*people(200), *same_name_and_day]
    what = entity("resident_id", compare=["person_name", "born_on", "phone"], block=["phone"], threshold=0.5)
    assert frozenset({"x1"}) in linked(con, what, PERSON_COLUMNS, rows)


def test_what_ran_is_handed_over_and_nothing_else_is_left(
    con: duckdb.DuckDBPyConnection, capfd: pytest.CaptureFixture[str]
) -> None:
    draw(con, PERSON_COLUMNS, people(120))
    before = con.execute("SELECT table_schema, table_name FROM information_schema.tables ORDER BY ALL").fetchall()
    result: Links = link(con, PERSON, "records", "linked")
    after = con.execute("SELECT table_schema, table_name FROM information_schema.tables ORDER BY ALL").fetchall()
    assert set(after) - set(before) == {("main", "linked")}
    assert con.execute("SELECT current_schema()").fetchall() == [("main",)]
    assert result.model is not None
    assert {c["output_column_name"] for c in result.model.settings["comparisons"]} == {"person_name", "born_on", "phone"}
    text = "\n".join(sql for _, sql in result.statements)
    assert "CREATE OR REPLACE TABLE" in text
    assert not any(str(row[2]) in text for row in people(120))  # no person's name in what is shown
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


def test_a_repeated_record_id_is_refused(con: duckdb.DuckDBPyConnection) -> None:
    draw(con, "_record uscc", [("a", "1"), ("a", "2")])
    with pytest.raises(ValueError, match="unique"):
        link(con, entity("uscc"), "records", "linked")


def test_importing_the_stage_does_not_import_splink() -> None:
    code = "import sys, pipelines.link; sys.exit('splink' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.shared
@pytest.mark.parametrize("name", ["chicago, nothing said", "chicago, a site is a place", "splink fake_1000"])
def test_accuracy_on_public_data(name: str) -> None:
    data = next(d for d in accuracy.DATA if d.name == name)
    if not (accuracy.SHARED / data.folder).is_dir():
        pytest.skip(f"{accuracy.SHARED / data.folder} is not here; set DMP_SHARED to the folder that holds `data`")
    ours, plain = accuracy.measure(data)
    assert ours.f1 >= (0.95 if name == "chicago, a site is a place" else 0.9)
    assert ours.f1 > plain.f1
