"""Multi-prize tickets: subnetworks of a random initialisation, found by training which weights to keep.

Edge-popup (Ramanujan et al., arXiv 1911.13299): every weight has a score; the layer runs with the k weights of
highest |score| at their initial values, and gradients go straight through the choice to the scores. Nothing else is
trained: biases stay 0, and norms keep their initial scale and shift. Initial weights are signed constants whose
magnitude depends on the share that stays. The scaling of multi-prize tickets (alpha sign(w), Diffenderfer and
Kailkhura, arXiv 2103.09377) leaves them unchanged, so the tickets are binary, too.
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
from leanfront.core.compressors.structure.modules import weight_of
from leanfront.core.compressors.structure.structure import nonzeros
from leanfront.core.targets import Split, Target
from leanfront.core.targets.memory_format import with_innermost
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
"""Raised when the same settings give different tickets."""
BATCH, RATE, DECAY = 64, 0.1, 1e-4
"""Training of scores: SGD with momentum as in both papers, with small batches so that few samples suffice."""
FOLDER = "tickets"
"""Folder of tickets in the cache."""
RESETS = ("reset_parameters", "_reset_parameters")
"""PyTorch's names for the methods with which modules initialise their own parameters."""


@dataclass(frozen=True)
class Ticket:
    """A version that shares only the architecture of a model: a subnetwork of a random initialisation.

    Args:
        share: share of zero weights in each layer, in (0, 1).
        seen: number of training samples used to find it, repeats included.
        seed: seed of initialisation, scores and order.
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
        """None: it is not a candidate."""
        return None

    @property
    def key(self) -> str:
        """Everything that decides its weights, apart from the member and its training split."""
        return f"{self.name} {VERSION} {self.seen} {self.seed} {BATCH} {RATE:g} {DECAY:g}"

    def module(self, member: Member) -> nn.Module:
        """Return the ticket of the member's architecture, from the cache if it was found before.

        Raises:
            UsageError: the target has no tickets: see `reason_against`.
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
        model = model.eval().requires_grad_(False).to(member.compressor.device)
        return with_innermost(model, target.channels_last)


def kept_weights(structure: Structure, share: float) -> dict[str, int]:
    """Return how many weights each layer keeps at a share of zeros, as many as under any criterion."""
    shapes = structure.shapes(Configuration())
    return {name: nonzeros(structure.parts[name], shapes[name], share) for name in structure.layers}


def reason_against(target: Target) -> str | None:
    """Return why a target cannot have tickets, or None if it can."""
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
        target: target with the architecture and training split; its `reason_against` must be None.
        counts: layer -> number of weights that stay; the others are zero.
        seen: number of training samples in all, at least 1. A larger split is sampled with balanced classes.
        seed: seed of initialisation, scores and order.
        device: device of the training.

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
    """Copy a model with random weights from torch's global generator: signed constants, no biases, no gradients.

    Args:
        model: model whose modules can all be reset.
        counts: layer -> number of weights that will stay; the fewer, the larger the weights are.
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
            # Kaiming's standard deviation for the inputs that a unit keeps.
            inputs = weight[0].numel() * kept / weight.numel()
            weight.copy_(torch.where(weight < 0, -1.0, 1.0) * (2 / inputs) ** 0.5)
            if isinstance(module.bias, Tensor):
                module.bias.zero_()
    return fresh


def scored(model: nn.Module, counts: Mapping[str, int]) -> nn.Module:
    """Add scores to layers that choose their weights, in place."""
    for layer, kept in counts.items():
        module = model.get_submodule(layer)
        parametrize.register_parametrization(module, "weight", Popup(weight_of(module), kept))
    return model


class Popup(nn.Module):
    """Parametrisation that keeps the k weights of highest |score| and zeroes the others.

    Args:
        weight: weights to choose from.
        kept: k, the number of weights to keep.
    """

    def __init__(self, weight: Tensor, kept: int) -> None:
        super().__init__()
        self.kept = kept
        self.scores = nn.Parameter(torch.empty_like(weight))
        nn.init.kaiming_uniform_(self.scores, a=5**0.5)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the masked weight."""
        chosen: Tensor = _Chosen.apply(self.scores.abs(), self.kept)
        return weight * chosen


class _Chosen(torch.autograd.Function):
    """Mask with 1 at the k highest scores and 0 elsewhere; gradients pass straight through to the scores."""

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
