"""Outputs of the dense model, with which some metrics compare a candidate."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from leanfront.core.compressors.statistics.outputs import batch_size, outputs
from leanfront.core.objectives.views import VIEWS, Answers, View
from leanfront.core.targets import Split, Target
from leanfront.core.targets.pictures import Pictures
from leanfront.core.targets.pixels import Pixels
from leanfront.errors import EvaluationError, UsageError


class DenseAnswers:
    """The dense model's outputs on the target's splits and on views of them, each computed once.

    Args:
        target: target with its splits.
        model: function that returns the dense model as candidates are evaluated: on the device, norms folded.
        device: device on which modules run.
    """

    def __init__(self, target: Target, model: Callable[[], nn.Module], device: torch.device) -> None:
        self._target = target
        self._make = model
        self._device = device
        self._model: nn.Module | None = None
        self._logits: dict[str, Tensor] = {}
        self._views: dict[tuple[str, str], tuple[View, dict[str, Tensor]]] = {}

    def logits(self, split: str) -> Tensor:
        """Return the (n, C) logits on a whole split, on the CPU."""
        if split not in self._logits:
            self._logits[split] = self._run(self._dense, require_split(self._target, split))
        return self._logits[split]

    def answers(self, view: str, split: str, module: nn.Module, clean: Tensor) -> Answers:
        """Return the outputs of a module and of the dense model on a view of a split.

        Args:
            view: one of `VIEWS`.
            split: name of a split of the target.
            module: module in eval mode, on the device.
            clean: (n, C) logits of the module on the whole split.
        """
        if (view, split) not in self._views:
            made = VIEWS[view](require_split(self._target, split), require_pixels(self._target, view))
            self._views[view, split] = made, self._on(made, self._dense)
        made, dense = self._views[view, split]
        return Answers(made.labels, clean[made.positions], self._on(made, module), dense)

    @property
    def _dense(self) -> nn.Module:
        if self._model is None:
            self._model = self._make()
        return self._model

    def _on(self, view: View, module: nn.Module) -> dict[str, Tensor]:
        return {way: self._run(module, pictures) for way, pictures in view.ways.items()}

    def _run(self, module: nn.Module, data: Split | Pictures) -> Tensor:
        return outputs(module, data, batch_size(self._target.example_input), self._device)[0]


def require_split(target: Target, name: str) -> Split:
    """Return a split to measure on.

    Raises:
        EvaluationError: the target has no such split.
    """
    data = {"validation": target.validation, "test": target.test}.get(name)
    if data is None:
        raise EvaluationError(f"the target has no '{name}' split to measure on")
    return data


def require_pixels(target: Target, what: str) -> Pixels:
    """Return how a target's inputs represent pixels.

    Raises:
        UsageError: the target does not say.
    """
    if target.pixels is None:
        raise UsageError(
            f"'{what}' changes images, and the target does not say how its inputs are made of pixels: give "
            "Target(pixels=leanfront.Pixels(mean, std))"
        )
    return target.pixels
