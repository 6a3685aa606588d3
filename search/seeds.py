"""First trials: uniform configurations spread over the trade-off, best guesses before anything is known."""

from __future__ import annotations

from search.space import Space

SHARES = (1.0, 0.875, 0.75, 0.625, 0.5)


def uniform_seeds(space: Space) -> list[dict[str, int]]:
    """Uniform shares of channels crossed with uniform widths, near-dense first, without repetitions.

    The corners come first, so that even a short search spans the trade-off.
    """
    widths = sorted(space.options.bits, reverse=True)
    sparsities = (0.0, 0.5) if space.options.sparsity != "none" else (0.0,)
    wanted = [(share, bits, sparsity) for sparsity in sparsities for share in SHARES for bits in widths]
    # Walk the grid diagonally: mild changes of either kind before strong changes of both.
    wanted.sort(key=lambda w: (SHARES.index(w[0]) + widths.index(w[1]) + 2 * (w[2] > 0), widths.index(w[1])))
    seeds = [space.dearest]
    seeds += [space.uniform(share, bits, sparsity=sparsity) for share, bits, sparsity in wanted]
    unique: list[dict[str, int]] = []
    for seed in seeds:
        if seed not in unique:
            unique.append(seed)
    return unique
