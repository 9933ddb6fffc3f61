"""The gate: A and B count what was sent, a hold keeps the last good data, and a contract's own SQL sees its batch alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalog.yaml_file import CatalogError
from pipelines import archive
from pipelines.batch import load
from pipelines.clean import clean
from pipelines.collect import collect
from pipelines.flow import intake
from pipelines.gate import Verdict, judge_batch, recorded
from quality.expectations import kinds, prepare
from tests.support import SOURCES, Town, town

#: Every counting mode stands in it at least once.
FORM = """\
title: {zh: 登记, en: Register}
department: office
load: append
period: {from: file_name, pattern: "_(?P<date>\\\\d{8})"}
arrival: {drop: "register_*", cycle: daily, due: "09:00 next working day"}
columns:
  - {from: 编号, to: number, key: true}
  - {from: 副号, to: sub, key: true, on_missing: keep, optional: true}
  - {from: 日期, to: day, type: date, clean: date_any_format, required: true}
  - {from: 数量, to: n, type: integer}
  - {from: 代码, to: code, clean: upper}
expect:
  - {value_between: n, min: 0, max: 10}
  - {value_in_set: code, values: [A, B]}
  - {rows_in_period: day}
  - {record_lag: day, within: 2 working days}
  - {row_count_between: , min: 2}
  - no_duplicate_rows
  - {gx: expect_column_values_to_match_regex, column: code, regex: "^[AB]$", id: gallery}
  - {sql: "SELECT * FROM {batch} WHERE n > 10", id: own}
"""
HEAD = "编号,日期,数量,代码\n"
ROWS = """\
K1,2026-03-02,5,a
K2,2026/3/2,50,b
K2,no day,5,a
,2026-03-02,,c
K5,,x,
"""
#: check -> (A, B) of ROWS, counted by hand on the cells as they stand there.
COUNTED = {
    "columns_as_declared": (4, 4),  # the optional one did not come
    "value_is_present_number": (4, 5),
    "value_is_present_day": (4, 5),
    "value_is_valid_day": (3, 4),  # `no day`; 2026/3/2 is harmless
    "value_is_valid_n": (3, 4),  # x
    "value_is_valid_code": (4, 4),
    "value_between_n": (2, 4),  # 50, and x that became nothing
    "value_in_set_code": (3, 4),  # c
    "rows_in_period_day": (3, 4),
    "record_lag_day": (3, 4),
    "row_count_between": (1, 1),
    "no_duplicate_rows": (0, 5),
    "no_dirty_rows": (1, 5),  # the row without a number was refused
    "key_is_unique": (2, 5),  # K2 twice, and the one without
    "gallery": (3, 4),
    "own": (4, 5),
    "punctuality": (1, 1),
}


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Town:
    return town(tmp_path_factory.mktemp("office"), {"office__register": FORM})


@pytest.fixture(scope="module")
def days() -> Iterator[date]:
    return iter(date(2026, 3, 2) + timedelta(weeks=n) for n in range(10_000))


def counts(place: Town, form: str, data: str, day: date, at: str | None = None) -> dict[str, tuple[int | float, int | float]]:
    """A and B of every check, without a commit: the batch is thrown away."""
    place.contract("office__register", form)
    place.drop("office", f"register_{day:%Y%m%d}.csv", data)
    with place.run(at or f"{day}T20:00:00+08:00") as run:
        try:
            (batch,) = collect(run, "office__register")
            clean(run, batch)
            cleaned = load(run.workspace, batch)
            counted = judge_batch(run, cleaned, archive.archived_contract(run.workspace, cleaned.contract_hash))
        finally:
            shutil.rmtree(run.workspace.archive / "drops" / "office__register", ignore_errors=True)
    assert [c.outcome.error for c in counted if c.outcome.error] == []
    return {c.check.id: (c.a, c.b) for c in counted}


def play(place: Town, source: str, department: str, name: str, data: str, when: str) -> Verdict:
    place.drop(department, name, data)
    with place.run(when) as run:
        (verdict,) = intake(run, source)
    return verdict


# -- A and B


def test_counts_are_those_made_by_hand(office: Town, days: Iterator[date]) -> None:
    assert set(kinds()) >= {"value_is_present"}
    assert counts(office, FORM, HEAD + ROWS, date(2026, 3, 2)) == COUNTED


@pytest.mark.parametrize("on_fail", ["keep", "refuse"])
def test_what_becomes_of_a_bad_value_does_not_change_what_was_sent(office: Town, on_fail: str) -> None:
    """Refused rows still count as sent; only the count of refused rows itself differs."""
    form = FORM.replace("to: n, type: integer", f"to: n, type: integer, on_fail: {on_fail}")
    form = form.replace("clean: date_any_format", f"clean: date_any_format, on_fail: {on_fail}")
    found = counts(office, form, HEAD + ROWS, date(2026, 3, 2))
    dirty = {"keep": (1, 5), "refuse": (3, 5)}[on_fail]
    assert found == COUNTED | {"no_dirty_rows": dirty}


def test_a_blank_part_of_a_key_equals_a_blank_one(office: Town, days: Iterator[date]) -> None:
    head = "编号,副号,日期,数量,代码\n"
    found = counts(office, FORM, head + "K1,,,,\nK1,,,,\nK1,1,,,\nK2,,,,\n", next(days))
    assert found["key_is_unique"] == (2, 4)
    assert found["no_duplicate_rows"] == (1, 4)
    assert found["no_dirty_rows"] == (0, 4), "the second part may be blank"


@pytest.mark.parametrize(("span", "said"), [("2 working days", "2 个工作日内报送"), ("30 days", "30 日内报送")])
def test_a_span_of_days_is_chinese_in_a_chinese_sentence(office: Town, span: str, said: str) -> None:
    office.contract("office__register", FORM.replace("2 working days", span))
    with office.run() as run:
        [lag] = [check for check in prepare(run.catalog.contract("office__register")) if check.kind == "record_lag"]
    assert lag.zh.endswith(said) and span in lag.en


def test_lag_is_counted_in_working_days(office: Town) -> None:
    """Tuesday 3 March 2026; Saturday 28 February is worked in exchange for the Spring Festival (State Council notice)."""
    sent = HEAD + "".join(f"K{i},{day},1,A\n" for i, day in enumerate(
        ["2026-02-27", "2026-02-28", "2026-03-01", "2026-03-02", "2026-03-03", "2019-01-01"]))  # fmt: skip
    found = counts(office, FORM, sent, date(2026, 3, 3), "2026-03-03T09:00:00+08:00")
    assert found["record_lag_day"] == (4, 6), "Friday is three working days back, and 2019 is long ago"
    calendar = counts(office, FORM.replace("2 working days", "2 days"), sent, date(2026, 3, 3), "2026-03-03T09:00:00+08:00")
    assert calendar["record_lag_day"] == (3, 6)
    assert found["rows_in_period_day"] == (1, 6)


CELL = {
    "number": st.sampled_from(["K1", "K2", "K3", " K4 ", ""]),
    "day": st.sampled_from(["2026-03-02", "2026/3/2", "2026年3月2日", "no day", "", "2026-02-31", "2030-01-01"]),
    "n": st.sampled_from(["1", "10", "11", "x", "", "1.5", " 7"]),
    "code": st.sampled_from(["a", "A", "b", "C", ""]),
}
SENT = st.lists(st.tuples(*CELL.values()), min_size=1, max_size=6)
CLEANING = [
    ("clean: date_any_format", "clean: date_any_format, on_fail: {on_fail}"),
    ("to: n, type: integer", "to: n, type: integer, clean: integer, on_fail: {on_fail}"),
    ("clean: upper", "clean: [trim_text, upper], on_missing: {on_missing}"),
]


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(rows=SENT, on_fail=st.sampled_from(["null", "refuse"]), on_missing=st.sampled_from(["keep", "refuse"]))
def test_neither_cleaning_nor_refusing_raises_a_score(
    rows: list[tuple[str, ...]], on_fail: str, on_missing: str, office: Town, days: Iterator[date]
) -> None:
    """Against keeping every value as it is: no check gets a larger X, none looks at fewer elements."""
    sent = HEAD + "".join(",".join(row) + "\n" for row in rows)
    kept = FORM
    strict = FORM
    for plain, harsh in CLEANING:
        kept = kept.replace(plain, harsh.format(on_fail="keep", on_missing="keep"))
        strict = strict.replace(plain, harsh.format(on_fail=on_fail, on_missing=on_missing))
    before, after = (counts(office, form, sent, date(2026, 3, 2)) for form in (kept, strict))
    lower_is_better = {"no_duplicate_rows", "no_dirty_rows"}
    for check, (a, b) in after.items():
        if check not in before:
            continue
        assert b == before[check][1], f"{check}: {b} of {before[check][1]} elements"
        x, was = (Fraction(v[0]) / Fraction(v[1]) if v[1] else Fraction(1) for v in ((a, b), before[check]))
        assert (was <= x) if check in lower_is_better else (x <= was), f"{check}: {was} became {x}"


# -- the verdict


MORNING = "2026-03-05T08:30:00+08:00"


def shop(expect: str) -> dict[str, str]:
    return {"market__shop": SOURCES["market__shop"] + f"  - {expect}\n"}


def test_a_check_with_hold_holds_below_its_floor_and_says_so(tmp_path: Path) -> None:
    place = town(tmp_path, shop("{value_is_present: shop_name, severity: hold, floor: 0.5}"))
    head = "编号,名称,成立日期\n"
    good = play(place, "market__shop", "market", "shop_20260302.csv", head + "S1,甲,\nS2,,\n", MORNING)
    assert good.state == "warn" and "已接收 2 行，拒收 0 行" in good.zh and "2 rows accepted, 0 refused" in good.en
    held = play(place, "market__shop", "market", "shop_20260303.csv", head + "S1,乙,\nS2,,\nS3,,\n", MORNING)
    assert held.state == "hold" and not held.accepted
    for words in ("名称", "0.333333 < 0.5"):
        assert words in held.zh
    assert "`shop_name` is filled" in held.en and "0.333333 < 0.5" in held.en
    tables = place.tables()
    assert {row["_batch"] for row in tables["std.market__shop"]} == {good.batch}, "a held batch never reaches std"
    assert {row["_batch"] for row in tables["raw.market__shop"]} == {good.batch, held.batch}, "but what was sent is kept"


def test_the_floor_is_one_unless_it_is_given(tmp_path: Path) -> None:
    place = town(tmp_path, shop("{value_is_present: shop_name, severity: hold}"))
    held = play(place, "market__shop", "market", "shop_20260302.csv", "编号,名称,成立日期\nS1,甲,\nS2,,\n", MORNING)
    assert held.state == "hold" and "0.500000 < 1" in held.zh


def test_all_rows_good_is_a_pass_and_no_row_good_is_a_hold(tmp_path: Path) -> None:
    place = town(tmp_path, {"market__shop": SOURCES["market__shop"]})
    head = "编号,名称,成立日期\n"
    passed = play(place, "market__shop", "market", "shop_20260304.csv", head + "S1,甲,2020-01-01\n", MORNING)
    assert (passed.state, passed.zh, passed.en) == ("pass", "已接收全部 1 行。", "All 1 rows accepted.")
    held = play(place, "market__shop", "market", "shop_20260305.csv", head + "S1,甲,yesterday\n,乙,\n", MORNING)
    assert held.state == "hold" and "没有一行可以接收" in held.zh and "No row could be accepted" in held.en


def test_a_file_without_its_day_is_held(tmp_path: Path) -> None:
    place = town(tmp_path, {"market__shop": SOURCES["market__shop"]})
    held = play(place, "market__shop", "market", "shop_march.csv", "编号,名称,成立日期\nS1,甲,\n", MORNING)
    assert held.state == "hold" and "shop_march.csv" in held.zh and "shop_march.csv" in held.en
    with place.run(MORNING) as run:
        assert recorded(run, held.batch) == held


def test_a_check_that_cannot_run_is_named_and_holds_if_it_should(tmp_path: Path) -> None:
    """Division of text: bad configuration that only the data can show. The check fails, the others are counted."""
    place = town(
        tmp_path, shop('{sql: "SELECT * FROM {batch} WHERE CAST(shop_name AS INTEGER) > 1", severity: hold, id: broken}')
    )
    held = play(place, "market__shop", "market", "shop_20260302.csv", "编号,名称,成立日期\nS1,张三,\n", MORNING)
    assert held.state == "hold" and "broken" in held.zh
    checks = {row["check_id"]: row for row in place.tables()["quality.check"]}
    assert checks["broken"]["error"] and "张三" not in checks["broken"]["error"]
    assert (checks["broken"]["a"], checks["broken"]["passed"]) == (0, False)
    assert checks["key_is_unique"]["passed"]


# -- the contract's own SQL


ESCAPES = [
    "SELECT * FROM {batch}; SELECT 1",
    "SELECT * FROM {batch}; DROP TABLE judged",
    "DELETE FROM {batch}",
    "PRAGMA database_list -- {batch}",
    "SET memory_limit = '1GB' -- {batch}",
    "ATTACH '/etc/passwd' -- {batch}",
    "COPY (SELECT * FROM {batch}) TO '/tmp/x'",
    "SELECT * FROM read_csv('/etc/passwd'), {batch}",
    "SELECT * FROM '/etc/passwd', {batch}",
    'SELECT * FROM "/etc/passwd", {batch}',
    "SELECT * FROM {batch} WHERE n IN (SELECT size FROM glob('/etc/*'))",
    "SELECT * FROM {batch} WHERE EXISTS (SELECT 1 FROM read_text('/etc/passwd'))",
    "WITH x AS (SELECT * FROM read_parquet('/etc/passwd')) SELECT * FROM {batch}, x",
    "SELECT * FROM {batch}, LATERAL (SELECT * FROM read_blob('/etc/passwd')) AS t",
    "SELECT * FROM {batch} UNION ALL SELECT * FROM std.office__other",
    "SELECT * FROM {batch} JOIN declared_columns ON true",
    "SELECT * FROM {batch}, query('SELECT 1')",
    "SELECT * FROM {batch}, duckdb_settings()",
    "SELECT * FROM {batch}, information_schema.tables",
    "SELECT * FROM {batch}, main.judged",
    "SELEC * FROM {batch}",
    "SELECT 1",
]


@pytest.mark.parametrize("sql", ESCAPES)
def test_own_sql_reads_nothing_but_its_batch(tmp_path: Path, sql: str) -> None:
    place = town(tmp_path, shop('{sql: "' + sql.replace("\\", "\\\\").replace('"', '\\"') + '"}'))
    with place.run(MORNING) as run, pytest.raises(CatalogError, match="`sql`"):
        prepare(run.catalog.contract("market__shop"))


@pytest.mark.parametrize("sql", [
    "SELECT * FROM {batch} WHERE n > 10",
    "WITH many AS (SELECT code FROM {batch} GROUP BY code HAVING count(*) > 3) SELECT * FROM {batch} WHERE code IN (SELECT code FROM many)",
    "SELECT t.* FROM {batch} AS t JOIN calendar AS c ON c.day = t.day WHERE NOT c.is_working_day",
    "SELECT * FROM {batch} WHERE day > {arrived_on} OR day NOT BETWEEN {period_first} AND {period_last}",
    "FROM {batch} WHERE n IS NULL",
])  # fmt: skip
def test_own_sql_may_be_any_select_over_the_batch(office: Town, sql: str, days: Iterator[date]) -> None:
    form = FORM.replace("SELECT * FROM {batch} WHERE n > 10", sql)
    assert counts(office, form, HEAD + ROWS, date(2026, 3, 2))["own"][1] == 5


def test_sql_by_way_of_the_gallery_is_no_way_around(tmp_path: Path) -> None:
    line = "{gx: unexpected_rows_expectation, unexpected_rows_query: \"SELECT * FROM {batch}, read_text('/etc/hostname')\"}"
    place = town(tmp_path, shop(line))
    with place.run(MORNING) as run, pytest.raises(CatalogError, match="as `sql"):
        prepare(run.catalog.contract("market__shop"))


def test_the_machine_is_shut_even_where_the_words_slip_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second fence: with the first one taken away the database itself refuses to open a file."""
    monkeypatch.setattr("quality.expectations._guard", lambda contract, query: None)
    place = town(tmp_path, shop("{sql: \"SELECT t.* FROM {batch} AS t, read_text('/etc/hostname')\", id: spy}"))
    play(place, "market__shop", "market", "shop_20260302.csv", "编号,名称,成立日期\nS1,甲,\n", MORNING)
    (spy,) = [row for row in place.tables()["quality.check"] if row["check_id"] == "spy"]
    assert "Permission Error" in spy["error"] and spy["a"] == 0


def test_gallery_lines_are_checked_before_anything_runs(tmp_path: Path) -> None:
    from pipelines.contract_check import check

    place = town(tmp_path, shop("{gx: expect_column_values_to_match_regx, column: shop_name, regex: x}"))
    with place.run(MORNING) as run:
        problems = check(run.catalog)
    assert any("expect_column_values_to_match_regex" in line and "market__shop.yaml" in line for line in problems), problems


def columns_of(row: Mapping[str, Any]) -> set[str]:
    return {name for name, value in row.items() if value is not None}


def test_every_check_leaves_what_an_auditor_needs(tmp_path: Path) -> None:
    """A, B, what was asked, the SQL that ran and the SQL that lists the failing rows."""
    place = town(tmp_path, shop("{value_matches: shop_name, pattern: '^.{2,}$'}"))
    play(place, "market__shop", "market", "shop_20260302.csv", "编号,名称,成立日期\nS1,甲,\nS2,乙丙,\n", MORNING)
    tables = place.tables()
    (row,) = [r for r in tables["quality.check"] if r["kind"] == "value_matches"]
    assert columns_of(row) >= {
        "a",
        "b",
        "x",
        "weight",
        "sub_indicator",
        "expectation",
        "failing_rows_sql",
        "title_zh",
        "title_en",
    }
    assert (row["a"], row["b"], float(row["x"])) == (1, 2, 0.5)
    statements = [r["sql"] for r in tables["ledger.statement"] if r["stage"] == "gate"]
    assert any("regexp" in sql for sql in statements)


def test_every_row_that_breaks_a_check_is_kept_by_its_address_and_named_once(tmp_path: Path) -> None:
    place = town(tmp_path, {"office__register": FORM})
    play(place, "office__register", "office", "register_20260302.csv", HEAD + ROWS, "2026-03-02T20:00:00+08:00")
    tables = place.tables()
    found: dict[str, list[int]] = {}
    for row in tables["quality.failing_row"]:
        found.setdefault(row["check_id"], []).append(row["_row"])
    assert found == {
        "value_is_present_number": [5],
        "value_is_present_day": [6],
        "value_is_valid_day": [4],
        "value_is_valid_n": [6],
        "value_between_n": [3],
        "value_in_set_code": [5],
        "key_is_unique": [3, 4, 5],
        "no_dirty_rows": [5],
        "gallery": [5],
        "own": [3],
    }
    named = [(f["row"], f["column_name"], f["message_en"]) for f in tables["quality.finding"] if f["code"] == "check_failed"]
    assert sorted(named, key=str) == [
        (3, "n", "Row 3 breaks a check: `n` is within the agreed range."),
        (3, None, "Row 3 breaks a check: rule own."),
        (3, None, "Row 3 breaks a check: the key occurs once."),
        (4, None, "Row 4 breaks a check: the key occurs once."),
        (6, "day", "Row 6 breaks a check: `day` is filled."),
    ], "cleaning has said of the others what is wrong with them, in the same columns or by refusing the row"


def test_rows_that_hold_a_batch_by_a_check_come_back_in_the_workbook(tmp_path: Path) -> None:
    form = shop("{value_matches: shop_name, pattern: '^.{2,}$', severity: hold}")
    place = town(tmp_path, form)
    play(place, "market__shop", "market", "shop_20260302.csv", "编号,名称,成立日期\nS1,甲,\nS2,乙丙,\n", MORNING)
    (workbook,) = place.workspace.outbox.rglob("*改正.xlsx")
    lines = list(openpyxl.load_workbook(workbook).worksheets[0].iter_rows(values_only=True))
    assert [line for line in lines if "S1" in line] != []
    assert [line for line in lines if "S2" in line] == []


def test_of_what_a_column_determines_the_most_frequent_passes_and_a_tie_fails_whole(office: Town, days: Iterator[date]) -> None:
    form = FORM.replace("expect:\n", "expect:\n  - {value_agrees_within: [code, number]}\n")
    rows = "K1,,,A\nK1,,,A\nK1,,,B\nK2,,,A\nK2,,,B\nK3,,,A\nK3,,,\nK4,,,C\n"
    assert counts(office, form, HEAD + rows, next(days))["value_agrees_within_code_number"] == (4, 7)


def test_the_result_is_kept_in_the_form_of_great_expectations_without_a_value(tmp_path: Path) -> None:
    place = town(tmp_path, shop("{value_matches: shop_name, pattern: '^.{2,}$'}"))
    play(place, "market__shop", "market", "shop_20260302.csv", "编号,名称,成立日期\nS1,甲,没有\nS2,乙丙,2020-01-02\n", MORNING)
    (path,) = place.workspace.validations.rglob("*.json")
    text = path.read_text(encoding="utf-8")
    assert [value for value in ("S1", "甲", "乙丙", "没有", "2020-01-02") if value in text] == []
    result = json.loads(text)
    assert path.relative_to(place.workspace.validations) == Path("market__shop/market__shop@2026-03-02.v1.json")
    recorded = {r["check_id"]: r["passed"] for r in place.tables()["quality.check"]}
    assert {r["expectation_config"]["meta"]["check"]: r["success"] for r in result["results"]} == recorded
    (matches,) = (r["result"] for r in result["results"] if "match_regex" in r["expectation_config"]["type"])
    assert (matches["element_count"], matches["unexpected_count"], matches["partial_unexpected_list"]) == (2, 1, [])
