"""How Chinese and Latin text is compared: the forms that are made of it, and the grade of likeness that a pair reaches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import accuracy, town
from catalog.entity import Compare
from pipelines.link_kinds import Look, install, look
from pipelines.link_pairs import forms, macros, prepare, weigh
from pipelines.link_script import Script


@pytest.fixture(scope="module")
def con() -> duckdb.DuckDBPyConnection:
    con = duckdb.connect()
    for signature, body in install(con).items():
        con.execute(f"CREATE MACRO {signature} AS {body}")
    return con


def value(con: duckdb.DuckDBPyConnection, expression: str, *values: object) -> Any:
    return con.execute(f"SELECT {expression}", list(values)).fetchall()[0][0]


def graded(kind: Any, pairs: Sequence[tuple[str, str, int]]) -> list[tuple[str, str, int]]:
    """Each pair, both ways, with the place of the level that it reaches, 0 the likest; the number of levels where it reaches none."""
    con = duckdb.connect()
    compared: Look = look(Compare(attribute="it"), kind)
    con.execute("CREATE TABLE numbered (_n BIGINT, _identified BOOLEAN, it VARCHAR)")
    for n, (left, right, _) in enumerate(pairs):
        con.execute("INSERT INTO numbered VALUES ($1, false, $2), ($1 + 1, false, $3)", [2 * n, left, right])
    script = Script(con)
    macros(script)
    forms(script, (compared,), "numbered", "forms")
    prepare(script, (compared,), weigh(script, (compared,)), "forms")
    levels = " ".join(f"WHEN {level.sql} THEN {place}" for place, level in enumerate(compared.levels))
    columns = [c[0] for c in con.execute("DESCRIBE link_prepared").fetchall()]
    one, other = (", ".join(f'"{c}" AS "{c}_{side}"' for c in columns) for side in "lr")
    rows = con.execute(
        f"SELECT a.it, b.it, CASE {levels} ELSE {len(compared.levels)} END"
        f" FROM (SELECT {one} FROM link_prepared) JOIN (SELECT {other} FROM link_prepared)"
        "   ON _n_l // 2 = _n_r // 2 AND _n_l <> _n_r JOIN numbered AS a ON a._n = _n_l JOIN numbered AS b ON b._n = _n_r ORDER BY a._n"
    ).fetchall()
    return [(left, right, int(place)) for left, right, place in rows]


def both_ways(pairs: Sequence[tuple[str, str, int]]) -> list[tuple[str, str, int]]:
    return [way for left, right, place in pairs for way in ((left, right, place), (right, left, place))]


# --- characters


@pytest.mark.parametrize(
    ("written", "compared"),
    [
        ("陳偉", "陈伟"),
        ("李峯", "李峰"),
        ("王迺文", "王乃文"),
        ("Ａ１号", "A1号"),
        ("邨口", "村口"),
        ("𬭎", "𬭎"),
        ("王䶮", "王䶮"),
    ],
)
def test_variants_are_one_character(con: duckdb.DuckDBPyConnection, written: str, compared: str) -> None:
    assert value(con, "simplified(?)", written) == compared


@given(values=st.lists(st.one_of(st.none(), st.text(alphabet="陳张单A é\n\x00🙂", max_size=5)), min_size=1, max_size=30))
@settings(max_examples=15, deadline=None)
def test_each_row_keeps_its_own_text(con: duckdb.DuckDBPyConnection, values: list[str | None]) -> None:
    """A batch is one long text to the look-up; what comes out of a row depends on that row alone."""
    together = con.execute("SELECT simplified(v), readings(v) FROM (SELECT unnest($1::VARCHAR[]) AS v)", [values]).fetchall()
    alone = [con.execute("SELECT simplified($1::VARCHAR), readings($1::VARCHAR)", [v]).fetchall()[0] for v in values]
    assert together == alone


@given(left=st.text(alphabet="abcd", max_size=8), right=st.text(alphabet="abcd", max_size=8))
@settings(max_examples=100, deadline=None)
def test_chinese_characters_count_as_one_each(con: duckdb.DuckDBPyConnection, left: str, right: str) -> None:
    """What DuckDB finds for letters is found for the same pattern of Chinese characters."""
    chinese = str.maketrans("abcd", "张伟𬭎鹤")
    for ours, theirs in (("edits", "damerau_levenshtein"), ("likeness", "jaro_winkler_similarity")):
        expected = value(con, f"{theirs}(?, ?)", left, right)
        assert value(con, f"{ours}(?, ?)", left.translate(chinese), right.translate(chinese)) == expected


# --- people


PEOPLE = [
    ("张伟", "張偉", 0),
    ("欧阳 娜娜", "欧阳娜娜", 0),
    ("张伟", "章伟", 1),
    ("王丽", "王莉", 1),
    ("单晓静", "山小婧", 1),  # shan, one of three readings of 单
    ("解芳", "谢芳", 1),
    ("李建国", "李建军", 2),
    ("欧阳建国", "欧阳国建", 2),
    ("张伟", "李伟", 4),
    ("王明", "王芳", 4),
    ("Garcia", "García", 0),
    ("Anna Maria", "Maria Anna", 1),
    ("Jonathan", "Jonathon", 2),
]


def test_names_of_people() -> None:
    assert graded("person_name", PEOPLE) == both_ways(PEOPLE)


def test_a_name_with_a_lost_or_hidden_character_is_not_compared(con: duckdb.DuckDBPyConnection) -> None:
    assert [value(con, "legible(?)", v) for v in ("王**", "李?", "赵〓", "赵明")] == [None, None, None, "赵明"]


# --- organisations


FIRMS = [
    ("广州市味源餐饮管理有限公司", "广州市味源餐饮管理有限责任公司", 0),
    ("广州市天河区味源餐饮管理有限公司", "味源餐饮管理有限公司", 1),  # division missing
    ("腾讯科技（深圳）有限公司", "騰訊科技有限公司", 1),
    ("云泽鹤源软件有限公司", "云泽市鹤源软件有限公司", 0),  # 市 left out
    ("味源餐饮管理有限公司", "广州市味源餐饮有限公司", 2),  # industry cut short
    ("广州市味源餐饮有限公司", "广州市味圆餐饮有限公司", 3),  # same sound
    ("味源餐饮管理有限公司", "味源餐饮管理有限公司天河分公司", 4),  # a branch is not its parent
    ("味源餐饮有限公司", "味源建材有限公司", 4),
    ("广州市味源餐饮有限公司", "深圳市味源餐饮有限公司", 4),
    ("广州市味源餐饮管理有限公司", "广州市佳禾餐饮管理有限公司", 5),  # all alike but the trade name
    ("The Salvation Army", "SALVATION ARMY, INC.", 0),
    ("Salvation Army Family Shelter", "Salvation Army", 2),
]


def test_names_of_organisations() -> None:
    assert graded("organisation_name", FIRMS) == both_ways(FIRMS)


# --- addresses


PLACES = [
    ("云泽市东篱区听潮路12号鹤语花园3栋2单元1502房", "听潮路12号鹤語花园三幢２单元1502室", 0),
    ("天河区中山一路一百二十号", "中山1路120号", 0),
    ("中山路120号之二", "中山路120-2号", 0),
    ("石牌村三组12号", "石牌村第三组第12号", 0),
    ("听潮路12号鹤语花园3栋2单元1502房", "鹤语花园3号楼2单元1502", 1),  # the road left out
    ("听潮路12号鹤语花园3栋2单元1502房", "鹤语花园3-2-1502", 1),
    ("听潮路12号鹤语花园3栋2单元1502房", "听潮路12号鹤语花园3栋", 2),
    ("东篱区听潮路12号鹤语花园3栋", "听朝路12号鹤语花园3栋", 3),
    ("东篱区听潮路12号", "听朝路12号", 3),
    ("听潮路12号鹤语花园3栋2单元1502房", "听潮路12号鹤语花园3栋2单元1503房", 4),  # a neighbour
    ("听潮路12号鹤语花园3栋2单元1502房", "听潮路12号鹤语花园4栋2单元1502房", 5),
    ("东篱区听潮路12号", "南浦区听潮路12号", 6),
    ("听潮路12号", "望鹤街9号", 7),
    ("2820 N. Leavitt St.", "2820 North Leavitt Street", 0),
    ("37 W 47th St", "37 West 47th Street, Apt 3", 0),
    ("2820 N Leavitt", "2905 N Clybourn Ave", 7),
]


def test_addresses() -> None:
    assert graded("address", PLACES) == both_ways(PLACES)


# --- all together


@pytest.mark.parametrize(
    ("entity", "draw"),
    [("town, people", lambda con, _: town.people(con, 400)), ("town, firms", lambda con, _: town.firms(con, 300))],
)
def test_a_small_town_is_linked(entity: str, draw: Any) -> None:
    data = replace(next(d for d in accuracy.DATA if d.name == entity), load=draw)
    ours, plain = accuracy.measure(data)
    assert ours.precision >= 0.99
    assert ours.f1 >= 0.97 > plain.f1
