"""Doubts: what linking decided and a person should look at. Every doubt is one question about two records: are these one?

What is asked, and why these two:

- `near`    just below the threshold, left apart: the likest pair of two groups
- `apart`   as alike as the threshold asks, and left apart all the same, because the rest of the group is not alike
- `weak`    just above the threshold, and nothing else holds the two sides of the group together
- `bridge`  the same where both sides are groups that are sure in themselves: one pair makes one of two
- `clash`   one identifier on two records that contradict each other in earnest (`pipelines.link_clash`)
- `large`   a group too large for one entity: the two of its records that contradict each other most

Near means within `BAND` bits of the threshold: a bit is a factor of two in the odds, so three bits around 0.95 are 0.70 to 0.99.
Doubts are local, as linking is: whether two records are in doubt depends on the groups they stand in and on the pairs between those. So beside an
index (`pipelines.link_index`) only the doubts with a record at hand are worked out, and all others stay.

First comes what is most uncertain and moves most records: `priority` is uncertainty (1 at the threshold, 0 at the edge of the
band; 1 where less alike ones are merged, at least a half where alike ones are apart) times the bits of the number of records that would change sides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from catalog.decision import Decision, together
from pipelines.link_groups import Numbers, connected
from pipelines.link_script import Script
from warehouse.lake import quoted

#: How far from the threshold a probability is in doubt, in bits of match weight.
BAND = 3.0

#: An entity stands in a handful of registers; a group of more records than this was chained, or shares a number that identifies nobody.
LARGE = 20

#: Sides of one clashing value beyond which it is no question about two records any more, but a value such as 111111.
MOST_SIDES = 10

#: So many records of a large group are looked into.
LARGE_RECORDS = 40


def band(threshold: float) -> tuple[float, float]:
    """The probabilities `BAND` bits below and above the threshold."""
    odds = threshold / (1 - threshold)
    low, high = odds / 2**BAND, odds * 2**BAND
    return low / (1 + low), high / (1 + high)


def find(script: Script, threshold: float | None, decisions: Sequence[Decision], index: str | None = None) -> None:
    """Table doubted: one row per doubt, `_left` < `_right` the records, `kind`, `probability`, `identifier`, `l_records` and `r_records` (how many
    records stand on each side), `priority`.

    Reads    scored (`l`, `r`, `p`), grouped (`_n`, `node`, `cluster`), all_records (`_n`, `_record`, attributes), clashed; with an index also
             all_records (`_id`), compared (`l`, `r`, `p` by `_id`), recompared and gone
    Settled  two that people decided about are no doubt, nor are two groups that a decision keeps apart
    """
    _decided(script, decisions)
    _near(script, threshold, index)
    _linked_weakly(script, threshold)
    columns = [c for (c, *_) in script.ask("DESCRIBE all_records") if c not in ("_n", "_id", "_record", "_identified")]
    contradictions = " + ".join(f"coalesce((l.{quoted(c)} <> r.{quoted(c)})::INTEGER, 0)" for c in columns) or "0"
    uncertainty = _uncertainty(threshold)
    script.run(
        "doubts",
        f"""CREATE TABLE doubted AS
WITH sizes AS (SELECT cluster, count(*) AS n FROM grouped GROUP BY cluster),
kept_apart AS (
  SELECT DISTINCT least(a.cluster, b.cluster) AS c, greatest(a.cluster, b.cluster) AS d
  FROM decided_apart JOIN grouped AS a ON a._n = l JOIN grouped AS b ON b._n = r),
between_groups AS (
  SELECT l, r, p, a.c AS lc, b.c AS rc, a.n AS l_records, b.n AS r_records
  FROM near_pairs JOIN near_groups AS a ON a._record = l JOIN near_groups AS b ON b._record = r
  WHERE a.c <> b.c
  QUALIFY row_number() OVER (PARTITION BY least(a.c, b.c), greatest(a.c, b.c) ORDER BY p DESC, l, r) = 1),
clashing AS (
  SELECT least(c._n, c.other) AS l, greatest(c._n, c.other) AS r, c.identifier, c.unclear, a.cluster AS lc, b.cluster AS rc
  FROM clashed AS c JOIN grouped AS a ON a._n = c._n JOIN grouped AS b ON b._n = c.other
  WHERE a.cluster <> b.cluster
  QUALIFY count(DISTINCT a.cluster) OVER (PARTITION BY c.identifier, c.first) <= {MOST_SIDES}),
sampled AS (
  SELECT r.*, g.cluster, s.n, m.first
  FROM all_records AS r JOIN grouped AS g USING (_n) JOIN sizes AS s USING (cluster) LEFT JOIN made_one AS m USING (_n) WHERE s.n > {LARGE}
  QUALIFY row_number() OVER (PARTITION BY cluster ORDER BY _n) <= {LARGE_RECORDS}),
inside AS (
  SELECT l._n AS l, r._n AS r, l.n AS n, {contradictions} AS contradictions
  FROM sampled AS l JOIN sampled AS r ON l.cluster = r.cluster AND l._n < r._n AND (l.first = r.first) IS NOT TRUE
  QUALIFY row_number() OVER (PARTITION BY l.cluster ORDER BY contradictions DESC, l._n, r._n) = 1),
numbered AS (
  SELECT l, r, CASE WHEN least(l_records, r_records) > 1 THEN 'bridge' ELSE 'weak' END AS kind, p, l_records, r_records,
    CASE WHEN p < {threshold or 1.0!r} THEN 1.0 ELSE {uncertainty} END AS uncertainty
  FROM linked_weakly
  UNION ALL BY NAME
  SELECT c.l, c.r, 'clash' AS kind, c.identifier, c.lc, c.rc, x.n AS l_records, y.n AS r_records, CASE WHEN c.unclear THEN 1.0 ELSE 0.5 END AS uncertainty
  FROM clashing AS c JOIN sizes AS x ON x.cluster = c.lc JOIN sizes AS y ON y.cluster = c.rc
  UNION ALL BY NAME
  SELECT l, r, 'large' AS kind, n AS l_records, n AS r_records, 0.5 AS uncertainty FROM inside WHERE contradictions > 0),
named AS (
  SELECT a._record AS l, b._record AS r, n.* EXCLUDE (l, r)
  FROM numbered AS n JOIN all_records AS a ON a._n = n.l JOIN all_records AS b ON b._n = n.r
  UNION ALL BY NAME
  SELECT *, CASE WHEN p < {threshold or 1.0!r} THEN 'near' ELSE 'apart' END AS kind,
    CASE WHEN p < {threshold or 1.0!r} THEN {uncertainty} ELSE greatest(0.5, {uncertainty}) END AS uncertainty FROM between_groups)
SELECT l AS _left, r AS _right, kind, p AS probability, identifier, l_records::BIGINT AS l_records, r_records::BIGINT AS r_records,
  round(uncertainty * log2(1 + least(l_records, r_records)), 4)::DOUBLE AS priority
FROM named WHERE NOT EXISTS (FROM kept_apart AS k WHERE k.c = least(lc, rc) AND k.d = greatest(lc, rc))
QUALIFY row_number() OVER (PARTITION BY l, r ORDER BY priority DESC, kind) = 1""",
    )
    script.note(f"{script.number('SELECT count(*) FROM doubted')} doubts")


def _near(script: Script, threshold: float | None, index: str | None) -> None:
    """Tables near_pairs (`l` < `r` records, `p`): pairs from the band below the threshold on, of which one at least is at hand; near_groups
    (`_record`, `c` the group of each, `n` its records)."""
    low = band(threshold)[0] if threshold else 2.0
    both = f"SELECT least(a._record, b._record) AS l, greatest(a._record, b._record) AS r, p\nFROM scored JOIN all_records AS a ON a._n = l JOIN all_records AS b ON b._n = r WHERE p >= {low!r}"
    groups = """SELECT r._record, g.cluster AS c, count(*) OVER (PARTITION BY g.cluster) AS n FROM all_records AS r JOIN grouped AS g USING (_n)"""
    if index:
        # what hangs together with the change is at hand; what is only near to it stands in the index, and stays where it is
        script.run(
            "pairs with records that are not at hand",
            f"""CREATE TABLE near_others AS
WITH pairs AS (
  SELECT l, r, p FROM compared WHERE p >= {low!r}
  UNION ALL
  SELECT l, r, p FROM {index}.pair WHERE p >= {low!r} AND l NOT IN (SELECT _n FROM recompared) AND r NOT IN (SELECT _n FROM recompared)),
either AS (SELECT l AS own, r AS other, p FROM pairs UNION ALL SELECT r, l, p FROM pairs)
SELECT a._record AS own, o._record AS other, p.cluster, e.p
FROM either AS e JOIN all_records AS a ON a._id = e.own JOIN {index}.record AS o ON o._id = e.other JOIN {index}.place AS p ON p._id = e.other
WHERE e.other NOT IN (SELECT _id FROM all_records) AND e.other NOT IN (SELECT _n FROM gone)""",
        )
        both += "\nUNION ALL SELECT least(own, other), greatest(own, other), p FROM near_others"
        groups += f"""
UNION ALL SELECT DISTINCT other, -1 - cluster, n FROM near_others JOIN (
  SELECT cluster, count(*) AS n FROM {index}.place WHERE cluster IN (SELECT cluster FROM near_others) GROUP BY cluster) USING (cluster)"""
    script.run("pairs near the threshold or above", f"CREATE TABLE near_pairs AS {both}")
    script.run(
        "groups that they are of",
        f"CREATE TABLE near_groups AS SELECT * FROM ({groups}) WHERE _record IN (SELECT l FROM near_pairs UNION SELECT r FROM near_pairs)",
    )


def _uncertainty(threshold: float | None) -> str:
    """1 at the threshold, 0 at `BAND` bits from it and beyond; SQL over `p`."""
    if threshold is None:
        return "0.5"
    bits = "log2(greatest(p, 1e-9) / greatest(1 - p, 1e-9))"
    return f"greatest(0.0, 1 - abs({bits} - {math.log2(threshold / (1 - threshold))!r}) / {BAND!r})"


def _decided(script: Script, decisions: Sequence[Decision]) -> None:
    """Tables decided_apart (`l`, `r`) and made_one (`_n`, `first`): what people said of records that are in force."""
    one = together(decisions)
    apart = sorted({(a, b) for d in decisions for i, a in enumerate(d.cannot_link) for b in d.cannot_link[i + 1 :]})
    text, con = pa.string(), script.con
    con.register("_pairs", pa.table({"a": pa.array([a for a, _ in apart], text), "b": pa.array([b for _, b in apart], text)}))
    con.register("_one", pa.table({"a": pa.array(list(one), text), "first": pa.array(list(one.values()), text)}))
    con.execute("""CREATE TABLE decided_apart AS SELECT x._n AS l, y._n AS r
FROM _pairs JOIN all_records AS x ON x._record = a JOIN all_records AS y ON y._record = b;
CREATE TABLE made_one AS SELECT _n, first FROM _one JOIN all_records ON _record = a""")
    con.unregister("_pairs")
    con.unregister("_one")


def _linked_weakly(script: Script, threshold: float | None) -> None:
    """Table linked_weakly (`l`, `r`, `p`, `l_records`, `r_records`): the pairs without which a group would fall apart, were the threshold
    `BAND` bits higher. Parts that hold together even then are taken as one; between them the likest pairs that connect all."""
    script.con.execute("CREATE TABLE linked_weakly (l BIGINT, r BIGINT, p DOUBLE, l_records BIGINT, r_records BIGINT)")
    if threshold is None:
        return
    high = band(threshold)[1]
    script.run(
        "pairs inside groups of which one is unsure",
        f"""CREATE TABLE inside_groups AS
SELECT s.l, s.r, s.p, a.node AS x, b.node AS y FROM scored AS s JOIN grouped AS a ON a._n = s.l JOIN grouped AS b ON b._n = s.r
WHERE a.cluster = b.cluster AND a.node <> b.node
QUALIFY min(s.p) OVER (PARTITION BY a.cluster) < {high!r}
ORDER BY s.p DESC, s.l, s.r""",
    )
    found = script.con.execute("SELECT * FROM inside_groups ORDER BY p DESC, l, r").fetchnumpy()
    left, right, p, x, y = (np.asarray(found[c]) for c in ("l", "r", "p", "x", "y"))
    if not len(left):
        return
    nodes, place = np.unique(np.concatenate([x, y]), return_inverse=True)
    a, b = place[: len(x)].astype(np.int64), place[len(x) :].astype(np.int64)
    sure = p >= high
    part = connected(len(nodes), a[sure], b[sure])
    kept = _spanning(part[a], part[b])
    records = script.con.execute("SELECT node, count(*) AS n FROM grouped GROUP BY node ORDER BY node").fetchnumpy()
    size = np.asarray(records["n"])[np.searchsorted(np.asarray(records["node"]), nodes)]
    in_part = np.bincount(part, weights=size, minlength=len(nodes)).astype(np.int64)
    columns = {"l": left, "r": right, "p": p, "l_records": in_part[part[a]], "r_records": in_part[part[b]]}
    rows = pa.table({name: values[kept] for name, values in columns.items()})
    script.con.register("_weak", rows)
    script.con.execute("INSERT INTO linked_weakly SELECT * FROM _weak")
    script.con.unregister("_weak")
    script.note(f"table linked_weakly: {rows.num_rows} rows worked out outside SQL (spanning tree of likeness)")


def _spanning(a: Numbers, b: Numbers) -> Numbers:
    """Which of the edges, given best first, connect what the edges before them do not: places in order."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import minimum_spanning_tree

    low, high = np.minimum(a, b), np.maximum(a, b)
    pair = np.stack([low, high], axis=1)
    _, first = np.unique(pair, axis=0, return_index=True)
    first = np.sort(first[low[first] != high[first]])
    if not len(first):
        return first
    size = int(high.max()) + 1
    # the weight is the place itself, so that no two are equal and the tree is the same every time
    tree = minimum_spanning_tree(coo_matrix((first + 1.0, (low[first], high[first])), shape=(size, size)).tocsr())
    return np.sort(tree.data.astype(np.int64) - 1)
