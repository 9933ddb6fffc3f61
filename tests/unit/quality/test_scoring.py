"""The scoring model, against the worked example an auditor can follow with a pocket calculator."""

from __future__ import annotations

from decimal import Decimal as D
from pathlib import Path

import pytest

from catalog.yaml_file import CatalogError
from quality.dimensions import DIMENSIONS, SUB_INDICATORS
from quality.policy import FOLDER, load_policy
from quality.scoring import (
    CatalogueFields,
    Check,
    Corrections,
    DepartmentScore,
    DepartmentSource,
    SourceScore,
    rank_departments,
    score_check,
    score_department,
    score_source,
    triggers,
)

POLICY = load_policy("2026-01")

# One month of a household register, worked by hand:
# check | sub-indicator | weight | A | B | X | floor | target | Y
WORKED = """
    sex code form         | 0101 | 3 | 99500  | 99800  | 0.996994 | 0.95 | 0.999  | 98.36
    division in list      | 0105 | 2 | 98800  | 100000 | 0.988000 | 0.95 | 0.999  | 91.02
    masking rule          | 0106 | 3 | 100000 | 100000 | 1.000000 | 0.99 | 1      | 100.00
    six required columns  | 0201 | 3 | 597900 | 600000 | 0.996500 | 0.90 | 0.995  | 100.00
    rows vs manifest      | 0202 | 3 | 100000 | 100250 | 0.997506 | 0.95 | 0.999  | 98.78
    check digit           | 0301 | 5 | 99870  | 100000 | 0.998700 | 0.99 | 0.9999 | 95.15
    date format           | 0302 | 2 | 99930  | 100000 | 0.999300 | 0.95 | 0.999  | 100.00
    duplicates            | 0303 | 3 | 240    | 100000 | 0.997600 | 0.98 | 0.9995 | 96.10
    number occurs once    | 0304 | 5 | 99530  | 100000 | 0.995300 | 0.98 | 0.9995 | 91.38
    any hard rule failed  | 0305 | 1 | 1130   | 100000 | 0.988700 | 0.95 | 0.999  | 91.59
    name agrees           | 0401 | 3 | 57391  | 58000  | 0.989500 | 0.90 | 0.98   | 100.00
    sex vs digit 17       | 0402 | 3 | 99910  | 100000 | 0.999100 | 0.99 | 0.9999 | 96.77
    rows in slice         | 0501 | 1 | 99640  | 100000 | 0.996400 | 0.95 | 0.999  | 97.88
    punctuality           | 0502 | 3 | 20.0   | 22     | 0.909091 | -    | -      | 90.91
    birth lag <= 1 month  | 0502 | 2 | 412    | 430    | 0.958140 | 0.80 | 0.99   | 93.29
    dates in order        | 0503 | 1 | 99985  | 100000 | 0.999850 | 0.99 | 0.9999 | 99.80
    snapshot probes       | 0601 | 1 | 43     | 44     | 0.977273 | 0.90 | 0.99   | 94.34
    opens with schema     | 0602 | 1 | 22     | 22     | 1.000000 | 0.90 | 1      | 100.00
"""
ROWS = [[cell.strip() for cell in line.split("|")] for line in WORKED.strip().splitlines()]


def worked_checks() -> list[Check]:
    return [Check(name, sub, int(w), D(a), D(b), _bound(f), _bound(t), plain=f == "-") for name, sub, w, a, b, _, f, t, _ in ROWS]


def _bound(text: str) -> D | None:
    return None if text == "-" else D(text)


def source(*checks: Check) -> SourceScore:
    return score_source(checks, POLICY)


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_each_check_of_the_worked_example(row: list[str]) -> None:
    check = next(check for check in worked_checks() if check.id == row[0])
    scored = score_check(check, POLICY)
    assert (str(scored.x), str(scored.y)) == (row[5], row[8])


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_the_shipped_defaults_give_the_same_points(row: list[str]) -> None:
    name, sub, w, a, b, _, _, _, y = row
    kind = "punctuality" if name == "punctuality" else ""
    assert str(score_check(Check(name, sub, int(w), D(a), D(b), kind=kind), POLICY).y) == y


def test_every_level_of_the_worked_example() -> None:
    score = score_source(worked_checks(), POLICY)
    expected = {
        "0502": "91.86",
        "01": "96.46",
        "02": "99.39",
        "03": "94.84",
        "04": "98.39",
        "05": "94.65",
        "06": "97.17",
        "T": "94.65",
        "Q": "97.07",
        "O": "96.10",
    }
    assert {code: str(score.level(code).value) for code in expected} == expected
    assert score.cap is None
    assert score.renormalised == ()


def test_the_worked_example_covers_17_of_20_sub_indicators() -> None:
    score = score_source(worked_checks(), POLICY)
    # 0502 has weight 3, so 19 of 22; without timeliness 14 of 17. 0102, 0103 and 0104 had no check.
    assert (str(score.coverage), str(score.coverage_q)) == ("0.863636", "0.823529")
    assert str(score.level("01").coverage) == "0.500000"


def test_the_formulas_are_the_lines_an_auditor_types() -> None:
    score = score_source(worked_checks(), POLICY)
    lines = {one.check.id: (one.formula_x, one.formula_y) for one in score.checks}
    assert lines["sex code form"] == (
        "99500 / 99800 = 0.996994",
        "60 + 40 x (0.996994 - 0.95) / (0.999 - 0.95) = 98.36",
    )
    assert lines["duplicates"][0] == "1 - 240 / 100000 = 0.997600"
    assert lines["punctuality"] == ("20 / 22 = 0.909091", "100 x 0.909091 = 90.91")
    assert lines["date format"][1] == "0.999300 >= 0.999 -> 100.00"
    assert score.level("0502").formula == "(2 x 93.29 + 3 x 90.91) / (2 + 3) = 91.86"
    assert score.o.formula == "0.4 x 94.65 + 0.6 x 97.07 = 96.10"


def test_a_rate_of_bad_elements_is_printed_raw_beside_its_x() -> None:
    scored = score_check(Check("duplicates", "0303", 3, 240, 100000), POLICY)
    assert (str(scored.raw_rate), str(scored.x)) == ("0.002400", "0.997600")


def test_below_the_floor_points_fall_in_a_straight_line_to_zero() -> None:
    half_of_floor = score_check(Check("c", "0101", 1, 45, 100, D("0.90"), D(1)), POLICY)
    at_floor = score_check(Check("c", "0101", 1, 90, 100, D("0.90"), D(1)), POLICY)
    nothing = score_check(Check("c", "0101", 1, 0, 100, D("0.90"), D(1)), POLICY)
    assert [str(one.y) for one in (half_of_floor, at_floor, nothing)] == ["30.00", "60.00", "0.00"]


def test_a_floor_of_one_means_all_or_below_sixty() -> None:
    whole = score_check(Check("key", "0304", 5, 1000, 1000, floor=D(1)), POLICY)
    short = score_check(Check("key", "0304", 5, 999, 1000, floor=D(1)), POLICY)
    assert (str(whole.y), str(short.y), short.below_floor) == ("100.00", "59.94", True)


def test_ties_are_rounded_up() -> None:
    # 1 of 200 000 000 is 0.000000005 -> still 0.000000; 1 of 2 000 000 is exactly half of the sixth place.
    assert str(score_check(Check("c", "0101", 1, 1, 2_000_000), POLICY).x) == "0.000001"
    assert str(score_check(Check("c", "0101", 1, 1, 2_000_001), POLICY).x) == "0.000000"


def test_nothing_evaluated_is_not_applicable_and_lowers_coverage() -> None:
    full = source(Check("a", "0101", 1, 9, 10), Check("b", "0201", 1, 10, 10))
    empty = source(Check("a", "0101", 1, 9, 10), Check("b", "0201", 1, 0, 0))
    assert empty.level("0201").value is None
    assert empty.q.value == empty.level("01").value
    assert empty.coverage < full.coverage


def test_a_check_that_did_not_run_scores_zero_and_is_named() -> None:
    score = source(Check("a", "0101", 1, 10, 10), Check("b", "0101", 1, 0, 0, failed_to_run=True))
    assert score.problems == ("b",)
    assert str(score.level("0101").value) == "50.00"
    bad_rate = score_check(Check("c", "0303", 1, 0, 0, failed_to_run=True), POLICY)
    assert str(bad_rate.y) == "0.00"


@pytest.mark.parametrize(("a", "b"), [(11, 10), (-1, 10), (1, 0), (D("NaN"), 10)])
def test_impossible_counts_are_flagged_and_do_not_stop_the_report(a: int | D, b: int) -> None:
    scored = score_check(Check("c", "0202", 1, a, b), POLICY)
    assert (scored.problem, str(scored.y)) == ("impossible_counts", "0.00")


def test_without_timeliness_o_is_q_alone_and_says_so() -> None:
    score = source(Check("a", "0101", 1, 98, 100))
    assert score.t.value is None
    assert score.o.value == score.q.value
    assert score.renormalised == ("T",)


def test_no_check_at_all_scores_nothing() -> None:
    score = source()
    assert score.o.value is None
    assert score.coverage == 0
    assert score.renormalised == ("T", "Q")


def test_one_major_check_below_its_floor_caps_q_and_two_cap_it_lower() -> None:
    good = [Check(code, code, 5, 100, 100) for code in SUB_INDICATORS if code not in ("0303", "0305")]
    major = [Check(f"major {n}", "0301", 1, 90, 100, D("0.95"), D(1), major=True) for n in (1, 2)]
    assert source(*good).q.value == 100
    one, two = source(*good, major[0]), source(*good, *major)
    assert (str(one.q.value), one.cap, one.majors) == ("79.99", D("79.99"), ("major 1",))
    assert str(two.q.value) == "59.99"
    assert two.q_uncapped.value is not None and two.q_uncapped.value > 90
    assert str(two.o.value) == "75.99"  # 0.40 x 100 + 0.60 x 59.99 = 75.994
    assert two.q.formula == f"min({two.q_uncapped.value}, 59.99) = 59.99"


def test_a_major_check_exactly_at_its_floor_sets_no_cap() -> None:
    score = source(Check("a", "0301", 5, 95, 100, D("0.95"), D(1), major=True))
    assert (score.cap, score.majors) == (None, ())


def test_a_cap_never_raises_a_low_score() -> None:
    score = source(Check("a", "0301", 5, 10, 100, D("0.95"), D(1), major=True))
    assert score.q.value == score.q_uncapped.value


def test_a_major_check_that_did_not_run_counts_as_below_its_floor() -> None:
    assert source(Check("a", "0301", 5, 0, 0, major=True, failed_to_run=True)).majors == ("a",)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Check("c", "0999", 1, 1, 1), "0999"),
        (lambda: Check("c", "0101", 6, 1, 1), "from 1 to 5"),
        (lambda: Check("c", "0101", 1, 1, 1, D("0.9"), D("0.8")), "floor <= target"),
        (lambda: Check("c", "0101", 1, 1, 1, D(95)), "ratio from 0 to 1"),
        (lambda: Check("c", "0101", 1, 1, 1, 0.95), "Decimal"),  # type: ignore[arg-type]
        (lambda: source(Check("c", "0101", 1, 1, 1), Check("c", "0201", 1, 1, 1)), "occur twice"),
    ],
)
def test_a_check_declared_wrongly_is_refused(make: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make()  # type: ignore[operator]


# --- departments ----------------------------------------------------------------------------------


def department(name: str, *scores: str | None, due_slots: int = 22, missing_running: int = 0) -> DepartmentScore:
    sources = [
        DepartmentSource(f"{name}{n}", "theme", None if o is None else D(o), due_slots, missing_running)
        for n, o in enumerate(scores)
    ]
    return score_department(name, sources, Corrections(0, 0), CatalogueFields(0, 0), POLICY)


def test_the_department_of_the_worked_example() -> None:
    sources = [
        DepartmentSource("register", "base_library", D("96.10"), 22),
        DepartmentSource("second", "theme", D("88.40"), 4),
        DepartmentSource("third", "theme", D("71.25"), 1),
    ]
    score = score_department("police", sources, Corrections(17, 20), CatalogueFields(46, 48), POLICY)
    found = [str(level.value) for level in (score.m, score.r, score.k, score.i)]
    assert found == ["86.80", "85.00", "95.83", "86.98"]
    assert score.grade is not None and score.grade.zh == "良"
    assert score.worst is not None and score.worst.source == "third"
    assert score.i.formula == "0.8 x 86.80 + 0.15 x 85.00 + 0.05 x 95.83 = 86.98"


def test_no_corrections_due_leaves_them_out_of_the_index() -> None:
    sources = [DepartmentSource("a", "other", D("80.00"), 3)]
    score = score_department("d", sources, Corrections(0, 0), CatalogueFields(1, 2), POLICY)
    # (0.80 x 80 + 0.05 x 50) / 0.85 = 78.2352...
    assert (score.r.value, str(score.i.value)) == (None, "78.24")


def test_an_index_needs_a_scored_source() -> None:
    score = score_department("d", [], Corrections(1, 1), CatalogueFields(1, 1), POLICY)
    assert (score.i.value, score.grade, score.worst) == (None, None, None)


def test_a_source_without_a_score_is_listed_and_not_averaged() -> None:
    score = department("d", "80.00", None)
    assert str(score.m.value) == "80.00"
    assert [one.o for one in score.sources] == [D("80.00"), None]


@pytest.mark.parametrize(
    ("o", "zh"),
    [
        ("90.00", "优"),
        ("89.99", "良"),
        ("80.00", "良"),
        ("79.99", "中"),
        ("70.00", "中"),
        ("69.99", "合格"),
        ("60.00", "合格"),
        ("59.99", "不合格"),
        ("0.00", "不合格"),
    ],
)
def test_grades_begin_at_their_cut_off(o: str, zh: str) -> None:
    grade = department("d", o).grade
    assert grade is not None and grade.zh == zh


def test_equal_departments_share_a_rank_and_the_next_rank_is_skipped() -> None:
    scores = [
        department("d", "70.00"),
        department("c", "80.00"),
        department("b", "80.00"),
        department("a", "90.00"),
        department("few", "99.00", due_slots=2),
        department("just enough", "60.00", due_slots=3),
        department("none", None),
    ]
    found = [(one.rank, one.score.department) for one in rank_departments(scores, POLICY)]
    assert found == [(1, "a"), (2, "b"), (2, "c"), (4, "d"), (5, "just enough"), (None, "few"), (None, "none")]


@pytest.mark.parametrize(
    ("o", "earlier", "missing", "expected"),
    [
        ("70.00", [], 0, []),
        ("69.99", [], 0, ["reminder"]),
        ("60.00", [], 0, ["reminder"]),
        ("59.99", [], 0, ["circular"]),
        ("59.99", ["60.00", "50.00"], 0, ["circular"]),
        ("59.99", ["59.99"], 0, ["circular", "interview"]),
        ("59.99", ["59.99", "95.00"], 0, ["circular", "interview"]),
        ("59.99", [None, "50.00"], 0, ["circular"]),
        ("95.00", [], 2, ["interview"]),
        ("95.00", [], 1, []),
        ("59.99", ["59.99"], 3, ["circular", "interview"]),
    ],
)
def test_what_a_period_sets_off(o: str, earlier: list[str | None], missing: int, expected: list[str]) -> None:
    before = [None if one is None else D(one) for one in earlier]
    found = triggers(department("d", o, missing_running=missing), before, POLICY)
    assert [one.code for one in found] == expected


def test_too_few_slots_set_off_nothing_but_missing_files_do() -> None:
    few = department("d", "10.00", due_slots=2, missing_running=2)
    assert [(one.code, one.reason_zh) for one in triggers(few, [D("10.00")], POLICY)] == [("interview", "有数据源连续2期未报送")]


# --- policy ---------------------------------------------------------------------------------------


def test_the_standard_has_six_dimensions_and_twenty_sub_indicators() -> None:
    assert len(DIMENSIONS) == 6
    per_dimension = [sum(sub.dimension == code for sub in SUB_INDICATORS.values()) for code in DIMENSIONS]
    assert per_dimension == [6, 2, 5, 2, 3, 2]
    assert [code for code, sub in SUB_INDICATORS.items() if sub.lower_is_better] == ["0303", "0305"]


def test_a_lone_floor_or_target_drags_the_other_one_along() -> None:
    high_floor = score_check(Check("a", "0101", 1, 1, 1, floor=D("0.9995")), POLICY)
    low_target = score_check(Check("a", "0101", 1, 1, 1, target=D("0.90")), POLICY)
    assert (high_floor.floor, high_floor.target) == (D("0.9995"), D("0.9995"))
    assert (low_target.floor, low_target.target) == (D("0.90"), D("0.90"))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('{"01": 0.20,', '{"01": 0.21,', "quality_weights add up to 1.01; expected 1"),
        ('"0502": 3', '"0599": 3', "0599"),
        ("{one_major: 79.99,", "{one_mayor: 79.99,", ":15: `caps.one_mayor`: unknown key"),
        ('"0104": {floor: 0.95, target: 0.999}', '"0104": {floor: 0.95, target: 0.9}', "floor <= target"),
        ('"0104": {floor: 0.95, target: 0.999}', "", "lacks .'0104'."),
        (
            "{code: fail, zh: 不合格, en: Fail, at_least: 0}",
            "{code: fail, zh: 差, en: Fail, at_least: 5}",
            "at 0",
        ),
        ("reminder_below: 70", "reminder_below: 50", "expected it to be the lower one"),
        ("version: 2026-01", "version: 2026-02", "expected 'mine'"),
    ],
)
def test_a_policy_that_cannot_be_right_is_refused(tmp_path: Path, old: str, new: str, says: str) -> None:
    text = (FOLDER / "2026-01.yaml").read_text("utf-8")
    assert old in text
    mine = tmp_path / "mine.yaml"
    mine.write_text(text.replace("version: 2026-01", "version: mine").replace(old, new), "utf-8")
    if old.startswith("version"):
        mine.write_text(text.replace(old, new), "utf-8")
    with pytest.raises(CatalogError, match=says):
        load_policy(mine)


def test_a_users_own_policy_changes_the_score_and_carries_its_own_version(tmp_path: Path) -> None:
    text = (FOLDER / "2026-01.yaml").read_text("utf-8").replace("version: 2026-01", "version: strict")
    mine = tmp_path / "strict.yaml"
    mine.write_text(text.replace('"0101": {floor: 0.95,', '"0101": {floor: 0.99,'), "utf-8")
    strict = load_policy(mine)
    check = Check("a", "0101", 1, 98, 100)
    ours, theirs = score_source([check], POLICY), score_source([check], strict)
    assert ours.o.value is not None and theirs.o.value is not None and theirs.o.value < ours.o.value
    assert (theirs.policy_version, theirs.policy_digest) == ("strict", strict.digest)
    assert theirs.policy_digest != ours.policy_digest


def test_an_unknown_policy_names_the_known_ones() -> None:
    with pytest.raises(CatalogError, match="2026-01"):
        load_policy("1999-01")
