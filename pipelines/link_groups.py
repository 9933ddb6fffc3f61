"""From agreeing pairs to groups, as arithmetic on arrays: no names, no SQL, the same result for any order of rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

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
class Holders:
    """The records (ascending) that hold one identifier value in dispute, and the profile of each: what it says of itself, -1 nothing."""

    records: Numbers
    profiles: Numbers
    crowded: bool = False  # too many profiles: they were not compared, and all count as contradicting each other


@dataclass(frozen=True)
class Disputes:
    """Identifier values, as (place, code), whose records contradict each other; see `pipelines.link_clash`.

    `clashes` are pairs of profiles (smaller first) that cannot be one entity; `agreement` says of pairs in how many attributes
    they agree, less those in which they contradict each other.
    """

    holders: Mapping[tuple[int, int], Holders] = field(default_factory=dict)
    clashes: frozenset[tuple[int, int]] = frozenset()
    agreement: Mapping[tuple[int, int], int] = field(default_factory=dict)
    forbidden: Sequence[tuple[int, int]] = ()  # pairs of records that people keep apart

    def settled(self, one: Numbers) -> Disputes:
        """Without the clashes between profiles of records that people made one; `one` is the smallest record of each such group."""
        same: set[tuple[int, int]] = set()
        for held in self.holders.values():
            said: dict[int, set[int]] = {}
            for g, profile in zip(one[held.records].tolist(), held.profiles.tolist(), strict=True):
                said.setdefault(g, set()).add(profile)
            same.update(pair for profiles in said.values() for pair in _pairs(sorted(profiles)))
        clashes = self.clashes - same
        holders = {
            place: held
            for place, held in self.holders.items()
            if held.crowded or any(pair in clashes for pair in _pairs(sorted(set(held.profiles.tolist()))))
        }
        return Disputes(holders, clashes, {**self.agreement, **dict.fromkeys(same & self.clashes, 2)}, self.forbidden)

    def clash(self, a: int, b: int) -> bool:
        return (min(a, b), max(a, b)) in self.clashes

    def apart(self, group: Numbers) -> Iterator[tuple[int, int]]:
        """Pairs of groups that hold clashing records; the same group twice where it holds both."""
        for held in self.holders.values():
            where: dict[int, set[int]] = {}
            for g, profile in zip(group[held.records].tolist(), held.profiles.tolist(), strict=True):
                where.setdefault(profile, set()).add(g)
            for a, b in _pairs(sorted(where)):
                if (a, b) in self.clashes:
                    yield from ((g, h) for g in where[a] for h in where[b])
        yield from ((int(group[a]), int(group[b])) for a, b in self.forbidden)

    def sides(self, held: Holders, group: Numbers) -> list[int]:
        """Of each holder the side it is on: its smallest group.

        Groups that say the same are one side. Those that clash with another join whom they agree with more than they contradict,
        best first, and never whom they clash with. The others, which say too little to clash, join the one side they agree with;
        where that is none, or more than one, they stay by themselves. The same for any order of records.
        """
        groups = group[held.records].tolist()
        said: dict[int, set[int]] = {}
        for g, profile in zip(groups, held.profiles.tolist(), strict=True):
            said.setdefault(g, set()).update({profile} - {-1})
        first: dict[frozenset[int], int] = {}
        side = {g: first.setdefault(frozenset(said[g]), g) if said[g] else g for g in sorted(said)}
        if held.crowded:
            return [side[g] for g in groups]
        voices = {g: profiles for profiles, g in first.items()}
        clashing = [g for g in voices if any(self._clash(voices[g], voices[h]) for h in voices if h != g)]
        joined = {g: [g] for g in clashing}
        for agreement, a, b in sorted((-self._agree(voices[a], voices[b]), a, b) for a, b in _pairs(clashing)):
            x, y = (next(s for s, members in joined.items() if g in members) for g in (a, b))
            if agreement < 0 and x != y and all(self._agree(voices[m], voices[n]) > 0 for m in joined[x] for n in joined[y]):
                joined[min(x, y)] += joined.pop(max(x, y))
        for g in voices:
            if g not in clashing:
                fitting = [s for s, members in joined.items() if all(self._agree(voices[g], voices[m]) > 0 for m in members)]
                if len(fitting) == 1:
                    first[voices[g]] = fitting[0]
        first |= {voices[m]: s for s, members in joined.items() for m in members}
        return [first[frozenset(said[g])] if said[g] else g for g in groups]

    def _clash(self, these: Iterable[int], those: Iterable[int]) -> bool:
        return any(self.clash(p, q) for p in these for q in those)

    def _agree(self, these: Iterable[int], those: Iterable[int]) -> int:
        """How well two groups agree; they do not at all where they clash."""
        if self._clash(these, those):
            return -1
        return max(2 if p == q else self.agreement.get((min(p, q), max(p, q)), 0) for p in these for q in those)


def _pairs(items: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    return ((a, b) for i, a in enumerate(items) for b in items[i + 1 :])


@dataclass(frozen=True)
class Identified:
    """Per record: the smallest record of its group, and the strongest identifier (by place, -1 none) that put it there."""

    group: Numbers
    by: Numbers
    clashes: tuple[int, ...]  # per identifier, values not followed because stronger identifiers disagree
    codes: tuple[Numbers, ...]  # as given, but a value in dispute is another value on each side


NO_DISPUTES = Disputes()


def by_identifier(
    codes: Sequence[Numbers], size: int, disputes: Disputes = NO_DISPUTES, one: Numbers | None = None
) -> Identified:
    """Join records with the same identifier, strongest identifier first.

    `codes` holds one number per record and identifier, -1 where the record has none. A weaker identifier joins groups only
    where at most one of them carries each stronger identifier: two carriers were not joined by it, so they differ. A value
    that clashes like this still joins the records that carry no stronger identifier.

    A value in dispute is taken for as many values as it has sides. Where values that are each fine chain two records that
    clash all the same, none of that chain is followed. `one`: the groups to begin with, as people decided.
    """
    group = np.arange(size, dtype=np.int64) if one is None else one.copy()
    by = np.full(size, -1, dtype=np.int64)
    clashes = []
    told_apart: list[Numbers] = []
    for place, given in enumerate(codes):
        code = _by_side(place, given, group, disputes)
        told_apart.append(code)
        held = np.flatnonzero(code >= 0)
        pairs = np.unique(np.stack([group[held], code[held]], axis=1), axis=0)
        groups, values = pairs[:, 0], pairs[:, 1] if len(pairs) else pairs[:, 0]
        carries = [_any(group, stronger >= 0, size) for stronger in told_apart[:place]]
        weak_only = ~np.any(carries, axis=0) if carries else np.ones(size, dtype=bool)
        clean = _clean(values, groups, carries)
        follow = clean[values] | weak_only[groups] if len(values) else np.zeros(0, dtype=bool)
        bridged = _bridge(size, groups[follow], values[follow])
        # several clean values can still chain two groups that differ: then only those without a stronger identifier join
        fine = _clean(bridged[groups], groups, carries)[bridged[groups]] if len(groups) else follow
        clashes.append(len(np.unique(values[~(clean[values] & fine)])) if len(groups) else 0)
        follow &= fine | weak_only[groups]
        bridged = _bridge(size, groups[follow], values[follow])
        chained = [g for g, other in disputes.apart(bridged[group]) if g == other]
        bridged = np.where(np.isin(bridged, chained), np.arange(size), bridged)
        if len(groups):
            # who was joined by this very identifier: another record of the new group holds the same value
            new_group = bridged[group]
            same = np.stack([new_group[held], code[held]], axis=1)
            _, inverse, count = np.unique(same, axis=0, return_inverse=True, return_counts=True)
            joined = held[count[inverse.reshape(-1)] > 1]
            by[joined] = np.where(by[joined] < 0, place, by[joined])
            group = new_group
    return Identified(group, by, tuple(clashes), tuple(told_apart))


def _by_side(place: int, code: Numbers, group: Numbers, disputes: Disputes) -> Numbers:
    """The values of one identifier, those in dispute replaced by a new value for each side."""
    result = code.copy()
    following = int(code.max(initial=-1)) + 1
    for (where, _), held in disputes.holders.items():
        if where == place:
            _, side = np.unique(disputes.sides(held, group), return_inverse=True)
            result[held.records] = following + side.reshape(-1)
            following += len(held.records)
    return result


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
    group: Numbers,
    codes: Sequence[Numbers],
    left: Numbers,
    right: Numbers,
    likeness: Shares,
    threshold: float,
    apart: Sequence[tuple[int, int]] = (),
) -> tuple[Numbers, int]:
    """Join groups whose records are alike; never two that differ in the strongest identifier both have, nor two of `apart`
    (pairs of `group`), be it through a third.

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
    forbidden = _places(nodes, apart)
    # complete and without two carriers of one identifier: nothing to decide
    doubtful = (sizes > 1) & ((like < sizes * (sizes - 1) / 2) | (carriers > 1))
    doubtful[[component[x] for x, others in forbidden.items() if any(component[x] == component[y] for y in others)]] = True
    held = [_held(node, code, doubtful[component[node]]) for code in codes]
    for c in np.flatnonzero(doubtful):
        mine = members[first_member[c] : first_member[c + 1]]
        pairs = slice(first_pair[c], first_pair[c + 1])
        label[mine] = mine[_average_linkage(mine, a[pairs], b[pairs], p[pairs], held, forbidden)]
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


def _places(nodes: Numbers, apart: Sequence[tuple[int, int]]) -> dict[int, set[int]]:
    """Of each node of `apart` those that it may never stand with."""
    result: dict[int, set[int]] = {}
    if apart:
        for x, y in np.searchsorted(nodes, np.asarray(apart, dtype=np.int64)).tolist():
            result.setdefault(x, set()).add(y)
            result.setdefault(y, set()).add(x)
    return result


def _average_linkage(
    mine: Numbers,
    a: Numbers,
    b: Numbers,
    p: Shares,
    held: Sequence[dict[int, set[int]]],
    forbidden: Mapping[int, set[int]],
) -> Numbers:
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
    place = {m: k for k, m in enumerate(mine.tolist())}
    for m, k in place.items():
        for other in forbidden.get(m, ()):
            if other in place:
                distance[k, place[other]] = distance[place[other], k] = apart
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform(distance, checks=False), "average")
    return _smallest_member(np.asarray(fcluster(tree, 1 - MEAN_LIKENESS, "distance"), dtype=np.int64))
