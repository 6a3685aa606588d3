"""Adversarial attacks in the maximum norm, made on a module itself or on another one and transferred to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from leanfront.core.audit.kinds.robustness.noise import uniform
from leanfront.core.audit.kinds.robustness.probe import Probe, require_labels
from leanfront.core.compressors.statistics.outputs import correct
from leanfront.core.objectives.documents import plain
from leanfront.core.objectives.metrics import wilson
from leanfront.errors import UsageError

EPS, STEP, STEPS = 8 / 255, 2 / 255, 10


@dataclass(frozen=True)
class Attack:
    """Steps along the sign of the loss's gradient, within eps of every pixel.

    Args:
        name: name in documents.
        eps: largest change of a pixel on [0, 1].
        step: change of a pixel in one step.
        steps: number of steps; the last point counts, not the worst.
        start: whether it starts at a random point within eps instead of at the image.
        seed: seed of the starts, combined with the seed of each sample.

    Raises:
        UsageError: eps or step is not in (0, 1], or there is no step.

    Source: fgsm: Goodfellow et al., "Explaining and harnessing adversarial examples", ICLR 2015; pgd: Madry et
    al., "Towards deep learning models resistant to adversarial attacks", ICLR 2018.
    """

    name: str
    eps: float = EPS
    step: float = STEP
    steps: int = STEPS
    start: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if not (0 < self.eps <= 1 and 0 < self.step <= 1) or self.steps < 1 or self.seed < 0:
            raise UsageError(
                f"attack '{self.name}' needs eps and step in (0, 1], 1 step and seed 0 or more, not eps {self.eps}, "
                f"step {self.step}, {self.steps} steps, seed {self.seed}"
            )


ATTACKS: dict[str, Attack] = {
    "fgsm": Attack("fgsm", step=EPS, steps=1, start=False),
    "pgd": Attack("pgd"),
}
"""Attacks by name, with the usual settings for 32 x 32 colour images; use `dataclasses.replace` for others."""


@dataclass(frozen=True)
class Perturbed:
    """Attacked images.

    Args:
        attack: the attack that made them.
        images: (n, c, h, w) pixels in [0, 1], at most eps from the probe's.
        masked: bool (n,), whether the gradient was zero at the start, so that the attack never moved.
    """

    attack: Attack
    images: Tensor
    masked: Tensor


@dataclass(frozen=True)
class Attacked:
    """The accuracy of a module under an attack.

    Args:
        attack: the attack.
        transferred: whether the images were made on another model.
        accuracy: share of attacked images that are classified correctly; images wrong before count, too.
        low: lower end of the 95% Wilson interval.
        high: upper end.
        n: number of samples.
        masked: share of samples with a zero gradient in the model that the attack was made on. If it is not small,
            high accuracy is no sign of robustness: use the transferred attack.
    """

    attack: Attack
    transferred: bool
    accuracy: float
    low: float
    high: float
    n: int
    masked: float

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        found: dict[str, Any] = plain(self)
        return found


def perturb(module: nn.Module, probe: Probe, labels: Tensor, attack: Attack) -> Perturbed:
    """Attack a module.

    x_0 is the image, or with `start` the image + U(-eps, eps); x_t+1 = clip(x_t + step sign(gradient)), to within
    eps of the image and to [0, 1]. The loss is log sum_{j != y} e^z_j - z_y. Its gradient is that of the
    cross-entropy over 1 - p_y, so it has the same sign but is not lost by rounding if p_y is close to 1.

    Args:
        module: module in eval mode, on the probe's device.
        probe: n images.
        labels: int64 (n,) true classes.
        attack: an entry of `ATTACKS`, or another one.

    Raises:
        UsageError: labels do not fit, or the module is in training mode.
        EvaluationError: the module cannot be differentiated, or its outputs are not finite.
    """
    truth = labels.detach().cpu()
    require_labels(truth, probe, next(probe.parts()).logits(module).shape[1])
    found, masked = [], []
    for start, part in zip(range(0, len(probe), probe.size), probe.parts(), strict=True):
        wanted = truth[start : start + len(part)].long().to(probe.device)[:, None]

        def loss(logits: Tensor, wanted: Tensor = wanted) -> Tensor:
            return logits.scatter(1, wanted, -torch.inf).logsumexp(1) - logits.gather(1, wanted)[:, 0]

        now = part.images
        if attack.start:
            drawn = uniform(now.shape[1:], part.seeds, f"attack {attack.seed}")
            now = (now + attack.eps * (2 * drawn - 1)).clamp(0, 1)
        for step in range(attack.steps):
            gradient = part.gradient(module, loss, now)
            if step == 0:
                masked.append((gradient == 0).flatten(1).all(1))
            now = now + attack.step * gradient.sign()
            now = now.clamp(part.images - attack.eps, part.images + attack.eps).clamp(0, 1)
        found.append(now)
    return Perturbed(attack, torch.cat(found), torch.cat(masked))


def attacked(module: nn.Module, probe: Probe, labels: Tensor, how: Attack | Perturbed) -> Attacked:
    """Measure the accuracy of a module under an attack on itself, or on images attacked on another model.

    Args:
        module: module in eval mode, on the probe's device.
        probe: n images.
        labels: int64 (n,) true classes.
        how: an attack to make on the module (white box), or images that `perturb` made on another module, usually
            the dense model (transferred).

    Raises:
        UsageError: labels or images do not fit, or the module is in training mode.
        EvaluationError: the module cannot be differentiated, or its outputs are not finite.
    """
    transferred = isinstance(how, Perturbed)
    made = how if isinstance(how, Perturbed) else perturb(module, probe, labels, how)
    if made.images.shape != probe.images.shape:
        raise UsageError(
            f"the attacked images {tuple(made.images.shape)} were not made of the probe's "
            f"{tuple(probe.images.shape)}"
        )
    logits, truth = probe.logits(module, made.images), labels.detach().cpu()
    require_labels(truth, probe, logits.shape[1])
    right, n = int(correct(logits, truth.long()).sum()), len(probe)
    return Attacked(
        made.attack, transferred, right / n, *wilson(right, n), n, float(made.masked.double().mean())
    )
