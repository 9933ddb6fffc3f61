"""From agreeing pairs to groups, as arithmetic on arrays: no names, no SQL, the same result for any order of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]
Shares = npt.NDArray[np.float64]

#: Two groups are one when the match probability between their members is this high on average; pairs not compared count 0.
#: Measured on Chicago's nine lists, FEBRL 1-3 and fake_1000: 0.1 lets chains through, 0.5 tears rows with several typing errors.
MEAN_LIKENESS = 0.3

#: More records than this hanging together by likeness are examined only after asking for ever higher probabilities.
LARGEST_EXAMINED = 2000


def connected(size: int, left: Numbers, right: Numbers) -> Numbers:
    """The smallest member of each node's connected component."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    graph = coo_matrix((np.ones(len(left), dtype=np.int8), (left, right)), shape=(size, size))
    _, label = connected_components(graph, directed=False)
    return _smallest_member(np.asarray(label, dtype=np.int64))


def _smallest_member(label: Numbers) -> Numbers:
    if not len(label):
        return label
    smallest = np.full(int(label.max()) + 1, len(label), dtype=np.int64)
    np.minimum.at(smallest, label, np.arange(len(label), dtype=np.int64))
    return smallest[label]


@dataclass(frozen=True)
class Identified:
    """Per record: the smallest record of its group, and the strongest identifier (by place, -1 none) that put it there."""

    group: Numbers
    by: Numbers
    clashes: tuple[int, ...]  # per identifier, values not followed because stronger identifiers disagree


def by_identifier(codes: Sequence[Numbers], size: int) -> Identified:
    """Join records with the same identifier, strongest identifier first.

    `codes` holds one number per record and identifier, -1 where the record has none. A weaker identifier joins groups only
    where at most one of them carries each stronger identifier: two carriers were not joined by it, so they differ. A value
    that clashes like this still joins the records that carry no stronger identifier.
    """
    group = np.arange(size, dtype=np.int64)
    by = np.full(size, -1, dtype=np.int64)
    clashes = []
    for place, code in enumerate(codes):
        held = np.flatnonzero(code >= 0)
        pairs = np.unique(np.stack([group[held], code[held]], axis=1), axis=0)
        groups, values = pairs[:, 0], pairs[:, 1] if len(pairs) else pairs[:, 0]
        carries = [_any(group, stronger >= 0, size) for stronger in codes[:place]]
        weak_only = ~np.any(carries, axis=0) if carries else np.ones(size, dtype=bool)
        clean = _clean(values, groups, carries)
        follow = clean[values] | weak_only[groups] if len(values) else np.zeros(0, dtype=bool)
        bridged = _bridge(size, groups[follow], values[follow])
        # several clean values can still chain two groups that differ: then only those without a stronger identifier join
        fine = _clean(bridged[groups], groups, carries)[bridged[groups]] if len(groups) else follow
        clashes.append(len(np.unique(values[~(clean[values] & fine)])) if len(groups) else 0)
        follow &= fine | weak_only[groups]
        bridged = _bridge(size, groups[follow], values[follow])
        if len(groups):
            # who was joined by this very identifier: another record of the new group holds the same value
            new_group = bridged[group]
            same = np.stack([new_group[held], code[held]], axis=1)
            _, inverse, count = np.unique(same, axis=0, return_inverse=True, return_counts=True)
            joined = held[count[inverse.reshape(-1)] > 1]
            by[joined] = np.where(by[joined] < 0, place, by[joined])
            group = new_group
    return Identified(group, by, tuple(clashes))


def _any(group: Numbers, has: npt.NDArray[np.bool_], size: int) -> npt.NDArray[np.bool_]:
    result = np.zeros(size, dtype=bool)
    result[group[has]] = True
    return result


def _clean(key: Numbers, groups: Numbers, carries: Sequence[npt.NDArray[np.bool_]]) -> npt.NDArray[np.bool_]:
    """Per key: whether at most one of its groups carries each stronger identifier."""
    if not len(key):
        return np.ones(1, dtype=bool)
    pairs = np.unique(np.stack([key, groups], axis=1), axis=0)
    clean = np.ones(int(key.max()) + 1, dtype=bool)
    for carrying in carries:
        clean &= np.bincount(pairs[:, 0], weights=carrying[pairs[:, 1]], minlength=len(clean)) <= 1
    return clean


def _bridge(size: int, groups: Numbers, values: Numbers) -> Numbers:
    """Groups that share a value, as the smallest group of each component (identity where nothing is shared)."""
    if not len(groups):
        return np.arange(size, dtype=np.int64)
    width = int(values.max()) + 1
    return connected(size + width, groups, values + size)[:size]


def by_likeness(
    group: Numbers, codes: Sequence[Numbers], left: Numbers, right: Numbers, likeness: Shares, threshold: float
) -> tuple[Numbers, int]:
    """Join groups whose records are alike; never two that differ in the strongest identifier both have.

    `left`, `right`, `likeness` are the compared pairs of records. Groups that hang together by pairs at or above `threshold`
    are examined together and joined by average linkage, so that one lucky pair does not chain two entities.
    Returns the smallest record of each record's group, and how many records were left apart unexamined.
    """
    nodes, node = np.unique(group, return_inverse=True)
    node = node.reshape(-1).astype(np.int64)
    a, b, p = _between_nodes(node[left], node[right], likeness)
    near = p >= threshold
    component = connected(len(nodes), a[near], b[near])
    unexamined = 0
    for step in range(1, 7):
        crowded = np.bincount(component, minlength=len(nodes))[component] > LARGEST_EXAMINED
        if not crowded.any():
            break
        near &= ~crowded[a] | (p >= 1 - (1 - threshold) / 10**step)
        component = connected(len(nodes), a[near], b[near])
    crowded = np.bincount(component, minlength=len(nodes))[component] > LARGEST_EXAMINED
    if crowded.any():
        component[crowded] = np.flatnonzero(crowded)
        unexamined = int(crowded[node].sum())

    inside = component[a] == component[b]
    a, b, p = a[inside], b[inside], p[inside]
    order = np.lexsort((b, a, component[a]))
    a, b, p = a[order], b[order], p[order]
    members = np.lexsort((np.arange(len(nodes)), component))
    sizes = np.bincount(component, minlength=len(nodes))
    first_member = np.concatenate([[0], np.cumsum(sizes)])
    first_pair = np.searchsorted(component[a], np.arange(len(nodes) + 1))
    like = np.bincount(component[a], weights=p >= MEAN_LIKENESS, minlength=len(nodes))
    carriers = np.zeros(len(nodes), dtype=np.int64)
    for code in codes:
        carrying = np.unique(node[code >= 0])
        carriers = np.maximum(carriers, np.bincount(component[carrying], minlength=len(nodes)))
    label = component.copy()
    # complete and without two carriers of one identifier: nothing to decide
    doubtful = (sizes > 1) & ((like < sizes * (sizes - 1) / 2) | (carriers > 1))
    held = [_held(node, code, doubtful[component[node]]) for code in codes]
    for c in np.flatnonzero(doubtful):
        mine = members[first_member[c] : first_member[c + 1]]
        pairs = slice(first_pair[c], first_pair[c + 1])
        label[mine] = mine[_average_linkage(mine, a[pairs], b[pairs], p[pairs], held)]
    return _smallest_member(label[node]), unexamined


def _between_nodes(a: Numbers, b: Numbers, p: Shares) -> tuple[Numbers, Numbers, Shares]:
    """The best pair between each two nodes."""
    a, b = np.minimum(a, b), np.maximum(a, b)
    order = np.lexsort((-p, b, a))
    a, b, p = a[order], b[order], p[order]
    keep = np.ones(len(a), dtype=bool)
    keep[1:] = (a[1:] != a[:-1]) | (b[1:] != b[:-1])
    keep &= a != b
    return a[keep], b[keep], p[keep]


def _held(node: Numbers, code: Numbers, wanted: npt.NDArray[np.bool_]) -> dict[int, set[int]]:
    """The values of one identifier that the records of each node carry, where `wanted`."""
    result: dict[int, set[int]] = {}
    for record in np.flatnonzero(wanted & (code >= 0)):
        result.setdefault(int(node[record]), set()).add(int(code[record]))
    return result


def _average_linkage(mine: Numbers, a: Numbers, b: Numbers, p: Shares, held: Sequence[dict[int, set[int]]]) -> Numbers:
    """For each of `mine` (sorted), the place in `mine` of the first member of its group."""
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    distance = np.ones((len(mine), len(mine)))
    i, j = np.searchsorted(mine, a), np.searchsorted(mine, b)
    distance[i, j] = distance[j, i] = 1 - p
    apart = 10.0 * len(mine) ** 2  # one such pair keeps the average of any two groups above the limit
    undecided = np.ones_like(distance, dtype=bool)
    for values in held:
        carrying = [k for k, m in enumerate(mine.tolist()) if m in values]
        for x, k in enumerate(carrying):
            for other in carrying[x + 1 :]:
                if undecided[k, other] and not values[int(mine[k])] & values[int(mine[other])]:
                    distance[k, other] = distance[other, k] = apart
                undecided[k, other] = False
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform(distance, checks=False), "average")
    return _smallest_member(np.asarray(fcluster(tree, 1 - MEAN_LIKENESS, "distance"), dtype=np.int64))
