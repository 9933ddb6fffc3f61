"""Groups made all at once are those that looking at one component after the other would make."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage

from pipelines import link_groups
from pipelines.link_groups import MEAN_LIKENESS, Numbers, by_identifier, by_likeness

#: Some of them alike, so that pairs tie, and some at the limits.
LIKENESS = (0.01, 0.2, MEAN_LIKENESS, 0.4, 0.5, 0.7, 0.9, 0.95, 1.0)

Pair = tuple[int, int, float]


@st.composite
def drawn(draw: st.DrawFn) -> tuple[Numbers, list[Numbers], list[Pair], list[tuple[int, int]]]:
    """Groups by identifier, the codes that made them, compared pairs of records, groups that may never be one."""
    size = draw(st.integers(1, 14))
    record = st.integers(0, size - 1)
    codes = draw(st.lists(st.lists(st.integers(-1, 5), min_size=size, max_size=size), max_size=2))
    arrays = [np.asarray(code, dtype=np.int64) for code in codes]
    group = by_identifier(arrays, size).group
    pairs = draw(st.lists(st.tuples(record, record, st.sampled_from(LIKENESS)), max_size=30))
    apart = [(int(group[a]), int(group[b])) for a, b in draw(st.lists(st.tuples(record, record), max_size=3))]
    return group, arrays, [(min(a, b), max(a, b), p) for a, b, p in pairs if a != b], [(a, b) for a, b in apart if a != b]


def one_after_the_other(
    group: Numbers, codes: Sequence[Numbers], pairs: Sequence[Pair], threshold: float, apart: Sequence[tuple[int, int]]
) -> list[int]:
    """The smallest record of each record's group, by the words of `by_likeness`."""
    of = group.tolist()
    nodes = sorted(set(of))
    likeness: dict[tuple[int, int], float] = {}
    for a, b, p in pairs:
        sides = (min(of[a], of[b]), max(of[a], of[b]))
        likeness[sides] = max(p, likeness.get(sides, 0.0))
    carried = [{n: {int(c) for c, g in zip(code, of, strict=True) if g == n and c >= 0} for n in nodes} for code in codes]

    def far(x: int, y: int) -> bool:
        strongest = next((values for values in carried if values[x] and values[y]), None)
        return (x, y) in apart or (y, x) in apart or (strongest is not None and not strongest[x] & strongest[y])

    label = {n: n for n in nodes}
    for start in nodes:
        mine = [start]
        for n in mine:
            mine += [m for m in nodes if m not in mine and likeness.get((min(n, m), max(n, m)), 0.0) >= threshold]
        mine.sort()
        if mine[0] < start or len(mine) == 1:
            continue
        distance = [
            10.0 * len(mine) ** 2 if far(x, y) else 1 - likeness.get((x, y), 0.0)
            for i, x in enumerate(mine)
            for y in mine[i + 1 :]
        ]
        found = fcluster(linkage(distance, "average"), 1 - MEAN_LIKENESS, "distance").tolist()
        for n, one in zip(mine, found, strict=True):
            label[n] = mine[found.index(one)]
    return [label[n] for n in of]


@given(drawn(), st.sampled_from([0.5, 0.9, 0.95]))
def test_components_joined_at_once_are_joined_as_one_by_one(
    case: tuple[Numbers, list[Numbers], list[Pair], list[tuple[int, int]]], threshold: float
) -> None:
    group, codes, pairs, apart = case
    left, right = (np.asarray([pair[i] for pair in pairs], dtype=np.int64) for i in (0, 1))
    likeness = np.asarray([p for _, _, p in pairs], dtype=np.float64)
    joined, unexamined = by_likeness(group, codes, left, right, likeness, threshold, apart)
    assert joined.tolist() == one_after_the_other(group, codes, pairs, threshold, apart)
    assert unexamined == 0


@given(st.permutations(range(12)), st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11), st.sampled_from(LIKENESS))))
def test_pairs_in_any_order_and_either_way_round_make_the_same_groups(order: Sequence[int], pairs: list[Pair]) -> None:
    def joined(listed: Sequence[Pair]) -> list[int]:
        left, right = (np.asarray([pair[i] for pair in listed], dtype=np.int64) for i in (0, 1))
        found, _ = by_likeness(np.arange(12), [], left, right, np.asarray([p for *_, p in listed]), 0.9)
        return [int(one) for one in found]

    shuffled = [pairs[i] for i in order if i < len(pairs)] + pairs[12:]
    assert joined([(b, a, p) for a, b, p in shuffled]) == joined(pairs)


def test_two_who_may_never_be_one_are_not_joined_through_a_third() -> None:
    pairs = np.array([0, 1]), np.array([1, 2]), np.array([0.99, 0.97])
    group, _ = by_likeness(np.arange(3), [], *pairs, 0.9)
    assert group.tolist() == [0, 0, 0]
    group, _ = by_likeness(np.arange(3), [], *pairs, 0.9, apart=[(0, 1)])
    assert group.tolist() == [0, 1, 1]


def test_a_crowd_too_large_to_examine_is_left_apart_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_groups, "LARGEST_EXAMINED", 3)
    left, right = np.triu_indices(5, 1)
    likeness = np.ones(len(left))
    group, unexamined = by_likeness(np.array([0, 0, 2, 3, 4, 5]), [], left + 1, right + 1, likeness, 0.9)
    assert group.tolist() == [0, 0, 2, 3, 4, 5]
    assert unexamined == 6
