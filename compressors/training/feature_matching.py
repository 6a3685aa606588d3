"""Feature matching: the distance between hidden outputs of a compressed module and of the dense model.

A few epochs of a small training split say little about classes, and much about the output of each block. Kept
channels are the dense model's own, so they are compared directly, without regressor layers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from leanfront.core.compressors.structure.structure import Structure

LEAST = 1e-12
"""Lower bound of the variance that errors are divided by: a constant block has none."""
ALIKE = 1.0
"""Largest error before training, as a share of the variance, at which channels count as the same."""


@dataclass(frozen=True)
class Pair:
    """A block that both models have.

    Args:
        name: name of the module.
        axis: axis of its outputs along which units were cut; None if none were.
        kept: positions of the kept units among the dense model's.
    """

    name: str
    axis: int | None = None
    kept: Tensor | None = None

    def error(self, given: Tensor, wanted: Tensor) -> Tensor:
        """Return the mean squared error of the kept units, as a share of their variance."""
        if self.axis is not None and self.kept is not None:
            wanted = wanted.index_select(self.axis, self.kept)
        given, wanted = given.float(), wanted.float()
        return (given - wanted).square().mean() / wanted.var().clamp_min(LEAST)


class Features:
    """Observer of two models' blocks, which measures the distance between their last outputs.

    Blocks are modules of several layers that are called once per pass and return one tensor; the whole model is not
    a block. If units were cut, the kept ones are identified by the similarity of their outputs before training.

    Args:
        learner: the compressed module; hooks stay on it until `close`.
        teacher: the dense model, in eval mode; it may be folded.
        structure: structure of the dense model.
        inputs: (n, ...) training inputs on the models' device.

    Source:
        Romero et al., FitNets, ICLR 2015, equation 3, without the regressor.
    """

    def __init__(
        self,
        learner: nn.Module,
        teacher: nn.Module,
        structure: Structure,
        inputs: Tensor,
    ) -> None:
        both = {name for name, _ in learner.named_modules()}
        names = [name for name in _blocks(teacher, structure) if name in both]
        self._given, self._wanted = _Watch(learner, names), _Watch(teacher, names)
        training = learner.training
        with torch.no_grad():
            teacher(inputs)
            learner.eval()(inputs)
        learner.train(training)
        given, wanted = self._given.take(), self._wanted.take()
        # The output of a sequence of blocks is that of the last one.
        single = {id(output): name for name, output in reversed(wanted.items())}.values()
        found = (_pair(name, given[name], wanted[name]) for name in single if name in given)
        self.pairs = [pair for pair in found if pair is not None]

    def loss(self) -> Tensor | None:
        """Return the mean error of all blocks in the one pass since `forget`; None if there are no blocks."""
        given, wanted = self._given.take(), self._wanted.take()
        errors = [pair.error(given[pair.name], wanted[pair.name]) for pair in self.pairs]
        return torch.stack(errors).mean() if errors else None

    def forget(self) -> None:
        """Discard the recorded outputs."""
        self._given.take()
        self._wanted.take()

    def close(self) -> None:
        """Remove the hooks from both models."""
        self._given.close()
        self._wanted.close()


class _Watch:
    """Recorder of the last outputs of modules that were called once."""

    def __init__(self, module: nn.Module, names: Sequence[str]) -> None:
        self._seen: dict[str, tuple[int, Tensor | None]] = {}
        self._handles: list[RemovableHandle] = [
            module.get_submodule(name).register_forward_hook(self._keeper(name)) for name in names
        ]

    def _keeper(self, name: str) -> Callable[[nn.Module, object, object], None]:
        def keep(module: nn.Module, inputs: object, output: object) -> None:
            calls = self._seen.get(name, (0, None))[0] + 1
            self._seen[name] = calls, output if isinstance(output, Tensor) else None

        return keep

    def take(self) -> dict[str, Tensor]:
        """Return the outputs by name, and discard them."""
        seen, self._seen = self._seen, {}
        return {name: output for name, (calls, output) in seen.items() if calls == 1 and output is not None}

    def close(self) -> None:
        for handle in self._handles:
            handle.remove()


def _blocks(module: nn.Module, structure: Structure) -> list[str]:
    """Return the modules of several layers, without the whole model."""
    return [
        name
        for name, _ in module.named_modules()
        if name and sum(layer.startswith(f"{name}.") for layer in structure.layers) > 1
    ]


def _pair(name: str, given: Tensor, wanted: Tensor) -> Pair | None:
    if given.shape == wanted.shape:
        return Pair(name)
    if given.dim() != wanted.dim() or not given.is_floating_point():
        return None
    different = [axis for axis in range(given.dim()) if given.shape[axis] != wanted.shape[axis]]
    if len(different) != 1:
        return None
    (axis,) = different
    pair = Pair(name, axis, _most_alike(given.movedim(axis, 0), wanted.movedim(axis, 0)).to(given.device))
    return pair if float(pair.error(given, wanted)) < ALIKE else None


def _most_alike(given: Tensor, wanted: Tensor) -> Tensor:
    """Match each kept unit to a different unit of the dense model, with the least total squared error.

    Args:
        given: (kept, ...).
        wanted: (units, ...).

    Returns:
        int64 (kept,). A file does not say which units were kept, so they are identified by their outputs.
    """
    from scipy.optimize import linear_sum_assignment  # half a second to import, for trainings alone

    mine, dense = given.flatten(1).float(), wanted.flatten(1).float()
    errors = mine.square().sum(1)[:, None] + dense.square().sum(1) - 2 * mine @ dense.T
    return torch.from_numpy(linear_sum_assignment(errors.cpu().numpy())[1])
