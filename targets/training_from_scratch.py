"""The one loop that trains the built-in targets' networks from scratch."""

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
"""Of the loop: raised whenever the same recipe gives other weights, so that kept ones are not taken for them."""


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: SGD with Nesterov momentum 0.9 on the cross-entropy.

    Args:
        epochs: passes over the training samples.
        batch_size: samples a step.
        learning_rate: the highest of the schedule.
        weight_decay: L2, of all parameters.
        label_smoothing: in [0, 1).
        schedule: a name in `SCHEDULES`.
    """

    epochs: int
    batch_size: int = 128
    learning_rate: float = 0.1
    weight_decay: float = 5e-4
    label_smoothing: float = 0.0
    schedule: str = "cosine"


WARMUP = 0.05
"""Share of all steps over which `cosine` rises."""


def cosine(optimiser: Optimizer, rate: float, steps: int) -> LRScheduler:
    """A linear rise over `WARMUP` of the steps, then half a cosine down towards zero (arXiv 1608.03983)."""
    rising = round(WARMUP * steps)

    def share(step: int) -> float:
        if step < rising:
            return (step + 1) / (rising + 1)
        return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))

    return LambdaLR(optimiser, share)


def one_cycle(optimiser: Optimizer, rate: float, steps: int) -> LRScheduler:
    """Smith and Topin (arXiv 1708.07120), as PyTorch has it: the momentum falls while the rate rises."""
    return OneCycleLR(optimiser, rate, total_steps=steps)


SCHEDULES: dict[str, Callable[[Optimizer, float, int], LRScheduler]] = {
    "cosine": cosine,
    "one_cycle": one_cycle,
}
"""Learning rate schedules: (optimiser, highest rate, steps) -> what is stepped with it."""


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

    The result depends on nothing but the arguments, the versions of PyTorch and its arithmetic, the device and the
    number of threads; the global random state is put back.

    Args:
        build: makes the network with random weights of torch's global generator.
        data: to learn from. Up to `CACHE_LIMIT` bytes of inputs are held on the device; more are read every epoch.
        recipe: how.
        seed: of initialisation, order, augmentation and dropout.
        augment: a function of a batch (n, ...) on the device.
        device: where it is trained.
        step: called after every optimiser step with (model, part of all steps that are done).

    Returns:
        The network in eval mode on the CPU.

    Raises:
        TargetError: fewer than two samples, or the loss became NaN or infinite.
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
    """What a built-in target of images has for its `retrain`. Can be pickled where its parts can.

    Args:
        build: makes the network with random weights.
        data: the training split.
        settings: the recipe.
        augment: of training inputs.
        device: ``cpu``, ``cuda``, ``cuda:1``; empty for CUDA where there is any, and else the CPU.
    """

    build: Callable[[], nn.Module]
    data: Split
    settings: Recipe
    augment: Callable[[Tensor], Tensor] | None
    device: str = ""

    @property
    def recipe(self) -> str:
        """All that decides the weights but data and architecture, which the target's fingerprint says."""
        return f"scratch {VERSION} {self.settings!r} {self.augment!r}"

    def __call__(self, seed: int, step: Step | None = None) -> nn.Module:
        """Train with this seed: see `train`."""
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
    """Runs of so many; a last one of a single sample joins the one before, since norms need two."""
    batches = list(torch.split(order, size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


def _reader(data: Split, device: torch.device) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """A function from positions to (inputs, labels) on the device."""
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
