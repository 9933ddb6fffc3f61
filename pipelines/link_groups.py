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

#: The same as a distance: how far the members of two groups may be from each other on average.
FARTHEST = 1 - MEAN_LIKENESS

#: More records than this hanging together by likeness are examined only after asking for ever higher probabilities.
LARGEST_EXAMINED = 2000

#: So many pairs of nodes are held in memory while components are examined.
PAIRS_AT_ONCE = 4_000_000


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
    place = np.arange(len(label) - 1, -1, -1, dtype=np.int64)
    smallest = np.zeros(int(label.max()) + 1, dtype=np.int64)
    smallest[label[::-1]] = place  # of a repeated label the last one written stays
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
        groups, values = _different(group[held], code[held])
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
            _, inverse, count = np.unique(_packed(new_group[held], code[held]), return_inverse=True, return_counts=True)
            joined = held[count[inverse] > 1]
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
    clean = np.ones(int(key.max()) + 1, dtype=bool)
    if carries:
        keys, held = _different(key, groups)
        for carrying in carries:
            clean &= np.bincount(keys[carrying[held]], minlength=len(clean)) <= 1
    return clean


def _packed(major: Numbers, minor: Numbers) -> Numbers:
    """Two numbers as one, in the same order."""
    return major * (int(minor.max(initial=0)) + 1) + minor


def _different(major: Numbers, minor: Numbers) -> tuple[Numbers, Numbers]:
    """Each pair once, in order."""
    width = int(minor.max(initial=0)) + 1
    once = np.unique(_packed(major, minor))
    return once // width, once % width


def _bridge(size: int, groups: Numbers, values: Numbers) -> Numbers:
    """Groups that share a value, as the smallest group of each component (identity where nothing is shared)."""
    result = np.arange(size, dtype=np.int64)
    if len(groups):
        shared = np.bincount(values)[values] > 1  # most values stand in one group
        nodes, group = np.unique(groups[shared], return_inverse=True)
        kept, value = np.unique(values[shared], return_inverse=True)
        result[nodes] = nodes[connected(len(nodes) + len(kept), group, value + len(nodes))[: len(nodes)]]
    return result


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
    pairs = _between(group[left], group[right], likeness)
    nodes = np.unique(np.concatenate([side[pairs.p >= threshold] for side in (pairs.a, pairs.b)]))
    if not len(nodes):
        return group, 0
    place = np.full(len(group), -1, dtype=np.int64)  # of a group that is near another one, among all such
    place[nodes] = np.arange(len(nodes))
    node = place[group]
    pairs = pairs.renumbered(place)
    component, crowded = _components(len(nodes), pairs, threshold)
    pairs = pairs.where(component[pairs.a] == component[pairs.b])

    sizes = np.bincount(component, minlength=len(nodes))
    like = np.bincount(component[pairs.a], weights=pairs.p >= MEAN_LIKENESS, minlength=len(nodes))
    carriers = np.zeros(len(nodes), dtype=np.int64)
    for code in codes:
        carrying = np.zeros(len(nodes), dtype=bool)
        carrying[node[(code >= 0) & (node >= 0)]] = True
        carriers = np.maximum(carriers, np.bincount(component[carrying], minlength=len(nodes)))
    forbidden = _forbidden(place, apart)
    # complete and without two carriers of one identifier: nothing to decide
    doubtful = (sizes > 1) & ((like < sizes * (sizes - 1) / 2) | (carriers > 1))
    doubtful[component[forbidden.a[component[forbidden.a] == component[forbidden.b]]]] = True
    within = doubtful[component]
    known = node >= 0
    known[known] = within[node[known]]
    held = [_Held.of(len(nodes), node[wanted], code[wanted]) for code in codes for wanted in (known & (code >= 0),)]
    examined = _Examined.of(pairs, forbidden, held, len(nodes))
    members = np.flatnonzero(within)
    members = members[np.argsort(component[members], kind="stable")]
    label = _labels(component, members, sizes, examined)
    result = group.copy()
    joined = node >= 0
    result[joined] = nodes[_smallest_member(label)[node[joined]]]
    return result, int(crowded[node[joined]].sum())


@dataclass(frozen=True)
class _Pairs:
    """Pairs of nodes, `a` before `b`, each once, in order, with how alike they are."""

    a: Numbers
    b: Numbers
    p: Shares

    def where(self, wanted: npt.NDArray[np.bool_]) -> _Pairs:
        return _Pairs(self.a[wanted], self.b[wanted], self.p[wanted])

    def renumbered(self, place: Numbers) -> _Pairs:
        """With the place of each node, which keeps their order; without the pairs of nodes that have none (-1)."""
        kept = self.where((place[self.a] >= 0) & (place[self.b] >= 0))
        return _Pairs(place[kept.a], place[kept.b], kept.p)


def _between(a: Numbers, b: Numbers, p: Shares) -> _Pairs:
    """The best pair between each two nodes."""
    a, b = np.minimum(a, b), np.maximum(a, b)
    order = np.lexsort((-p, _packed(a, b)))
    a, b, p = a[order], b[order], p[order]
    keep = np.ones(len(a), dtype=bool)
    keep[1:] = (a[1:] != a[:-1]) | (b[1:] != b[:-1])
    return _Pairs(a, b, p).where(keep & (a != b))


def _forbidden(place: Numbers, apart: Sequence[tuple[int, int]]) -> _Pairs:
    pairs = np.asarray(apart, dtype=np.int64).reshape(-1, 2)
    return _between(pairs[:, 0], pairs[:, 1], np.zeros(len(pairs))).renumbered(place)


def _components(size: int, pairs: _Pairs, threshold: float) -> tuple[Numbers, npt.NDArray[np.bool_]]:
    """What hangs together by near pairs, as the smallest node of each component, and which nodes are in a crowd too large to examine:
    each of those is a component by itself."""
    near = pairs.p >= threshold
    component = connected(size, pairs.a[near], pairs.b[near])
    for step in range(1, 7):
        crowded = np.bincount(component, minlength=size)[component] > LARGEST_EXAMINED
        if not crowded.any():
            break
        near &= ~crowded[pairs.a] | (pairs.p >= 1 - (1 - threshold) / 10**step)
        component = connected(size, pairs.a[near], pairs.b[near])
    crowded = np.bincount(component, minlength=size)[component] > LARGEST_EXAMINED
    component[crowded] = np.flatnonzero(crowded)
    return component, crowded


@dataclass(frozen=True)
class _Held:
    """The values of one identifier that the records of each node carry: those of node n are `values[first[n]:first[n + 1]]`."""

    first: Numbers
    values: Numbers
    keys: Numbers  # node and value as one number, ascending
    width: int

    @classmethod
    def of(cls, size: int, node: Numbers, code: Numbers) -> _Held:
        width = int(code.max(initial=0)) + 1
        keys = np.unique(node * width + code)
        return cls(np.searchsorted(keys // width, np.arange(size + 1)), keys % width, keys, width)

    def carried(self, x: Numbers) -> npt.NDArray[np.bool_]:
        return self.first[x] < self.first[x + 1]

    def share(self, x: Numbers, y: Numbers) -> npt.NDArray[np.bool_]:
        """Whether the nodes have a value in common, pair by pair."""
        count = self.first[x + 1] - self.first[x]
        pair = np.repeat(np.arange(len(x)), count)
        nth = np.arange(len(pair)) - np.repeat(np.cumsum(count) - count, count)
        wanted = y[pair] * self.width + self.values[self.first[x[pair]] + nth]
        result = np.zeros(len(x), dtype=bool)
        result[pair[_found(self.keys, wanted)[1]]] = True
        return result


@dataclass(frozen=True)
class _Examined:
    """How far nodes are from each other: 1 less the match probability, and out of reach where they may not be one."""

    compared: Numbers  # pairs of nodes as one number each, ascending
    likeness: Shares
    forbidden: Numbers  # the same of those that may not be one
    held: Sequence[_Held]
    nodes: int

    @classmethod
    def of(cls, pairs: _Pairs, forbidden: _Pairs, held: Sequence[_Held], nodes: int) -> _Examined:
        return cls(pairs.a * nodes + pairs.b, pairs.p, forbidden.a * nodes + forbidden.b, held, nodes)

    def distance(self, x: Numbers, y: Numbers, members: int) -> Shares:
        """Of each two nodes (`x` before `y`) that stand in one component of so many members."""
        key = x * self.nodes + y
        at, compared = _found(self.compared, key)
        result = np.ones(len(x))
        result[compared] = 1 - self.likeness[at[compared]]
        _, apart = _found(self.forbidden, key)
        undecided = np.ones(len(x), dtype=bool)
        for held in self.held:
            both = np.flatnonzero(undecided & held.carried(x) & held.carried(y))
            apart[both] |= ~held.share(x[both], y[both])
            undecided[both] = False
        result[apart] = 10.0 * members**2  # one such pair keeps the average of any two groups above the limit
        return result


def _found(keys: Numbers, wanted: Numbers) -> tuple[Numbers, npt.NDArray[np.bool_]]:
    """Where in `keys` (ascending) each stands, and whether it does."""
    if not len(keys):
        return np.zeros(len(wanted), dtype=np.int64), np.zeros(len(wanted), dtype=bool)
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return at, keys[at] == wanted


def _labels(component: Numbers, members: Numbers, sizes: Numbers, examined: _Examined) -> Numbers:
    """Of each node the first one of its group. `members` are the nodes to look at, component by component.

    Components of one size are looked at together, so many that their pairs fit into memory.
    """
    label = component.copy()
    size = sizes[component[members]]
    for few in np.unique(size).tolist():
        same = members[size == few].reshape(-1, few)
        for nodes in np.array_split(same, -(-same.size * few // PAIRS_AT_ONCE)):
            label[nodes] = np.take_along_axis(nodes, _average_linkage(nodes, examined), axis=1)
    return label


def _average_linkage(nodes: Numbers, examined: _Examined) -> Numbers:
    """For each of `nodes` (one component a row, ascending), the place in its row of the first member of its group."""
    few = nodes.shape[1]
    i, j = np.triu_indices(few, 1)
    distance = examined.distance(nodes[:, i].ravel(), nodes[:, j].ravel(), few).reshape(len(nodes), -1)
    return _of_two_or_three(distance) if few <= 3 else np.stack([_of_many(row) for row in distance])


def _of_many(distance: Shares) -> Numbers:
    from scipy.cluster.hierarchy import fcluster, linkage

    return _smallest_member(np.asarray(fcluster(linkage(distance, "average"), FARTHEST, "distance"), dtype=np.int64))


def _of_two_or_three(distance: Shares) -> Numbers:
    """The same as `_of_many` for many at once, a row each of one distance or three; they are most by far."""
    rows = np.arange(len(distance))
    nearest = distance.argmin(axis=1)  # of equally near pairs the first
    near = distance[rows, nearest] <= FARTHEST
    first = np.tile(np.arange(2 if distance.shape[1] == 1 else 3), (len(distance), 1))
    smaller, larger = np.array([[0, 1], [0, 2], [1, 2]])[nearest[near]].T
    first[rows[near], larger] = smaller
    if distance.shape[1] == 3:
        others = np.array([[1, 2], [0, 2], [0, 1]])[nearest]
        first[near & (distance[rows[:, None], others].sum(axis=1) / 2 <= FARTHEST)] = 0
    return first
