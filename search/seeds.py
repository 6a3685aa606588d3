"""First trials: the predicted trade-off if sensitivities are known, otherwise uniform configurations."""

from __future__ import annotations

import numpy as np

from leanfront.core.search.context import LOST, Floats, Integers, Landscape, SamplerContext
from leanfront.core.search.improvement import Improvement
from leanfront.core.search.space import Space

SHARES = (1.0, 0.875, 0.75, 0.625, 0.5)
SEEDS = 24
"""Number of predicted seeds of a search that is long enough for them."""
PRICES = np.geomspace(1e-4, 1.0, 14)
"""Prices in nats per halving of a cost."""
SCALES = (0.25, 1.0, 4.0)
"""Factors by which all predicted losses may be wrong together; seeds are chosen for their mean."""
EXPONENT = 0.8
"""Exponent of the fall of accuracy with the loss, before anything is evaluated."""


def seeds(context: SamplerContext, count: int = SEEDS) -> list[dict[str, int]]:
    """Return the choices of the first trials; each adds most to the predicted hypervolume of those before it.

    Args:
        context: context of the search.
        count: largest number of predicted seeds; uniform seeds, used without measurements, are not limited.
    """
    landscape = context.landscape
    if landscape is None or context.sensitivities is None:
        return uniform_seeds(context.space)
    points = np.unique(sweep(landscape, landscape.losses, prices(landscape)), axis=0)
    return [landscape.choices(point) for point in spread(landscape, points, count)]


def spread(landscape: Landscape, points: Integers, count: int) -> Integers:
    """Choose points greedily by gain in predicted hypervolume: at most `count`, and none without a gain."""
    gains = landscape.gains(points)
    loss = landscape.loss(points)[:, None] * np.asarray(SCALES)
    shares = np.exp(-(loss**EXPONENT)) - LOST
    chosen: list[int] = []
    while len(chosen) < count:
        added = np.mean(
            [
                Improvement(shares[chosen, case], gains[chosen]).of(shares[:, [case]], gains)[:, 0]
                for case in range(len(SCALES))
            ],
            axis=0,
        )
        best = int(added.argmax())
        if not added[best] > 0 or best in chosen:
            break
        chosen.append(best)
    return points[chosen]


def prices(landscape: Landscape) -> Floats:
    """Return (r, costs) prices of a halving: every total price, divided among the costs in several ways."""
    costs = len(landscape.columns)
    if costs == 1:
        return np.geomspace(PRICES[0], PRICES[-1], 4 * len(PRICES))[:, None]
    if costs == 2:
        first = np.asarray([0.0, 0.15, 0.3, 0.5, 0.7, 0.85, 1.0])
        ways = np.column_stack([first, 1 - first])
    else:
        ways = np.vstack([np.eye(costs), np.random.default_rng(0).dirichlet(np.ones(costs), 8)])
    return np.asarray((PRICES[:, None, None] * ways).reshape(-1, costs), dtype=np.float64)


def sweep(
    landscape: Landscape,
    losses: Floats,
    wanted: Floats,
    start: Integers | None = None,
    rounds: int = 4,
) -> Integers:
    """Minimise loss - price x halvings for all prices at once, one parameter after another.

    Args:
        landscape: landscape of the search.
        losses: (parameters, most values) nats of every choice.
        wanted: (r, costs) prices.
        start: (r, parameters) starting points; the most expensive point by default.
        rounds: largest number of passes over all parameters.

    Returns:
        (r, parameters) points that no change of a single parameter improves, if the rounds sufficed.
    """
    sizes = landscape.sizes
    count, rows = len(wanted), np.arange(len(sizes))
    points = np.repeat((sizes - 1)[None], count, axis=0) if start is None else start.copy()
    total = losses[rows, points].sum(axis=1)
    for _ in range(rounds):
        before = points.copy()
        for column, size in enumerate(sizes):
            tried = np.repeat(points[:, None], size, axis=1)
            tried[:, :, column] = np.arange(size)
            gains = landscape.gains(tried.reshape(-1, len(sizes)), exact=False).reshape(count, size, -1)
            loss = total[:, None] - losses[column, points[:, column]][:, None] + losses[column, :size]
            value = loss - np.einsum("rsk,rk->rs", gains, wanted)
            best = value.argmin(axis=1)
            total = loss[np.arange(count), best]
            points[:, column] = best
        if (points == before).all():
            break
    return points


def uniform_seeds(space: Space) -> list[dict[str, int]]:
    """Return uniform shares of channels crossed with uniform bit-widths, near-dense first, without repetitions.

    The corners come first, so that even a short search spans the trade-off.
    """
    widths = sorted(space.options.bits, reverse=True)
    sparsities = (0.0, 0.5) if space.options.sparsity != "none" else (0.0,)
    wanted = [(share, bits, sparsity) for sparsity in sparsities for share in SHARES for bits in widths]
    # Walk the grid diagonally: mild changes of both kinds before strong ones.
    wanted.sort(key=lambda w: (SHARES.index(w[0]) + widths.index(w[1]) + 2 * (w[2] > 0), widths.index(w[1])))
    seeds = [space.dearest]
    seeds += [space.uniform(share, bits, sparsity=sparsity) for share, bits, sparsity in wanted]
    unique: list[dict[str, int]] = []
    for seed in seeds:
        if seed not in unique:
            unique.append(seed)
    return unique
