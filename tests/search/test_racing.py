"""The test behind races: exact on small splits, simulated on large ones."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from leanfront.core.search.racing import PairedTest, chunks, pack, permutation, unpack

Bools = NDArray[np.bool_]


def _samples(total: int, gains: int, losses: int, accuracy: float = 0.87) -> tuple[Bools, Bools]:
    """Correctness of candidate and incumbent where they differ on gains + losses samples."""
    incumbent = np.arange(total) < round(accuracy * total)
    candidate = incumbent.copy()
    candidate[:losses] = False
    candidate[total - gains :] = True
    return candidate, incumbent


def _alike(total: int, lead: int, seed: int) -> tuple[Bools, Bools]:
    """Two models that fail on the same hard samples, the candidate better on exactly `lead`."""
    generator = np.random.default_rng(seed)
    easy = 1 / (1 + np.exp(-generator.normal(3, 3, total)))
    candidate, incumbent = generator.random((2, total)) < easy
    while (excess := int(candidate.sum()) - int(incumbent.sum()) - lead) != 0:
        side = generator.permutation(np.flatnonzero(candidate if excess > 0 else ~candidate))
        candidate[side[: abs(excess)]] = excess < 0
    return candidate, incumbent


def _run(candidate: Bools, incumbent: Bools, order: NDArray[np.int64], alpha: float) -> PairedTest:
    test = PairedTest(incumbent[order], alpha)
    for chunk in chunks(len(order)):
        if test.update(candidate[order[chunk.start : chunk.stop]]):
            break
    return test


@pytest.mark.parametrize("alpha", [0.05, 0.3, 0.6])
@pytest.mark.parametrize(
    "kinds", ["+o=", "++-o=", "+++--o=", "+====o", "+-+-+o=", "++++---", "+ooooooo", "++======="]
)
def test_no_more_than_alpha_of_all_orders_stop_a_better_candidate(kinds: str, alpha: float) -> None:
    """Every order of a small split: the share that stops is the probability itself."""
    assert kinds.count("+") > kinds.count("-")
    stopped = []
    for order in set(itertools.permutations(kinds)):
        test = PairedTest(np.array([kind in "-=" for kind in order]), alpha)
        stopped.append(any(test.update(np.array([kind in "+="])) for kind in order))
    assert np.mean(stopped) <= alpha
    if kinds == "++++---" and alpha == 0.6:
        assert any(stopped)  # the bound is not kept by never stopping


@pytest.mark.parametrize("kinds", ["+-", "=-o", "oo==", "++--=o", "-----+", "o"])
def test_the_whole_split_decides_with_certainty(kinds: str) -> None:
    """A candidate that is no better is out at the last sample in every order."""
    for order in set(itertools.permutations(kinds)):
        test = PairedTest(np.array([kind in "-=" for kind in order]), 1e-9)
        assert test.update(np.array([kind in "+=" for kind in order]))
        assert test.lead == kinds.count("+") - kinds.count("-")


def test_samples_that_cannot_turn_the_result_are_not_needed() -> None:
    incumbent = np.array([True] * 50 + [False] * 10)
    test = PairedTest(incumbent, 1e-9)
    assert not test.update(np.array([True] * 41 + [False] * 9))
    assert not test.update(np.array([True]))  # 8 behind, and the incumbent is wrong on 9 more
    assert test.update(np.array([False]))  # on 8 more: at best they come out even
    assert test.lost


BETTER = [
    (5000, 201, 200),  # by one sample: the boundary
    (5000, 26, 25),
    (5000, 640, 639),
    (500, 11, 10),
    (5000, 250, 200),
]


@pytest.mark.parametrize(("total", "gains", "losses"), BETTER)
@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_false_elimination_stays_below_alpha(total: int, gains: int, losses: int, alpha: float) -> None:
    candidate, incumbent = _samples(total, gains, losses)
    generator = np.random.default_rng(total + gains)
    runs = 300
    stopped = sum(_run(candidate, incumbent, generator.permutation(total), alpha).lost for _ in range(runs))
    # Were the rate alpha, more than this many would come once in 2,000 times.
    assert stopped <= runs * alpha + 3.3 * math.sqrt(runs * alpha * (1 - alpha))
    if (gains, alpha) == (201, 0.2):
        assert stopped >= 10  # the level is used, not left lying


@pytest.mark.parametrize("lead", [1, 20])
def test_false_elimination_with_correlated_correctness(lead: int) -> None:
    generator = np.random.default_rng(lead)
    stopped = 0
    for seed in range(300):
        candidate, incumbent = _alike(2000, lead, seed)
        assert int(candidate.sum()) - int(incumbent.sum()) == lead
        stopped += _run(candidate, incumbent, generator.permutation(2000), 0.1).lost
    assert stopped <= 30 + 3.3 * math.sqrt(300 * 0.1 * 0.9)


def test_false_elimination_on_a_large_split() -> None:
    candidate, incumbent = _samples(50_000, 2001, 2000)
    generator = np.random.default_rng(0)
    stopped = sum(_run(candidate, incumbent, generator.permutation(50_000), 0.2).lost for _ in range(60))
    assert stopped <= 60 * 0.2 + 3.3 * math.sqrt(60 * 0.2 * 0.8)


@pytest.mark.parametrize(
    ("total", "points", "differing", "most"),
    [
        (5_000, 1, 8, 3300),
        (5_000, 3, 12, 1200),
        (5_000, 10, 20, 300),
        (5_000, 30, 40, 135),
        (50_000, 1, 8, 9000),
        (50_000, 10, 20, 300),
        (50_000, 30, 40, 135),
    ],
)
def test_worse_candidates_are_stopped_soon(total: int, points: int, differing: int, most: int) -> None:
    gains, losses = (differing - points) * total // 200, (differing + points) * total // 200
    candidate, incumbent = _samples(total, gains, losses)
    generator = np.random.default_rng(points)
    tests = [_run(candidate, incumbent, generator.permutation(total), 0.05) for _ in range(30)]
    assert all(test.lost for test in tests)
    assert np.mean([test.seen for test in tests]) < most
    # Stopped ones are below the incumbent in the sampler's eyes too.
    assert all(test.accuracy < incumbent.mean() for test in tests)


def test_chunks_do_not_matter() -> None:
    candidate, incumbent = _samples(900, 20, 50)
    for seed in range(20):
        order = np.random.default_rng(seed).permutation(900)
        whole, single = PairedTest(incumbent[order], 0.05), PairedTest(incumbent[order], 0.05)
        whole.update(candidate[order[:400]])
        for place in order[:400]:
            single.update(candidate[place : place + 1])
        assert (whole.lost, whole.lead, whole.seen) == (single.lost, single.lead, single.seen)
        assert whole.accuracy == single.accuracy


def test_the_estimate_is_the_incumbents_accuracy_and_the_mean_difference() -> None:
    incumbent = np.array([True, True, True, False, True, True, False, True])
    test = PairedTest(incumbent, 0.05)
    assert test.accuracy == 0.75
    test.update(np.array([True, False, False, True]))
    assert test.accuracy == pytest.approx(0.75 - 1 / 4)
    test.update(np.array([False, False, False, False]))
    assert test.accuracy == pytest.approx(2 / 8)  # seen whole, it is the accuracy


@pytest.mark.parametrize("alpha", [0.0, 1.0, -1.0, math.nan])
def test_levels_that_cannot_be_are_refused(alpha: float) -> None:
    with pytest.raises(ValueError, match="false elimination"):
        PairedTest(np.array([True]), alpha)
    with pytest.raises(ValueError, match="needs samples"):
        PairedTest(np.array([], dtype=bool), 0.05)


@pytest.mark.parametrize("total", [1, 7, 128, 129, 300, 5000, 50_000])
def test_chunks_cover_the_split_and_grow(total: int) -> None:
    parts = list(chunks(total))
    assert [place for part in parts for place in part] == list(range(total))
    sizes = [len(part) for part in parts]
    assert sizes[:-1] == sorted(sizes[:-1])
    assert all(size % 128 == 0 for size in sizes[:-1])
    assert sizes[0] == min(128, total)
    assert all(len(part) <= max(128, part.start / 4) for part in parts)


def test_every_configuration_has_its_own_order() -> None:
    orders = [permutation(digest, 5000) for digest in ("ab", "cd", "ab")]
    assert np.array_equal(np.sort(orders[0]), np.arange(5000))
    assert np.array_equal(orders[0], orders[2])
    assert np.mean(orders[0] == orders[1]) < 0.01
    # Stored searches go on as they began: the order is the same in every release.
    assert permutation("ab", 8).tolist() == [4, 3, 1, 2, 6, 7, 5, 0]


@pytest.mark.parametrize("total", [1, 7, 8, 9, 5000])
def test_packing_and_back(total: int) -> None:
    correct = np.random.default_rng(total).random(total) < 0.5
    packed = pack(correct)
    assert len(packed) == math.ceil(total / 8)
    assert np.array_equal(unpack(packed, total), correct)
    with pytest.raises(ValueError, match=f"correctness of {total + 8} samples"):
        unpack(packed, total + 8)
