"""The models whose geometry is compared: every pruning criterion at every ratio, with one cost per ratio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from leanfront.core.audit.auditor import Auditor
from leanfront.core.audit.kinds.geometry.tickets import Ticket, kept_weights, reason_against
from leanfront.core.audit.options import TICKETS
from leanfront.core.audit.versions import Configured, Dense, Version
from leanfront.core.compressors import Configuration, Saliency, Structure
from leanfront.core.compressors.pruning.scores import weight_scores
from leanfront.core.compressors.structure.modules import weight_of

METHODS = {"reconstruction": "sequential"}
"""Criterion -> method that makes its kept weights, as part of the criterion. For all others the kept weights stay and
batch-norm statistics are re-estimated, so that only the choice of weights differs."""


@dataclass(frozen=True)
class Contestant:
    """A model in the comparison.

    Args:
        version: version that makes the model.
        criterion: criterion of its weights, ``dense``, or the version's name for a version of the audit.
        ratio: share of zero weights, or None if it is not pruned to a ratio.
        method: method that makes kept weights.
    """

    version: Version
    criterion: str
    ratio: float | None = None
    method: str = "rounding"

    @property
    def pruned(self) -> bool:
        """Whether it was made from the dense model by pruning to a ratio."""
        return self.ratio is not None and self.criterion != TICKETS


def contestants(auditor: Auditor) -> tuple[list[Contestant], dict[str, str]]:
    """List the dense model, the criteria by ratios, the versions of the audit, and tickets last.

    Returns:
        The models, and for each criterion that is left out the reason.
    """
    options = auditor.options
    found = [Contestant(Dense(), Dense().name)]
    for criterion in options.criteria:
        if criterion == TICKETS:
            continue
        for ratio in options.ratios:
            method = METHODS.get(criterion, "rounding")
            configuration = Configuration(
                sparsity=_shares(auditor, criterion, ratio),
                criterion=criterion,
                method=method,
                seed=options.seed,
            )
            found.append(
                Contestant(Configured(f"{criterion}-{ratio:g}", configuration), criterion, ratio, method)
            )
    taken = {each.version.name for each in found}
    found += [Contestant(each, each.name) for each in auditor.versions if each.name not in taken]
    out: dict[str, str] = {}
    if TICKETS in options.criteria:
        reason = reason_against(auditor.target)
        if reason is not None:
            out[TICKETS] = reason
        else:
            found += [
                Contestant(Ticket(ratio, options.ticket_samples, options.seed), TICKETS, ratio, "edge-popup")
                for ratio in options.ratios
            ]
    return found, out


def _shares(auditor: Auditor, criterion: str, ratio: float) -> dict[str, float]:
    if criterion == "lamp":
        return lamp_shares(auditor.compressor.context.saliency, auditor.structure, ratio)
    return dict.fromkeys(auditor.structure.layers, ratio)


def lamp_shares(saliency: Saliency, structure: Structure, ratio: float) -> dict[str, float]:
    """Compute each layer's share of zeros when all layers are ranked together by LAMP.

    Within a layer LAMP ranks like magnitude, so it only decides the shares of the layers. In total, as many weights
    stay as under the same share in each layer.

    Returns:
        Layer -> share in (0, 1), without layers that keep all weights.

    Source: Lee et al., arXiv 2010.07611.
    """
    counts = kept_weights(structure, ratio)
    scores = [weight_scores(saliency, layer, "lamp").flatten().cpu() for layer in counts]
    sizes = [len(each) for each in scores]
    owners = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    # The largest weight of every layer has the highest possible score, 1, so every layer keeps some.
    order = torch.argsort(torch.cat(scores), descending=True, stable=True)[: sum(counts.values())]
    kept = torch.bincount(owners[order], minlength=len(sizes)).tolist()
    return {
        layer: 1 - stays / size
        for layer, stays, size in zip(counts, kept, sizes, strict=True)
        if 0 < stays < size
    }


def nonzero_weights(module: torch.nn.Module, layers: Sequence[str]) -> int:
    """Count the nonzero weights of the layers."""
    modules: Mapping[str, torch.nn.Module] = dict(module.named_modules())
    return sum(int(weight_of(modules[layer]).count_nonzero()) for layer in layers)
