"""Which pairs of records are compared, and in what form: normal forms, how rare their pieces are, values that two records must share.

Nothing here depends on how many records there are beside those at hand, once a model is given (`pipelines.link_model`): so a
record that is compared today is compared in the same way in ten years, beside whatever others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from pipelines import portions
from pipelines.link_kinds import Look, install
from pipelines.link_script import Script

#: Pairs looked at, at most; and on average per record. Values that would make too many are left out, the commonest first.
MOST_PAIRS = 20_000_000
PAIRS_PER_RECORD = 100

#: A value that makes no more pairs than this is never left out later, however few it made when the model was trained.
ALWAYS_PAIRS = 5000

#: A rule: attributes of which two records must share a value, all of them.
Rule = tuple[str, ...]


def macros(script: Script) -> None:
    for signature, body in install(script.con).items():
        script.run(f"macro {signature}", f"CREATE OR REPLACE MACRO {signature} AS {body}")


def forms(script: Script, looks: Sequence[Look], source: str, out: str) -> None:
    """Normal forms of each record of `source` (`_n`, `_identified`, the compared attributes), as `<attribute>__<form>`."""
    sql = "(SELECT _n, _identified" + "".join(f', CAST("{v.attribute}" AS VARCHAR) AS "{v.attribute}"' for v in looks)
    sql += f" FROM {source})"
    for step in range(max(len(v.forms) for v in looks)):
        # one SELECT per step, because a form may use the one before it
        made = []
        for v in looks:
            if step < len(v.forms):
                suffix, form = list(v.forms.items())[step]
                made.append(f'{_of_value(form, v.attribute)} AS "{v.column(suffix)}"')
        sql = f"(SELECT *, {', '.join(made)}\n FROM {sql})"
    kept = [v.column(s) for v in looks for s in v.forms if s in {"n", v.weighed, *v.kept}]
    listed = ", ".join(f'"{column}"' for column in kept)
    script.run("normal forms", f"CREATE TABLE {out} AS SELECT _n, _identified, {listed} FROM {sql}")


def _of_value(sql: str, attribute: str) -> str:
    """Forms are written over `v`, the attribute's own text."""
    return re.sub(r"\bv\b", f'"{attribute}"', sql)


def weigh(script: Script, looks: Sequence[Look]) -> Mapping[str, int]:
    """Tables `<attribute>__pieces` (`t`, `w`): the rarer a piece of a text, the more it weighs. What one never seen weighs, per attribute."""
    unseen = {}
    for v in looks:
        if v.weighed is None:
            continue
        t, n, table = v.column(v.weighed), v.column("n"), f"{v.attribute}__pieces"
        script.run(
            f"how rare each piece of {v.attribute} is",
            f"""CREATE TABLE "{table}" AS
WITH each AS (SELECT DISTINCT "{n}", unnest("{t}") AS t FROM forms)
SELECT t, 1 + round(100 * ln((SELECT count(DISTINCT "{n}") FROM forms) / count(*)))::BIGINT AS w FROM each GROUP BY t""",
        )
        [(unseen[v.attribute],)] = script.ask(
            f'SELECT 1 + round(100 * ln(greatest(count(DISTINCT "{n}"), 1)))::BIGINT FROM forms'
        )
    return unseen


def prepare(script: Script, looks: Sequence[Look], unseen: Mapping[str, int], source: str, *, more: bool = False) -> None:
    """Table link_prepared: the records of `source` as they are compared, pieces with their weights. `more`: beside those it has."""
    joins, columns = [], []
    portion = portions.within("_n")
    for v in looks:
        columns += [f'f."{v.column(s)}"' for s in v.kept]
        if v.weighed is None:
            continue
        t, weight = v.column(v.weighed), f"coalesce(w, {unseen[v.attribute]})"
        joins.append(
            f"""LEFT JOIN (SELECT _n, list({{'t': t, 'w': {weight}}} ORDER BY {weight} DESC, t) AS "{v.attribute}__tw",
    sum({weight})::BIGINT AS "{v.attribute}__w"
  FROM (SELECT _n, unnest("{t}") AS t FROM {source} WHERE {portion}) LEFT JOIN "{v.attribute}__pieces" USING (t) GROUP BY _n) AS "{v.attribute}" USING (_n)"""
        )
        columns += [f'"{v.attribute}__tw"', f'"{v.attribute}__w"']
    sql = f"SELECT f._n, f._identified, {', '.join(columns)}\nFROM {source} f\n" + "\n".join(joins)
    sql += f"\nWHERE {portions.within('f._n')} ORDER BY f._n"
    script.statements.append(("records as compared", f"INSERT INTO link_prepared {sql}"))
    [(rows, first, last)] = script.ask(f"SELECT count(*), coalesce(min(_n), 0), coalesce(max(_n), 0) FROM {source}")
    put = portions.fill if more else portions.create
    put(script.con, "link_prepared", sql, portions.numbers(first, last, rows))


def often_shared(looks: Sequence[Look]) -> list[Look]:
    """Attributes such as phones, of which one may serve many entities; such values count for less.

    How many is said by how many different names, addresses, dates stand beside the value, whichever is least: the number of
    rows would hold it against an entity that it is listed often.
    """
    return [v for v in looks if v.shared and any(o.distinctive for o in looks if o is not v)]


def values(script: Script, looks: Sequence[Look], rule: Rule, source: str = "link_prepared") -> None:
    """Add to `blocks` (`rule`, `value`, `_n`, `_identified`) what the records of `source` can be found by under a rule."""
    name = " + ".join(rule)
    by_name = {v.attribute: v for v in looks}
    if len(rule) == 1:
        listed = f"unnest(list_distinct({by_name[rule[0]].blocks}))"
    else:
        listed = " || chr(31) || ".join(f'CAST("{by_name[a].column(by_name[a].key)}" AS VARCHAR)' for a in rule)
    script.run(
        f"blocks on {name}",
        f"INSERT INTO blocks SELECT '{name}', hash('{name}' || chr(30) || value), _n, _identified\n"
        f"FROM (SELECT _n, _identified, {listed} AS value FROM {source}) WHERE value IS NOT NULL",
    )


def plan(script: Script, looks: Sequence[Look], asked: Sequence[Rule]) -> tuple[tuple[Rule, ...], int]:
    """Fill `blocks` for all records, and say by which rules, and how many pairs a value may make before it is left out.

    `asked`: the rules of the entity; none: each attribute for itself, and those two by two whose values are too common alone.
    """
    script.run("blocks", "CREATE TABLE blocks (rule VARCHAR, value UBIGINT, _n BIGINT, _identified BOOLEAN)")
    known = {v.attribute for v in looks}
    rules: list[Rule] = [r for r in asked if set(r) <= known] if asked else [(v.attribute,) for v in looks]
    for rule in rules:
        values(script, looks, rule)
    budget = min(MOST_PAIRS, PAIRS_PER_RECORD * script.number("SELECT count(*) FROM link_prepared"))
    most, cut = _cut(script, budget)
    if not asked and len(cut) > 1:
        both = [v.attribute for v in looks if v.attribute in cut]
        more: list[Rule] = [(a, b) for i, a in enumerate(both) for b in both[i + 1 :]]
        for rule in more:
            values(script, looks, rule)
        rules += more
        most, cut = _cut(script, budget)
    for name, pairs, left_out in script.ask(
        f"SELECT rule, sum(pairs) FILTER (pairs <= {most}), count(*) FILTER (pairs > {most}) FROM planned GROUP BY rule ORDER BY rule"
    ):
        script.note(f"pairs agreeing on {name}: {pairs or 0} compared; {left_out} values too common, left out")
    return tuple(rules), most


def pairs_sql(n: str = "n", i: str = "i") -> str:
    """Pairs that n records with one value make, of which i have an identifier, when at least one of the two has none."""
    return f"({n} * ({n} - 1) - {i} * ({i} - 1)) // 2"


def _cut(script: Script, budget: int) -> tuple[int, list[str]]:
    """The most pairs that a value may make so that all together stay within the budget, and the rules with values beyond."""
    script.run(
        "plan of blocks, smallest first",
        f"""CREATE OR REPLACE TABLE planned AS
WITH sized AS (SELECT rule, value, count(*) AS n, count(*) FILTER (_identified) AS i FROM blocks GROUP BY rule, value)
SELECT rule, value, {pairs_sql()} AS pairs FROM sized WHERE pairs > 0""",
    )
    [(most, beyond)] = script.ask(
        f"""WITH each AS (SELECT pairs, sum(pairs) AS sum FROM planned GROUP BY pairs),
running AS (SELECT pairs, sum(sum) OVER (ORDER BY pairs) AS sum FROM each)
SELECT coalesce(max(pairs) FILTER (sum <= {budget}), 0), coalesce(bool_or(sum > {budget}), false) FROM running"""
    )
    most = int(most) if beyond else max(int(most), ALWAYS_PAIRS)
    return most, [r for (r,) in script.ask(f"SELECT DISTINCT rule FROM planned WHERE pairs > {most} ORDER BY rule")]


def pair(script: Script, most: int) -> None:
    """Table link_pairs: pairs of records that share a value, at least one of the two without an identifier, each pair once."""
    script.run(
        "pairs to compare",
        f"""CREATE TABLE link_pairs AS
WITH kept AS (
  SELECT value FROM (SELECT value, count(*) AS n, count(*) FILTER (_identified) AS i FROM blocks GROUP BY value)
  WHERE {pairs_sql()} BETWEEN 1 AND {most})
SELECT DISTINCT l._n AS join_key_l, r._n AS join_key_r, '0' AS match_key
FROM blocks l JOIN kept USING (value) JOIN blocks r USING (value)
WHERE l._n < r._n AND NOT (l._identified AND r._identified)""",
    )


def pair_with_index(script: Script, most: int, index: str) -> None:
    """The same for the records of `blocks` beside those of an index: pairs of which at least one is in `blocks`.

    Reads    blocks: the records at hand; blocked: their values as counted with those of the index (`value`, `pairs`)
             <index>.key, without the records of `left_out` (`_n`), whose place in it is no longer theirs
    """
    script.run(
        "pairs to compare",
        f"""CREATE TABLE link_pairs AS
WITH mine AS (SELECT b.* FROM blocks AS b JOIN blocked USING (value) WHERE pairs BETWEEN 1 AND {most}),
others AS (
  SELECT k.value, k._id AS _n, k.identified AS _identified FROM {index}.key AS k
  WHERE k.is_block AND k.value IN (SELECT value FROM mine) AND k._id NOT IN (SELECT _n FROM left_out))
SELECT DISTINCT l._n AS join_key_l, r._n AS join_key_r, '0' AS match_key
FROM mine l JOIN mine r USING (value) WHERE l._n < r._n AND NOT (l._identified AND r._identified)
UNION
SELECT least(l._n, r._n), greatest(l._n, r._n), '0' FROM mine l JOIN others r USING (value) WHERE NOT (l._identified AND r._identified)""",
    )
