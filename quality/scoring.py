"""Scores an auditor can recompute: from two counts per check up to the rank of a department.

    A, B -> X -> Y by floor and target -> S sub-indicator -> D dimension -> T, Q -> O source -> M, R, K -> I
    department

X is rounded to 6 places and everything after it to 2, half up, at each level, so the printed number is the
number used next. Each level carries its own arithmetic as text (`formula`), in digits and signs only, to be
retyped or evaluated. Not applicable is None and never counts as perfect: the weights of a level are
renormalised over what applies, and `coverage` says how much that was. The order of checks, sources and
departments changes nothing.

Source: GB/T 36344-2018 for the indicators and X = A/B; the points curve, weights, caps and grades are
policy (`policy.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Literal

from quality.dimensions import DIMENSIONS, SUB_INDICATORS, TIMELINESS
from quality.policy import Grade, Policy
from quality.rounding import EXACT, RATIO, SCORE, half_up

HUNDRED = Decimal(100)

Problem = Literal["", "failed_to_run", "impossible_counts"]
Role = Literal["base_library", "theme", "other"]


def as_typed(number: Decimal | int) -> str:
    """A number as a person types it, without an exponent; 1 for 1.00 and 20 for 20.0."""
    number = Decimal(number)
    return str(int(number)) if number == number.to_integral_value() else f"{number:f}"


# --- one check ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Check:
    """What one check counted: A of B elements. For the rates of 0303 and 0305 A counts the bad elements.

    `floor` and `target` left out come from the policy, by `kind` (the name of the expectation) or else by
    sub-indicator. A lone floor above the default target raises the target to it, a lone target below the
    default floor lowers the floor. `plain` means Y = 100 X. `failed_to_run` means that the check itself
    broke: X = 0, flagged, never dropped.

    Raises ValueError for a check that is declared wrongly. Counts that cannot be (A above B, or negative)
    are no reason to stop a report: the check scores 0 with the problem `impossible_counts`.
    """

    id: str
    sub_indicator: str
    weight: int
    a: Decimal | int
    b: Decimal | int
    floor: Decimal | None = None
    target: Decimal | None = None
    plain: bool = False
    major: bool = False
    failed_to_run: bool = False
    kind: str = ""

    def __post_init__(self) -> None:
        if self.sub_indicator not in SUB_INDICATORS:
            raise ValueError(
                f"check {self.id}: sub-indicator {self.sub_indicator!r}; expected one of {', '.join(SUB_INDICATORS)}"
            )
        if self.weight not in (1, 2, 3, 4, 5):
            raise ValueError(f"check {self.id}: weight {self.weight}; expected a whole number from 1 to 5")
        for name in ("a", "b", "floor", "target"):
            if isinstance(getattr(self, name), float):
                raise ValueError(f"check {self.id}: {name} is a float; expected a Decimal, which holds what is printed")
        for name, bound in (("floor", self.floor), ("target", self.target)):
            if bound is not None and not 0 <= bound <= 1:
                raise ValueError(f"check {self.id}: {name} {bound}; expected a ratio from 0 to 1")
        if self.floor is not None and self.target is not None and self.floor > self.target:
            raise ValueError(f"check {self.id}: floor {self.floor} is above target {self.target}; expected floor <= target")

    @property
    def lower_is_better(self) -> bool:
        return SUB_INDICATORS[self.sub_indicator].lower_is_better


@dataclass(frozen=True, slots=True)
class ScoredCheck:
    """A check with its ratio and points. `floor` and `target` are the ones used; both None when Y = 100 X.

    `raw_rate` is A/B as the standard prints it for the rates of 0303 and 0305, None for all others.
    """

    check: Check
    floor: Decimal | None
    target: Decimal | None
    x: Decimal | None
    y: Decimal | None
    raw_rate: Decimal | None
    problem: Problem
    formula_x: str
    formula_y: str

    @property
    def applicable(self) -> bool:
        return self.y is not None

    @property
    def below_floor(self) -> bool:
        return self.x is not None and self.floor is not None and self.x < self.floor


def score_check(check: Check, policy: Policy) -> ScoredCheck:
    """X and Y of one check. B = 0 is not applicable: X and Y are None."""
    with localcontext(EXACT):
        floor, target = _bounds(check, policy)
        a, b = Decimal(check.a), Decimal(check.b)
        problem: Problem = ""
        raw_rate: Decimal | None = None
        if check.failed_to_run:
            problem = "failed_to_run"
        elif not (a.is_finite() and b.is_finite() and 0 <= a <= b):
            problem = "impossible_counts"
        elif b == 0:
            return ScoredCheck(check, floor, target, None, None, None, "", f"{as_typed(a)} / 0 = -", "-")
        if problem:
            x = half_up(Decimal(0), RATIO)
            formula_x = f"{x}"
        elif check.lower_is_better:
            x = half_up((b - a) / b, RATIO)
            raw_rate = half_up(a / b, RATIO)
            formula_x = f"1 - {as_typed(a)} / {as_typed(b)} = {x}"
        else:
            x = half_up(a / b, RATIO)
            formula_x = f"{as_typed(a)} / {as_typed(b)} = {x}"
        y, formula_y = _points(x, floor, target)
        return ScoredCheck(check, floor, target, x, y, raw_rate, problem, formula_x, formula_y)


def _bounds(check: Check, policy: Policy) -> tuple[Decimal | None, Decimal | None]:
    default = policy.curve(check.sub_indicator, check.kind)
    if check.plain or (default is None and check.target is None):
        return check.floor, None
    curve = default or policy.curves.by_sub_indicator[check.sub_indicator]
    if check.target is None:
        floor = curve.floor if check.floor is None else check.floor
        return floor, max(curve.target, floor)
    if check.floor is None:
        return min(curve.floor, check.target), check.target
    return check.floor, check.target


def _points(x: Decimal, floor: Decimal | None, target: Decimal | None) -> tuple[Decimal, str]:
    if floor is None or target is None:
        y = half_up(100 * x, SCORE)
        return y, f"100 x {x} = {y}"
    if x >= target:
        y = half_up(HUNDRED, SCORE)
        return y, f"{x} >= {as_typed(target)} -> {y}"
    if x >= floor:
        y = half_up(60 + 40 * (x - floor) / (target - floor), SCORE)
        return y, f"60 + 40 x ({x} - {as_typed(floor)}) / ({as_typed(target)} - {as_typed(floor)}) = {y}"
    y = half_up(60 * x / floor, SCORE)
    return y, f"60 x {x} / {as_typed(floor)} = {y}"


# --- one source in one period ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LevelScore:
    """One number of a level above the checks. `value` None means not applicable, and then `formula` is `-`.

    `weight` is its weight in the level above. `coverage` (dimensions, Q and O) is the weight of the
    sub-indicators that apply over the weight of all of them, 0 to 1.
    """

    code: str
    weight: Decimal
    value: Decimal | None
    formula: str
    coverage: Decimal | None = None


@dataclass(frozen=True, slots=True)
class SourceScore:
    """All levels of one source and period, in the order of the standard.

    q             after the cap, as it enters O; `q_uncapped` is what it would have been
    cap           79.99 or 59.99 when it was reached for, else None (a cap may lie above Q and change nothing)
    majors        ids of the major checks below their floor, which is why there is a cap
    problems      ids of the checks that did not run or counted the impossible
    renormalised  the parts of O that do not apply ("T", "Q"): O then stands on the other one alone, and has
    to say so
    """

    policy_version: str
    policy_digest: str
    checks: tuple[ScoredCheck, ...]
    sub_indicators: tuple[LevelScore, ...]
    dimensions: tuple[LevelScore, ...]
    t: LevelScore
    q: LevelScore
    q_uncapped: LevelScore
    o: LevelScore
    cap: Decimal | None
    majors: tuple[str, ...]
    problems: tuple[str, ...]
    renormalised: tuple[str, ...]

    def level(self, code: str) -> LevelScore:
        """A sub-indicator by its four digits, a dimension by two, or T, Q, O."""
        everything = (*self.sub_indicators, *self.dimensions, self.t, self.q, self.o)
        return next(level for level in everything if level.code == code)

    @property
    def coverage(self) -> Decimal:
        """Share of all twenty sub-indicators, by weight, that could be scored."""
        return self.o.coverage or Decimal(0)

    @property
    def coverage_q(self) -> Decimal:
        """The same over the sub-indicators of Q, that is without timeliness."""
        return self.q.coverage or Decimal(0)


def score_source(checks: Iterable[Check], policy: Policy) -> SourceScore:
    """Score one source for one period from all its checks, the ones not applicable included.

    Raises ValueError when two checks share an id.
    """
    scored = tuple(
        sorted(
            (score_check(check, policy) for check in checks),
            key=lambda one: (one.check.sub_indicator, one.check.id),
        )
    )
    ids = [one.check.id for one in scored]
    if twice := sorted({one for one in ids if ids.count(one) > 1}):
        raise ValueError(f"checks {', '.join(twice)} occur twice; expected each check once per source and period")
    with localcontext(EXACT):
        subs = tuple(_sub_indicator(code, scored, policy) for code in SUB_INDICATORS)
        dimensions = tuple(_dimension(code, subs, policy) for code in DIMENSIONS)
        timeliness = next(level for level in dimensions if level.code == TIMELINESS)
        quality = [level for level in dimensions if level.code != TIMELINESS]

        weights = policy.overall_weights
        t = LevelScore("T", weights.timeliness, timeliness.value, timeliness.formula, timeliness.coverage)
        q_value, q_formula = weighted_mean((level.weight, level.value) for level in quality)
        quality_subs = [sub for sub in subs if not sub.code.startswith(TIMELINESS)]
        q_uncapped = LevelScore("Q", weights.quality, q_value, q_formula, _coverage(quality_subs))

        majors = tuple(one.check.id for one in scored if one.check.major and one.below_floor)
        cap = None if not majors else policy.caps.one_major if len(majors) == 1 else policy.caps.several_majors
        q = _capped(q_uncapped, cap)

        o_value, o_formula = weighted_mean(((t.weight, t.value), (q.weight, q.value)))
        return SourceScore(
            policy_version=policy.version,
            policy_digest=policy.digest,
            checks=scored,
            sub_indicators=subs,
            dimensions=dimensions,
            t=t,
            q=q,
            q_uncapped=q_uncapped,
            o=LevelScore("O", Decimal(1), o_value, o_formula, _coverage(subs)),
            cap=cap,
            majors=majors,
            problems=tuple(one.check.id for one in scored if one.problem),
            renormalised=tuple(level.code for level in (t, q) if level.value is None),
        )


def weighted_mean(parts: Iterable[tuple[Decimal | int, Decimal | None]]) -> tuple[Decimal | None, str]:
    """Mean of (weight, value) over the parts that have a value, to 2 places, and its arithmetic as text.

    None and `-` when no part has a value. The division is left out of the text where the weights add up to 1.
    """
    with localcontext(EXACT):
        there = [(Decimal(weight), value) for weight, value in parts if value is not None]
        if not there:
            return None, "-"
        total = sum((weight for weight, _ in there), Decimal(0))
        value = half_up(sum((weight * value for weight, value in there), Decimal(0)) / total, SCORE)
        products = " + ".join(f"{as_typed(weight)} x {value}" for weight, value in there)
        if total == 1:
            return value, f"{products} = {value}"
        weights = " + ".join(as_typed(weight) for weight, _ in there)
        return value, f"({products}) / ({weights}) = {value}"


def _sub_indicator(code: str, scored: Sequence[ScoredCheck], policy: Policy) -> LevelScore:
    mine = [one for one in scored if one.check.sub_indicator == code]
    value, formula = weighted_mean((one.check.weight, one.y) for one in mine)
    return LevelScore(code, policy.sub_indicator_weight(code), value, formula)


def _dimension(code: str, subs: Sequence[LevelScore], policy: Policy) -> LevelScore:
    mine = [sub for sub in subs if sub.code.startswith(code)]
    value, formula = weighted_mean((sub.weight, sub.value) for sub in mine)
    # Timeliness enters O as T and has no weight in Q.
    weight = policy.quality_weights.get(code, Decimal(0))
    return LevelScore(code, weight, value, formula, _coverage(mine))


def _coverage(subs: Sequence[LevelScore]) -> Decimal:
    there = sum((sub.weight for sub in subs if sub.value is not None), Decimal(0))
    return half_up(there / sum((sub.weight for sub in subs), Decimal(0)), RATIO)


def _capped(q: LevelScore, cap: Decimal | None) -> LevelScore:
    if q.value is None or cap is None:
        return q
    value = half_up(min(q.value, cap), SCORE)
    return LevelScore(q.code, q.weight, value, f"min({q.value}, {as_typed(cap)}) = {value}", q.coverage)


# --- departments ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DepartmentSource:
    """One source in its department. `missing_running` is the longest run of missing slots in the period."""

    source: str
    role: Role
    o: Decimal | None
    due_slots: int
    missing_running: int = 0


@dataclass(frozen=True, slots=True)
class Corrections:
    """Corrections whose clock ran out in the period, and how many of them were closed before it did."""

    on_time: int
    due: int


@dataclass(frozen=True, slots=True)
class CatalogueFields:
    """Catalogue fields the department has to fill, and how many of them are valid."""

    valid: int
    required: int


@dataclass(frozen=True, slots=True)
class DepartmentScore:
    """The index of a department. Show `worst` beside it: a mean hides a source that stands badly.

    `sources` are worst first, the ones that could not be scored (O None) last; those do not enter M.
    I is None when no source has a score: corrections and catalogue alone make no index.
    """

    department: str
    policy_version: str
    sources: tuple[DepartmentSource, ...]
    m: LevelScore
    r: LevelScore
    k: LevelScore
    i: LevelScore
    grade: Grade | None
    worst: DepartmentSource | None
    due_slots: int
    missing_running: int
    corrections: Corrections
    catalogue_fields: CatalogueFields


def score_department(
    department: str,
    sources: Iterable[DepartmentSource],
    corrections: Corrections,
    catalogue_fields: CatalogueFields,
    policy: Policy,
) -> DepartmentScore:
    """M, R, K, I of a department in one period. No corrections due, no fields required: not applicable."""
    ordered = tuple(sorted(sources, key=lambda one: (one.o is None, one.o or 0, one.source)))
    weights, of_role = policy.department_weights, policy.source_weights.model_dump()
    m_value, m_formula = weighted_mean((of_role[one.role], one.o) for one in sorted(ordered, key=lambda one: one.source))
    m = LevelScore("M", weights.sources, m_value, m_formula)
    r = LevelScore("R", weights.corrections, *_percent(corrections.on_time, corrections.due))
    k = LevelScore("K", weights.catalogue, *_percent(catalogue_fields.valid, catalogue_fields.required))
    i_value, i_formula = weighted_mean((level.weight, level.value) for level in (m, r, k))
    if m.value is None:
        i_value, i_formula = None, "-"
    return DepartmentScore(
        department=department,
        policy_version=policy.version,
        sources=ordered,
        m=m,
        r=r,
        k=k,
        i=LevelScore("I", Decimal(1), i_value, i_formula),
        grade=None if i_value is None else policy.grade(i_value),
        worst=next((one for one in ordered if one.o is not None), None),
        due_slots=sum(one.due_slots for one in ordered),
        missing_running=max((one.missing_running for one in ordered), default=0),
        corrections=corrections,
        catalogue_fields=catalogue_fields,
    )


def _percent(part: int, whole: int) -> tuple[Decimal | None, str]:
    if not 0 <= part <= whole:
        raise ValueError(f"{part} of {whole} cannot be; expected a part from 0 to the whole")
    if whole == 0:
        return None, "-"
    with localcontext(EXACT):
        value = half_up(HUNDRED * part / whole, SCORE)
    return value, f"100 x {part} / {whole} = {value}"


@dataclass(frozen=True, slots=True)
class Ranked:
    """A department in the ranking. `rank` None: insufficient observations (数据不足), listed, not ranked."""

    rank: int | None
    score: DepartmentScore


def rank_departments(scores: Iterable[DepartmentScore], policy: Policy) -> tuple[Ranked, ...]:
    """Competition ranking by I (1, 2, 2, 4), best first; then, by name, those with too few due slots."""
    ordered = sorted(scores, key=lambda one: (-(one.i.value or 0), one.department))
    enough = [one for one in ordered if _is_observed(one, policy)]
    values = [one.i.value for one in enough]
    ranked = [Ranked(values.index(one.i.value) + 1, one) for one in enough]
    rest = sorted((one for one in ordered if not _is_observed(one, policy)), key=lambda one: one.department)
    return (*ranked, *(Ranked(None, one) for one in rest))


def _is_observed(score: DepartmentScore, policy: Policy) -> bool:
    return score.i.value is not None and score.due_slots >= policy.ranking.min_due_slots


@dataclass(frozen=True, slots=True)
class Trigger:
    """What a score sets off, with the sentence that says why."""

    code: Literal["reminder", "circular", "interview"]
    zh: str
    en: str
    reason_zh: str
    reason_en: str


def triggers(score: DepartmentScore, earlier: Sequence[Decimal | None], policy: Policy) -> tuple[Trigger, ...]:
    """What the period sets off. `earlier` holds the indices of the periods before, the latest first.

    A circular takes the place of the reminder. An interview comes on top, once, with the reason that
    applies first. The index sets off nothing where there are too few due slots to rank it; missing slots
    always count.
    """
    rules = policy.triggers
    again = rules.interview_after_periods_below
    index = score.i.value if _is_observed(score, policy) else None
    found: list[Trigger] = []
    if index is not None and index < rules.circular_below:
        found.append(_below("circular", "通报", "Circular", index, rules.circular_below))
    elif index is not None and index < rules.reminder_below:
        found.append(_below("reminder", "提醒", "Reminder", index, rules.reminder_below))
    run = [index, *earlier[: again.periods - 1]]
    if len(run) == again.periods and all(one is not None and one < again.score for one in run):
        found.append(
            Trigger(
                "interview",
                "约谈",
                "Interview",
                f"指数连续{again.periods}期低于{as_typed(again.score)}",
                f"the index was below {as_typed(again.score)} in {again.periods} consecutive periods",
            )
        )
    elif score.missing_running >= rules.interview_after_slots_missing:
        found.append(
            Trigger(
                "interview",
                "约谈",
                "Interview",
                f"有数据源连续{score.missing_running}期未报送",
                f"a source missed {score.missing_running} due slots running",
            )
        )
    return tuple(found)


def _below(code: Literal["reminder", "circular"], zh: str, en: str, index: Decimal, limit: Decimal) -> Trigger:
    return Trigger(code, zh, en, f"指数{index}低于{as_typed(limit)}", f"the index {index} is below {as_typed(limit)}")
