"""What replaces what: the same bytes, a correction, an older version, an older period, a deletion; and what that changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.collect import collect
from pipelines.current import current_sql
from pipelines.flow import intake
from pipelines.rebuild import rebuild
from pipelines.verify import verify
from tests.support import SOURCES, Town, town

HEADER = "编号,名称,成立日期\n"
ONE, TWO, THREE = (HEADER + f"1,{name},2020-01-02\n" for name in ("甲", "乙", "丙"))
SHOP = SOURCES["market__shop"]
VERSIONED = SHOP.replace('pattern: "shop_(?P<date>\\\\d{8})"', 'pattern: "shop_(?P<date>\\\\d{8})(_v(?P<version>[0-9.]+))?"')
assert VERSIONED != SHOP
FIRST, SECOND, THIRD = (f"2026-03-03T08:{minute}:00+08:00" for minute in (10, 20, 30))


def play(place: Town, when: str, *files: tuple[str, str]) -> None:
    """Land files and take them in, without merging."""
    for name, data in files:
        place.drop("market", name, data)
    with place.run(when) as run:
        intake(run, "market__shop")


def outcomes(place: Town) -> dict[str, tuple[str, str]]:
    """File -> what became of it, and the version it is or yields to."""
    return {r["file_name"]: (r["outcome"], r["batch"].rpartition(".")[2]) for r in place.tables()["ledger.drop"]}


def in_force(place: Town) -> list[str]:
    with place.run(THIRD) as run:
        sql = current_sql(run.catalog.contract("market__shop"))
        return [r[0] for r in run.con.execute(f"SELECT shop_name FROM ({sql}) ORDER BY ALL").fetchall()]


def differences(place: Town) -> dict[str, dict[str, int]]:
    """Batch -> its counts against what was before it."""
    rows = [r for r in place.tables()["ledger.stage"] if r["stage"] == "compare"]
    return {r["subject"].partition("@")[2]: json.loads(r["rows_out"]) for r in rows}


def test_a_lower_version_is_recorded_and_overwrites_nothing(tmp_path: Path) -> None:
    place = town(tmp_path, {"market__shop": VERSIONED})
    play(place, FIRST, ("shop_20260302_v2.csv", TWO))
    play(place, SECOND, ("shop_20260302_v1.10.csv", ONE), ("shop_20260302.csv", THREE), ("shop_20260303.csv", ONE))
    assert outcomes(place) == {
        "shop_20260302_v2.csv": ("batch", "v1"),
        "shop_20260302_v1.10.csv": ("older", "v1"),
        "shop_20260302.csv": ("older", "v1"),
        "shop_20260303.csv": ("batch", "v1"),
    }
    assert in_force(place) == ["甲"]
    play(place, THIRD, ("shop_20260302_v2.1.csv", THREE), ("shop_20260302_v2.2.csv", TWO))
    assert outcomes(place)["shop_20260302_v2.1.csv"] == ("batch", "v2")
    with place.run(THIRD) as run:
        assert verify(run) == []
        rebuilt = Town(rebuild(run, tmp_path / "again"), place.catalog).tables()
    for table in ("ledger.drop", "ledger.batch", "std.market__shop"):
        assert rebuilt[table] == place.tables()[table]


def test_versions_are_compared_as_numbers(tmp_path: Path) -> None:
    place = town(tmp_path, {"market__shop": VERSIONED})
    play(place, FIRST, ("shop_20260302_v9.csv", ONE))
    play(place, SECOND, ("shop_20260302_v10.csv", TWO))
    assert in_force(place) == ["乙"]


@pytest.mark.parametrize("second_is_held", [False, True])
def test_a_lower_version_in_the_same_look_waits_for_the_verdict_on_the_higher(tmp_path: Path, second_is_held: bool) -> None:
    """By name v2 comes before v2-old, which calls itself 1."""
    place = town(tmp_path, {"market__shop": SHOP})
    for name, version, data in (("shop_20260302_a.csv", 2, HEADER if second_is_held else TWO), ("shop_20260302_b.csv", 1, ONE)):
        place.drop("market", name, data)
        place.drop("market", f"{name}.manifest.json", json.dumps({"version": version}))
    with place.run(FIRST) as run:
        assert collect(run, "market__shop") == ["market__shop@2026-03-02.v1"], "the other one waits"
    play(place, FIRST)
    assert outcomes(place)["shop_20260302_b.csv"] == (("batch", "v2") if second_is_held else ("older", "v1"))
    assert in_force(place) == (["甲"] if second_is_held else ["乙"])
    with place.run(FIRST) as run:
        assert verify(run) == []


def test_a_file_that_names_no_version_follows_the_order_of_arrival(tmp_path: Path) -> None:
    place = town(tmp_path, {"market__shop": SHOP})
    place.drop("market", "shop_20260302.csv.manifest.json", '{"version": "7"}')
    play(place, FIRST, ("shop_20260302.csv", ONE))
    play(place, SECOND, ("shop_20260302.csv", TWO))
    assert in_force(place) == ["乙"]


def test_what_a_correction_changed_is_counted_by_key(tmp_path: Path) -> None:
    place = town(tmp_path, {"market__shop": SHOP})
    play(place, FIRST, ("shop_20260302.csv", HEADER + "1,甲,\n2,乙,\n3,丙,\n3,丁,\n"))
    play(place, SECOND, ("shop_20260302.csv", HEADER + "5,戊,\n3,丁,\n2,新,\n5,己,\n5,庚,\n"))
    play(place, THIRD, ("shop_20260303.csv", ONE))
    assert differences(place) == {
        "2026-03-02.v2": {"added": 1, "changed": 1, "removed": 1, "same": 1, "repeated": 2, "repeated_before": 1}
    }, "a new period of an increment follows nothing"
    with place.run(THIRD) as run:
        assert verify(run) == []
        run.con.execute("UPDATE lake.ledger.stage SET rows_out = replace(rows_out, '\"same\": 1', '\"same\": 2')")
        assert [p.part for p in verify(run)] == ["rows"]


def test_a_held_version_is_no_former_one(tmp_path: Path) -> None:
    place = town(tmp_path, {"market__shop": SHOP})
    for when, data in ((FIRST, ONE), (SECOND, HEADER), (THIRD, TWO)):
        play(place, when, ("shop_20260302.csv", data))
    [row] = [r for r in place.tables()["ledger.stage"] if r["stage"] == "compare"]
    assert row["subject"] == "market__shop@2026-03-02.v3"
    assert row["equation"].endswith("1 in market__shop@2026-03-02.v1 = 0 removed + 1 changed + 0 same + 0 repeated")


def test_a_snapshot_is_compared_with_the_period_before_and_rows_without_key_as_they_are(tmp_path: Path) -> None:
    keyless = SHOP.replace("load: increment", "load: snapshot").replace(", key: true", "")
    place = town(tmp_path, {"market__shop": keyless})
    play(place, FIRST, ("shop_20260303.csv", HEADER + "1,甲,\n1,甲,\n2,乙,\n"))
    play(place, SECOND, ("shop_20260304.csv", HEADER + "1,甲,\n3,丙,\n3,丙,\n"))
    play(place, THIRD, ("shop_20260302.csv", HEADER + "9,旧,\n"))
    nothing = {"changed": 0, "repeated": 0, "repeated_before": 0}
    assert differences(place) == {"2026-03-04.v1": {"added": 2, "removed": 2, "same": 1, **nothing}}
    assert in_force(place) == ["丙", "丙", "甲"], "a snapshot of an older day that comes late is not in force"


def test_a_difference_under_a_contract_that_has_grown_since(tmp_path: Path) -> None:
    place = town(tmp_path, {"market__shop": SHOP})
    play(place, FIRST, ("shop_20260302.csv", HEADER + "1,甲,\n2,乙,\n"))
    place.contract(
        "market__shop",
        SHOP.replace("  - {from: 备注, ignore: free text, optional: true}", "  - {from: 备注, to: note, optional: true}"),
    )
    play(place, SECOND, ("shop_20260302.csv", "编号,名称,成立日期,备注\n1,甲,,\n2,乙,,新\n"))
    [found] = differences(place).values()
    assert (found["same"], found["changed"]) == (1, 1)


def test_a_clock_that_was_put_back_is_told_and_the_order_of_arrival_holds(tmp_path: Path) -> None:
    place = town(tmp_path)
    play(place, SECOND, ("shop_20260302.csv", ONE))
    play(place, "2025-01-01T00:00:00+08:00", ("shop_20260302.csv", TWO))
    play(place, THIRD, ("shop_20260302.csv", THREE))
    assert in_force(place) == ["丙"]
    told = [(r["batch"], r["code"], r["severity"]) for r in place.tables()["quality.finding"] if r["code"].startswith("clock")]
    assert told == [("market__shop@2026-03-02.v2", "clock_went_back", "note")]
    with place.run(THIRD) as run:
        assert verify(run) == []
        rebuilt = Town(rebuild(run, tmp_path / "again"), place.catalog)
    assert rebuilt.tables()["quality.finding"] == place.tables()["quality.finding"]
