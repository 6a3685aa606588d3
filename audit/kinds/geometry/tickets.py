"""Multi-prize tickets: subnetworks of a random initialisation, found by training which weights to keep.

Edge-popup (Ramanujan et al., arXiv 1911.13299): every weight has a score; the layer runs with the k weights of
highest |score| at their initial values, and gradients go straight through the choice to the scores. Nothing else is
trained: biases stay 0 and norms have no scale and shift of their own. Initial weights are signed constants, of a
deviation scaled by the share that stays; on these the scaling of multi-prize tickets (alpha sign(w), Diffenderfer and
Kailkhura, arXiv 2103.09377) is the initial weight itself, so that tickets are binary, too.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from leanfront.core.audit.member import Member
from leanfront.core.compressors import Configuration, Structure
from leanfront.core.compressors.statistics.batch_norm import reestimate
from leanfront.core.compressors.statistics.calibration import innermost_channels
from leanfront.core.compressors.structure.modules import weight_of
from leanfront.core.compressors.structure.structure import nonzeros
from leanfront.core.targets import Split, Target
from leanfront.core.targets.sampling import balanced
from leanfront.core.targets.training_from_scratch import Recipe, train
from leanfront.core.targets.weights_cache import (
    cache_folder,
    fill,
    read_weights,
    unfit,
    weights_of,
    write_weights,
)
from leanfront.errors import UsageError

VERSION = 1
"""Raised whenever the same settings give other tickets."""
BATCH, RATE, DECAY = 64, 0.1, 1e-4
"""Of the training of scores: SGD with momentum as in both papers, batches small for few steps to be enough."""
FOLDER = "tickets"
"""Where tickets lie in the cache."""
RESETS = ("reset_parameters", "_reset_parameters")
"""Methods by which modules give their own parameters anew, as PyTorch names them."""


@dataclass(frozen=True)
class Ticket:
    """A version of a model that shares its architecture alone: a subnetwork of a random initialisation.

    Args:
        share: of each layer's weights that are zero, in (0, 1).
        seen: training samples that the search for it sees, repeats included.
        seed: of initialisation, scores and order.
    """

    share: float
    seen: int
    seed: int = 0

    @property
    def name(self) -> str:
        """``tickets-0.5``."""
        return f"tickets-{self.share:g}"

    @property
    def candidate(self) -> None:
        """It is none."""
        return None

    @property
    def key(self) -> str:
        """All that decides its weights beside the member and its training split."""
        return f"{self.name} {VERSION} {self.seen} {self.seed} {BATCH} {RATE:g} {DECAY:g}"

    def module(self, member: Member) -> nn.Module:
        """The ticket of the member's architecture, from the cache where it was found before.

        Raises:
            UsageError: there can be none: see `reason_against`.
        """
        target = member.target
        reason = reason_against(target)
        if reason is not None:
            raise UsageError(f"{self.name}: {reason}")
        said = f"{target.fingerprint} {target.augment!r} {torch.__version__} {self.key}"
        path = cache_folder() / FOLDER / f"{hashlib.sha256(said.encode()).hexdigest()}.safetensors"
        kept = read_weights(path, said)
        if kept is not None and not unfit(target.model, kept):
            model = fill(copy.deepcopy(target.model), kept)
        else:
            counts = kept_weights(member.structure, self.share)
            model = found(target, counts, self.seen, self.seed, member.device)
            model.to(member.compressor.device)
            reestimate(model, member.compressor.context.calibration.batches)
            write_weights(path, said, weights_of(model))
        return innermost_channels(model.eval().requires_grad_(False).to(member.compressor.device))


def kept_weights(structure: Structure, share: float) -> dict[str, int]:
    """How many weights each layer keeps when it is pruned to that share: as many as under any criterion."""
    shapes = structure.shapes(Configuration())
    return {name: nonzeros(structure.parts[name], shapes[name], share) for name in structure.layers}


def reason_against(target: Target) -> str | None:
    """Why there can be no tickets of a target; None where there can."""
    if target.train is None:
        return "the target has no train split to search for tickets on"
    for name, module in target.model.named_modules():
        if list(module.parameters(recurse=False)) and _reset(module) is None:
            return (
                f"the module '{name}' ({type(module).__name__}) has parameters of its own and no reset_parameters to "
                "initialise them anew"
            )
    return None


def found(
    target: Target, counts: Mapping[str, int], seen: int, seed: int, device: torch.device | str = "cpu"
) -> nn.Module:
    """Search for a ticket: train scores, keep the weights of highest score.

    Args:
        target: whose architecture and training split are used; `reason_against` it is None.
        counts: layer -> weights that stay, all others of its are zero.
        seen: training samples in all, at least 1. A split of more is sampled with all classes alike.
        seed: of initialisation, scores and order.
        device: where it is trained.

    Returns:
        A copy in eval mode on the CPU. Its norms have the statistics of the last steps: re-estimate them.

    Raises:
        TargetError: the training failed.
        UsageError: no sample is seen.
    """
    assert target.train is not None
    if seen < 1:
        raise UsageError(f"a ticket must see at least 1 training sample, not {seen}")
    data = _sampled(target.train, seen, seed)
    recipe = Recipe(max(1, round(seen / len(data))), BATCH, RATE, DECAY)
    model = train(
        lambda: scored(initialised(target.model, counts), counts),
        data,
        recipe,
        seed,
        augment=target.augment,
        device=device,
    )
    with torch.no_grad():
        for layer in counts:
            parametrize.remove_parametrizations(model.get_submodule(layer), "weight")
    return model


def initialised(model: nn.Module, counts: Mapping[str, int]) -> nn.Module:
    """A copy with random weights of torch's global generator: signed constants, no biases, no gradients.

    Args:
        model: whose modules can all be reset.
        counts: layer -> weights of it that will stay: the fewer, the larger they are.
    """
    fresh = copy.deepcopy(model).requires_grad_(False)
    with torch.no_grad():
        for module in fresh.modules():
            reset = _reset(module)
            if reset is not None:
                reset()
        for layer, kept in counts.items():
            module = fresh.get_submodule(layer)
            weight = weight_of(module)
            # Kaiming's deviation for the inputs that a unit keeps.
            inputs = weight[0].numel() * kept / weight.numel()
            weight.copy_(torch.where(weight < 0, -1.0, 1.0) * (2 / inputs) ** 0.5)
            if isinstance(module.bias, Tensor):
                module.bias.zero_()
    return fresh


def scored(model: nn.Module, counts: Mapping[str, int]) -> nn.Module:
    """Give layers scores that choose their weights, in place."""
    for layer, kept in counts.items():
        module = model.get_submodule(layer)
        parametrize.register_parametrization(module, "weight", Popup(weight_of(module), kept))
    return model


class Popup(nn.Module):
    """The k weights of highest |score|; the others are zero.

    Args:
        weight: what is chosen from.
        kept: k.
    """

    def __init__(self, weight: Tensor, kept: int) -> None:
        super().__init__()
        self.kept = kept
        self.scores = nn.Parameter(torch.empty_like(weight))
        nn.init.kaiming_uniform_(self.scores, a=5**0.5)

    def forward(self, weight: Tensor) -> Tensor:
        """The weight, masked."""
        chosen: Tensor = _Chosen.apply(self.scores.abs(), self.kept)
        return weight * chosen


class _Chosen(torch.autograd.Function):
    """1 at the k highest scores and 0 elsewhere; gradients pass as if it were the scores."""

    @staticmethod
    def forward(context: Any, scores: Tensor, kept: int) -> Tensor:
        mask = torch.zeros(scores.numel(), dtype=scores.dtype, device=scores.device)
        mask[scores.flatten().topk(kept, sorted=False).indices] = 1
        return mask.view(scores.shape)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


def _sampled(data: Split, seen: int, seed: int) -> Split:
    if len(data) <= seen:
        return data
    return data.subset(balanced(data.labels, max(2, seen), seed=seed, share=1.0))


def _reset(module: nn.Module) -> Callable[[], None] | None:
    for name in RESETS:
        method = getattr(module, name, None)
        if callable(method):
            own: Callable[[], None] = method
            return own
    return None
