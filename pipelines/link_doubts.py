"""Doubts: what linking decided and a person should look at. Every doubt is one question about two records: are these one?

What is asked, and why these two:

- `near`    just below the threshold, left apart: the likest pair of two groups
- `apart`   as alike as the threshold asks, and left apart all the same, because the rest of the group is not alike
- `weak`    just above the threshold, and nothing else holds the two sides of the group together
- `bridge`  the same where both sides are groups that are sure in themselves: one pair makes one of two
- `clash`   one identifier on two records that contradict each other in earnest (`pipelines.link_clash`)
- `large`   a group too large for one entity: the two of its records that contradict each other most

Near means within `BAND` bits of the threshold: a bit is a factor of two in the odds, so three bits around 0.95 are 0.70 to 0.99.
First comes what is most uncertain and moves most records: `priority` is uncertainty (1 at the threshold, 0 at the edge of the
band) times the bits of the number of records that would change sides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from catalog.decision import Decision, together
from pipelines.link_groups import Numbers, connected
from pipelines.link_model import Script
from warehouse.lake import quoted

#: How far from the threshold a probability is in doubt, in bits of match weight.
BAND = 3.0

#: The largest queue of an entity. What is beyond it is counted; it comes up when those before it are decided.
MOST = 1_000

#: Questions about one group in one queue: somebody of a common name is near to hundreds.
PER_GROUP = 3

#: An entity stands in a handful of registers; a group of more records than this was chained, or shares a number that identifies nobody.
LARGE = 20

#: Sides of one clashing value beyond which it is no question about two records any more, but a value such as 111111.
MOST_SIDES = 10

#: Of the largest groups so many are looked into, and so many records of each.
LARGE_GROUPS, LARGE_RECORDS = 200, 40


def band(threshold: float) -> tuple[float, float]:
    """The probabilities `BAND` bits below and above the threshold."""
    odds = threshold / (1 - threshold)
    low, high = odds / 2**BAND, odds * 2**BAND
    return low / (1 + low), high / (1 + high)


def find(script: Script, threshold: float | None, decisions: Sequence[Decision]) -> None:
    """Table doubted: one row per doubt, the most pressing `MOST`.

    Reads    scored (`l`, `r`, `p`), grouped (`_n`, `node`, `cluster`), all_records (`_n`, `_record`, attributes), clashed
    Writes   doubted (`l`, `r` record numbers, l < r; `kind`, `p`, `identifier`, `l_records`, `r_records` how many records stand on
             each side, `priority`, `found` how many doubts there are in all)
    Settled  two that people decided about are no doubt, nor are two groups that a decision keeps apart
    """
    _decided(script, decisions)
    _linked_weakly(script, threshold)
    columns = [c for (c, *_) in script.ask("DESCRIBE all_records") if c not in ("_n", "_record")]
    contradictions = " + ".join(f"coalesce((l.{quoted(c)} <> r.{quoted(c)})::INTEGER, 0)" for c in columns) or "0"
    low = band(threshold)[0] if threshold else 1.0
    script.run(
        "doubts",
        f"""CREATE TABLE doubted AS
WITH sizes AS (SELECT cluster, count(*) AS n FROM grouped GROUP BY cluster),
kept_apart AS (
  SELECT DISTINCT least(a.cluster, b.cluster) AS c, greatest(a.cluster, b.cluster) AS d
  FROM decided_apart JOIN grouped AS a ON a._n = l JOIN grouped AS b ON b._n = r),
between_groups AS (
  SELECT s.l, s.r, s.p, a.cluster AS lc, b.cluster AS rc
  FROM scored AS s JOIN grouped AS a ON a._n = s.l JOIN grouped AS b ON b._n = s.r
  WHERE a.cluster <> b.cluster AND s.p >= {low!r}
  QUALIFY row_number() OVER (PARTITION BY least(a.cluster, b.cluster), greatest(a.cluster, b.cluster) ORDER BY s.p DESC, s.l, s.r) = 1),
clashing AS (
  SELECT least(c._n, c.other) AS l, greatest(c._n, c.other) AS r, c.identifier, c.unclear, a.cluster AS lc, b.cluster AS rc
  FROM clashed AS c JOIN grouped AS a ON a._n = c._n JOIN grouped AS b ON b._n = c.other
  WHERE a.cluster <> b.cluster
  QUALIFY count(DISTINCT a.cluster) OVER (PARTITION BY c.identifier, c.first) <= {MOST_SIDES}),
big AS (SELECT cluster, n FROM sizes WHERE n > {LARGE} ORDER BY n DESC, cluster LIMIT {LARGE_GROUPS}),
sampled AS (
  SELECT r.*, g.cluster, big.n, m.first FROM all_records AS r JOIN grouped AS g USING (_n) JOIN big USING (cluster) LEFT JOIN made_one AS m USING (_n)
  QUALIFY row_number() OVER (PARTITION BY cluster ORDER BY _n) <= {LARGE_RECORDS}),
inside AS (
  SELECT l._n AS l, r._n AS r, l.n AS n, {contradictions} AS contradictions
  FROM sampled AS l JOIN sampled AS r ON l.cluster = r.cluster AND l._n < r._n AND (l.first = r.first) IS NOT TRUE
  QUALIFY row_number() OVER (PARTITION BY l.cluster ORDER BY contradictions DESC, l._n, r._n) = 1),
every AS (
  SELECT l, r, CASE WHEN p < {threshold or 1.0!r} THEN 'near' ELSE 'apart' END AS kind, p, NULL AS identifier, lc, rc, NULL AS l_records, NULL AS r_records,
    {_uncertainty(threshold)} AS uncertainty FROM between_groups
  UNION ALL BY NAME
  SELECT l, r, CASE WHEN least(l_records, r_records) > 1 THEN 'bridge' ELSE 'weak' END AS kind, p, l_records, r_records, {_uncertainty(threshold)} AS uncertainty
  FROM linked_weakly
  UNION ALL BY NAME
  SELECT l, r, 'clash' AS kind, identifier, lc, rc, CASE WHEN unclear THEN 1.0 ELSE 0.5 END AS uncertainty FROM clashing
  UNION ALL BY NAME
  SELECT l, r, 'large' AS kind, n AS l_records, n AS r_records, 0.5 AS uncertainty FROM inside WHERE contradictions > 0),
unsettled AS (
  SELECT e.l, e.r, e.kind, e.p, e.identifier, coalesce(e.l_records, x.n) AS l_records, coalesce(e.r_records, y.n) AS r_records,
    round(uncertainty * log2(1 + least(coalesce(e.l_records, x.n), coalesce(e.r_records, y.n))), 4) AS priority,
    row_number() OVER (PARTITION BY lc ORDER BY uncertainty DESC, e.l, e.r, kind) AS l_place,
    row_number() OVER (PARTITION BY rc ORDER BY uncertainty DESC, e.l, e.r, kind) AS r_place, lc
  FROM every AS e LEFT JOIN sizes AS x ON x.cluster = lc LEFT JOIN sizes AS y ON y.cluster = rc
  WHERE NOT EXISTS (FROM kept_apart AS k WHERE k.c = least(lc, rc) AND k.d = greatest(lc, rc))),
once AS (
  SELECT * FROM unsettled WHERE lc IS NULL OR greatest(l_place, r_place) <= {PER_GROUP}
  QUALIFY row_number() OVER (PARTITION BY l, r ORDER BY priority DESC, kind) = 1)
SELECT l, r, kind, p, identifier, l_records::BIGINT AS l_records, r_records::BIGINT AS r_records, priority, count(*) OVER () AS found
FROM once ORDER BY priority DESC, l, r LIMIT {MOST}""",
    )
    found = script.number("SELECT max(found) FROM doubted")
    script.note(f"{found} doubts; {min(found, MOST)} of them in the queue")


def out_sql(scratch: str, out: str) -> str:
    """The doubts under the names of their records, as table `out`."""
    return f"""CREATE OR REPLACE TABLE {quoted(out)} AS
SELECT l._record AS _left, r._record AS _right, d.kind, d.p AS probability, d.identifier, d.l_records, d.r_records, d.priority, d.found
FROM {scratch}.doubted AS d JOIN {scratch}.all_records AS l ON l._n = d.l JOIN {scratch}.all_records AS r ON r._n = d.r
ORDER BY ALL"""


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
