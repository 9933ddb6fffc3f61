"""What nobody may be able to do to a score: the promises that keep it from being gamed."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal as D
from fractions import Fraction
from zoneinfo import ZoneInfo

from hypothesis import assume, given
from hypothesis import strategies as st

from quality.calendar import load_calendar
from quality.dimensions import DIMENSIONS, SUB_INDICATORS
from quality.policy import load_policy
from quality.scoring import (
    CatalogueFields,
    Check,
    Corrections,
    DepartmentSource,
    SourceScore,
    rank_departments,
    score_department,
    score_source,
)
from quality.timeliness import Arrival, Schedule, Slot, judge, punctuality

POLICY = load_policy("2026-01")
LEVELS = (*SUB_INDICATORS, *DIMENSIONS, "T", "Q", "O")
CN = load_calendar("cn")
DAILY = Schedule.of("daily", CN)
MARCH = DAILY.slots("2026-03-01", "2026-03-31")
LONG_AFTER = datetime(2026, 6, 1, tzinfo=ZoneInfo("Asia/Shanghai"))


@st.composite
def checks(draw: st.DrawFn) -> list[Check]:
    count = draw(st.integers(1, 12))
    found = []
    for n in range(count):
        b = draw(st.one_of(st.just(0), st.integers(1, 50), st.integers(1, 40_000_000)))
        bounds = draw(st.one_of(st.none(), st.tuples(st.integers(0, 1000), st.integers(1, 1000))))
        floor, target = (None, None) if bounds is None else (D(min(bounds)) / 1000, D(max(bounds)) / 1000)
        found.append(
            Check(
                f"check {n:02}",
                draw(st.sampled_from(sorted(SUB_INDICATORS))),
                draw(st.integers(1, 5)),
                draw(st.integers(0, b)),
                b,
                floor,
                target,
                plain=draw(st.booleans()),
                major=draw(st.booleans()),
                failed_to_run=draw(st.integers(0, 9)) == 0,
            )
        )
    return found


def values(score: SourceScore) -> dict[str, D | None]:
    return {code: score.level(code).value for code in LEVELS}


@given(checks(), st.data())
def test_fixing_rows_never_lowers_any_score(given_checks: list[Check], data: st.DataObject) -> None:
    which = data.draw(st.integers(0, len(given_checks) - 1))
    check = given_checks[which]
    bad = int(check.a if check.lower_is_better else check.b - check.a)
    fixed = data.draw(st.integers(0, bad))
    better = dataclasses.replace(check, a=check.a - fixed if check.lower_is_better else check.a + fixed)
    before = values(score_source(given_checks, POLICY))
    after = values(score_source([*given_checks[:which], better, *given_checks[which + 1 :]], POLICY))
    for code in LEVELS:
        old, new = before[code], after[code]
        assert (old is None) == (new is None)
        assert old is None or new is None or new >= old, code


@given(checks(), st.randoms())
def test_the_order_of_checks_does_not_matter(given_checks: list[Check], shuffler: random.Random) -> None:
    shuffled = list(given_checks)
    shuffler.shuffle(shuffled)
    assert score_source(shuffled, POLICY) == score_source(given_checks, POLICY)


@given(checks())
def test_scores_stay_between_0_and_100_and_coverage_between_0_and_1(given_checks: list[Check]) -> None:
    score = score_source(given_checks, POLICY)
    assert all(value is None or 0 <= value <= 100 for value in values(score).values())
    assert 0 <= score.coverage <= 1


@given(checks(), st.data())
def test_an_empty_month_never_raises_coverage(given_checks: list[Check], data: st.DataObject) -> None:
    which = data.draw(st.integers(0, len(given_checks) - 1))
    empty = dataclasses.replace(given_checks[which], a=0, b=0, failed_to_run=False)
    emptied = [*given_checks[:which], empty, *given_checks[which + 1 :]]
    assert score_source(emptied, POLICY).coverage <= score_source(given_checks, POLICY).coverage


@given(checks(), st.data())
def test_a_check_that_fails_to_run_never_helps(given_checks: list[Check], data: st.DataObject) -> None:
    which = data.draw(st.integers(0, len(given_checks) - 1))
    assume(given_checks[which].b > 0)
    broken = dataclasses.replace(given_checks[which], failed_to_run=True)
    before = values(score_source(given_checks, POLICY))
    after = values(score_source([*given_checks[:which], broken, *given_checks[which + 1 :]], POLICY))
    assert all(old is None or new is None or new <= old for old, new in zip(before.values(), after.values(), strict=True))


# --- the same numbers by another road -------------------------------------------------------------


def rounded(value: Fraction, places: int) -> Fraction:
    """Half up for values that are not negative, in whole numbers only."""
    scale = 10**places
    return Fraction((2 * value.numerator * scale + value.denominator) // (2 * value.denominator), scale)


def oracle(given_checks: Sequence[Check]) -> dict[str, Fraction | None]:
    """The model of `quality/scoring.py` once more: in exact fractions and by another road."""
    by_sub: dict[str, list[tuple[int, Fraction]]] = {}
    majors = 0
    for check in given_checks:
        if check.b == 0 and not check.failed_to_run:
            continue
        share = Fraction(0)
        if not check.failed_to_run:
            share = Fraction(check.a) / Fraction(check.b)
            share = rounded(1 - share if check.sub_indicator in ("0303", "0305") else share, 6)
        default = POLICY.curves.by_sub_indicator[check.sub_indicator]
        f = Fraction(default.floor if check.floor is None else check.floor)
        t = Fraction(default.target if check.target is None else check.target)
        if check.plain:
            y = 100 * share
        elif share >= t:
            y = Fraction(100)
        elif share >= f:
            y = 60 + 40 * (share - f) / (t - f)
        else:
            y = 60 * share / f
        has_floor = check.floor is not None or not check.plain
        majors += check.major and has_floor and share < f
        by_sub.setdefault(check.sub_indicator, []).append((check.weight, rounded(y, 2)))

    def mean(parts: list[tuple[Fraction | int, Fraction]]) -> Fraction | None:
        total = sum(weight for weight, _ in parts)
        return rounded(sum((weight * value for weight, value in parts), Fraction(0)) / total, 2) if parts else None

    found: dict[str, Fraction | None] = {code: mean(list(by_sub.get(code, []))) for code in SUB_INDICATORS}
    for code in DIMENSIONS:
        found[code] = mean(
            [(3 if s == "0502" else 1, v) for s in SUB_INDICATORS if s[:2] == code and (v := found[s]) is not None]
        )
    weights = {"01": 20, "02": 25, "03": 30, "04": 15, "06": 10}
    q = mean([(weight, v) for code, weight in weights.items() if (v := found[code]) is not None])
    if q is not None and majors:
        q = min(q, Fraction("79.99") if majors == 1 else Fraction("59.99"))
    found["T"], found["Q"] = found["05"], q
    found["O"] = mean([(weight, v) for weight, v in ((40, found["T"]), (60, q)) if v is not None])
    return found


@given(checks())
def test_an_independent_calculation_gives_the_same_scores(given_checks: list[Check]) -> None:
    ours = values(score_source(given_checks, POLICY))
    theirs = oracle(given_checks)
    assert {code: None if v is None else Fraction(v) for code, v in ours.items()} == {c: theirs[c] for c in LEVELS}


def retyped(formula: str) -> tuple[Fraction, str]:
    """Left side worked out exactly, and the right side as printed."""
    left, right = formula.rsplit(" = ", 1)
    assert set(left) <= set("0123456789.+-/() xmin,"), left
    typed = "".join(f'Fraction("{token}")' if token[0].isdigit() else token for token in _tokens(left))
    return eval(typed, {"Fraction": Fraction, "min": min, "__builtins__": {}}), right


def _tokens(text: str) -> list[str]:
    spaced = text.replace("(", " ( ").replace(")", " ) ").replace(",", " , ")
    return ["*" if token == "x" else token for token in spaced.split()]


@given(checks())
def test_every_printed_formula_gives_its_printed_result(given_checks: list[Check]) -> None:
    score = score_source(given_checks, POLICY)
    lines = [one.formula_x for one in score.checks] + [one.formula_y for one in score.checks]
    lines += [score.level(code).formula for code in LEVELS]
    for line in lines:
        if " = " in line and not line.endswith("-"):
            value, printed = retyped(line)
            assert rounded(value, len(printed.split(".")[1])) == Fraction(printed), line


# --- departments ----------------------------------------------------------------------------------

SCORES = st.one_of(st.none(), st.integers(0, 10_000).map(lambda n: D(n) / 100))
SOURCES = st.lists(st.tuples(st.sampled_from(["base_library", "theme", "other"]), SCORES, st.integers(0, 5)), max_size=6)


@given(st.lists(SOURCES, max_size=6), st.randoms())
def test_the_order_of_sources_and_departments_does_not_matter(
    given_sources: list[list[tuple[str, D | None, int]]], shuffler: random.Random
) -> None:
    def ranking(shuffle: bool) -> object:
        departments = []
        for n, rows in enumerate(given_sources):
            sources = [
                DepartmentSource(f"source {k}", role, o, due)  # type: ignore[arg-type]
                for k, (role, o, due) in enumerate(rows)
            ]
            if shuffle:
                shuffler.shuffle(sources)
            departments.append(score_department(f"department {n}", sources, Corrections(1, 2), CatalogueFields(3, 3), POLICY))
        if shuffle:
            shuffler.shuffle(departments)
        return rank_departments(departments, POLICY)

    assert ranking(shuffle=True) == ranking(shuffle=False)


@given(SOURCES, st.data())
def test_a_better_source_never_lowers_the_index(rows: list[tuple[str, D | None, int]], data: st.DataObject) -> None:
    assume(any(o is not None for _, o, _ in rows))
    which = data.draw(st.sampled_from([n for n, row in enumerate(rows) if row[1] is not None]))
    better = data.draw(st.integers(int(100 * (rows[which][1] or 0)), 10_000)) / D(100)

    def index(o_of_which: D | None) -> D:
        sources = [
            DepartmentSource(f"source {n}", role, o_of_which if n == which else o, due)  # type: ignore[arg-type]
            for n, (role, o, due) in enumerate(rows)
        ]
        score = score_department("d", sources, Corrections(0, 0), CatalogueFields(9, 10), POLICY)
        assert score.i.value is not None
        return score.i.value

    assert index(better) >= index(rows[which][1])


# --- timeliness -----------------------------------------------------------------------------------

# For each slot of a month: hours after (or before) the due instant, or None for a file that never came.
DELAYS = st.lists(st.one_of(st.none(), st.integers(-200, 400)), min_size=1, max_size=len(MARCH))


def t_score(slots: Sequence[Slot], delays: Sequence[int | None]) -> D:
    arrivals = [
        Arrival(slot.period, slot.due_at + timedelta(hours=hours))
        for slot, hours in zip(slots, delays, strict=True)
        if hours is not None
    ]
    a, b = punctuality(judge(slots, arrivals, LONG_AFTER, DAILY.horizon, CN))
    score = score_source([Check("punctuality", "0502", 3, a, b, kind="punctuality")], POLICY)
    assert score.t.value is not None
    return score.t.value


@given(DELAYS, st.data())
def test_delivering_later_or_not_at_all_never_raises_t(delays: list[int | None], data: st.DataObject) -> None:
    slots = MARCH[: len(delays)]
    which = data.draw(st.integers(0, len(delays) - 1))
    old = delays[which]
    worse = None if old is None else data.draw(st.one_of(st.none(), st.integers(old, 500)))
    assert t_score(slots, [*delays[:which], worse, *delays[which + 1 :]]) <= t_score(slots, delays)


@given(DELAYS)
def test_one_more_missing_slot_never_raises_t(delays: list[int | None]) -> None:
    assume(len(delays) < len(MARCH))
    more = MARCH[: len(delays) + 1]
    assert t_score(more, [*delays, None]) <= t_score(more[:-1], delays)


@given(DELAYS, st.integers(1, 400))
def test_one_more_late_slot_never_raises_t_above_what_that_slot_earns(delays: list[int | None], hours: int) -> None:
    """A late slot that earns half a point does lift a mean of nothing, but never beyond half a point."""
    assume(len(delays) < len(MARCH))
    more = MARCH[: len(delays) + 1]
    alone = t_score(more[-1:], [hours])
    before = t_score(more[:-1], delays)
    assert t_score(more, [*delays, hours]) <= max(before, alone)


@given(DELAYS, st.randoms())
def test_the_order_of_arrivals_does_not_matter(delays: list[int | None], shuffler: random.Random) -> None:
    slots = MARCH[: len(delays)]
    arrivals = [
        Arrival(slot.period, slot.due_at + timedelta(hours=hours), accepted=hours % 3 > 0)
        for slot, hours in zip(slots, delays, strict=True)
        if hours is not None
    ]
    shuffled = list(arrivals)
    shuffler.shuffle(shuffled)
    assert judge(slots, shuffled, LONG_AFTER, 2, CN) == judge(slots, arrivals, LONG_AFTER, 2, CN)
