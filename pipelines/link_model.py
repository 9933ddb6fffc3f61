"""The matching model: which pairs are compared, what Splink learns about them, and how likely each pair is one.

Fellegi-Sunter: for each compared attribute, `m` is the share of true pairs and `u` the share of chance pairs that reach a
level of likeness; `log2(m / u)` is added up over the attributes. `u` comes from random pairs, `m` from expectation
maximisation on pairs that agree on one attribute, for all the others (never for that one). Where the data are too few to
say, the level's own default stays.
"""

from __future__ import annotations

import logging
import math
import re
import statistics
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import duckdb

from catalog.entity import Match
from pipelines.link_kinds import Look, install

#: Pairs looked at, at most; and on average per record. Smallest blocks first, so the largest are left out.
MOST_PAIRS = 20_000_000
PAIRS_PER_RECORD = 100

SAMPLED_PAIRS = 1_000_000
TRAINING_PAIRS = 1_000_000
TRAINING_RULES = 4
FEWEST_TRAINING_PAIRS = 100
SEED = 1

Statement = tuple[str, str]


@dataclass
class Script:
    """Runs statements on a connection and keeps them with their titles, for the auditor."""

    con: duckdb.DuckDBPyConnection
    statements: list[Statement] = field(default_factory=list)

    def run(self, title: str, sql: str) -> None:
        self.statements.append((title, sql))
        self.con.execute(sql)

    def note(self, text: str) -> None:
        self.statements.append(("note", f"-- {text}"))

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        return self.con.execute(sql).fetchall()

    def number(self, sql: str) -> int:
        return int(self.ask(sql)[0][0] or 0)


def match(script: Script, how: Match, looks: tuple[Look, ...]) -> Mapping[str, Any] | None:
    """Score the likely pairs of `numbered` into `scored` (`l`, `r`, `p`); the trained model, or None when nothing compares."""
    usable = prepare(script, looks)
    if not usable or not block(script, how, usable):
        return None
    return score(script, usable)


def prepare(script: Script, looks: tuple[Look, ...]) -> tuple[Look, ...]:
    """Normal forms of every record, once.

    Reads    numbered: one row per record, `_n`, `_identified`, the compared attributes
    Writes   link_prepared: the same rows with `<attribute>__<form>` columns
    Returns  the looks that at least two records have a value for; the others cannot tell records apart
    """
    for signature, body in install(script.con).items():
        script.run(f"macro {signature}", f"CREATE OR REPLACE MACRO {signature} AS {body}")
    source = "(SELECT _n, _identified" + "".join(f', CAST("{v.attribute}" AS VARCHAR) AS "{v.attribute}"' for v in looks)
    source += " FROM numbered)"
    for step in range(max(len(v.forms) for v in looks)):
        # one SELECT per step, because a form may use the one before it
        made = []
        for v in looks:
            if step < len(v.forms):
                suffix, sql = list(v.forms.items())[step]
                made.append(f'{_of_value(sql, v.attribute)} AS "{v.column(suffix)}"')
        source = f"(SELECT *, {', '.join(made)}\n FROM {source})"
    script.run("normal forms", f"CREATE TABLE forms AS SELECT * FROM {source} ORDER BY _n")
    joins, columns = [], []
    for v in looks:
        columns += [f'f."{v.column(s)}"' for s in v.kept]
        if v.weighed is None:
            continue
        t, n, table = v.column(v.weighed), v.column("n"), f"{v.attribute}__pieces"
        script.run(
            f"how rare each piece of {v.attribute} is",
            f"""CREATE TABLE "{table}" AS
WITH each AS (SELECT DISTINCT "{n}", unnest("{t}") AS t FROM forms)
SELECT t, 1 + round(100 * ln((SELECT count(DISTINCT "{n}") FROM forms) / count(*)))::BIGINT AS w FROM each GROUP BY t""",
        )
        joins.append(
            f"""LEFT JOIN (SELECT _n, list({{'t': t, 'w': w}} ORDER BY w DESC, t) AS "{v.attribute}__tw",
    sum(w)::BIGINT AS "{v.attribute}__w"
  FROM (SELECT _n, unnest("{t}") AS t FROM forms) JOIN "{table}" USING (t) GROUP BY _n) AS "{v.attribute}" USING (_n)"""
        )
        columns += [f'"{v.attribute}__tw"', f'"{v.attribute}__w"']
    script.run(
        "records as compared",
        f"CREATE TABLE link_prepared AS SELECT f._n, f._identified, {', '.join(columns)}\nFROM forms f\n"
        + "\n".join(joins)
        + "\nORDER BY f._n",
    )
    counts = script.ask("SELECT " + ", ".join(f'count("{v.column("n")}")' for v in looks) + " FROM link_prepared")[0]
    usable = tuple(v for v, filled in zip(looks, counts, strict=True) if filled > 1)
    for v in _often_shared(usable):
        key = v.column(v.key)
        others = [o.column(o.key) for o in usable if o is not v and o.distinctive]
        here = ", ".join(f'count(DISTINCT "{o}")' for o in others)
        everywhere = ", ".join(f'(SELECT count(DISTINCT "{o}") FROM link_prepared)' for o in others)
        script.run(
            f"how many entities seem to share one {v.attribute}",
            f"""CREATE TABLE "{v.attribute}__frequency" AS
SELECT "{key}", (least({here}) - 1) / greatest({everywhere}) AS "tf_{key}"
FROM link_prepared WHERE "{key}" IS NOT NULL GROUP BY "{key}" HAVING least({here}) > 1 ORDER BY "{key}" """,
        )
    return usable


def _often_shared(looks: tuple[Look, ...]) -> list[Look]:
    """Attributes such as phones, of which one may serve many entities; such values count for less.

    How many is said by how many different names, addresses, dates stand beside the value, whichever is least: the number of
    rows would hold it against an entity that it is listed often.
    """
    return [v for v in looks if v.shared and any(o.distinctive for o in looks if o is not v)]


def _of_value(sql: str, attribute: str) -> str:
    """Forms are written over `v`, the attribute's own text."""
    return re.sub(r"\bv\b", f'"{attribute}"', sql)


def block(script: Script, match: Match, looks: tuple[Look, ...]) -> int:
    """Choose the pairs worth comparing; at least one of the two has no identifier.

    Writes   link_pairs: `join_key_l`, `join_key_r`, `match_key`, each pair once
    Returns  how many; never more than MOST_PAIRS or PAIRS_PER_RECORD times the records
    """
    by_name = {v.attribute: v for v in looks}
    script.run("blocks", "CREATE TABLE blocks (rule VARCHAR, value VARCHAR, _n BIGINT, _identified BOOLEAN)")
    if match.block:
        for names in match.block:
            if all(n in by_name for n in names):
                _add_block(script, tuple(by_name[n] for n in names))
    else:
        for v in looks:
            _add_block(script, (v,))
    budget = min(MOST_PAIRS, PAIRS_PER_RECORD * script.number("SELECT count(*) FROM link_prepared"))
    _plan(script, budget)
    cut = [r for (r,) in script.ask("SELECT DISTINCT rule FROM planned WHERE NOT kept ORDER BY rule")]
    if not match.block and len(cut) > 1:
        # values too common alone are asked for two at a time
        both = [v for v in looks if v.attribute in cut]
        for i, a in enumerate(both):
            for b in both[i + 1 :]:
                _add_block(script, (a, b))
        _plan(script, budget)
    for rule, pairs, left_out in script.ask(
        "SELECT rule, sum(pairs) FILTER (kept), count(*) FILTER (NOT kept) FROM planned GROUP BY rule ORDER BY rule"
    ):
        script.note(f"pairs agreeing on {rule}: {pairs or 0} compared; {left_out} values too common, left out")
    script.run(
        "pairs to compare",
        """CREATE TABLE link_pairs AS
SELECT l._n AS join_key_l, r._n AS join_key_r, '0' AS match_key
FROM blocks l JOIN planned p USING (rule, value) JOIN blocks r USING (rule, value)
WHERE p.kept AND l._n < r._n AND NOT (l._identified AND r._identified)
GROUP BY ALL ORDER BY ALL""",
    )
    return script.number("SELECT count(*) FROM link_pairs")


def _add_block(script: Script, looks: tuple[Look, ...]) -> None:
    name = " + ".join(v.attribute for v in looks)
    if len(looks) == 1:
        values = f"unnest(list_distinct({looks[0].blocks}))"
    else:
        values = " || chr(31) || ".join(f'CAST("{v.column(v.key)}" AS VARCHAR)' for v in looks)
    script.run(
        f"blocks on {name}",
        f"INSERT INTO blocks SELECT '{name}', value, _n, _identified\n"
        f"FROM (SELECT _n, _identified, {values} AS value FROM link_prepared)"
        " WHERE value IS NOT NULL",
    )


def _plan(script: Script, budget: int) -> None:
    script.run(
        "plan of blocks, smallest first",
        f"""CREATE OR REPLACE TABLE planned AS
WITH sized AS (
  SELECT rule, value, count(*) AS n, count(*) FILTER (_identified) AS i FROM blocks GROUP BY rule, value),
counted AS (SELECT rule, value, (n * (n - 1) - i * (i - 1)) // 2 AS pairs FROM sized)
SELECT rule, value, pairs, sum(pairs) OVER (ORDER BY pairs, rule, value) <= {budget} AS kept FROM counted WHERE pairs > 0""",
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


def score(script: Script, looks: tuple[Look, ...]) -> Mapping[str, Any]:
    """Train on link_prepared, score link_pairs.

    Writes   scored: `l`, `r` (record numbers, l < r), `p` (match probability, six digits)
    Returns  the trained Splink settings
    """
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

    records = script.number("SELECT count(*) FROM link_prepared")
    all_pairs = records * (records - 1) / 2
    with _quiet():
        api = Recording(script.con)
        table = api.register("link_prepared", dataset_display_name="records")
        linker = Linker(table, _settings(looks, 1 / records), log_level=None, validate_settings=False)
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
        settings = _settings(looks, prior, learned)
        linker = Linker(table, settings, log_level=None, validate_settings=False)
        for v in _often_shared(looks):
            frequency = api.register(f"{v.attribute}__frequency", dataset_display_name=f"{v.attribute}_frequency")
            linker.table_management.register_term_frequency_lookup(frequency, v.column(v.key))
        chosen = api.register("link_pairs", dataset_display_name="chosen_pairs")
        linker.table_management.register_blocked_pairs_for_predict(chosen)
        predicted = linker.inference.predict(warning_mode="never")
        script.run(
            "scores",
            f"""INSERT INTO scored
SELECT least(_n_l, _n_r) AS l, greatest(_n_l, _n_r) AS r, round(match_probability, 6) AS p
FROM {predicted.physical_name} ORDER BY l, r""",
        )
    return settings


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
