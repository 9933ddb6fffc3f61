"""Checks beyond one table: against other sources in force, the source's own past, and what the department declared.

What cannot be compared is not evaluated and counts for nothing, and a rebuild comes to the same verdicts.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import pytest
import yaml
from pydantic import BeforeValidator, TypeAdapter

from catalog.contract import Expect, _expect
from catalog.registry import open_catalog
from pipelines import archive, manifest
from pipelines.batch import load
from pipelines.check_file import check_file
from pipelines.clean import clean
from pipelines.collect import collect
from pipelines.contract_check import check
from pipelines.flow import intake
from pipelines.gate import Counted, Verdict, judge_batch
from pipelines.rebuild import in_order, rebuild
from pipelines.run import Run
from pipelines.verify import verify
from quality.expectations import kinds
from tests.support import Town, tables, town
from warehouse import lake

HOUSE = """\
title: {zh: 房屋, en: Houses}
department: {id: land, zh: 房管局, en: Land office}
load: increment
period: {from: file_name, pattern: "house_(?P<date>\\\\d{8})"}
arrival: {drop: "house_*.csv", cycle: daily, due: "09:00 next working day"}
columns:
  - {from: 街道, to: street, key: true}
  - {from: 门牌, to: house_no, key: true, type: integer}
  - {from: 层数, to: floors, type: integer}
  - {from: 户主, to: owner, personal: true}
"""

METER = """\
title: {zh: 水表, en: Meters}
department: {id: water, zh: 水务局, en: Water office}
load: increment
period: {from: file_name, pattern: "meter_(?P<date>\\\\d{8})"}
arrival: {drop: "meter_*.csv", cycle: daily, due: "09:00 next working day"}
columns:
  - {from: 表号, to: meter_no, key: true}
  - {from: 街道, to: street}
  - {from: 门牌, to: number, type: integer}
  - {from: 楼层, to: floors, type: integer}
  - {from: 一季, to: first, type: integer, clean: trim_text}
  - {from: 二季, to: second, type: integer}
  - {from: 用量, to: used, type: number}
expect:
"""
EXPECT = """\
  - {value_in_source: [street, number], source: land__house, column: [street, house_no]}
  - {same_as_source: floors, source: land__house, by: {street: street, number: house_no}}
"""
HOUSES = "街道,门牌,层数,户主\n"
METERS = "表号,街道,门牌,楼层,一季,二季,用量\n"
DAY = "2026-03-03T08:30:00+08:00"

Checks = dict[str, dict[str, Any]]


def city(root: Path, expect: str = EXPECT, house: str = HOUSE) -> Town:
    place = town(root, {"land__house": house, "water__meter": METER + expect})
    (place.catalog / "entities" / "shop.yaml").unlink()
    return place


def send(place: Town, source: str, name: str, data: str, when: str = DAY, declared: Mapping[str, Any] | None = None) -> Verdict:
    department = source.split("__")[0]
    if declared is not None:
        place.drop(department, f"{name}.manifest.json", json.dumps(declared, ensure_ascii=False))
    place.drop(department, name, data)
    with place.run(when) as run:
        (verdict,) = intake(run, source)
    return verdict


def told(place: Town, table: str, batch: str, subject: str = "batch") -> list[dict[str, Any]]:
    """The rows of one table about one batch."""
    with lake.reading(place.workspace) as con:
        found = con.execute(f"SELECT * FROM lake.{table} WHERE {subject} = ? ORDER BY ALL", [batch])
        names = [d[0] for d in found.description]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def checks(place: Town, verdict: Verdict) -> Checks:
    return {r["check_id"]: r for r in told(place, "quality.check", verdict.batch)}


def counts(row: Mapping[str, Any]) -> tuple[int, int]:
    assert row["error"] is None, row["error"]
    return int(row["a"]), int(row["b"])


def counted(place: Town, verdict: Verdict, check_id: str) -> tuple[int, int]:
    return counts(checks(place, verdict)[check_id])


def findings(place: Town, verdict: Verdict) -> dict[str, dict[str, Any]]:
    return {r["code"]: r for r in told(place, "quality.finding", verdict.batch)}


# -- other sources


KEYS, SAME = "value_in_source_street_number", "same_as_source_floors"


def test_keys_and_values_are_compared_with_the_rows_in_force_there(tmp_path: Path) -> None:
    place = city(tmp_path)
    send(place, "land__house", "house_20260301.csv", HOUSES + "东街,1,3,甲\n东街,2,9,乙\n西街,1,,丙\n")
    send(place, "land__house", "house_20260302.csv", HOUSES + "东街,2,4,乙\n")  # in force instead of 9
    sent = "A,东街,1,3,,,\nB,东街,2,9,,,\nC,西街,1,5,,,\nD,北街,1,1,,,\nE,东街,,7,,,\nF,东街,1,many,,,\n"
    verdict = send(place, "water__meter", "meter_20260302.csv", METERS + sent)
    assert verdict.state == "warn"
    found = checks(place, verdict)
    assert counts(found[KEYS]) == (4, 5), "北街 1 does not exist; E has no number"
    assert counts(found[SAME]) == (1, 3), "A agrees; B is of before, F cannot be read; nobody knows C, D, E"
    row = found[SAME]
    assert row["sub_indicator"] == "0401" and not row["passed"] and "land__house" in row["title_zh"]
    assert row["failing_rows_sql"].startswith('SELECT "_sheet", "_row"') and '"land__house (' in row["failing_rows_sql"]
    broken = {(r["check_id"], r["_row"]) for r in told(place, "quality.failing_row", verdict.batch)}
    assert {b for b in broken if b[0] in (KEYS, SAME)} == {(KEYS, 5), (SAME, 3), (SAME, 7)}, "each by its address"
    ran = [r["sql"] for r in told(place, "ledger.statement", verdict.batch, "subject") if r["stage"] == "gate"]
    read = [sql for sql in ran if 'FROM "lake"."std"."land__house"' in sql]
    assert len(read) == 2, "an auditor sees which rows each of the two was compared with"
    with place.run(DAY) as run:
        assert sorted(len(run.con.execute(sql).fetchall()) for sql in read) == [3, 3], "and can read them again"


@pytest.mark.parametrize("houses", [None, "街道,门牌,层数,户主\n,,,\n"], ids=["never sent", "held"])
def test_without_rows_to_compare_with_it_is_not_evaluated_and_said_so(tmp_path: Path, houses: str | None) -> None:
    place = city(tmp_path, EXPECT.replace("land__house, by", "land__house, severity: hold, by"))
    if houses:
        assert send(place, "land__house", "house_20260301.csv", houses).state == "hold"
    verdict = send(place, "water__meter", "meter_20260302.csv", METERS + "A,东街,1,3,,,\n")
    assert verdict.state == "pass"
    found = checks(place, verdict)
    assert counts(found[KEYS]) == counts(found[SAME]) == (0, 0)
    assert found[SAME]["x"] is None
    said = findings(place, verdict)["check_without_source"]
    assert said["severity"] == "note" and "land__house" in said["message_en"] and "本次未评" in said["message_zh"]


def test_a_column_that_went_there_is_not_evaluated_either(tmp_path: Path) -> None:
    place = city(tmp_path)
    place.contract("land__house", HOUSE.replace("to: floors, type: integer", "ignore: not asked"))
    send(place, "land__house", "house_20260301.csv", HOUSES + "东街,1,3,甲\n")
    verdict = send(place, "water__meter", "meter_20260302.csv", METERS + "A,东街,1,3,,,\n")
    found = checks(place, verdict)
    assert counts(found[KEYS]) == (1, 1)
    assert counts(found[SAME]) == (0, 0)


def test_a_value_stored_in_another_type_is_compared_as_ours(tmp_path: Path) -> None:
    place = city(tmp_path, house=HOUSE.replace("to: house_no, key: true, type: integer", "to: house_no, key: true"))
    send(place, "land__house", "house_20260301.csv", HOUSES + "东街,1,3,甲\n东街,bis,4,乙\n")
    verdict = send(place, "water__meter", "meter_20260302.csv", METERS + "A,东街,1,3,,,\n")
    assert counted(place, verdict, KEYS) == (1, 1)


def test_check_before_sending_says_that_it_cannot_compare(tmp_path: Path) -> None:
    place = city(tmp_path)
    file = tmp_path / "meter_20260302.csv"
    file.write_text(METERS + "A,东街,1,3,,,\n", encoding="utf-8")
    checked = check_file(file, "water__meter", now=datetime.fromisoformat(DAY), catalog=place.catalog)
    assert checked.exit_code == 0
    assert "check_without_source" in [g["code"] for g in checked.receipt["findings"]]


# -- the same verdict again


def verdicts(found: dict[str, list[dict[str, Any]]]) -> list[Any]:
    return [found[t] for t in ("quality.check", "quality.finding", "ledger.batch", "ledger.statement", "ledger.stage")]


@pytest.mark.slow
def test_a_rebuild_finds_what_each_gate_found(tmp_path: Path) -> None:
    """Both compare with the other, and each changes between the batches of the other."""
    place = city(tmp_path)
    house = HOUSE + "expect:\n  - {value_in_source: street, source: water__meter}\n"
    place.contract("land__house", house)
    send(place, "water__meter", "meter_20260301.csv", METERS + "A,东街,1,3,,,\n", "2026-03-02T08:00:00+08:00")
    send(place, "land__house", "house_20260301.csv", HOUSES + "东街,1,3,甲\n北街,1,1,甲\n", "2026-03-02T09:00:00+08:00")
    send(place, "water__meter", "meter_20260302.csv", METERS + "B,北街,1,1,,,\nC,南街,1,1,,,\n", "2026-03-02T10:00:00+08:00")
    send(place, "land__house", "house_20260301.csv", HOUSES + "东街,1,8,甲\n南街,1,1,丁\n", "2026-03-02T10:00:00+08:00")
    last = send(
        place, "water__meter", "meter_20260301.csv", METERS + "A,东街,1,3,,,\nB,北街,1,1,,,\n", "2026-03-02T11:00:00+08:00"
    )
    assert counted(place, last, KEYS) == (1, 2), "the corrected file took 北街 back"
    with place.run("2026-03-02T12:00:00+08:00") as run:
        new = rebuild(run, tmp_path / "new")
    assert verdicts(tables(new)) == verdicts(place.tables())
    again = Town(new, place.catalog)
    with again.run("2026-03-02T12:00:00+08:00") as run:
        assert verify(run) == []
    assert archive.drops(new, "water__meter") == archive.drops(place.workspace, "water__meter")


@pytest.mark.slow
def test_a_gate_that_was_killed_looks_at_the_same_moment_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = city(tmp_path)
    send(place, "land__house", "house_20260301.csv", HOUSES + "东街,1,3,甲\n")

    class Killed(Exception):
        pass

    def dies(*args: Any) -> bool:
        raise Killed

    place.drop("water", "meter_20260302.csv", METERS + "A,东街,1,3,,,\n")
    with monkeypatch.context() as patch, place.run(DAY) as run, pytest.raises(Killed):
        patch.setattr("pipelines.gate.commit", dies)
        intake(run, "water__meter")
    send(place, "land__house", "house_20260302.csv", HOUSES + "东街,1,99,甲\n", "2026-03-03T09:00:00+08:00")
    with place.run("2026-03-03T09:30:00+08:00") as run:
        (verdict,) = intake(run, "water__meter")
    assert counted(place, verdict, SAME) == (1, 1)
    with place.run("2026-03-03T09:30:00+08:00") as run:
        new = rebuild(run, tmp_path / "new")
    assert verdicts(tables(new)) == verdicts(place.tables())


@pytest.mark.slow
def test_two_gates_at_once_that_looked_past_each_other_are_rebuilt_all_the_same(tmp_path: Path) -> None:
    place = city(tmp_path)
    place.contract("land__house", HOUSE + "expect:\n  - {value_in_source: street, source: water__meter}\n")
    send(place, "water__meter", "meter_20260301.csv", METERS + "A,东街,1,3,,,\n", "2026-03-02T08:00:00+08:00")
    send(place, "land__house", "house_20260301.csv", HOUSES + "东街,1,3,甲\n", "2026-03-02T09:00:00+08:00")
    place.drop("water", "meter_20260302.csv", METERS + "B,北街,1,1,,,\n")
    place.drop("land", "house_20260302.csv", HOUSES + "北街,1,1,乙\n")
    with place.run("2026-03-02T10:00:00+08:00") as run, pytest.MonkeyPatch.context() as patch:
        from pipelines import gate as module

        committed = module.commit

        def meanwhile(*args: Any) -> bool:
            patch.setattr(module, "commit", committed)
            other = Run("other", run.now + timedelta(hours=1), run.workspace, run.catalog, run.simulated)
            intake(other, "land__house")
            other.close()
            return committed(*args)

        patch.setattr(module, "commit", meanwhile)
        (verdict,) = intake(run, "water__meter")
    assert counted(place, verdict, KEYS) == (0, 1)
    (_, house) = archive.drops(place.workspace, "land__house")
    assert house.beside["water__meter"] == {
        "drop": archive.drops(place.workspace, "water__meter")[0].drop_id,
        "as_of": "2026-03-02T00:00:00+00:00",
    }
    with place.run("2026-03-02T12:00:00+08:00") as run:
        new = rebuild(run, tmp_path / "new")
    assert verdicts(tables(new)) == verdicts(place.tables())


def test_drops_are_replayed_in_the_order_in_which_they_saw_each_other() -> None:
    def drop(source: str, number: int, **beside: str | None) -> archive.Drop:
        seen = {s: {"drop": d, "as_of": ""} if d else None for s, d in beside.items()}
        return archive.Drop(f"{source}{number}", source, "", "", 0, "", "", "", "", number, beside=seen)

    drops = [drop("a", 1, b=None), drop("a", 2, b="b1"), drop("a", 3, b="b2"), drop("b", 1), drop("b", 2, a="a2"), drop("b", 3)]
    assert [d.drop_id for d in in_order(drops)] == ["a1", "b1", "a2", "b2", "a3", "b3"]


# -- totals


@pytest.fixture(scope="module")
def water(tmp_path_factory: pytest.TempPathFactory) -> Town:
    return city(tmp_path_factory.mktemp("water"))


def judged(place: Town, expect: str, data: str, declared: str | None = None, meter: str = METER) -> dict[str, Counted]:
    """Every check of one file, without a commit: the batch is thrown away."""
    place.contract("water__meter", meter + expect)
    if declared is not None:
        place.drop("water", "meter_20260302.csv.manifest.json", declared)
    place.drop("water", "meter_20260302.csv", data)
    with place.run(DAY) as run:
        try:
            (batch,) = collect(run, "water__meter")
            clean(run, batch)
            cleaned = load(run.workspace, batch)
            found = judge_batch(run, cleaned, archive.archived_contract(run.workspace, cleaned.contract_hash))
        finally:
            shutil.rmtree(run.workspace.archive / "drops" / "water__meter", ignore_errors=True)
    assert [c.outcome.error for c in found if c.outcome.error] == []
    return {c.check.id: c for c in found}


def ab(found: Mapping[str, Counted], *ids: str) -> list[tuple[float, float]]:
    return [(found[i].a, found[i].b) for i in ids]


def test_a_total_is_the_sum_of_its_parts_in_the_row(water: Town) -> None:
    sent = "A,,,,1,2,3\nB,,,,1,2,3.5\nC,,,,1,2,3.51\nD,,,,1,,1\nE,,,,x,2,2\nF,,,,9223372036854775807,9,9223372036854775816\n"
    found = judged(water, "  - {total_equals_parts: used, parts: [first, second], within: 0.5}\n", METERS + sent)
    assert ab(found, "total_equals_parts_used") == [(3, 5)], "C is off, x is no number; D lacks a part"


def test_a_row_of_totals_stands_for_the_rows_of_its_group(water: Town) -> None:
    sent = "1,东,,,5,,\n2,东,,,6,,\n小计,东,,,11,,\n3,西,,,1,,\n合计,西,,,2,,\n总,南,,,2,,\n小计,北,,,4,,\n"
    append = METER.replace("to: meter_no, key: true", "to: meter_no").replace("load: increment", "load: append")
    found = judged(
        water, "  - {total_equals_rows: first, total: {meter_no: [合计, 小计]}, by: street}\n", METERS + sent, meter=append
    )
    assert ab(found, "total_equals_rows_first") == [(1, 2)], "西 is off; 北 has no rows to stand for"
    check = found["total_equals_rows_first"].check
    assert check.indicator == "0402" and "合计、小计" in check.zh


# -- its own past

HISTORY = "  - {{rows_against_history: , against: {against}, last: {last}, within: 30%}}\n"


def rows(n: int) -> str:
    return METERS + "".join(f"M{i},,,,,,\n" for i in range(n))


def past(place: Town, counts: Mapping[str, int], when: str) -> list[Verdict]:
    """Files of these days, all taken at one moment."""
    for day, n in counts.items():
        place.drop("water", f"meter_{day.replace('-', '')}.csv", rows(n))
    with place.run(when) as run:
        return intake(run, "water__meter")


def test_rows_are_compared_with_the_median_of_the_days_before(tmp_path: Path) -> None:
    place = city(tmp_path, HISTORY.format(against="previous periods", last=3))
    days = {"2026-03-02": 10, "2026-03-03": 40, "2026-03-04": 10, "2026-03-05": 6, "2026-03-06": 13}
    *early, few, usual = past(place, days, "2026-03-07T08:30:00+08:00")
    check_id = "rows_against_history_previous_periods"
    assert {counted(place, verdict, check_id) for verdict in early} == {(0, 0)}, "three periods are needed"
    assert counted(place, few, check_id) == (0, 1)
    said = findings(place, few)["rows_unlike_before"]
    assert said["severity"] == "warn"
    for number in ("6 行", "10 行", "7 到 13"):
        assert number in said["message_zh"]
    assert counted(place, usual, check_id) == (1, 1), "median of 40, 10 and 6"
    corrected = send(place, "water__meter", "meter_20260305.csv", rows(9), "2026-03-08T08:30:00+08:00")
    assert counted(place, corrected, check_id) == (1, 1), "against what was before that day"


def test_history_that_is_too_short_is_said(tmp_path: Path) -> None:
    place = city(tmp_path, HISTORY.format(against="same weekday", last=2))
    days = {"2026-03-02": 4, "2026-03-03": 99, "2026-03-09": 5, "2026-03-10": 99, "2026-03-16": 5}
    _, _, second, _, third = past(place, days, "2026-03-17T08:30:00+08:00")
    early = findings(place, second)["check_without_history"]
    assert "1 期" in early["message_zh"] and "2 are needed" in early["message_en"]
    assert counted(place, third, "rows_against_history_same_weekday") == (1, 1)


def test_a_held_or_superseded_batch_is_no_measure(tmp_path: Path) -> None:
    place = city(
        tmp_path, HISTORY.format(against="previous periods", last=1).replace("within: 30%", "within: 0.3, severity: hold")
    )
    days = {"2026-03-02": 10, "2026-03-03": 100, "2026-03-04": 11}
    _, held, again = past(place, days, "2026-03-05T08:30:00+08:00")
    assert held.state == "hold" and "100 行" in held.zh and "the median of 1 earlier periods is 10" in held.en
    assert again.accepted
    with place.run("2026-03-06T08:30:00+08:00") as run:
        assert tables(rebuild(run, tmp_path / "new"))["quality.check"] == place.tables()["quality.check"]


# -- what was declared

DECLARED = "  - {sum_equals_declared: used}\n  - {sum_equals_declared: first, within: 1}\n  - keys_equal_declared\n"
SENT = METERS + "A,,,,1,,0.10\nB,,,,2,,0.20\nB,,,,3,,bad\n,,,,4,,0.30\n"


@pytest.mark.parametrize(("declared", "good"), [
    ('{"sums": {"用量": 0.6, "first": "11"}, "keys": 2}', 1),
    ('{"sums": {"用量": "0.61", "first": 8}, "keys": 3}', 0),
])  # fmt: skip
def test_sums_and_keys_are_those_that_were_declared(water: Town, declared: str, good: int) -> None:
    found = judged(water, DECLARED, SENT, declared)
    ids = ("sum_equals_declared_used", "sum_equals_declared_first", "keys_equal_declared")
    assert ab(found, *ids) == [(good, 1)] * 3, "every row sent counts"
    for check_id, words in zip(ids, [("用量", " 0.6，", " 0.61。"), ("一季", " 10，", " 8。"), (" 2 个", " 3 个")], strict=True):
        said = [f.message_zh for f in found[check_id].findings]
        assert len(said) == 1 - good and all(word in text for text in said for word in words), said


def test_what_was_not_declared_is_not_evaluated(water: Town) -> None:
    found = judged(water, DECLARED, SENT, '{"rows": 4, "sums": {"一季": 10}}')
    assert ab(found, "sum_equals_declared_first", "sum_equals_declared_used", "keys_equal_declared") == [(1, 1), (0, 0), (0, 0)]
    for check_id, what in (("sum_equals_declared_used", "`sums.用量`"), ("keys_equal_declared", "`keys`")):
        (said,) = found[check_id].findings
        assert (said.code, said.severity) == ("check_without_declaration", "note") and what in said.message_en


@pytest.mark.parametrize("sums", ['{"用量": "much"}', '{"用量": true}', '{"用量": 1e5}', '["用量"]'])
def test_a_sum_that_is_no_number_is_a_manifest_that_cannot_be_understood(sums: str) -> None:
    with pytest.raises(manifest.Unreadable, match="`sums"):
        manifest.declared(f'{{"sums": {sums}}}'.encode())


def test_a_declared_sum_keeps_every_digit(water: Town) -> None:
    found = judged(water, DECLARED, METERS + "A,,,,,,12345678901234567.88\n", '{"sums": {"used": 12345678901234567.89}}')
    assert ab(found, "sum_equals_declared_used") == [(0, 1)]


def test_the_sum_of_a_personal_column_is_masked(water: Town) -> None:
    meter = METER.replace("to: used, type: number", "to: used, type: number, personal: true")
    found = judged(water, DECLARED, METERS + "A,,,,,,123456\n", '{"sums": {"used": "654321"}}', meter)
    (said,) = found["sum_equals_declared_used"].findings
    assert "123456" not in said.message_zh + said.message_en and "654321" not in said.message_zh + said.message_en


def test_numbers_that_differ_reach_the_receipt(tmp_path: Path) -> None:
    place = city(tmp_path, "  - {sum_equals_declared: used, severity: hold}\n")
    verdict = send(place, "water__meter", "meter_20260302.csv", SENT, declared={"sums": {"用量": "0.61"}})
    assert verdict.state == "hold" and "合计 0.6，清单声明的是 0.61" in verdict.zh
    assert findings(place, verdict)["sum_unlike_declared"]["column_name"] == "used"


# -- contracts that name what is not there


@pytest.mark.parametrize(("line", "wrong"), [
    ("{value_in_source: street, source: land__hause}", "did you mean `land__house`"),
    ("{value_in_source: street, source: land__house, column: streat}", "did you mean `street`"),
    ("{value_in_source: street, source: land__house, column: floors}", "`street` is text here and `floors` is integer in land__house"),
    ("{value_in_source: [street, number], source: land__house, column: street}", "compares 2 columns"),
    ("{value_in_source: streat, source: land__house}", "did you mean `street`"),
    ("{value_in_source: street}", "needs `source`"),
    ("{value_in_source: street, source: [a]}", "needs the id of a source"),
    ("{same_as_source: floors, source: land__house}", "needs `by`"),
    ("{same_as_source: floors, source: land__house, by: number}", "reads column `number` of land__house"),
    ("{same_as_source: floors, source: land__house, by: [street, nummer]}", "did you mean `number`"),
    ("{total_equals_parts: used, parts: [first, third]}", "`third`"),
    ("{total_equals_parts: used, parts: [first, street]}", "`street` is text"),
    ("{total_equals_parts: used, parts: first}", "needs two other columns"),
    ("{total_equals_parts: used, parts: [first, second], within: some}", "`within: some`"),
    ("{total_equals_rows: used, total: 合计}", "as in `total: {district: [合计]}`"),
    ("{total_equals_rows: used, total: {street: 合计}, by: [street]}", "cannot be in `by`"),
    ("{rows_against_history: , against: same day, within: 0.3}", "`against: same day`"),
    ("{rows_against_history: , against: same weekday, within: half}", "or 30%"),
    ("{rows_against_history: , against: same weekday, within: 0.3, last: 0}", "number of periods"),
    ("{rows_against_history: , against: same weekday, within: 0.3, last: 2, least: 3}", "at most 2"),
    ("{sum_equals_declared: street}", "`street` is text"),
])  # fmt: skip
def test_a_wrong_line_is_named_with_file_and_line(tmp_path: Path, line: str, wrong: str) -> None:
    place = city(tmp_path, f"  - no_duplicate_rows\n  - {line}\n")
    problems = check(open_catalog(place.catalog))
    number = len(METER.splitlines()) + 2
    assert len(problems) == 1 and f"water__meter.yaml:{number}: " in problems[0] and wrong in problems[0], problems


def test_the_examples_of_the_reference_are_lines_of_that_kind() -> None:
    told = {name: kind.example for name, kind in kinds().items() if kind.example}
    assert len(told) == 7
    for name, example in told.items():
        line = TypeAdapter(Annotated[Expect, BeforeValidator(_expect)]).validate_python(yaml.safe_load(example))
        assert line.kind == name
        assert set(line.options) <= set(kinds()[name].options)
        assert {o for o, need in kinds()[name].options.items() if need == "required"} <= set(line.options)


def test_a_sound_contract_has_no_problems(tmp_path: Path) -> None:
    place = city(tmp_path, EXPECT + DECLARED + HISTORY.format(against="same month", last=1) +
                 "  - {total_equals_parts: used, parts: [first, second]}\n"
                 "  - {total_equals_rows: first, total: {street: '{合计}'}}\n")  # fmt: skip
    assert check(open_catalog(place.catalog)) == []
    verdict = send(place, "water__meter", "meter_20260302.csv", METERS + "A,{合计},,,3,,\nB,东街,,,3,,\n")
    assert counted(place, verdict, "total_equals_rows_first") == (1, 1)
