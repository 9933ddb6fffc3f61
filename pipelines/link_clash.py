"""Clashes: one identifier on records that contradict each other in earnest, so that they cannot be one entity.

A wrong number (typed over from the next line, lent, given out twice) would melt two people into one, which is worse than to
leave one person in two. So the records of one identifier are looked at once more: where everything the entity's `clash` names
is given on both and differs in earnest, they are kept apart, and nothing may tie them together again.

*In earnest* leaves out what slips of the pen and customs explain, because two slips on one row are common enough:

- a personal name differs when neither holds the other, no order of its words or characters makes them equal, and more is
  changed than one character left out or, in a Chinese name of three and more, one character mistaken. Of a two-character name
  one character is half of it. Names in two scripts cannot be compared, and contradict nothing.
- an organisation's name differs when the shorter, without its legal form, shares fewer than half of its pieces with the longer.
- a date differs when at least two of year, month and day do, more than one digit is changed, day and month are not swapped, the two
  are more than 62 days apart (a birthday by the lunar calendar is written 20 to 50 days earlier), and neither is the 1 January
  that stands for a year alone.

One attribute that differs alone is no clash: who is believed is then a matter of the authority order. Where records
without an identifier contradict each other like this, what a household or an office shares is no evidence that they are one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from catalog.entity import Entity
from pipelines.link_groups import Disputes, Holders
from pipelines.link_kinds import MACROS
from pipelines.link_script import Script
from warehouse.lake import quoted

#: A value that stands on records of more different names and dates than this identifies nobody: only equal ones stay together,
#: and no pairs are compared.
MOST_PROFILES = 100

DIFFERENCES: Mapping[str, str] = {
    # a is b with one character left out
    "one_left_out(a, b)": """length(a) = length(b) - 1
        AND list_contains(list_transform(range(1, length(b) + 1), lambda i: substr(b, 1, i - 1) || substr(b, i + 1)), a)""",
    "sorted_by(v, separator)": "list_sort(string_split(v, separator))",
    "person_differs(a, b)": """CASE WHEN is_han(a) <> is_han(b) THEN NULL
        WHEN contains(a, b) OR contains(b, a) THEN false
        WHEN is_han(a) THEN NOT (sorted_by(a, '') = sorted_by(b, '') OR one_left_out(a, b) OR one_left_out(b, a)
            OR length(a) > 2 AND one_character_apart(a, b))
        ELSE NOT (list_has_all(sorted_by(a, ' '), sorted_by(b, ' ')) OR list_has_all(sorted_by(b, ' '), sorted_by(a, ' '))
            OR jaro_winkler_similarity(a, b) >= 0.8 OR damerau_levenshtein(a, b) <= 1) END""",
    "company_differs(a, b)": """CASE WHEN is_han(a) <> is_han(b) THEN NULL WHEN contains(a, b) OR contains(b, a) THEN false
        ELSE 2 * len(list_intersect(pieces(a), pieces(b))) < least(len(pieces(a)), len(pieces(b))) END""",
    "days_between(a, b)": "abs(date_diff('day', TRY_CAST(a AS DATE), TRY_CAST(b AS DATE)))",
    "same_parts(a, b)": """(left(a, 4) = left(b, 4))::INT + (substr(a, 6, 2) = substr(b, 6, 2))::INT
        + (right(a, 2) = right(b, 2))::INT""",
    "date_differs(a, b)": """NOT (same_parts(a, b) >= 2 OR damerau_levenshtein(a, b) <= 1
        OR left(a, 4) = left(b, 4) AND substr(a, 6, 2) = right(b, 2) AND right(a, 2) = substr(b, 6, 2)
        OR coalesce(days_between(a, b) <= 62, false)
        OR left(a, 4) = left(b, 4) AND '01-01' IN (right(a, 5), right(b, 5)))""",
    "text_differs(a, b)": "a <> b",
}  # fmt: skip

#: Kind of attribute -> its normal form over `v`, and the macro that says whether two of them contradict each other.
BY_KIND: Mapping[str, tuple[str, str]] = {
    "person_name": ("squeezed(v)", "person_differs"),
    "organisation_name": ("company(v)", "company_differs"),
    "date": ("left(v, 10)", "date_differs"),
}
OTHERWISE = ("plain(v)", "text_differs")


@dataclass(frozen=True)
class Clashed:
    """One record that holds an identifier value on which records contradict each other.

    `other` is a record of the value that it contradicts, or that one of its own side contradicts; with `unclear` it says too
    little, or agrees with one in this and with another in that, and `other` is merely the first one that it is kept apart from.
    """

    place: int
    code: int
    record: int
    other: int
    unclear: bool


def find(
    script: Script, entity: Entity, identifiers: int, present: frozenset[str], forbidden: Sequence[tuple[int, int]] = ()
) -> Disputes:
    """The identifier values of the tables identifier_0, identifier_1 ... whose records contradict each other, or are kept apart by
    people: `forbidden`, pairs of records, smaller first.

    Reads    all_records (`_n`, attributes), identifier_<place> (`_n`, `code`)
    Writes   doubtful, profiles, contradictions (scratch)
    Cost     one aggregate per identifier; what follows looks only at values on which all of `clash` vary
    """
    items = [tuple(a for a in item if a in present) for item in entity.clashing]
    if not all(items):
        items = []
    if not (items or forbidden) or not identifiers:
        return Disputes(forbidden=forbidden)
    attributes = [a for item in items for a in item]
    for signature, body in {**MACROS, **DIFFERENCES}.items():
        script.run(f"macro {signature}", f"CREATE OR REPLACE MACRO {signature} AS {body}")
    first = ["coalesce(" + ", ".join(f"CAST({quoted(a)} AS VARCHAR)" for a in item) + ")" for item in items]
    varies = " AND ".join(f"min({f}) <> max({f})" for f in first) or "false"
    forms = "".join(f", {_form(entity, a)} AS {quoted(a)}" for a in attributes)
    script.con.execute("CREATE TABLE forbidden (_n BIGINT, other BIGINT)")
    if forbidden:
        script.con.executemany("INSERT INTO forbidden VALUES (?, ?)", [list(p) for p in forbidden])
    # a record that people keep apart from another speaks for itself alone
    script.run("records kept apart", "CREATE TABLE lone AS SELECT _n FROM forbidden UNION SELECT other FROM forbidden")
    parts = [
        f"SELECT {place} AS place, code, _n, lone._n AS _lone{forms}\n"
        f"FROM identifier_{place} JOIN all_records USING (_n) LEFT JOIN lone USING (_n)\n"
        f"WHERE code IN (SELECT code FROM identifier_{place} JOIN all_records USING (_n) GROUP BY code HAVING {varies})\n"
        f"  OR code IN (SELECT code FROM identifier_{place} JOIN lone USING (_n) GROUP BY code HAVING count(*) > 1)"
        for place in range(identifiers)
    ]
    script.run("records of identifiers on which names and dates vary", "CREATE TABLE doubtful AS\n" + "\nUNION ALL\n".join(parts))
    listed = ", ".join(["_lone", *(quoted(a) for a in attributes)])
    given = " OR ".join(["_lone IS NOT NULL", *(f"{quoted(a)} IS NOT NULL" for a in attributes)])
    script.run(
        "what they say, numbered",
        f"CREATE TABLE profiles AS SELECT place, code, _n, {listed},\n"
        f"  CASE WHEN {given} THEN dense_rank() OVER (ORDER BY {listed}) END AS profile\nFROM doubtful",
    )
    differs = [_differs(entity, item) for item in items]
    script.run(
        "which contradict each other",
        f"""CREATE TABLE contradictions AS
WITH each AS (SELECT DISTINCT place, code, profile, {listed} FROM profiles WHERE profile IS NOT NULL),
few AS (SELECT * FROM each QUALIFY count(*) OVER (PARTITION BY place, code) <= {MOST_PROFILES}),
pairs AS (
  SELECT DISTINCT l.profile AS l, r.profile AS r, l._lone AS l_lone, r._lone AS r_lone{"".join(f", {d} AS d{i}" for i, d in enumerate(differs))}
  FROM few AS l JOIN few AS r USING (place, code) WHERE l.profile < r.profile)
SELECT l, r, coalesce({" AND ".join(f"d{i}" for i in range(len(items))) or "false"}, false) OR EXISTS (
    FROM forbidden AS f WHERE f._n = least(l_lone, r_lone) AND f.other = greatest(l_lone, r_lone)) AS clash,
  {" + ".join(f"CASE d{i} WHEN false THEN 1 WHEN true THEN -1 ELSE 0 END" for i in range(len(items))) or "0"} AS agreement
FROM pairs""",
    )
    return _disputes(script, forbidden)


def is_of_a_household(entity: Entity, attribute: str) -> bool:
    """Whether a household or an office shares its values: then it is no evidence for two that contradict each other."""
    return entity.attribute(attribute).kind in ("address", "phone")


def contradicting(script: Script, entity: Entity, present: frozenset[str], pairs: str, records: str, out: str) -> bool:
    """Table out (`l`, `r`): those of `pairs` whose records (`_n`, attributes) contradict each other in all of the entity's `clash`.
    False: none do, and there is no such table."""
    items = [tuple(a for a in item if a in present) for item in entity.clashing]
    if not items or not all(items):
        return False
    attributes = dict.fromkeys(a for item in items for a in item)
    for signature, body in {**MACROS, **DIFFERENCES}.items():
        script.run(f"macro {signature}", f"CREATE OR REPLACE MACRO {signature} AS {body}")
    forms = "".join(f", {_form(entity, a)} AS {quoted(a)}" for a in attributes)
    script.run(
        "alike, though they contradict each other",
        f"""CREATE TABLE {out} AS
WITH said AS (SELECT _n{forms} FROM {records} WHERE _n IN (SELECT l FROM {pairs} UNION SELECT r FROM {pairs}))
SELECT p.l, p.r FROM {pairs} AS p JOIN said AS l ON l._n = p.l JOIN said AS r ON r._n = p.r
WHERE {" AND ".join(_differs(entity, item) for item in items)}""",
    )
    return script.number(f"SELECT count(*) FROM {out}") > 0


def _form(entity: Entity, attribute: str) -> str:
    form, _ = BY_KIND.get(_kind(entity, attribute), OTHERWISE)
    return form.replace("(v", f"(CAST({quoted(attribute)} AS VARCHAR)")


def _kind(entity: Entity, attribute: str) -> str:
    found = entity.attribute(attribute)
    return "date" if found.type == "date" else found.kind


def _differs(entity: Entity, item: Sequence[str]) -> str:
    """NULL where one side gives none of them; true where each given value differs from each given one of the other."""
    tests = []
    for a in item:
        for b in item:
            left, right = f"l.{quoted(a)}", f"r.{quoted(b)}"
            macro = BY_KIND.get(_kind(entity, a), OTHERWISE)[1]
            tests.append(f"CASE WHEN {left} IS NULL OR {right} IS NULL THEN true ELSE {macro}({left}, {right}) END")
    given = [f"coalesce({', '.join(f'{side}.{quoted(a)}' for a in item)}) IS NOT NULL" for side in "lr"]
    return f"CASE WHEN {' AND '.join(given)} THEN {' AND '.join(tests)} END"


def _disputes(script: Script, forbidden: Sequence[tuple[int, int]]) -> Disputes:
    pairs = {
        (int(a), int(b)): (bool(c), int(n)) for a, b, c, n in script.ask("SELECT l, r, clash, agreement FROM contradictions")
    }
    script.run(
        "identifier values in dispute",
        f"""CREATE TABLE disputed AS
WITH each AS (SELECT DISTINCT place, code, profile FROM profiles WHERE profile IS NOT NULL),
crowded AS (SELECT place, code FROM each GROUP BY place, code HAVING count(*) > {MOST_PROFILES}),
clashing AS (SELECT DISTINCT place, code FROM each AS l JOIN each AS r USING (place, code)
  JOIN contradictions AS c ON c.l = l.profile AND c.r = r.profile WHERE c.clash)
SELECT place, code, true AS crowded FROM crowded UNION ALL SELECT place, code, false FROM clashing""",
    )
    holders: dict[tuple[int, int], Holders] = {}
    rows = script.con.execute(
        "SELECT place, code, crowded, list(_n ORDER BY _n), list(coalesce(profile, -1) ORDER BY _n)\n"
        "FROM profiles JOIN disputed USING (place, code) GROUP BY ALL ORDER BY place, code"
    ).fetchall()
    for place, code, crowded, records, profiles in rows:
        holders[place, code] = Holders(np.asarray(records, dtype=np.int64), np.asarray(profiles, dtype=np.int64), crowded)
    clashes = frozenset(k for k, (clash, _) in pairs.items() if clash)
    return Disputes(holders, clashes, {k: n for k, (_, n) in pairs.items()}, forbidden)


def explain(disputes: Disputes, cluster: Any) -> list[Clashed]:
    """One per holder of a disputed value, with a record that it contradicts; in order of place, code, record."""
    found = []
    for (place, code), held in disputes.holders.items():
        groups = cluster[held.records]
        first: dict[int, int] = {}  # profile -> its first record
        speakers: dict[int, set[int]] = {}  # group -> profiles in it
        for record, profile, group in zip(held.records.tolist(), held.profiles.tolist(), groups.tolist(), strict=True):
            if profile >= 0:
                first.setdefault(profile, record)
                speakers.setdefault(group, set()).add(profile)
        opposite = {p: sorted(first[q] for q in first if disputes.clash(p, q)) for p in first} if not held.crowded else {}
        start = [int(r) for r in held.records[:1]]
        second = held.records[groups != groups[0]].tolist()[:1] or start
        for record, profile, group in zip(held.records.tolist(), held.profiles.tolist(), groups.tolist(), strict=True):
            against = opposite.get(profile) or sorted(o for p in speakers.get(group, ()) for o in opposite.get(p, ()))
            apart = start if group != groups[0] else second
            found.append(Clashed(place, code, record, (against or apart)[0], unclear=not against and not held.crowded))
    return found
