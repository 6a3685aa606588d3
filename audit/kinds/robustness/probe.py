"""Probes: images with a seed for each sample, and the evaluation of modules on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from leanfront.core.compressors.statistics.outputs import batch_size
from leanfront.core.targets import Pixels
from leanfront.core.targets.memory_format import like_weights
from leanfront.errors import EvaluationError, UsageError

ROUNDING = 1e-3
"""Distance outside [0, 1] from which pixels show that their mean and deviation are wrong."""


@dataclass(frozen=True)
class Probe:
    """Images on which modules are evaluated as they are, under noise and under attack.

    With ``dynamic`` activation ranges, the answer to a sample also depends on its batch, so the batch size and the
    order are part of the result.

    Args:
        images: (n, c, h, w) float pixels in [0, 1]; kept on the CPU in float32.
        pixels: how the model's inputs are made from them.
        seeds: seed of each sample, not negative, for everything random about it.
        size: number of samples in a batch.
        device: device of the modules.

    Raises:
        UsageError: images are missing or have another shape or scale, seeds are negative or of another number, or
            the batch is empty.
    """

    images: Tensor
    pixels: Pixels
    seeds: tuple[int, ...]
    size: int
    device: torch.device

    def __post_init__(self) -> None:
        images, seeds = self.images, tuple(int(seed) for seed in self.seeds)
        _require_images(images, self.pixels)
        low, high = float(images.min()), float(images.max())
        if not (low >= -ROUNDING and high <= 1 + ROUNDING):  # refuses NaN, too
            raise UsageError(
                f"pixels run from {low:.4g} to {high:.4g} instead of 0 to 1: the target's pixels (mean and std) are "
                "not those its inputs were made with"
            )
        if len(seeds) != len(images) or min(seeds) < 0:
            raise UsageError(f"{len(images)} images need as many seeds of 0 or more, not {len(seeds)}")
        if self.size < 1:
            raise UsageError(f"a batch needs at least 1 sample, not {self.size}")
        object.__setattr__(self, "images", images.detach().cpu().float().clamp(0, 1))
        object.__setattr__(self, "seeds", seeds)
        object.__setattr__(self, "device", torch.device(self.device))

    @classmethod
    def of(
        cls,
        inputs: Tensor,
        pixels: Pixels,
        *,
        seeds: Sequence[int] | None = None,
        size: int | None = None,
        device: torch.device | str = "cpu",
    ) -> Probe:
        """Make a probe from a model's inputs (n, c, h, w); the default seeds are 0..n-1."""
        _require_images(inputs, pixels)
        return cls(
            pixels.of(inputs.detach().cpu().float()),
            pixels,
            tuple(range(len(inputs)) if seeds is None else seeds),
            batch_size(inputs[:1]) if size is None else size,
            torch.device(device),
        )

    def __len__(self) -> int:
        return len(self.images)

    def parts(self) -> Iterator[Probe]:
        """Yield its batches, one probe each."""
        for start in range(0, len(self), self.size):
            part = slice(start, start + self.size)
            yield replace(self, images=self.images[part], seeds=self.seeds[part])

    def logits(self, module: nn.Module, images: Tensor | None = None) -> Tensor:
        """Compute the logits of a module, batch by batch.

        Args:
            module: classifier in eval mode, on the device.
            images: (n, c, h, w) pixels in place of the probe's own.

        Returns:
            (n, C) float32 on the CPU.

        Raises:
            UsageError: the module is in training mode.
            EvaluationError: its outputs are not finite, or not (n, C) with C of 2 or more.
        """
        require_eval(module)
        shown = self.images if images is None else images
        with torch.inference_mode():
            return torch.cat(
                [self._answer(module, part.to(self.device)).cpu() for part in self._batches(shown)]
            )

    def gradient(
        self, module: nn.Module, score: Callable[[Tensor], Tensor], images: Tensor | None = None
    ) -> Tensor:
        """Compute the gradient of a score of each sample's logits by its pixels.

        Gradients and flags of parameters are not changed. A module that blocks gradients (by no_grad in its forward,
        or true rounding) has gradient 0.

        Args:
            module: module in eval mode, on the device.
            score: function of a batch's float64 logits (m, C) that returns scores (m,), each of its own sample.
            images: (n, c, h, w) pixels in place of the probe's own.

        Returns:
            (n, c, h, w) float32 on the CPU.

        Raises:
            UsageError: the module is in training mode.
            EvaluationError: the module cannot be differentiated, or its gradient is not finite.
        """
        require_eval(module)
        shown = self.images if images is None else images
        return torch.cat(
            [self._gradient(module, score, part.to(self.device)).cpu() for part in self._batches(shown)]
        )

    def _gradient(self, module: nn.Module, score: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        with torch.inference_mode(False), torch.enable_grad():
            leaf = images.clone().requires_grad_()
            try:
                scores = score(self._answer(module, leaf).double())
                if not scores.requires_grad:
                    return torch.zeros_like(images)
                (found,) = torch.autograd.grad(scores.sum(), leaf, materialize_grads=True)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                raise EvaluationError(
                    f"the model's output cannot be differentiated by its input ({error}); attacks made on the dense "
                    "model and transferred need no gradient of it"
                ) from error
        if not bool(torch.isfinite(found).all()):
            raise EvaluationError("the model's gradient by its input is NaN or infinite")
        return found

    def _batches(self, images: Tensor) -> Iterator[Tensor]:
        for start in range(0, len(images), self.size):
            yield images[start : start + self.size]

    def _answer(self, module: nn.Module, images: Tensor) -> Tensor:
        logits = module(like_weights(module, self.pixels.inputs(images)))
        if not isinstance(logits, Tensor) or logits.dim() != 2 or logits.shape[1] < 2:
            found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise EvaluationError(f"a classifier gives (samples, classes of 2 or more), not {found}")
        if not bool(torch.isfinite(logits).all()):
            raise EvaluationError("the model's outputs are NaN or infinite")
        return logits.float()


def _require_images(images: Tensor, pixels: Pixels) -> None:
    if images.dim() != 4 or not images.is_floating_point() or not images.numel():
        raise UsageError(
            f"images must be floats (n, c, h, w), at least one, not {images.dtype} {tuple(images.shape)}"
        )
    if pixels.channels not in (1, images.shape[1]):
        raise UsageError(
            f"pixels has a mean and std for {pixels.channels} channels, the images have {images.shape[1]}"
        )


def require_eval(module: nn.Module) -> None:
    """Refuse a module that is in training mode, since evaluation would change it.

    Raises:
        UsageError: the module is in training mode.
    """
    if module.training:
        raise UsageError(f"the {type(module).__name__} is in training mode: call eval() first")


def require_labels(labels: Tensor, probe: Probe, classes: int) -> None:
    """Refuse labels that do not fit the probe.

    Raises:
        UsageError: there is not one integer in 0..classes-1 for each sample.
    """
    if labels.shape != (len(probe),) or labels.is_floating_point() or labels.dtype == torch.bool:
        raise UsageError(f"labels must be integers ({len(probe)},), not {labels.dtype} {tuple(labels.shape)}")
    if int(labels.min()) < 0 or int(labels.max()) >= classes:
        raise UsageError(
            f"labels run from {int(labels.min())} to {int(labels.max())}, the model has {classes} outputs"
        )
