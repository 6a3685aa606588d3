"""Attacks against closed forms on linear models, and on a small network."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from leanfront.core.audit.kinds.robustness.attacks import ATTACKS, EPS, Attack, Perturbed, attacked, perturb
from leanfront.core.audit.kinds.robustness.probe import Probe
from leanfront.core.compressors import Compressor, preset
from leanfront.core.objectives import wilson
from leanfront.core.targets import Pixels, Target
from leanfront.errors import UsageError

COLOURS = Pixels((0.5, 0.4, 0.3), (0.2, 0.25, 0.3))
PIXELS = Pixels((0.45,), (0.2,))
"""With which the tiny target's inputs are images."""
FGSM, PGD = ATTACKS["fgsm"], ATTACKS["pgd"]


def linear(scale: float = 1.0) -> tuple[nn.Module, Tensor]:
    """A classifier of two classes, and the gradient (c, h, w) of z_0 - z_1 by its pixels."""
    layer = nn.Linear(27, 2)
    with torch.no_grad():
        layer.weight.mul_(scale)
        layer.bias.copy_(torch.tensor([0.05, 0.0]) * scale)
    way = (layer.weight[0] - layer.weight[1]).detach().view(3, 3, 3)
    return nn.Sequential(nn.Flatten(), layer).eval(), way / torch.tensor(COLOURS.std).view(-1, 1, 1)


def images(count: int = 300) -> tuple[Probe, Tensor]:
    """Images far enough from black and white that no attack is clipped, and labels of two classes."""
    probe = Probe(
        0.3 + 0.4 * torch.rand(count, 3, 3, 3), COLOURS, tuple(range(count)), 64, torch.device("cpu")
    )
    return probe, torch.randint(0, 2, (count,))


@pytest.fixture
def tiny_probe(tiny: Target) -> tuple[Probe, Tensor]:
    assert tiny.test is not None
    inputs, labels = tiny.test.tensors()
    return Probe.of(inputs, PIXELS), labels


@pytest.fixture(scope="module")
def compressor(tiny: Target) -> Compressor:
    return Compressor(tiny)


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_a_linear_classifier_fails_exactly_where_its_margin_is_below_eps_times_the_1_norm(
    attack: Attack,
) -> None:
    module, way = linear()
    probe, labels = images()
    logits = probe.logits(module)
    margin = torch.where(labels == 0, 1, -1) * (logits[:, 0] - logits[:, 1])
    reach = EPS * way.abs().sum()
    right = margin > reach
    assert 0 < int(right.sum()) < int((margin > 0).sum())
    found = attacked(module, probe, labels, attack)
    assert found.accuracy == float(right.double().mean())
    assert (found.low, found.high) == wilson(int(right.sum()), 300)
    assert (found.n, found.masked, found.transferred) == (300, 0.0, False)
    # Ten steps of a quarter end in the same corner, wherever in the box they start.
    expected = probe.images - torch.where(labels == 0, 1, -1).view(-1, 1, 1, 1) * EPS * way.sign()
    torch.testing.assert_close(perturb(module, probe, labels, attack).images, expected)


def test_a_saturated_softmax_hides_no_gradient() -> None:
    probe, labels = images(50)
    torch.manual_seed(1)
    module, _ = linear()
    torch.manual_seed(1)
    steep, _ = linear(1e5)
    loss = nn.functional.cross_entropy(probe.logits(steep), labels, reduction="none")
    assert int((loss == 0).sum()) > 10  # the cross-entropy's own gradient is 0 there
    found = perturb(steep, probe, labels, FGSM)
    assert not found.masked.any()
    assert torch.equal(found.images, perturb(module, probe, labels, FGSM).images)


def test_images_stay_in_the_ball_and_in_the_box(tiny: Target) -> None:
    probe = Probe(
        torch.rand(40, 1, 8, 8).round(decimals=1), PIXELS, tuple(range(40)), 16, torch.device("cpu")
    )
    for attack in (FGSM, PGD, Attack("long", eps=0.3, step=0.2, steps=4, seed=3)):
        found = perturb(tiny.model, probe, torch.arange(40) % 4, attack).images
        assert float((found - probe.images).abs().max()) <= attack.eps + 1e-6
        assert float((found - probe.images).abs().max()) > 0.9 * attack.eps
        assert 0 <= float(found.min()) < float(found.max()) <= 1


def test_more_steps_are_stronger(tiny: Target, tiny_probe: tuple[Probe, Tensor]) -> None:
    probe, labels = tiny_probe
    clean = float((probe.logits(tiny.model).argmax(1) == labels).double().mean())
    once = attacked(tiny.model, probe, labels, FGSM).accuracy
    often = attacked(tiny.model, probe, labels, PGD).accuracy
    assert often <= once < clean - 0.1


def test_batches_and_order_change_nothing(tiny: Target, tiny_probe: tuple[Probe, Tensor]) -> None:
    probe, labels = tiny_probe
    order = torch.randperm(len(probe))
    other = Probe(probe.images[order], PIXELS, tuple(order.tolist()), 17, torch.device("cpu"))
    for attack in (FGSM, PGD):
        one = perturb(tiny.model, probe, labels, attack)
        two = perturb(tiny.model, other, labels[order], attack)
        # A gradient that is 0 but for rounding may change its sign with the batch.
        assert float((one.images[order] != two.images).double().mean()) < 1e-3
    again = perturb(tiny.model, probe, labels, replace(PGD, seed=1, steps=1))
    assert not torch.equal(again.images, perturb(tiny.model, probe, labels, replace(PGD, steps=1)).images)


def test_nothing_is_left_on_the_module(tiny: Target, tiny_probe: tuple[Probe, Tensor]) -> None:
    probe, labels = tiny_probe
    before = {name: each.clone() for name, each in tiny.model.state_dict().items()}
    with torch.inference_mode():
        within = perturb(tiny.model, probe, labels, FGSM)
    assert torch.equal(within.images, perturb(tiny.model, probe, labels, FGSM).images)
    assert all(each.grad is None and each.requires_grad for each in tiny.model.parameters())
    assert all(torch.equal(each, before[name]) for name, each in tiny.model.state_dict().items())


def test_transferred_to_itself_is_white_box(tiny: Target, tiny_probe: tuple[Probe, Tensor]) -> None:
    probe, labels = tiny_probe
    made = perturb(tiny.model, probe, labels, PGD)
    own, moved = attacked(tiny.model, probe, labels, PGD), attacked(tiny.model, probe, labels, made)
    assert moved.transferred
    assert replace(moved, transferred=False) == own


@pytest.mark.parametrize("scheme", ["float16", "fixed-int8", "dynamic-int8"])
def test_compressed_modules_give_gradients(
    compressor: Compressor, tiny_probe: tuple[Probe, Tensor], scheme: str
) -> None:
    probe, labels = tiny_probe
    module = compressor.materialise(preset(scheme, compressor.structure)).module
    clean = float((probe.logits(module).argmax(1) == labels).double().mean())
    found = attacked(module, probe, labels, FGSM)
    assert found.masked == 0
    assert found.accuracy < clean - 0.1
    moved = attacked(module, probe, labels, perturb(compressor.target.model, probe, labels, FGSM))
    assert moved.accuracy < clean - 0.1


def test_clipped_activations_mask_gradients(
    compressor: Compressor, tiny: Target, tiny_probe: tuple[Probe, Tensor]
) -> None:
    probe, labels = tiny_probe
    module = compressor.materialise(preset("fixed-int8", compressor.structure)).module
    # Brighter than any calibration image everywhere: the first layer's quantiser clips all of it.
    half = len(probe) // 2
    shown = torch.cat([probe.images[:half], torch.ones_like(probe.images[half:])])
    dark = replace(probe, images=shown)
    made = perturb(module, dark, labels, replace(PGD, eps=0.01, step=0.005))
    assert made.masked.tolist() == [False] * half + [True] * (len(probe) - half)
    assert attacked(module, dark, labels, made).masked == 0.5
    assert not perturb(tiny.model, dark, labels, FGSM).masked.any()


class Rounds(nn.Module):
    """A model behind true rounding of its input."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.module((x * 64).round() / 64)
        return answer


def test_masked_gradients_only_look_robust(tiny: Target, tiny_probe: tuple[Probe, Tensor]) -> None:
    probe, labels = tiny_probe
    rounds = Rounds(tiny.model).eval()
    own = attacked(rounds, probe, labels, FGSM)
    clean = float((probe.logits(rounds).argmax(1) == labels).double().mean())
    assert (own.accuracy, own.masked) == (clean, 1.0)
    moved = attacked(rounds, probe, labels, perturb(tiny.model, probe, labels, FGSM))
    assert moved.accuracy < clean - 0.1
    assert moved.masked == 0


def test_documents_are_json(tiny: Target, tiny_probe: tuple[Probe, Tensor]) -> None:
    found = attacked(tiny.model, *tiny_probe, FGSM)
    data = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert data["attack"] == {"name": "fgsm", "eps": EPS, "step": EPS, "steps": 1, "start": False, "seed": 0}
    assert (data["accuracy"], data["n"], data["transferred"]) == (found.accuracy, 120, False)


def test_what_does_not_fit_is_refused(tiny: Target, tiny_probe: tuple[Probe, Tensor]) -> None:
    probe, labels = tiny_probe
    for setting in ({"eps": 0.0}, {"eps": 2.0}, {"step": -1.0}, {"steps": 0}, {"seed": -1}):
        with pytest.raises(UsageError, match="attack 'own' needs"):
            Attack("own", **setting)
    for wrong in (labels[:5], labels.float(), labels + 1, labels - 1, torch.tensor(0)):
        with pytest.raises(UsageError, match="labels"):
            attacked(tiny.model, probe, wrong, FGSM)
        with pytest.raises(UsageError, match="labels"):
            attacked(tiny.model, probe, wrong, Perturbed(FGSM, probe.images, labels > 9))
    with pytest.raises(UsageError, match="were not made of the probe's"):
        attacked(tiny.model, probe, labels, Perturbed(FGSM, probe.images[:3], labels[:3] > 9))
