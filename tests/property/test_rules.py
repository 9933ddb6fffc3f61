"""Cleaning rules, for whatever a department sends: stable, never raising, and arithmetically right.

Check characters are compared with python-stdnum's arithmetic and with a plain reading of the standards; its
`validate` is no oracle, because it refuses valid numbers (codes that begin with a letter, residence permits).
"""

from __future__ import annotations

import calendar
import datetime
from collections.abc import Sequence
from decimal import Decimal
from functools import cache

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stdnum.cn import ric, uscc

from pipelines.compile import ColumnSpec, Compiled, RuleCall, compile_select
from pipelines.rules import Rule, find_rule, rule_catalogue

CLEAN = [rule for rule in rule_catalogue() if rule.kind == "clean"]
CHECKS = [rule for rule in rule_catalogue() if rule.kind == "check"]
EXAMPLES = [example.value for rule in rule_catalogue() for example in rule.examples if example.value]
DIGITS = "0123456789"
CREDIT = "0123456789ABCDEFGHJKLMNPQRTUWXY"
MONTHS = [name.upper() for name in calendar.month_abbr]

few = settings(max_examples=25)
pieces = st.sampled_from([*EXAMPLES, *" \t\u3000\u200b\u00a0-—.,，。()（）/年月日时分TZ:+·•'‘张三有限公司AbXx１２Ａ", *DIGITS])
dirty = st.one_of(st.lists(pieces, max_size=8).map("".join), st.text(max_size=24), st.sampled_from(EXAMPLES))
batches = st.lists(dirty, min_size=1, max_size=60)
days = st.dates(datetime.date(1850, 1, 1), datetime.date(2999, 12, 31))


@cache
def connection() -> duckdb.DuckDBPyConnection:
    con = duckdb.connect()
    con.execute("CREATE TABLE ref_division AS SELECT '110105' AS code, '朝阳区' AS name, 1980 AS first_year, 2010 AS last_year")
    con.execute(
        "CREATE TABLE ref_division_successor AS SELECT '440524' AS code, '440513' AS successor, 2004 AS first_year, 9999 AS last_year"
    )
    return con


@cache
def compiled(*rules: str, check: str | None = None) -> Compiled:
    checks: tuple[RuleCall, ...] = ()
    if check:
        needed = {a.name: "'2024-03-01'" for a in find_rule(check, "check").arguments if a.required}
        checks = (RuleCall(check, needed),)
    return compile_select([ColumnSpec("sent", "v", tuple(RuleCall(name, _needed(name)) for name in rules), checks)], "raw")


def _needed(rule: str) -> dict[str, str]:
    """What a rule cannot do without, from its first example."""
    found = find_rule(rule, "clean")
    example = found.examples[0].arguments
    return {a.name: "'" + example[a.name].replace("'", "''") + "'" for a in found.arguments if a.required}


def judge(statement: Compiled, values: Sequence[str | None]) -> list[tuple[str | None, list[str]]]:
    """Clean value and finding codes of each value, in order."""
    con = connection()
    con.execute(
        "CREATE OR REPLACE TABLE raw AS SELECT 'b' AS _batch, 's' AS _sheet, i AS _row, v AS sent "
        "FROM (SELECT unnest($1::VARCHAR[]) AS v, generate_subscripts($1::VARCHAR[], 1) AS i)",
        [list(values)],
    )
    rows = con.execute(f'SELECT "v", "v__failed" FROM ({statement.judged_sql}) ORDER BY "_row"').fetchall()
    return [(value, failed or []) for value, failed in rows]


def clean(rule: str, values: Sequence[str | None]) -> list[str | None]:
    return [value for value, _ in judge(compiled(rule), values)]


def codes(check: str, values: Sequence[str | None]) -> list[list[str]]:
    return [failed for _, failed in judge(compiled(check=check), values)]


@pytest.mark.parametrize("rule", CLEAN, ids=lambda rule: rule.name)
@few
@given(values=batches)
def test_cleaning_a_clean_value_changes_nothing(rule: Rule, values: list[str]) -> None:
    once = clean(rule.name, values)
    assert clean(rule.name, once) == once


@pytest.mark.parametrize("rule", [rule for rule in CLEAN if rule.harmless], ids=lambda rule: rule.name)
@few
@given(values=batches)
def test_a_harmless_rule_fails_no_value(rule: Rule, values: list[str]) -> None:
    assert all(failed == [] for _, failed in judge(compiled(rule.name), values))


@pytest.mark.parametrize("rule", [rule for rule in CLEAN if not rule.harmless], ids=lambda rule: rule.name)
@few
@given(values=batches)
def test_a_given_value_is_either_read_or_reported(rule: Rule, values: list[str]) -> None:
    for sent, (value, failed) in zip(values, judge(compiled(rule.name), values), strict=True):
        if failed:
            assert value is None
            assert failed == [rule.findings["unreadable"]]
        else:
            assert value is not None or not sent.strip(" \t\n\r\u3000\u00a0\u200b\ufeff") or not sent.strip()


@pytest.mark.parametrize("rule", CHECKS, ids=lambda rule: rule.name)
@few
@given(values=batches)
def test_a_check_reads_anything_and_reports_only_its_own_codes(rule: Rule, values: list[str]) -> None:
    for failed in codes(rule.name, [*values, None]):
        assert set(failed) <= set(rule.findings.values())
    assert codes(rule.name, [None]) == [[]]


@few
@given(st.lists(st.text(DIGITS, min_size=17, max_size=17), min_size=1, max_size=60))
def test_identity_check_character_agrees_with_stdnum(bodies: list[str]) -> None:
    numbers = [body + last for body in bodies for last in "0123456789X"]
    wrong = ["resident_id_checksum_wrong" in failed for failed in codes("resident_id_valid", numbers)]
    assert wrong == [ric.calc_check_digit(number) != number[-1] for number in numbers]


@few
@given(st.lists(st.text(DIGITS, min_size=15, max_size=15), min_size=1, max_size=60))
def test_old_identity_numbers_get_the_check_character_of_stdnum(old: list[str]) -> None:
    long = [number[:6] + "19" + number[6:] for number in old]
    assert clean("resident_id", old) == [number + ric.calc_check_digit(number + "0") for number in long]


@few
@given(st.lists(st.integers(0, 99999999), min_size=1, max_size=60))
def test_birth_dates_are_those_of_the_calendar(births: list[int]) -> None:
    def exists(text: str) -> bool:
        try:
            return datetime.date(int(text[:4]), int(text[4:6]), int(text[6:])).year >= 1850
        except ValueError:
            return False

    texts = [f"{birth:08d}" for birth in births] + ["20240229", "20230229", "19000229", "20000229"]
    found = codes("resident_id_valid", [f"110105{text}0010" for text in texts])
    assert ["resident_id_date_impossible" not in failed for failed in found] == [exists(text) for text in texts]


@few
@given(st.lists(st.text(CREDIT, min_size=17, max_size=17), min_size=1, max_size=60))
def test_credit_code_check_character_agrees_with_stdnum(bodies: list[str]) -> None:
    numbers = [body + last for body in bodies for last in ("0", "Y", uscc.calc_check_digit(body))]
    wrong = ["credit_code_checksum_wrong" in failed for failed in codes("credit_code_valid", numbers)]
    assert wrong == [uscc.calc_check_digit(number[:17]) != number[-1] for number in numbers]


@few
@given(st.lists(st.text(CREDIT, min_size=9, max_size=9), min_size=1, max_size=60))
def test_organisation_check_character_is_that_of_gb_11714(organisations: list[str]) -> None:
    def check_character(code: str) -> str:
        total = sum(int(c, 36) * w for c, w in zip(code[:8], (3, 7, 9, 10, 5, 8, 4, 2), strict=True))
        return {10: "X", 11: "0"}.get(11 - total % 11, str(11 - total % 11))

    right = [code[:8] + check_character(code) for code in organisations]
    found = codes("credit_code_valid", [f"91350100{code}0" for code in [*organisations, *right]])
    wrong = ["credit_code_organisation_checksum_wrong" in failed for failed in found]
    assert wrong == [check_character(code) != code[8] for code in organisations] + [False] * len(right)


@few
@given(st.lists(days, min_size=1, max_size=20))
def test_a_date_reads_back_from_every_spelling(dates: list[datetime.date]) -> None:
    for day in dates:
        y, m, d = day.year, day.month, day.day
        spellings = [
            f"{y}{m:02}{d:02}", f"{y}-{m:02}-{d:02}", f"{y}/{m}/{d}", f"{y}.{m}.{d}", f"{y}年{m}月{d}日", f"{y}-{m}-{d} 00:00:00",
            f"{y}-{m:02}-{d:02}T08:30:00.123Z", f"{d}-{MONTHS[m]}-{y}", f"{d}-{MONTHS[m].title()}-{y}", f"{y} 年 {m} 月 {d} 日",
        ]  # fmt: skip
        serial = (day - datetime.date(1899, 12, 30)).days
        if 20000 <= serial <= 80000:
            spellings.append(str(serial))
        if 1930 <= y <= 2029:
            spellings.append(f"{d}-{MONTHS[m].title()}-{y % 100:02}")
        assert set(clean("date_any_format", spellings)) == {day.isoformat()}
        assert clean("date_month_first", [f"{m}/{d}/{y}", f"{m:02}-{d:02}-{y}"]) == [day.isoformat()] * 2


@few
@given(st.datetimes(datetime.datetime(1900, 1, 2), datetime.datetime(2900, 1, 1)))
def test_an_instant_reads_back_from_every_spelling(at: datetime.datetime) -> None:
    at = at.replace(microsecond=0)
    utc = at - datetime.timedelta(hours=8)
    spellings = [
        f"{at:%Y-%m-%d %H:%M:%S}", f"{at:%Y/%m/%d %H:%M:%S}", f"{at:%Y-%m-%dT%H:%M:%S}+08:00", f"{at:%Y%m%d%H%M%S}",
        f"{utc:%Y-%m-%dT%H:%M:%S}Z", f"{at.year}年{at.month}月{at.day}日{at.hour}时{at.minute}分{at.second}秒",
    ]  # fmt: skip
    assert set(clean("datetime_any_format", spellings)) == {f"{at:%Y-%m-%d %H:%M:%S}"}


@few
@given(st.lists(st.decimals(-(10**15), 10**15, places=2), min_size=1, max_size=40))
def test_an_amount_reads_back_from_every_spelling(amounts: list[Decimal]) -> None:
    for amount in amounts:
        size = abs(amount)
        spellings = [f"{size:.2f}", f"{size:,.2f}", f"¥{size:,.2f}", f"{size:,.2f}元", f"{size:,.2f}".replace(",", "，")]
        minus = [f"-{size:,.2f}", f"({size:,.2f})", f"（{size:.2f}）"]
        assert {Decimal(text or "NaN") for text in clean("number", spellings)} == {size}
        assert {Decimal(text or "NaN") for text in clean("number", minus)} == {-size}


@few
@given(st.lists(st.decimals(0, 10**9, places=4), min_size=1, max_size=40))
def test_an_amount_with_a_unit_is_that_many_times_as_much_to_the_last_digit(amounts: list[Decimal]) -> None:
    for unit, times in (("", 1), ("千", 10**3), ("万", 10**4), ("百万", 10**6), ("亿", 10**8), ("万亿", 10**12)):
        sent = [f"{amount:,.4f}{unit}元" for amount in amounts]
        assert [Decimal(text or "NaN") for text in clean("amount", sent)] == [amount * times for amount in amounts]


@few
@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=40))
def test_an_amount_in_several_parts_is_their_sum(amounts: list[int]) -> None:
    sent = []
    for amount in amounts:
        hundred_millions, rest = divmod(amount, 10**8)
        sent.append(
            f"{hundred_millions}亿{rest // 10**4}万{rest % 10**4}元" if hundred_millions else f"{rest // 10**4}万{rest % 10**4}元"
        )
    assert [int(text or -1) for text in clean("amount", sent)] == amounts


@few
@given(batches)
def test_phone_is_mobile_number_or_fixed_phone(values: list[str]) -> None:
    either = [mobile or fixed for mobile, fixed in zip(clean("mobile_number", values), clean("fixed_phone", values), strict=True)]
    assert clean("phone", values) == either


@few
@given(batches, st.sampled_from(["null", "keep", "refuse"]))
def test_every_row_is_accepted_or_refused_and_failures_are_never_silent(values: list[str], on_fail: str) -> None:
    column = ColumnSpec(
        "sent", "v", (RuleCall("trim_text"), RuleCall("resident_id")), (RuleCall("resident_id_valid"),),
        on_fail=on_fail, on_missing="refuse",  # type: ignore[arg-type]
    )  # fmt: skip
    statement = compile_select([column], "raw")
    judge(statement, values)
    con = connection()
    con.execute(f"CREATE OR REPLACE TABLE judged AS {statement.judged_sql}")

    def rows(sql: str) -> set[int]:
        found = [row[0] for row in con.execute(f'SELECT "_row" FROM ({sql})').fetchall()]
        assert len(found) == len(set(found))
        return set(found)

    accepted, refused = rows(statement.std_sql), rows(statement.quarantine_sql)
    assert accepted | refused == set(range(1, len(values) + 1))
    assert not accepted & refused
    found = {row[0] for row in con.execute(f'SELECT "_row" FROM ({statement.findings_sql})').fetchall()}
    failed = {row[0] for row in con.execute('SELECT "_row" FROM judged WHERE "v__failed" IS NOT NULL').fetchall()}
    assert found == failed >= refused
    given = con.execute('SELECT count(*) FROM judged WHERE "v__given" AND "v" IS NULL AND "v__failed" IS NULL').fetchone()
    assert given == (0,)
