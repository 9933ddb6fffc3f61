"""The files beside the pages: CSV with every score and check, the policy and the catalogue as JSON."""

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
    "sub_indicator", "sub_indicator_zh", "sub_indicator_en", "weight", "a", "b", "x", "raw_rate", "floor", "target", "y",
    "x_arithmetic", "y_arithmetic", "major", "below_floor", "severity", "problem", "batches", "policy", "policy_digest",
)  # fmt: skip


def checks_csv(city: City) -> str:
    """One row per source and check: A, B, weight, floor and target used, and all that follows from them."""
    return csv_text(CHECKS, (row for source in city.sources for row in _checks(source)))


def _checks(source: SourceView) -> Iterator[tuple[Any, ...]]:
    contract, card = source.contract, source.card
    for one in card.score.checks:
        check, line = one.check, card.checks.get(one.check.id)
        indicator = SUB_INDICATORS[check.sub_indicator]
        yield (
            contract.id, contract.title.zh, contract.title.en, contract.department.id, contract.tier, *card.window, check.id,
            check.kind, line.zh if line else "", line.en if line else "", check.sub_indicator, indicator.zh, indicator.en,
            check.weight, as_typed(check.a), as_typed(check.b), one.x, one.raw_rate, one.floor, one.target, one.y,
            _sum(one.formula_x if one.applicable else None), _sum(one.formula_y), check.major, one.below_floor,
            line.severity if line else "", one.problem, line.batches if line else None, card.score.policy_version,
            card.score.policy_digest,
        )  # fmt: skip


SCORES = (
    "level", "subject", "title_zh", "title_en", "department", "item", "item_zh", "item_en", "weight", "score", "grade_zh",
    "grade_en", "coverage", "arithmetic", "window_from", "window_to", "policy", "policy_digest",
)  # fmt: skip


def scores_csv(city: City) -> str:
    """One row per score above the checks: sub-indicators, dimensions and totals of sources, then departments."""
    rows = [row for source in city.sources for row in _source_scores(source)]
    return csv_text(SCORES, [*rows, *_department_scores(city)])


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


def _department_scores(city: City) -> Iterator[tuple[Any, ...]]:
    names = {
        "M": ("数据源得分", "sources"),
        "R": ("按期整改率", "corrections closed in time"),
        "K": ("目录字段完整率", "catalogue fields filled"),
        "I": ("部门指数", "index"),
    }
    for department in city.departments:
        score = department.score
        for one in (score.m, score.r, score.k, score.i):
            grade = score.grade if one.code == "I" else None
            yield (
                "department", department.id, department.zh, department.en, department.id, one.code, *names[one.code],
                as_typed(one.weight), one.value, grade.zh if grade else "", grade.en if grade else "", None, _sum(one.formula),
                *city.window, score.policy_version, city.policy.digest,
            )  # fmt: skip


def _sum(formula: str | None) -> str:
    return "" if formula in (None, "-") else str(formula)


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
