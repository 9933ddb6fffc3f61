"""Why two records are alike: what each compared attribute spoke for or against, by the model that the fusion kept.

Fellegi-Sunter adds up: the log-odds of two records being one are the prior's, plus log2(m / u) of the level that each attribute
reaches, plus what rare or common values add. The levels are found again here, for the few pairs that somebody asks about, from the settings
in `ledger.fusion` and the normal forms of `pipelines.link_kinds`. What values add by being rare or common is not worked out anew: it is what is left
between that sum and the probability that linking wrote down, so the parts always add up to it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from catalog.entity import Entity
from pipelines.link_kinds import MACROS, Look, looks
from warehouse.lake import literal, quoted, table, table_columns

#: Probabilities are kept with six digits: nearer to 0 or 1 than this, the log-odds are not known.
LEAST = 0.000001


@dataclass(frozen=True)
class Weight:
    """What one attribute said: the level of likeness that the pair reaches, and its weight in bits; 0 where a value is missing."""

    attribute: str
    level: str
    bits: float


@dataclass(frozen=True)
class Likeness:
    """Bits for the two being one: `prior` (before looking) + `weights` + `rarity` of their values = `total`, the log-odds of the
    probability. `rarity` and `total` are None where the probability is so near to 1 that they cannot be told."""

    prior: float
    weights: tuple[Weight, ...]
    rarity: float | None
    total: float | None


def log_odds(probability: float) -> float | None:
    """In bits; None where the six digits that are kept say no more than almost surely."""
    return math.log2(probability / (1 - probability)) if LEAST < probability < 1 - LEAST / 2 else None


def explain(
    con: duckdb.DuckDBPyConnection, entity: Entity, model: str | None, pairs: Sequence[tuple[str, str, float]]
) -> dict[tuple[str, str], Likeness]:
    """(record, other) -> their likeness, for pairs (record, other, probability). Pairs whose model cannot be read any more, because
    normal forms changed since, are left out.

    Reads    said (`pipelines.said`) with the compared attributes of these records; std.<source>, for how rare a word is
    Writes   forms (scratch) on `con`
    """
    if not pairs or not model or not entity.match:
        return {}
    settings = json.loads(model)
    named = [c["output_column_name"] for c in settings["comparisons"]]
    compared = [v for v in looks(entity, frozenset(a.name for a in entity.attributes)) if v.attribute in named]
    for signature, body in MACROS.items():
        con.execute(f"CREATE OR REPLACE TEMP MACRO {signature} AS {body}")
    records = sorted({r for a, b, _ in pairs for r in (a, b)})
    levels = ",\n".join(f"{_reached(c)} AS {quoted(c['output_column_name'])}" for c in settings["comparisons"])
    try:
        con.execute(f"CREATE OR REPLACE TEMP TABLE forms AS\n{_forms(con, entity, compared, records)}")
        found = con.execute(
            f"""WITH pair AS (SELECT unnest($1) AS a, unnest($2) AS b)
SELECT a, b, {levels} FROM (
  SELECT a, b, l.* RENAME ({", ".join(f"{c} AS {c[:-1]}_l{chr(34)}" for c in _columns(con))}),
    r.* RENAME ({", ".join(f"{c} AS {c[:-1]}_r{chr(34)}" for c in _columns(con))})
  FROM pair JOIN forms AS l ON l._n = a JOIN forms AS r ON r._n = b)""",
            [[a for a, _, _ in pairs], [b for _, b, _ in pairs]],
        ).fetchall()
    except duckdb.Error:  # the model was trained on other normal forms than there are today
        return {}
    likely = {(a, b): p for a, b, p in pairs}
    prior = settings["probability_two_random_records_match"]
    return {(a, b): _likeness(settings["comparisons"], prior, reached, likely[a, b]) for a, b, *reached in found}


def _likeness(comparisons: Sequence[Mapping[str, Any]], prior: float, reached: Sequence[int], probability: float) -> Likeness:
    start = math.log2(prior / (1 - prior))
    weights = []
    for comparison, place in zip(comparisons, reached, strict=True):
        level = comparison["comparison_levels"][place]
        m, u = level.get("m_probability") or 0.0, level.get("u_probability") or 0.0
        bits = math.log2(m / u) if m and u and not level.get("is_null_level") else 0.0
        weights.append(Weight(comparison["output_column_name"], level["label_for_charts"], bits))
    total = log_odds(probability)
    rarity = None if total is None else total - start - sum(w.bits for w in weights)
    return Likeness(start, tuple(weights), rarity, total)


def _columns(con: duckdb.DuckDBPyConnection) -> list[str]:
    return [quoted(row[0]) for row in con.execute("DESCRIBE forms").fetchall() if row[0] != "_n"]


def _reached(comparison: Mapping[str, Any]) -> str:
    """Number of the first level whose condition holds, as Splink evaluates it."""
    cases = [
        f"WHEN {level['sql_condition']} THEN {i}" if level["sql_condition"] != "ELSE" else f"ELSE {i}"
        for i, level in enumerate(comparison["comparison_levels"])
    ]
    return "CASE " + " ".join(cases) + " END"


def _forms(con: duckdb.DuckDBPyConnection, entity: Entity, compared: Sequence[Look], records: Sequence[str]) -> str:
    """One row per record with its normal forms, as linking made them."""
    values = ", ".join(f"max(value) FILTER (attribute = {literal(v.attribute)}) AS {quoted(v.attribute)}" for v in compared)
    asked = ", ".join(literal(r) for r in records)
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE valued AS SELECT _record AS _n, {values} FROM said WHERE _record IN ({asked}) GROUP BY 1"
    )
    joins, columns = [], []
    for v in compared:
        steps = _steps(v, f"(SELECT _n, {quoted(v.attribute)} FROM valued)")
        name = quoted(v.attribute + "__forms")
        con.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT * EXCLUDE ({quoted(v.attribute)}) FROM {steps}")
        joins.append(f"JOIN {name} USING (_n)")
        columns.append(f"{name}.* EXCLUDE (_n)")
        if v.weighed is None:
            continue
        rare = quoted(v.attribute + "__rare")
        con.execute(f"CREATE OR REPLACE TEMP TABLE {rare} AS\n{_rarity(con, entity, v)}")
        joins.append(
            f"""LEFT JOIN (SELECT _n, list({{'t': t, 'w': w}} ORDER BY w DESC, t) AS {quoted(v.column("tw"))}, sum(w)::BIGINT AS {quoted(v.column("w"))}
  FROM (SELECT _n, unnest({quoted(v.column(v.weighed))}) AS t FROM {name}) JOIN {rare} USING (t) GROUP BY _n) AS {quoted(v.attribute)} USING (_n)"""
        )
        columns += [quoted(v.column("tw")), quoted(v.column("w"))]
    return f"SELECT _n, {', '.join(columns)}\nFROM valued\n" + "\n".join(joins)


def _steps(look: Look, source: str) -> str:
    """`source` with the forms of one attribute, one SELECT per step, because a form may use the one before it."""
    for suffix, sql in look.forms.items():
        form = re.sub(r"\bv\b", quoted(look.attribute), sql)
        source = f"(SELECT *, {form} AS {quoted(look.column(suffix))} FROM {source})"
    return source


def _rarity(con: duckdb.DuckDBPyConnection, entity: Entity, look: Look) -> str:
    """The weight of each word of the records asked about: the fewer different values hold it, the more it says."""
    n, t = quoted(look.column("n")), quoted(look.column(look.weighed or ""))
    members = table(f"base.{entity.id}__member")
    sources = [s for (s,) in con.execute(f"SELECT DISTINCT _source FROM {members} ORDER BY 1").fetchall()]
    parts = [
        f"SELECT CAST(s.{quoted(look.attribute)} AS VARCHAR) AS {quoted(look.attribute)} FROM {table(f'std.{source}')} AS s JOIN {members} AS m "
        f'ON m._source = {literal(source)} AND m._batch = s."_batch" AND m._row = s."_row" AND m._sheet IS NOT DISTINCT FROM s."_sheet"'
        for source in sources
        if look.attribute in table_columns(con, f"std.{source}")
    ]
    return f"""WITH everything AS (SELECT DISTINCT {n}, {t} AS t FROM {_steps(look, "(" + " UNION ALL ".join(parts) + ")")}),
few AS (SELECT DISTINCT unnest({t}) AS t FROM {quoted(look.attribute + "__forms")})
SELECT t, 1 + round(100 * ln((SELECT count(DISTINCT {n}) FROM everything) / count(*)))::BIGINT AS w
FROM (SELECT DISTINCT {n}, unnest(t) AS t FROM everything) JOIN few USING (t) GROUP BY t"""
