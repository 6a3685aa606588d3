"""Registry of the pruning criteria, which score weights and channels.

A criterion scores single weights. A channel's score combines the scores of the weights that produce it, summed
over all producers of its group after each producer's scores are divided by their mean (layers of one group differ
in scale). The functions are in `scores.py`; this module names them without importing torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from leanfront.deferred import Deferred

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from leanfront.core.compressors.pruning.saliency import Saliency
    from leanfront.core.compressors.structure.structure import ChannelGroup


@dataclass(frozen=True)
class Criterion:
    """A rule that scores weights and channels; the highest scores are kept.

    Args:
        name: name on the command line.
        source: definition or reference, in one line.
        elements: (saliency, layer, generator) -> score per weight, output channels first, signed where the
            reduction wants signs.
        reduction: (channels, weights of a channel) -> score per channel.
        units: (saliency, group) -> score per unit, for criteria that judge a whole group; None falls back to
            `elements` and `reduction`.
    """

    name: str
    source: str
    elements: Callable[[Saliency, str, torch.Generator], Tensor]
    reduction: Callable[[Tensor], Tensor]
    units: Callable[[Saliency, ChannelGroup], Tensor | None] = lambda saliency, group: None


def _scores(function: str) -> Deferred:
    return Deferred(f"leanfront.core.compressors.pruning.scores:{function}")


CRITERIA: dict[str, Criterion] = {
    criterion.name: criterion
    for criterion in (
        Criterion("random", "uniform draws, seeded", _scores("random"), _scores("summed")),
        Criterion("l1", "sum |w| (Li et al. 2017)", _scores("l1"), _scores("summed")),
        Criterion("l2", "Euclidean norm", _scores("l2"), _scores("norm")),
        Criterion(
            "bn_scale",
            "|gamma| of the batch norm behind (Liu et al. 2017)",
            _scores("norm_scale"),
            _scores("summed"),
        ),
        Criterion("lamp", "layer-adaptive magnitude (Lee et al. 2021)", _scores("lamp"), _scores("summed")),
        Criterion(
            "taylor",
            "first-order Taylor, (sum g w)^2 a channel (Molchanov et al. 2019, eq. 8)",
            _scores("taylor"),
            _scores("squared_sum"),
        ),
        Criterion(
            "reconstruction",
            "least error left in all consumers after their refit (OBS under input moments)",
            _scores("reconstruction"),
            _scores("summed"),
            _scores("removal_scores"),
        ),
        Criterion(
            "fisher",
            "diagonal Fisher, 1/2 F w^2 (OBD, LeCun et al. 1989)",
            _scores("fisher"),
            _scores("summed"),
        ),
    )
}
"""Criteria by name. To add one, write a function and an entry here."""
