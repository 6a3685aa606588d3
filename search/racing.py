"""Racing: stop evaluating a candidate that cannot beat the frontier point that costs no more.

Candidate and incumbent are compared on the same samples, drawn without replacement from the split of N. With
c_i and b_i in {0, 1} saying whether each is right on the i-th sample drawn, the paired differences
d_i = c_i - b_i lie in {-1, 0, 1}. The candidate is better on the whole split under

    H0: d_1 + ... + d_N >= 1.

With S_i = d_1 + ... + d_i, the mean of the N - i + 1 samples that are left before the i-th draw is at least

    m_i = (1 - S_{i-1}) / (N - i + 1)

under H0. A gambler who bets a share of their wealth on "d_i is smaller than that",

    K_t = prod_{i <= t} (1 + lambda_i (m_i - d_i)),    0 <= lambda_i < 1 / (1 - m_i),

plays an unfavourable game: K is a nonnegative supermartingale from 1, and by Ville's inequality it ever reaches
1/alpha with probability at most alpha. That bounds the share of better candidates that are stopped, however
often one looks. The best stake depends on how much worse the candidate is, which is unknown: several gamblers
with lambda_i = L / max(1, 1 - m_i) for fixed L share the starting wealth, and K is their mean.

Source: I. Waudby-Smith, A. Ramdas, "Estimating means of bounded random variables by betting", JRSS B 2024,
section 5 (sampling without replacement) and section 4 (mixtures over a grid of bets).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STAKES = np.geomspace(0.03, 0.95, 8)
"""L of the gamblers. Finer and wider grids, and stakes that follow the running mean and variance (aGRAPA), stop
no sooner in simulation, from 0.5 to 30 points worse."""
FIRST_CHUNK = 128
"""Samples before the first look; later looks come after a quarter of those seen, to waste at most a quarter."""


@dataclass(frozen=True)
class Race:
    """Parameters of a race against an incumbent.

    Args:
        incumbent: correctness of the frontier point on every sample of the split, in its order; see `pack`.
        false_elimination: largest probability of stopping a candidate that is better.
    """

    incumbent: bytes
    false_elimination: float


class PairedTest:
    """Sequential test of one candidate, fed in chunks.

    Args:
        incumbent: bool (N,), correctness of the incumbent in the order of the draws.
        false_elimination: alpha, in (0, 1).

    Raises:
        ValueError: alpha is out of range, or there are no samples.
    """

    def __init__(self, incumbent: NDArray[np.bool_], false_elimination: float) -> None:
        if not 0 < false_elimination < 1:
            raise ValueError(f"false elimination must lie in (0, 1), not {false_elimination}")
        if not len(incumbent):
            raise ValueError("a race needs samples")
        self._incumbent = incumbent
        self._threshold = -math.log(false_elimination)
        self._wealth = np.full(len(STAKES), -math.log(len(STAKES)))  # logarithms of K's terms
        self.seen = 0
        self.lead = 0
        """S: right answers of the candidate minus those of the incumbent."""
        self.lost = False
        """Whether the candidate has lost; this is final."""

    def update(self, correct: NDArray[np.bool_]) -> bool:
        """Update the test with the next samples.

        Args:
            correct: bool (n,), correctness of the candidate on them.

        Returns:
            Whether the candidate has lost: K has reached 1/alpha, or the remaining samples cannot change the
            result (the incumbent is wrong on too few of them).
        """
        n, total = len(correct), len(self._incumbent)
        difference = correct.astype(np.int64) - self._incumbent[self.seen : self.seen + n]
        leads = self.lead + np.cumsum(difference)
        before = leads - difference
        left = total - self.seen - np.arange(n)
        # Beyond [-1, 1] the result is certain: above, `hopeless` says so; below, no stake can win any more.
        mean = np.clip((1 - before) / left, -1.0, 1.0)
        stakes = STAKES / np.maximum(1.0, 1.0 - mean)[:, None]
        wealth = self._wealth + np.cumsum(np.log1p(stakes * (mean - difference)[:, None]), axis=0)
        self._wealth = wealth[-1]
        self.seen += n
        self.lead = int(leads[-1])
        hopeless = self.lead + np.count_nonzero(~self._incumbent[self.seen :]) < 1
        rich = bool((np.logaddexp.reduce(wealth, axis=1) >= self._threshold).any())
        self.lost = self.lost or rich or bool(hopeless)
        return self.lost

    @property
    def accuracy(self) -> float:
        """Current estimate of the candidate's accuracy on the whole split: the incumbent's + S/n.

        The paired estimate has less variance than the share of correct answers. It is below the incumbent's
        accuracy whenever the test has stopped, so that no sampler takes a lucky first chunk for a new frontier
        point. It has no interval, since stopping depends on the samples seen.
        """
        return min(1.0, max(0.0, float(self._incumbent.mean()) + self.lead / max(1, self.seen)))


def permutation(digest: str, total: int) -> NDArray[np.int64]:
    """Return the order in which a configuration draws the samples of a split.

    Args:
        digest: digest of the configuration, in hexadecimal.
        total: number of samples N.

    Returns:
        int64 (N,): every position once, in an order that depends on the configuration. A common order would favour
        candidates that are lucky on its first chunk.
    """
    seed = int.from_bytes(hashlib.sha256(f"race {digest}".encode()).digest()[:16], "big")
    # Ranks of raw draws: unlike `Generator.permutation`, NumPy promises these to stay the same in every release.
    return np.argsort(np.random.PCG64(seed).random_raw(total), kind="stable")


def chunks(total: int) -> Iterator[range]:
    """Iterate over consecutive ranges of draws between two looks: 128 samples at first, growing."""
    seen = 0
    while seen < total:
        size = max(FIRST_CHUNK, seen // 4 // FIRST_CHUNK * FIRST_CHUNK)
        yield range(seen, min(seen + size, total))
        seen += size


def pack(correct: NDArray[np.bool_]) -> bytes:
    """Pack correctness, bool (N,), into N/8 bytes, first sample in the highest bit."""
    return np.packbits(correct).tobytes()


def unpack(packed: bytes, total: int) -> NDArray[np.bool_]:
    """Unpack the output of `pack` to bool (N,).

    Raises:
        ValueError: the number of bytes does not fit N samples.
    """
    if len(packed) != -(-total // 8):
        raise ValueError(
            f"the correctness of {total} samples takes {-(-total // 8)} bytes, not {len(packed)}"
        )
    return np.unpackbits(np.frombuffer(packed, dtype=np.uint8), count=total).astype(bool)
