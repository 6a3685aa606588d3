"""Training loop of the built-in targets' networks from scratch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from leanfront.core.targets.retraining import Step
from leanfront.core.targets.split import CACHE_LIMIT, Split
from leanfront.errors import TargetError

VERSION = 1
"""Version of the loop. Raise it when the same recipe gives other weights, so that cached weights become invalid."""


@dataclass(frozen=True)
class Recipe:
    """Settings of a training: SGD with Nesterov momentum 0.9 on the cross-entropy.

    Args:
        epochs: number of passes over the training samples.
        batch_size: number of samples per step.
        learning_rate: highest learning rate of the schedule.
        weight_decay: L2 penalty on all parameters.
        label_smoothing: label smoothing, in [0, 1).
        schedule: a name in `SCHEDULES`.
    """

    epochs: int
    batch_size: int = 128
    learning_rate: float = 0.1
    weight_decay: float = 5e-4
    label_smoothing: float = 0.0
    schedule: str = "cosine"


WARMUP = 0.05
"""Share of all steps in which `cosine` rises."""


def cosine(optimiser: Optimizer, rate: float, steps: int) -> LRScheduler:
    """Return a schedule: linear rise over `WARMUP` of the steps, then cosine decay to zero (arXiv 1608.03983)."""
    rising = round(WARMUP * steps)

    def share(step: int) -> float:
        if step < rising:
            return (step + 1) / (rising + 1)
        return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))

    return LambdaLR(optimiser, share)


def one_cycle(optimiser: Optimizer, rate: float, steps: int) -> LRScheduler:
    """Return PyTorch's one-cycle schedule (Smith and Topin, arXiv 1708.07120); momentum falls as the rate rises."""
    return OneCycleLR(optimiser, rate, total_steps=steps)


SCHEDULES: dict[str, Callable[[Optimizer, float, int], LRScheduler]] = {
    "cosine": cosine,
    "one_cycle": one_cycle,
}
"""Learning rate schedules: functions (optimiser, highest rate, steps) -> scheduler."""


def train(
    build: Callable[[], nn.Module],
    data: Split,
    recipe: Recipe,
    seed: int,
    *,
    augment: Callable[[Tensor], Tensor] | None = None,
    device: torch.device | str = "cpu",
    step: Step | None = None,
) -> nn.Module:
    """Train a network from scratch.

    The result depends only on the arguments, the version and arithmetic of PyTorch, the device and the number of
    threads. The global random state is restored.

    Args:
        build: function that returns the network with random weights from torch's global generator.
        data: training split. Up to `CACHE_LIMIT` bytes of inputs are kept on the device; more are read every epoch.
        recipe: settings of the training.
        seed: seed of initialisation, order, augmentation and dropout.
        augment: function that augments a batch (n, ...) on the device.
        device: device of the training.
        step: called after every optimiser step with (model, fraction of completed steps).

    Returns:
        The network in eval mode on the CPU.

    Raises:
        TargetError: there are fewer than two samples, or the loss becomes NaN or infinite.
    """
    if len(data) < 2:
        raise TargetError(f"{data.name} has {len(data)} sample(s): training from scratch needs at least 2")
    device = torch.device(device)
    devices = (
        [torch.cuda.current_device() if device.index is None else device.index]
        if device.type == "cuda"
        else []
    )
    with torch.random.fork_rng(devices=devices), torch.inference_mode(False), torch.enable_grad():
        torch.manual_seed(seed)
        model = build().to(device).train()
        read = _reader(data, device)
        steps = recipe.epochs * len(_batches(torch.arange(len(data)), recipe.batch_size))
        optimiser = torch.optim.SGD(
            model.parameters(), recipe.learning_rate, 0.9, nesterov=True, weight_decay=recipe.weight_decay
        )
        schedule = SCHEDULES[recipe.schedule](optimiser, recipe.learning_rate, steps)
        done = 0
        for epoch in range(recipe.epochs):
            for batch in _batches(torch.randperm(len(data)), recipe.batch_size):
                inputs, labels = read(batch)
                scores = model(inputs if augment is None else augment(inputs))
                loss = functional.cross_entropy(scores, labels, label_smoothing=recipe.label_smoothing)
                optimiser.zero_grad()
                torch.autograd.backward(loss)
                optimiser.step()
                schedule.step()
                done += 1
                if step is not None:
                    step(model, done / steps)
            last = float(loss.detach())
            if not math.isfinite(last):
                raise TargetError(
                    f"training from scratch with seed {seed} diverged in epoch {epoch + 1}: the loss is "
                    f"{last}; this architecture needs a training of its own, Target(retrain=...)"
                )
    return model.cpu().eval()


@dataclass(frozen=True)
class ScratchTraining:
    """The function `retrain` of built-in image targets. Can be pickled if its attributes can.

    Args:
        build: function that returns the network with random weights.
        data: training split.
        settings: settings of the training.
        augment: function that augments training inputs.
        device: ``cpu``, ``cuda`` or ``cuda:1``; empty for CUDA if available, and otherwise the CPU.
    """

    build: Callable[[], nn.Module]
    data: Split
    settings: Recipe
    augment: Callable[[Tensor], Tensor] | None
    device: str = ""

    @property
    def recipe(self) -> str:
        """Settings that determine the weights, except for data and architecture, which the fingerprint covers."""
        return f"scratch {VERSION} {self.settings!r} {self.augment!r}"

    def __call__(self, seed: int, step: Step | None = None) -> nn.Module:
        """Train with a seed; see `train`."""
        device = torch.device(self.device or ("cuda" if torch.cuda.is_available() else "cpu"))
        if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
            raise TargetError(
                f"device={self.device}: PyTorch finds {torch.cuda.device_count()} CUDA device(s) on this machine; "
                "leave the option out, or give device=cpu"
            )
        return train(
            self.build, self.data, self.settings, seed, augment=self.augment, device=device, step=step
        )


def _batches(order: Tensor, size: int) -> list[Tensor]:
    """Split into batches; a single last sample joins the batch before, since batch norms need two samples."""
    batches = list(torch.split(order, size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


def _reader(data: Split, device: torch.device) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """Return a function from positions to (inputs, labels) on the device."""
    first = next(data.batches(1))[0]
    if len(data) * first.numel() * first.element_size() > CACHE_LIMIT:

        def parts(positions: Tensor) -> tuple[Tensor, Tensor]:
            inputs, labels = data.subset(positions).tensors()
            return inputs.to(device), labels.to(device)

        return parts
    inputs, labels = (tensor.to(device) for tensor in data.tensors())

    def rows(positions: Tensor) -> tuple[Tensor, Tensor]:
        places = positions.to(device)
        return inputs[places], labels[places]

    return rows
