"""Balanced and stratified choices, by properties."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from leanfront.core.targets.sampling import balanced, stratified

label_lists = st.lists(st.integers(0, 4), min_size=1, max_size=80)


@given(labels=label_lists, count=st.integers(0, 100), seed=st.integers(0, 5))
def test_balanced(labels: list[int], count: int, seed: int) -> None:
    all_labels = torch.tensor(labels)
    chosen = balanced(all_labels, count, seed=seed)
    allowed = {label: labels.count(label) // 2 for label in set(labels)}
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    assert len(chosen) == min(count, sum(allowed.values()))
    taken = {label: int((all_labels[chosen] == label).sum()) for label in allowed}
    assert all(taken[label] <= allowed[label] for label in allowed)
    # A class is behind another by more than one only where it has no more to give.
    most = max(taken.values())
    assert all(taken[label] >= most - 1 or taken[label] == allowed[label] for label in allowed)
    assert torch.equal(chosen, balanced(all_labels, count, seed=seed))


@given(labels=label_lists, data=st.data(), seed=st.integers(0, 5))
def test_stratified(labels: list[int], data: st.DataObject, seed: int) -> None:
    first = data.draw(st.integers(0, len(labels)))
    all_labels = torch.tensor(labels)
    one, other = stratified(all_labels, (first, len(labels) - first), seed=seed)
    assert sorted([*one.tolist(), *other.tolist()]) == list(range(len(labels)))
    assert len(one) == first
    for label in set(labels):
        expected = labels.count(label) * first / len(labels)
        # Each class is spread evenly, so a part misses its share by less than one a class.
        assert abs(int((all_labels[one] == label).sum()) - expected) <= len(set(labels))


def test_seeds_differ_and_the_global_state_stays() -> None:
    labels = torch.arange(100) % 10
    before = torch.random.get_rng_state()
    assert not torch.equal(balanced(labels, 50, seed=0), balanced(labels, 50, seed=1))
    stratified(labels, (50, 50), seed=0)
    assert torch.equal(before, torch.random.get_rng_state())
