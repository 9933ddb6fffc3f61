"""The files beside the pages: CSV with all that scores are made of and every score, the policy and the catalogue as JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from catalog.entity import Entity
from pipelines.formula import harmless
from pipelines.report_view import City, SourceView
from quality.dimensions import DIMENSIONS, SUB_INDICATORS
from quality.policy import Policy
from quality.scoring import LevelScore, as_typed


def csv_text(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """CSV that Excel opens as it is meant: byte-order mark, CRLF, and no cell that is run as a formula."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(header)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return "\ufeff" + out.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, Decimal | int):
        return f"{value:f}" if isinstance(value, Decimal) else str(value)
    return harmless(str(value))


CHECKS = (
    "source", "title_zh", "title_en", "department", "tier", "window_from", "window_to", "check", "kind", "check_zh", "check_en",
    "sub_indicator", "sub_indicator_zh", "sub_indicator_en", "weight", "a", "b", "own_floor", "own_target", "plain", "x", "raw_rate",
    "floor", "target", "y", "x_arithmetic", "y_arithmetic", "major", "below_floor", "severity", "problem", "batches", "policy",
    "policy_digest",
)  # fmt: skip


def checks_csv(city: City) -> str:
    """One row per source and check: A, B, weight, floor and target, and all that follows from them.

    `own_floor` and `own_target` are what the contract declares, `floor` and `target` the ones used: its own or the policy's.
    """
    return csv_text(CHECKS, (row for source in city.sources for row in _checks(source)))


def _checks(source: SourceView) -> Iterator[tuple[Any, ...]]:
    contract, card = source.contract, source.card
    for one in card.score.checks:
        check, line = one.check, card.checks.get(one.check.id)
        indicator = SUB_INDICATORS[check.sub_indicator]
        yield (
            contract.id, contract.title.zh, contract.title.en, contract.department.id, contract.tier, *card.window, check.id,
            check.kind, line.zh if line else "", line.en if line else "", check.sub_indicator, indicator.zh, indicator.en,
            check.weight, as_typed(check.a), as_typed(check.b), check.floor, check.target, check.plain, one.x, one.raw_rate,
            one.floor, one.target, one.y, _sum(one.formula_x if one.applicable else None), _sum(one.formula_y), check.major,
            one.below_floor,
            line.severity if line else "", one.problem, line.batches if line else None, card.score.policy_version,
            card.score.policy_digest,
        )  # fmt: skip


SCORES = (
    "level", "subject", "title_zh", "title_en", "department", "item", "item_zh", "item_en", "weight", "score", "grade_zh",
    "grade_en", "coverage", "arithmetic", "window_from", "window_to", "policy", "policy_digest",
)  # fmt: skip


def scores_csv(city: City) -> str:
    """One row per score above the checks: sub-indicators, dimensions and totals of sources, then departments, then the city."""
    rows = [row for source in city.sources for row in _source_scores(source)]
    return csv_text(SCORES, [*rows, *_department_scores(city), *_city_scores(city)])


def levels_of(source: SourceView) -> Iterator[tuple[str, LevelScore, tuple[str, str]]]:
    """Every score of a source above its checks, with its names. `Q_uncapped` is what Q would be without the cap."""
    score = source.card.score
    for sub in score.sub_indicators:
        yield "sub_indicator", sub, (SUB_INDICATORS[sub.code].zh, SUB_INDICATORS[sub.code].en)
    for dimension in score.dimensions:
        yield "dimension", dimension, (DIMENSIONS[dimension.code].zh, DIMENSIONS[dimension.code].en)
    yield "source", score.t, ("时效性得分", "timeliness score")
    if score.cap is not None:
        uncapped = score.q_uncapped
        yield (
            "source",
            LevelScore("Q_uncapped", uncapped.weight, uncapped.value, uncapped.formula, uncapped.coverage),
            ("封顶前的质量得分", "quality score before the cap"),
        )
    yield "source", score.q, ("质量得分", "quality score")
    yield "source", score.o, ("综合得分", "overall score")


def _source_scores(source: SourceView) -> Iterator[tuple[Any, ...]]:
    contract, card = source.contract, source.card
    for level, one, (zh, en) in levels_of(source):
        grade = source.grade_of(one.value)
        yield (
            level, contract.id, contract.title.zh, contract.title.en, contract.department.id, one.code, zh, en,
            as_typed(one.weight), one.value, grade.zh if grade else "", grade.en if grade else "", one.coverage,
            _sum(one.formula), *card.window, card.score.policy_version, card.score.policy_digest,
        )  # fmt: skip


DEPARTMENT_ITEMS = {
    "M": ("数据源得分", "sources"),
    "R": ("按期整改率", "corrections closed in time"),
    "K": ("目录字段完整率", "catalogue fields filled"),
    "I": ("部门指数", "index"),
}


def _department_scores(city: City) -> Iterator[tuple[Any, ...]]:
    for department in city.departments:
        score = department.score
        for one in (score.m, score.r, score.k, score.i):
            grade = score.grade if one.code == "I" else None
            yield (
                "department", department.id, department.zh, department.en, department.id, one.code, *DEPARTMENT_ITEMS[one.code],
                as_typed(one.weight), one.value, grade.zh if grade else "", grade.en if grade else "", None, _sum(one.formula),
                *city.window, score.policy_version, city.policy.digest,
            )  # fmt: skip


CITY_ITEMS = {
    "T": ("时效性得分", "timeliness score"),
    "Q": ("质量得分", "quality score"),
    "O": ("综合得分", "overall score"),
}


def _city_scores(city: City) -> Iterator[tuple[Any, ...]]:
    for code, names in CITY_ITEMS.items():
        figure = city.figure(code.lower())
        grade = figure.grade
        yield (
            "city", "city", "全市", "whole city", "", code, *names, None, figure.value, grade.zh if grade else "",
            grade.en if grade else "", None, _sum(figure.formula), *city.window, city.policy.version, city.policy.digest,
        )  # fmt: skip


def _sum(formula: str | None) -> str:
    return "" if formula in (None, "-") else str(formula)


SOURCES = (
    "source", "title_zh", "title_en", "department", "tier", "window_from", "window_to", "due_slots", "missing_running", "policy",
    "policy_digest",
)  # fmt: skip


def sources_csv(city: City) -> str:
    """One row per source, those without a check included."""
    observed = {one.source: one for department in city.departments for one in department.score.sources}
    return csv_text(
        SOURCES,
        (
            (source.id, source.contract.title.zh, source.contract.title.en, source.contract.department.id, source.contract.tier,
             *source.card.window, observed[source.id].due_slots, observed[source.id].missing_running,
             source.card.score.policy_version, source.card.score.policy_digest)
            for source in city.sources
        ),
    )  # fmt: skip


DEPARTMENTS = (
    "department", "title_zh", "title_en", "due_slots", "missing_running", "corrections_on_time", "corrections_due",
    "catalogue_valid", "catalogue_required", "rank", "policy", "policy_digest",
)  # fmt: skip


def departments_csv(city: City) -> str:
    """One row per department as ranked: what its index counts beside the scores of its sources. `rank` empty: not ranked."""
    return csv_text(
        DEPARTMENTS,
        (
            (d.id, d.zh, d.en, d.score.due_slots, d.score.missing_running, d.score.corrections.on_time, d.score.corrections.due,
             d.score.catalogue_fields.valid, d.score.catalogue_fields.required, d.ranked.rank, d.score.policy_version,
             city.policy.digest)
            for d in city.departments
        ),
    )  # fmt: skip


def policies(city: City) -> dict[str, Policy]:
    """By digest: the city's policy, then those that single contracts name. Two files may bear one version."""
    found = {city.policy.digest: city.policy}
    for source in city.sources:
        found.setdefault(source.card.score.policy_digest, source.policy)
    return found


POLICY = ("policy", "policy_digest", "part", "item", "item_zh", "item_en", "value")


def policy_csv(city: City) -> str:
    """One row per figure of every policy used: the numbers of policy.json that scores are made of, for who reads no JSON."""
    return csv_text(
        POLICY, ((p.version, digest, *figure) for digest, p in policies(city).items() for figure in policy_figures(p))
    )


def policy_figures(policy: Policy) -> Iterator[tuple[str, str, str, str, Decimal]]:
    """Part, item, its names and value. Every sub-indicator has a row in `sub_indicator_weight`, `floor` and `target`."""
    weights, tiers = policy.department_weights, policy.source_weights
    for code, sub in SUB_INDICATORS.items():
        yield "sub_indicator_weight", code, sub.zh, sub.en, policy.sub_indicator_weight(code)
    for code, sub in SUB_INDICATORS.items():
        yield "floor", code, sub.zh, sub.en, policy.curves.by_sub_indicator[code].floor
    for code, sub in SUB_INDICATORS.items():
        yield "target", code, sub.zh, sub.en, policy.curves.by_sub_indicator[code].target
    for kind, curve in policy.curves.by_kind.items():
        if curve == "plain":
            yield "kind_plain", kind, "此类检查 Y = 100 X", "checks of this kind: Y = 100 X", Decimal(1)
        else:
            yield "kind_floor", kind, "此类检查的下限", "floor of checks of this kind", curve.floor
            yield "kind_target", kind, "此类检查的目标", "target of checks of this kind", curve.target
    for code, weight in policy.quality_weights.items():
        yield "dimension_weight", code, DIMENSIONS[code].zh, DIMENSIONS[code].en, weight
    yield "overall_weight", "T", "时效性得分", "timeliness score", policy.overall_weights.timeliness
    yield "overall_weight", "Q", "质量得分", "quality score", policy.overall_weights.quality
    yield "cap", "one_major", "一项重要检查低于下限时的封顶", "most for Q, one major check low", policy.caps.one_major
    yield "cap", "several_majors", "两项及以上时的封顶", "most for Q, several low", policy.caps.several_majors
    for tier, zh, en, weight in (
        ("base_library", "基础库数据源", "source of a base library", tiers.base_library),
        ("theme", "主题库数据源", "source of a theme library", tiers.theme),
        ("other", "其他数据源", "other source", tiers.other),
    ):
        yield "source_weight", tier, zh, en, weight
    for code, weight in (("M", weights.sources), ("R", weights.corrections), ("K", weights.catalogue)):
        yield "department_weight", code, *DEPARTMENT_ITEMS[code], weight
    yield "ranking", "min_due_slots", "排名所需应报期数", "due slots a rank needs", Decimal(policy.ranking.min_due_slots)
    for grade in policy.grades:
        yield "grade", grade.code, grade.zh, grade.en, grade.at_least


def policy_json(city: City) -> str:
    return _json(json.loads(city.policy.model_dump_json()) | {"digest": city.policy.digest})


def catalogue_json(city: City, entities: Iterable[Entity]) -> str:
    """Every source and golden table as the catalogue page shows them."""
    return _json(
        {
            "as_of": city.card.as_of.isoformat(),
            "policy": {"version": city.policy.version, "digest": city.policy.digest},
            "departments": [
                {"id": d.id, "title": {"zh": d.zh, "en": d.en}} for d in sorted(city.departments, key=lambda d: d.id)
            ],
            "sources": [_source(s) for s in city.sources],
            "golden_tables": [_entity(e, city) for e in entities],
        }
    )


def _source(source: SourceView) -> Mapping[str, Any]:
    contract, last = source.contract, source.last
    overall = source.card.score.o.value
    columns: list[Mapping[str, Any]] = []
    for c in contract.columns:
        if c.to is None:
            columns.append({"header": list(c.from_), "ignored": c.ignore})
            continue
        columns.append({
            "header": list(c.from_), "name": c.to, "title": c.title.model_dump() if c.title else None, "type": c.type,
            "grade": c.grade, "personal": c.personal, "key": c.key, "required": c.required,
            "clean": [r.name for r in c.clean], "check": [r.name for r in c.check],
        })  # fmt: skip
    return {
        "id": contract.id, "title": contract.title.model_dump(), "department": contract.department.id, "tier": contract.tier,
        "steward": contract.steward, "cycle": contract.arrival.cycle, "load": contract.load, "entity": contract.entity,
        "tables": [f"raw.{contract.id}", f"std.{contract.id}"], "contract_hash": contract.hash,
        "last_batch": {"batch": last.batch, "period": last.period, "arrived_at": last.arrived_at.isoformat(),
                       "verdict": last.verdict} if last else None,
        "O": None if overall is None else str(overall), "columns": columns,
    }  # fmt: skip


def _entity(entity: Entity, city: City) -> Mapping[str, Any]:
    return {
        "id": entity.id, "table": f"base.{entity.id}", "title": entity.title.model_dump(), "library": entity.library,
        "sources": [s.id for s in city.sources if s.contract.entity == entity.id],
        "identifiers": [list(i.attributes) for i in entity.identifiers],
        "attributes": [
            {"name": a.name, "title": a.title.model_dump() if a.title else None, "type": a.type, "grade": a.grade,
             "personal": a.personal, "digest": a.digest, "authority": list(a.authority or entity.authority)}
            for a in entity.attributes
        ],
    }  # fmt: skip


def _json(data: Mapping[str, Any]) -> str:
    return json.dumps(data, ensure_ascii=False, indent=1) + "\n"
