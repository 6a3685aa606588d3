"""Proofs of channel groups: cutting units must equal silencing them, at several cuts and with several weights.

One cut proves little: heads that a view counts by `-1` survive cuts of whole heads and no others, and what the
model's own weights hide shows with random weights. Every group is cut alone at a quarter of its units. Then all are
cut together, at each cut with each kind of weights, and halved until those that are wrong stand alone.
"""

from __future__ import annotations

import copy
import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from leanfront.core.compressors.configuration import Configuration
from leanfront.core.compressors.structure.modules import describe
from leanfront.core.compressors.structure.silencing import silenced
from leanfront.core.compressors.structure.slicing import cut_for_now
from leanfront.core.compressors.structure.structure import ChannelGroup, Part, Shape, Structure

CUTS: Mapping[str, Callable[[int], int]] = {
    "a quarter": lambda units: max(1, units // 4),
    "one unit": lambda units: 1,
    "all but one": lambda units: units - 1,
}
"""Name of a cut -> number of units to remove of a group, from its number of units."""
OWN = "own weights"
RANDOM: Mapping[str, float] = {"random weights": 1.0, "random weights without biases": 0.0}
"""Name of random weights -> mean of their biases: positive biases activate rectifiers but saturate gates."""
TOGETHER = "cut together with other groups it changes the output"
UNMEASURABLE = "silencing its channels does not change the output measurably"


@dataclass(frozen=True)
class _Precision:
    """A number format, and what can be told in it.

    Args:
        dtype: type of weights and inputs.
        tolerance: largest error of a cut model, as a share of the silenced model's output.
        measurable: share of the output by which silencing must change it, or agreement would prove nothing.
    """

    dtype: torch.dtype
    tolerance: float
    measurable: float


SINGLE = _Precision(torch.float32, 1e-4, 1e-3)
DOUBLE = _Precision(torch.float64, 1e-8, 1e-7)
"""Tried where float32 does not decide: deep networks with random weights amplify its rounding."""


@dataclass(frozen=True)
class _Comparison:
    """Differences of outputs, as shares of the output's norm.

    Args:
        effect: of silencing, against the dense model.
        error: of cutting, against silencing.
    """

    effect: float
    error: float

    def verdict(self, precision: _Precision) -> str | None:
        """Return the reason why the groups are wrong or unproven, or None if they are proven."""
        if not self.effect >= precision.measurable:
            return UNMEASURABLE
        if not self.error <= precision.tolerance:
            return f"cutting differs from silencing by {self.error:.1e} of the output (channels are mixed on the way)"
        return None


class Prover:
    """Comparison of cut models with silenced ones.

    Args:
        model: the dense model in eval mode, on the CPU, in float32; it is cut and restored.
        inputs: (n, ...) inputs on which outputs are compared.
        parts: parts of the model.
        seed: seed that chooses the removed units and the random weights.
    """

    def __init__(self, model: nn.Module, inputs: Tensor, parts: Mapping[str, Part], seed: int) -> None:
        self._parts = parts
        self._seed = seed
        self._inputs = inputs
        self._models = {OWN: model}
        self._wide: tuple[str, nn.Module] | None = None
        self._outputs: dict[tuple[str, _Precision], Tensor] = {}

    def refute(self, group: ChannelGroup) -> str | None:
        """Return the reason why cutting this group alone is wrong or unproven; None if it is proven."""
        own = self._compare(OWN, [group], "a quarter")
        if own != UNMEASURABLE:
            return own
        # Channels without effect (zero-initialised norms, saturated gates) prove nothing. The coupling does not
        # depend on the weights, so random ones serve as well; a few channels may be without effect there too.
        for cut, weights in itertools.product(("a quarter", "all but one"), RANDOM):
            found = self._compare(weights, [group], cut)
            if found != UNMEASURABLE:
                return found
        return own

    def together(self, groups: Sequence[ChannelGroup]) -> tuple[list[ChannelGroup], dict[str, str]]:
        """Cut all groups at once, at every cut with all weights; groups that are wrong are found by halving.

        Returns:
            The groups that stay right, of which earlier ones win; and the reason for each of the others, by name.
        """
        chosen, reasons = list(groups), {}
        for weights in (OWN, *RANDOM):
            for cut in CUTS:
                left = largest([], chosen, self._right(weights, cut))
                for group in chosen:
                    if group not in left:
                        alone = self._compare(weights, [group], cut)
                        reasons[group.name] = TOGETHER if alone in (None, UNMEASURABLE) else alone or TOGETHER
                chosen = left
        return chosen, reasons

    def _right(self, weights: str, cut: str) -> Callable[[Sequence[ChannelGroup]], bool]:
        return lambda groups: self._compare(weights, groups, cut) in (None, UNMEASURABLE)

    def _compare(self, weights: str, groups: Sequence[ChannelGroup], cut: str) -> str | None:
        """Compare at one cut with one kind of weights; in float64 where float32 does not decide."""
        found = self._run(weights, groups, cut, SINGLE)
        if isinstance(found, str):
            return found
        verdict = found.verdict(SINGLE)
        if verdict is None or found.effect == 0:
            return verdict
        again = self._run(weights, groups, cut, DOUBLE)
        # A model that makes float32 tensors itself does not run in float64.
        return verdict if isinstance(again, str) else again.verdict(DOUBLE)

    def _run(
        self, weights: str, groups: Sequence[ChannelGroup], cut: str, precision: _Precision
    ) -> _Comparison | str:
        choice = random.Random(self._seed)
        gone = {g.name: sorted(choice.sample(range(g.units), CUTS[cut](g.units))) for g in groups}
        try:
            model = self._model(weights, precision)
            dense = self._dense(weights, precision)
        except Exception as error:
            return f"the model does not run with {weights} ({type(error).__name__}: {error})"
        inputs = self._in(precision)
        with torch.no_grad():
            try:
                with silenced(model, groups, gone):
                    silent = _logits(model(inputs))
            except Exception as error:
                return f"its channels cannot be silenced ({type(error).__name__}: {error})"
            try:
                with cut_for_now(model, groups, gone) as small:
                    output = _logits(small(inputs))
                    misshapen = self._misshapen(small, groups, gone)
            except Exception as error:
                return f"the model with {cut} cut does not run ({type(error).__name__}: {error})"
        if misshapen is not None:
            return f"cutting gives {misshapen} other channels than expected"
        if output.shape != dense.shape:
            return f"the cut model's output has shape {tuple(output.shape)}, not {tuple(dense.shape)}"
        scale = float(dense.norm())
        if not bool(silent.isfinite().all()) or not scale > 0:
            # Random weights may overflow or fall silent; the model's own must not.
            return (
                "the model's output is not finite, so nothing can be proven"
                if weights == OWN and scale > 0
                else UNMEASURABLE
            )
        return _Comparison(
            float((silent - dense).norm()) / scale,
            float((output - silent).norm()) / max(float(silent.norm()), 1e-12),
        )

    def _misshapen(
        self, small: nn.Module, groups: Sequence[ChannelGroup], gone: Mapping[str, Sequence[int]]
    ) -> str | None:
        """Return a module whose channels differ from those that the layout and the cost models count, if any."""
        structure = Structure(self._parts, {group.name: group for group in groups}, ())
        kept = {group.name: group.units - len(gone[group.name]) for group in groups}
        expected = structure.shapes(Configuration(channels=kept))
        modules = dict(small.named_modules())
        for name, part in self._parts.items():
            found = describe(name, modules[name])
            # A PReLU cut to one slope looks like one that has the same slope for all channels.
            if found is None or part.kind == "other" or "pointwise" in (part.kind, found.kind):
                continue
            if Shape(found.inputs, found.outputs, found.groups) != expected[name]:
                return name
        return None

    def _model(self, weights: str, precision: _Precision) -> nn.Module:
        if weights not in self._models:
            self._models[weights] = _randomised(
                self._models[OWN], self._seed + list(RANDOM).index(weights), RANDOM[weights]
            )
        model = self._models[weights]
        if precision is SINGLE:
            return model
        # One at a time: it is twice as large.
        if self._wide is None or self._wide[0] != weights:
            self._wide = (weights, copy.deepcopy(model).to(precision.dtype))
        return self._wide[1]

    def _in(self, precision: _Precision) -> Tensor:
        return self._inputs.to(precision.dtype) if self._inputs.is_floating_point() else self._inputs

    def _dense(self, weights: str, precision: _Precision) -> Tensor:
        if (weights, precision) not in self._outputs:
            with torch.no_grad():
                self._outputs[weights, precision] = _logits(
                    self._model(weights, precision)(self._in(precision))
                )
        return self._outputs[weights, precision]


def largest(
    base: list[ChannelGroup],
    more: list[ChannelGroup],
    right: Callable[[Sequence[ChannelGroup]], bool],
) -> list[ChannelGroup]:
    """Return `base` with those of `more` that stay right with it and with each other; earlier ones win.

    Args:
        base: groups that are right together.
        more: groups to add, halved until those that are wrong stand alone.
        right: function that tells whether groups are right together.
    """
    if not more or right([*base, *more]):
        return [*base, *more]
    if len(more) == 1:
        return base
    half = len(more) // 2
    return largest(largest(base, more[:half], right), more[half:], right)


def _logits(output: Any) -> Tensor:
    if not isinstance(output, Tensor):
        raise TypeError(f"the model returns {type(output).__name__}, not a tensor")
    return output


def _randomised(model: nn.Module, seed: int, bias: float) -> nn.Module:
    """Return a copy with random weights, scaled by their fan-in, and biases around a value."""
    shuffled = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in shuffled.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator).to(parameter)
            if parameter.dim() > 1:
                parameter.copy_(noise * (2 / max(1, parameter[0].numel())) ** 0.5)
            else:
                parameter.copy_((bias if name.endswith("bias") else 1.0) + 0.1 * noise)
    return shuffled
