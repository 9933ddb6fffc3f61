"""Why two records are alike: what each compared attribute spoke for or against, by the model that linking goes by.

Fellegi-Sunter adds up: the log-odds of two records being one are the prior's, plus log2(m / u) of the level that each attribute
reaches, plus what a rare or common value adds to it. All of it is found again here for the few pairs that somebody asks about, with the normal
forms of `pipelines.link_pairs` and the pinned model (`pipelines.models`), at a cost that follows the pairs and not the store. An entity that is
too small for a pinned model has its few records weighed again, as the last fusion did.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import duckdb

from catalog.entity import Entity
from pipelines import link_model, models
from pipelines.link_clash import is_of_a_household
from pipelines.link_kinds import Look, looks
from pipelines.link_pairs import forms, macros, often_shared, prepare, weigh
from pipelines.link_script import Script
from pipelines.run import Run
from pipelines.said import tell
from warehouse.lake import literal, quoted, table

#: What is found again may differ from the probability that was written down (six digits) by no more than this, else it is not told.
MOST_APART = 0.00001


#: Level of an attribute that a household or an office shares, between two whose names and dates contradict each other: it counts for nothing
#: (`pipelines.link`).
LEFT_OUT = "left out"


@dataclass(frozen=True)
class Weight:
    """What one attribute said, in bits: the level of likeness that the pair reaches (0 where a value is missing), and what the value adds
    by being rarer (+) or more common (-) than usual."""

    attribute: str
    level: str
    bits: float
    rarity: float


@dataclass(frozen=True)
class Likeness:
    """Bits for the two being one: `prior` (before looking) + each weight with its rarity = `total`, the log-odds of the probability."""

    prior: float
    weights: tuple[Weight, ...]

    @property
    def total(self) -> float:
        return self.prior + sum(w.bits + w.rarity for w in self.weights)

    @property
    def probability(self) -> float:
        return 1 / (1 + 2**-self.total)


def explain(
    run: Run, con: duckdb.DuckDBPyConnection, entity: Entity, pairs: Sequence[tuple[str, str, float]]
) -> dict[tuple[str, str], Likeness]:
    """(record, other) -> their likeness, for pairs (record, other, probability) of the last fusion.

    A pair is left out where what is found differs from its probability: the rules of comparing changed since, and what
    can be worked out today is not why it was linked.

    Reads    said (`pipelines.said`) with the compared attributes of these records
    Writes   said and wanted, if there is no pinned model; scratch tables. `con` is of no other use afterwards
    """
    last = _last_model(con, entity) if pairs and entity.match else None
    if last is None:
        return {}
    try:
        settings, found = _reached(run, con, entity, pairs, last)
    except duckdb.Error:  # the model was learned with other normal forms than there are today
        return {}
    likely = {(a, b): p for a, b, p in pairs}
    told = {}
    for a, b, *cells in found:
        prior = settings["probability_two_random_records_match"]
        weights = tuple(_weight(c, *cell.values()) for c, cell in zip(settings["comparisons"], cells, strict=True))
        apart = tuple(
            replace(w, level=LEFT_OUT, bits=0.0, rarity=0.0) if is_of_a_household(entity, w.attribute) else w for w in weights
        )
        for some in (weights, apart):
            likeness = Likeness(math.log2(prior / (1 - prior)), some)
            if abs(likeness.probability - likely[a, b]) <= MOST_APART:
                told[a, b] = likeness
                break
    return told


def _weight(comparison: Mapping[str, Any], place: int, frequency: float | None) -> Weight:
    """`frequency`: share of the records that have the commoner one of the two values; None where the model does not ask."""
    level = comparison["comparison_levels"][place]
    m, u = level.get("m_probability") or 0.0, level.get("u_probability") or 0.0
    spoke = m and u and not level.get("is_null_level")
    rarity = math.log2(u / frequency) if spoke and frequency else 0.0
    return Weight(comparison["output_column_name"], level["label_for_charts"], math.log2(m / u) if spoke else 0.0, rarity)


def _reached(
    run: Run,
    con: duckdb.DuckDBPyConnection,
    entity: Entity,
    pairs: Sequence[tuple[str, str, float]],
    last: tuple[int, Mapping[str, Any]],
) -> tuple[Mapping[str, Any], list[tuple[Any, ...]]]:
    """The model's settings, and per pair: record, other, and for each comparison of it the level reached and the frequency of the value."""
    script = Script(con)
    everything = looks(entity, frozenset(a.name for a in entity.attributes))
    given = [[a for a, _, _ in pairs], [b for _, b, _ in pairs]]
    con.execute("CREATE TABLE asked_pair AS SELECT unnest($1) AS a, unnest($2) AS b", given)
    version, settings = last
    if version:
        folder = models.folder(run.workspace, entity.id, version)
        model = link_model.load(script, folder)
        settings, unseen, filled = model.settings, model.unseen, model.filled
        only = "WHERE _record IN (SELECT a FROM asked_pair UNION SELECT b FROM asked_pair)"
    else:
        only = ""
        listed = [v.attribute for v in everything]
        con.execute(
            f"CREATE OR REPLACE TEMP TABLE wanted AS SELECT DISTINCT _entity, unnest($1) AS attribute FROM {_members(entity)}",
            [listed],
        )
        tell(run, con, entity)
    names = [c["output_column_name"] for c in settings["comparisons"]]
    compared = tuple(v for v in everything if v.attribute in names)
    values = "".join(f", max(value) FILTER (attribute = {literal(v.attribute)}) AS {quoted(v.attribute)}" for v in compared)
    con.execute(
        f"CREATE TABLE subject AS SELECT row_number() OVER (ORDER BY _record) AS _n, _record, false AS _identified{values}\n"
        f"FROM said {only} GROUP BY _record ORDER BY _n"
    )
    macros(script)
    forms(script, compared, "subject", "forms")
    if not version:
        unseen = weigh(script, compared)
    prepare(script, compared, unseen, "forms")
    if not version:
        link_model.frequencies(script, compared)
        filled = {v.attribute: script.number(f"SELECT count({quoted(v.column('n'))}) FROM link_prepared") for v in compared}
    by_name, shared = {v.attribute: v for v in compared}, often_shared(compared)
    cells = []
    for comparison in settings["comparisons"]:
        look = by_name[comparison["output_column_name"]]
        frequency = _frequency(comparison, look, None if look in shared else filled[look.attribute])
        cells.append(f"{{'level': {_level(comparison)}, 'frequency': {frequency}}}")
    columns = [quoted(row[0]) for row in con.execute("DESCRIBE link_prepared").fetchall() if row[0] not in ("_n", "_identified")]
    sides = ", ".join(f"{side}.{c} AS {c[:-1]}_{side}{QUOTE}" for side in "lr" for c in columns)
    return settings, con.execute(
        f"SELECT a, b, {', '.join(cells)}\nFROM (SELECT a, b, {sides} FROM asked_pair JOIN subject AS s ON s._record = a "
        "JOIN subject AS t ON t._record = b JOIN link_prepared AS l ON l._n = s._n JOIN link_prepared AS r ON r._n = t._n)"
    ).fetchall()


QUOTE = '"'


def _members(entity: Entity) -> str:
    return table(f"base.{entity.id}__member")


def _last_model(con: duckdb.DuckDBPyConnection, entity: Entity) -> tuple[int, Mapping[str, Any]] | None:
    """The number of the pinned model that the last fusion went by (0: it learned its own), and its settings; None where none compared."""
    found = con.execute(
        "SELECT linking, model FROM lake.ledger.fusion WHERE entity = ? AND model IS NOT NULL "
        "ORDER BY CAST(split_part(fusion, '#', 2) AS INTEGER) DESC LIMIT 1",
        [entity.id],
    ).fetchall()
    return ((json.loads(found[0][0])["model"] or 0) if found[0][0] else 0, json.loads(found[0][1])) if found else None


def _level(comparison: Mapping[str, Any]) -> str:
    """Number of the first level whose condition holds, as Splink evaluates it."""
    cases = [
        f"ELSE {i}" if level["sql_condition"] == "ELSE" else f"WHEN {level['sql_condition']} THEN {i}"
        for i, level in enumerate(comparison["comparison_levels"])
    ]
    return "CASE " + " ".join(cases) + " END"


def _frequency(comparison: Mapping[str, Any], look: Look, filled: int | None) -> str:
    """Of the level reached: how common the commoner of the two values is, where the model asks for it. A value that the model did not see is as
    rare as can be, one in `filled`; of attributes whose values many entities share (None) it says nothing."""
    unseen = f"{1 / max(filled, 1)!r}" if filled is not None else "NULL"
    cases = []
    for level in comparison["comparison_levels"]:
        column = level.get("tf_adjustment_column")
        known = quoted(f"{look.attribute}__frequency")
        share = (
            [
                f'coalesce((SELECT any_value("tf_{column}") FROM {known} WHERE "{column}" = "{column}_{side}"), {unseen})'
                for side in "lr"
            ]
            if column
            else []
        )
        value = f"greatest({', '.join(share)})" if share else "NULL"
        cases.append(f"ELSE {value}" if level["sql_condition"] == "ELSE" else f"WHEN {level['sql_condition']} THEN {value}")
    return "CAST(CASE " + " ".join(cases) + " END AS DOUBLE)"
