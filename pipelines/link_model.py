"""The matching model: what is learned of how records of one entity agree, and how likely each pair is one by it.

Fellegi-Sunter: for each compared attribute, `m` is the share of true pairs and `u` the share of chance pairs that reach a
level of likeness; `log2(m / u)` is added up over the attributes. `u` comes from random pairs, `m` from expectation
maximisation on pairs that agree on one attribute, for all the others (never for that one). Where the data are too few to
say, the level's own default stays.

A model is all that scoring a pair needs beside the pair: the shares, how rare pieces and values are, by which values pairs are
found. Kept in a folder it is *pinned*: a pair gets the same probability on every day and beside whatever other records.
"""

from __future__ import annotations

import json
import logging
import math
import statistics
import uuid
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb

from catalog.entity import Match
from pipelines.link_kinds import Look, digest
from pipelines.link_pairs import Rule, forms, often_shared, plan, prepare, weigh
from pipelines.link_script import Script
from warehouse.lake import PARQUET, literal
from warehouse.layout import sync_file, sync_folder, write_atomically

SAMPLED_PAIRS = 1_000_000
TRAINING_PAIRS = 1_000_000
TRAINING_RULES = 4
FEWEST_TRAINING_PAIRS = 100
SEED = 1


#: Where the likeness of compared pairs is counted.
BOUNDS = (0.01, 0.1, 0.5, 0.9, 0.99, 0.999)


@dataclass(frozen=True)
class Figures:
    """What comparing some records looked like: by it drift is seen."""

    records: int
    filled: Mapping[str, int]  # attribute -> of them, those with a value
    pairs: int  # compared
    likeness: tuple[int, ...]  # of the pairs, those from each of BOUNDS up to the next


@dataclass(frozen=True)
class Model:
    """What was learned. Its tables (`<attribute>__pieces`, `<attribute>__frequency`) stand in the scratch schema."""

    attributes: tuple[str, ...]  # compared; the others say too little
    settings: Mapping[str, Any]  # Splink's
    rules: tuple[Rule, ...]
    most: int  # pairs that a value may make
    unseen: Mapping[str, int]  # what a piece weighs that the records it learned from did not have
    records: int
    filled: Mapping[str, int]  # of them, those with a value
    looks: str  # `link_kinds.digest` of how it compares
    figures: Figures | None = None  # of the records it learned from

    def of(self, looks: Sequence[Look]) -> tuple[Look, ...]:
        return tuple(v for v in looks if v.attribute in self.attributes)


def train(script: Script, how: Match, looks: tuple[Look, ...]) -> Model | None:
    """Learn from the records of `subject`; None where nothing can be compared.

    Reads    subject: `_n`, `_identified`, the compared attributes
    Writes   link_prepared, blocks of all of them; `<attribute>__pieces`, `<attribute>__frequency`
    """
    forms(script, looks, "subject", "forms")
    unseen = weigh(script, looks)
    prepare(script, looks, unseen, "forms")
    script.con.execute("DROP TABLE forms")
    counts = script.ask("SELECT " + ", ".join(f'count("{v.column("n")}")' for v in looks) + " FROM link_prepared")[0]
    usable = tuple(v for v, filled in zip(looks, counts, strict=True) if filled > 1)
    filled = {v.attribute: int(n) for v, n in zip(looks, counts, strict=True) if n > 1}
    if not usable:
        return None
    frequencies(script, usable)
    rules, most = plan(script, usable, how.block)
    if not script.number(f"SELECT count(*) FROM planned WHERE pairs <= {most}"):
        return None
    records = script.number("SELECT count(*) FROM link_prepared")
    return Model(
        tuple(v.attribute for v in usable), _learned(script, usable), rules, most, unseen, records, filled, digest(looks)
    )


def save(script: Script, model: Model, folder: Path) -> None:
    """Into a folder of its own, whole or not at all."""
    part = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:12]}")
    part.mkdir(parents=True)
    for name in _tables(script):
        path = part / f"{name}.parquet"
        script.con.execute(f'COPY (FROM "{name}" ORDER BY ALL) TO {literal(str(path))} {PARQUET}')
        sync_file(path)
    write_atomically(part / "model.json", json.dumps(asdict(model), ensure_ascii=False, indent=1).encode(), mode=0o600)
    part.rename(folder)
    sync_folder(folder.parent)


def _tables(script: Script) -> list[str]:
    return [
        n
        for (n,) in script.ask(
            "SELECT table_name FROM duckdb_tables() WHERE schema_name = current_schema() AND database_name = current_database() "
            "AND (table_name LIKE '%\\_\\_pieces' ESCAPE '\\' OR table_name LIKE '%\\_\\_frequency' ESCAPE '\\') ORDER BY 1"
        )
    ]


def read(folder: Path) -> Model:
    """The model in a folder, without its tables."""
    data = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    told = data.pop("figures")
    figures = Figures(**{**told, "likeness": tuple(told["likeness"])}) if told else None
    return Model(
        **{**data, "attributes": tuple(data["attributes"]), "rules": tuple(tuple(r) for r in data["rules"]), "figures": figures}
    )


def figures(script: Script, looks: Sequence[Look], subject: str, compared: str) -> Figures:
    """Of the records of `subject`, all of whose pairs stand in link_pairs and `compared`."""
    counts = ", ".join(f'count("{v.column("n")}")' for v in looks)
    [(records, *filled)] = script.ask(f"SELECT count(*), {counts} FROM link_prepared WHERE _n IN (SELECT _n FROM {subject})")
    steps = ", ".join(
        f"count(*) FILTER (p >= {low}{f' AND p < {high}' if high else ''})"
        for low, high in zip(BOUNDS, [*BOUNDS[1:], None], strict=True)
    )
    [likeness] = script.ask(f"SELECT {steps} FROM {compared}")
    pairs = script.number("SELECT count(*) FROM link_pairs")
    return Figures(records, {v.attribute: n for v, n in zip(looks, filled, strict=True)}, pairs, tuple(likeness))


def load(script: Script, folder: Path) -> Model:
    """The model in a folder; its tables can be read in the current schema."""
    model = read(folder)
    for path in sorted(folder.glob("*.parquet")):
        script.con.execute(f'CREATE VIEW "{path.stem}" AS FROM read_parquet({literal(str(path))})')
    script.note(f"pinned model, learned from {model.records} records")
    return model


def frequencies(script: Script, looks: tuple[Look, ...]) -> None:
    """How common each value is that counts for less the commoner it is."""
    shared = often_shared(looks)
    for v in shared:
        key = v.column(v.key)
        others = [o.column(o.key) for o in looks if o is not v and o.distinctive]
        here = ", ".join(f'count(DISTINCT "{o}")' for o in others)
        everywhere = ", ".join(f'(SELECT count(DISTINCT "{o}") FROM link_prepared)' for o in others)
        script.run(
            f"how many entities seem to share one {v.attribute}",
            f"""CREATE TABLE "{v.attribute}__frequency" AS
SELECT "{key}", (least({here}) - 1) / greatest({everywhere}) AS "tf_{key}"
FROM link_prepared WHERE "{key}" IS NOT NULL GROUP BY "{key}" HAVING least({here}) > 1 ORDER BY "{key}" """,
        )
    for v in looks:
        for key in sorted({level.frequency for level in v.levels if level.frequency}) if v not in shared else ():
            script.run(
                f"how common each {v.attribute} is",
                f"""CREATE TABLE "{v.attribute}__frequency" AS
SELECT "{key}", count(*) / (SELECT count("{key}") FROM link_prepared) AS "tf_{key}"
FROM link_prepared WHERE "{key}" IS NOT NULL GROUP BY "{key}" HAVING count(*) > 1 ORDER BY "{key}" """,
            )


@contextmanager
def _quiet() -> Iterator[None]:
    """Splink writes progress and advice to its logger; none of it is for the people who run this."""
    logger = logging.getLogger("splink")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


def _settings(looks: tuple[Look, ...], prior: float, learned: Mapping[str, Learned] | None = None) -> dict[str, Any]:
    """Splink settings: with the defaults of each kind before training, with what was learned after it."""
    comparisons = []
    for v in looks:
        n = v.column("n")
        levels: list[dict[str, Any]] = [
            {"sql_condition": f'"{n}_l" IS NULL OR "{n}_r" IS NULL', "label_for_charts": "missing", "is_null_level": True}
        ]
        for i, (label, sql, m) in enumerate(_levels(v)):
            one: dict[str, Any] = {"sql_condition": sql, "label_for_charts": label, "m_probability": m}
            if learned is not None:
                one["m_probability"], one["u_probability"] = learned[v.attribute][i]
            if i < len(v.levels) and v.levels[i].frequency:
                one["tf_adjustment_column"] = v.levels[i].frequency
                one["disable_tf_exact_match_detection"] = True
            levels.append(one)
        comparisons.append({"output_column_name": v.attribute, "comparison_levels": levels})
    return {
        "link_type": "dedupe_only",
        "unique_id_column_name": "_n",
        "linker_uid": "dmp",
        "probability_two_random_records_match": prior,
        "comparisons": comparisons,
        "blocking_rules_to_generate_predictions": [],
        "retain_matching_columns": False,
        "retain_intermediate_calculation_columns": False,
    }


def _levels(look: Look) -> list[tuple[str, str, float]]:
    """All levels but the one for missing values, likest first, as label, SQL and expected share of true pairs (sum 1)."""
    named = [(level.label, level.sql, level.m) for level in look.levels]
    rest = max(1 - sum(m for _, _, m in named), 0.02)
    total = rest + sum(m for _, _, m in named)
    return [(label, sql, m / total) for label, sql, m in [*named, ("different", "ELSE", rest)]]


#: Per level, likest first: share of true pairs (m) and of chance pairs (u) that reach it.
Learned = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Session:
    """What expectation maximisation said about the pairs that agree on `attribute`."""

    attribute: str
    true_pairs: float
    m: Mapping[str, tuple[float, ...]]


def _linker(script: Script, settings: Mapping[str, Any]) -> tuple[Any, Any]:
    """Splink over link_prepared, its statements kept with the others."""
    from splink import DuckDBAPI, Linker

    statements = script.statements

    class Recording(DuckDBAPI):
        def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
            super().__init__(connection)
            self._cache_uid = self._id = "dmp"  # drawn by chance otherwise, and part of every table's name

        def _execute_sql_against_backend(self, final_sql: str) -> duckdb.DuckDBPyRelation:
            if final_sql.startswith("CREATE"):
                statements.append(("splink", final_sql))
            return super()._execute_sql_against_backend(final_sql)

    api = Recording(script.con)
    table = api.register("link_prepared", dataset_display_name="records")
    return api, Linker(table, dict(settings), log_level=None, validate_settings=False)


def _learned(script: Script, looks: tuple[Look, ...]) -> Mapping[str, Any]:
    """Splink settings with what the records of link_prepared teach."""
    records = script.number("SELECT count(*) FROM link_prepared")
    all_pairs = records * (records - 1) / 2
    with _quiet():
        _, linker = _linker(script, _settings(looks, 1 / records))
        linker.training.estimate_u_using_random_sampling(max_pairs=SAMPLED_PAIRS, seed=SEED)
        sampled = {
            c["output_column_name"]: [v.get("u_probability") or 0.0 for v in c["comparison_levels"] if not v.get("is_null_level")]
            for c in linker.misc.save_model_to_json()["comparisons"]
        }
        sessions = []
        for v, pairs in _training_rules(script, looks):
            rule = f'l."{v.column(v.key)}" = r."{v.column(v.key)}"'
            try:
                trained = linker.training.estimate_parameters_using_expectation_maximisation(
                    rule, estimate_without_term_frequencies=True, max_pairs=TRAINING_PAIRS if pairs > TRAINING_PAIRS else None
                )
            except Exception as error:  # Splink raises its own, and division errors, on data without contrast
                script.note(f"training on {rule} left out: {type(error).__name__}")
                continue
            core = trained.core_model_settings
            m = {
                c.output_column_name: tuple(
                    float(level.m_probability or 0) for level in c.comparison_levels if not level.is_null_level
                )
                for c in core.comparisons
            }
            if _bits(m, sampled) < LEAST_BITS:
                script.note(f"training on {rule} left out: what it took for true pairs is no more alike than chance")
                continue
            sessions.append(Session(v.attribute, core.probability_two_random_records_match * pairs, m))
        ms = {v.attribute: _m(v, sessions) for v in looks}
        prior = _prior(sessions, ms, all_pairs)
        learned = {
            v.attribute: _learn(ms[v.attribute], sampled[v.attribute], prior, min(all_pairs, SAMPLED_PAIRS)) for v in looks
        }
    return _settings(looks, prior, learned)


def score(script: Script, looks: tuple[Look, ...], model: Model, pairs: str, out: str, least: float) -> None:
    """Score pairs (`join_key_l`, `join_key_r`, `match_key`) by a model, the records standing in link_prepared.

    Reads    looks: those of the model, or of them only these: the others are then taken as not known
    Writes   out: `l`, `r` (record numbers, l < r), `p` (match probability, six digits), where it is `least` or more
    """
    with _quiet():
        asked = {v.attribute for v in looks}
        comparisons = [c for c in model.settings["comparisons"] if c["output_column_name"] in asked]
        api, linker = _linker(script, {**model.settings, "comparisons": comparisons})
        shared = {v.attribute for v in often_shared(model.of(looks))}
        for v in looks:
            for key in sorted({level.frequency for level in v.levels if level.frequency}):
                known = f"{v.attribute}__frequency"
                if v.attribute not in shared:  # a value that the model saw once or never is as rare as can be
                    known = f"{v.attribute}__tf"
                    script.run(
                        f"how common each {v.attribute} at hand is",
                        f"""CREATE OR REPLACE TABLE "{known}" AS
SELECT "{key}", coalesce("tf_{key}", {1 / max(model.filled[v.attribute], 1)!r}) AS "tf_{key}"
FROM (SELECT DISTINCT "{key}" FROM link_prepared WHERE "{key}" IS NOT NULL) LEFT JOIN "{v.attribute}__frequency" USING ("{key}") """,
                    )
                frequency = api.register(known, dataset_display_name=f"{v.attribute}_frequency")
                linker.table_management.register_term_frequency_lookup(frequency, key)
        chosen = api.register(pairs, dataset_display_name=f"chosen_{out}")
        linker.table_management.register_blocked_pairs_for_predict(chosen)
        predicted = linker.inference.predict(threshold_match_probability=least, warning_mode="never")
        script.run(
            "scores",
            f"""CREATE TABLE {out} AS
SELECT least(_n_l, _n_r) AS l, greatest(_n_l, _n_r) AS r, round(match_probability, 6) AS p
FROM {predicted.physical_name}""",
        )


#: So many true pairs, and chance pairs, are taken as seen at the default shares before the data speak.
DEFAULT_PAIRS = 10
DEFAULT_CHANCE_PAIRS = 1000

#: A training session whose true pairs stand out from chance by fewer bits than this has learned something else.
LEAST_BITS = 3.0


def _bits(m: Mapping[str, tuple[float, ...]], u: Mapping[str, list[float]]) -> float:
    """How far true pairs stand out from chance pairs (Kullback-Leibler), summed over the attributes."""
    return sum(
        here * math.log2(here / max(chance, 1e-6))
        for attribute, shares in m.items()
        for here, chance in zip(shares, u[attribute], strict=True)
        if here > 0
    )


def _m(look: Look, sessions: list[Session]) -> tuple[float, ...]:
    """Mean over the sessions, weighed by their true pairs, the default counting for a few."""
    total, sums = float(DEFAULT_PAIRS), [DEFAULT_PAIRS * m for _, _, m in _levels(look)]
    for session in sessions:
        if look.attribute in session.m:
            total += session.true_pairs
            sums = [a + session.true_pairs * b for a, b in zip(sums, session.m[look.attribute], strict=True)]
    return tuple(s / total for s in sums)


def _prior(sessions: list[Session], ms: Mapping[str, tuple[float, ...]], all_pairs: float) -> float:
    """Share of true pairs among all: those seen where one attribute agrees, over the share of true pairs that do agree there."""
    seen = sorted(s.true_pairs / max(ms[s.attribute][0], 0.05) for s in sessions)
    if not seen:
        return min(0.5, 1 / math.sqrt(2 * all_pairs))
    return float(f"{min(0.5, max(statistics.median(seen), 0.5) / all_pairs):.6g}")


def _learn(m: tuple[float, ...], u: list[float], prior: float, sample: float) -> Learned:
    """Clean the shares and keep the order of the levels.

    A random sample holds true pairs too, and where duplicates are many they are most of the agreeing ones, so they are
    taken out of u. A level that would speak more strongly for a match than the one above it is pooled with it.
    """
    pools: list[list[float]] = []  # m, u, levels
    for i, (here, seen) in enumerate(zip(m, u, strict=True)):
        usual = min(0.001 * 3**i, 0.1) if i < len(m) - 1 else 0.9
        chance = max((seen - prior * here) / (1 - prior), 0.05 * seen)
        chance = (chance * sample + usual * DEFAULT_CHANCE_PAIRS) / (sample + DEFAULT_CHANCE_PAIRS)
        pools.append([here, chance, 1])
        while len(pools) > 1 and pools[-1][0] / pools[-1][1] > pools[-2][0] / pools[-2][1]:
            last = pools.pop()
            pools[-1] = [x + y for x, y in zip(pools[-1], last, strict=True)]
    odds = [pool_m / pool_u for pool_m, pool_u, levels in pools for _ in range(int(levels))]
    return tuple((float(f"{here:.6g}"), float(f"{min(here / o, 1.0):.6g}")) for here, o in zip(m, odds, strict=True))


def _training_rules(script: Script, looks: tuple[Look, ...]) -> list[tuple[Look, int]]:
    """Attributes whose equality gives pairs to learn the others from, most selective first, with how many pairs."""
    rules = []
    for i, v in enumerate(looks):
        key = v.column(v.key)
        pairs = script.number(
            "SELECT sum(n * (n - 1) // 2)::BIGINT FROM"
            f' (SELECT count(*) AS n FROM link_prepared WHERE "{key}" IS NOT NULL GROUP BY "{key}")'
        )
        if pairs >= FEWEST_TRAINING_PAIRS:
            rules.append((pairs, i, v))
    return [(v, pairs) for pairs, _, v in sorted(rules, key=lambda rule: rule[:2])[:TRAINING_RULES]]
