"""The form that learns computes what the stored form does, before and after every step."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from leanfront.core.compressors import Compressed, Compressor, Configuration, Structure, compressed_of
from leanfront.core.compressors.artifact.packed_file import read, write
from leanfront.core.compressors.quantisation.quantisers import ActivationQuantiser, Quantised, levels
from leanfront.core.compressors.structure.norm_form import restate
from leanfront.core.compressors.training.trainable import (
    LearnedInput,
    Levelled,
    fill_state,
    settled,
    state,
    trainable,
)

PROBE = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(2))


def mixed(structure: Structure) -> Configuration:
    """Something of everything: cut channels, 2 to 16 bits, both sparsities, activations."""
    widths = (3, 8, 16, 2, 5)
    sparsities: tuple[float | str, ...] = (0.4, "2:4")
    return Configuration(
        channels={name: max(1, group.units // 2) for name, group in structure.groups.items()},
        weight_bits={name: widths[i % 5] for i, name in enumerate(structure.layers) if i % 6 != 5},
        sparsity={name: sparsities[i // 2 % 2] for i, name in enumerate(structure.layers) if i % 2},
        activation_bits=dict.fromkeys(structure.layers[1:], 8),
        activation_range="minmax",
    )


@pytest.fixture
def made(net: Any, make_target: Any) -> tuple[Compressor, Compressed]:
    compressor = Compressor(make_target(net.build(), 24))
    return compressor, compressor.materialise(mixed(compressor.structure))


def test_learns_in_the_form_that_is_stored(made: tuple[Compressor, Compressed]) -> None:
    compressor, compressed = made
    structure = compressor.structure
    learnt = trainable(compressed, structure, frozenset()).eval()
    with torch.no_grad():
        start = compressed.module(PROBE)
        torch.testing.assert_close(learnt(PROBE), start, rtol=1e-4, atol=1e-5)
    same = settled(learnt, compressed, structure)
    assert write(same, structure) == write(compressed, structure)

    before = {name: tensor.clone() for name, tensor in state(learnt).items()}
    optimiser = torch.optim.SGD([p for p in learnt.parameters() if p.requires_grad], 0.05)
    learnt.train()
    for _ in range(3):
        optimiser.zero_grad()
        learnt(PROBE).square().mean().backward()
        optimiser.step()
    learnt.eval()
    untouched = [
        name
        for name, parameter in learnt.named_parameters()
        if parameter.grad is not None
        and float(parameter.grad.abs().max()) > 1e-4
        and torch.equal(parameter, before[name])
    ]
    assert not untouched
    assert any(not torch.equal(tensor, before[name]) for name, tensor in learnt.named_parameters())
    stored = settled(learnt, compressed, structure)
    with torch.no_grad():
        torch.testing.assert_close(stored.module(PROBE), learnt(PROBE), rtol=1e-4, atol=1e-5)
    content = write(stored, structure, "made")
    assert content != write(compressed, structure, "made")
    assert len(content) == len(write(compressed, structure, "made"))
    for name, mask in stored.masks.items():
        assert torch.equal(mask, compressed.masks[name])
    _rebuilt(content, stored, compressor)
    # What went in is as it was.
    with torch.no_grad():
        assert torch.equal(compressed.module(PROBE), start)


def _rebuilt(content: bytes, stored: Compressed, compressor: Compressor) -> None:
    structure = compressor.structure
    again = compressed_of(read(content), structure, compressor.target.model)
    assert write(again, structure, "made") == content
    assert again.codes.keys() == stored.codes.keys()
    for name, quantised in again.codes.items():
        assert torch.equal(quantised.codes, stored.codes[name].codes)
        assert torch.equal(quantised.scale, stored.codes[name].scale)
    assert again.masks.keys() == stored.masks.keys()
    assert all(torch.equal(mask, stored.masks[name]) for name, mask in again.masks.items())
    # It can be trained, too: nothing of it changes by being brought into that form.
    learnt = trainable(again, structure, frozenset())
    assert write(settled(learnt, again, structure), structure, "made") == content
    with torch.no_grad():
        torch.testing.assert_close(again.module(PROBE), stored.module(PROBE), rtol=1e-4, atol=1e-5)


def test_frozen_parameters_and_states(nets: dict[str, Any], make_target: Any) -> None:
    compressor = Compressor(make_target(nets["chain"].build(), 24))
    compressed = compressor.materialise(Configuration(weight_bits={"conv1": 4}))
    learnt = trainable(compressed, compressor.structure, frozenset({"conv1.weight", "bn2.bias"}))
    fixed = {name for name, parameter in learnt.named_parameters() if not parameter.requires_grad}
    assert fixed == {"conv1.parametrizations.weight.original", "bn2.bias"}
    other = trainable(compressed, compressor.structure, frozenset())
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.1)
    fill_state(learnt, state(other))
    assert all(torch.equal(tensor, state(other)[name]) for name, tensor in state(learnt).items())


def test_gradients_of_weights_are_those_of_lsq() -> None:
    bits, channels, width = 3, 4, 30
    low, high = levels(bits)
    generator = torch.Generator().manual_seed(0)
    scale = torch.tensor([0.1, 0.25, 0.5, 1.0]).half().float()
    latent = torch.randn(channels, width, generator=generator).requires_grad_()
    gradient = torch.randn(channels, width, generator=generator)
    form = Levelled(Quantised(torch.zeros(channels, width, dtype=torch.int8), scale, bits), 0)
    weight = form(latent)
    weight.backward(gradient)

    own, values, found = torch.zeros(channels), latent.detach(), weight.detach()
    for row in range(channels):
        for column in range(width):
            step = float(values[row, column] / scale[row])
            inside = low <= step <= high
            code = min(max(round(step), low), high)
            assert float(found[row, column]) == pytest.approx(code * float(scale[row]))
            passed = float(gradient[row, column]) if inside else 0.0
            assert float(latent.grad[row, column]) == passed
            own[row] += gradient[row, column] * (code - step if inside else code)
    # The multiple of the first scale moves by what LSQ moves the scale by, as a share of it.
    expected = own / (width * high) ** 0.5 / scale
    torch.testing.assert_close(form.multiple.grad, expected, rtol=1e-4, atol=1e-6)
    quantised = form.quantised(latent)
    assert torch.equal(quantised.dequantise(), found)
    assert int(quantised.codes.min()) == low
    assert int(quantised.codes.max()) == high


def test_scales_stay_float16_and_positive() -> None:
    form = Levelled(Quantised(torch.ones(3, 5, dtype=torch.int8), torch.tensor([0.1, 1.0, 2.0]), 4), 0)
    with torch.no_grad():
        form.multiple.copy_(torch.tensor([-1.0, 1.2345, 1e9]))
    scale = form.scale()
    assert torch.equal(scale, scale.half().float())
    assert bool((scale > 0).all() and scale.isfinite().all())


@pytest.mark.parametrize("zero_point", [0, 37, 255])
def test_inputs_round_as_the_plain_quantiser_does(zero_point: int) -> None:
    plain = ActivationQuantiser(8, 0.03, zero_point)
    learned = LearnedInput(plain)
    values = (3 * torch.randn(50, 7, generator=torch.Generator().manual_seed(1))).requires_grad_()
    rounded = learned(values)
    torch.testing.assert_close(rounded, plain(values.detach()), rtol=0, atol=1e-6)
    rounded.sum().backward()
    inside = ((values / 0.03).round() >= -zero_point) & ((values / 0.03).round() <= 255 - zero_point)
    share = (values.grad == inside).float().mean()
    assert float(share) > 0.99  # ends of the range are rounded into it, and let nothing through
    assert learned.multiple.grad is not None
    assert bool(learned.multiple.grad.isfinite())


def test_dynamic_inputs_let_the_gradient_through() -> None:
    plain = ActivationQuantiser(6)
    learned = LearnedInput(plain)
    values = torch.randn(9, 5, generator=torch.Generator().manual_seed(1)).requires_grad_()
    rounded = learned(values)
    torch.testing.assert_close(rounded, plain(values.detach()), rtol=0, atol=1e-6)
    rounded.sum().backward()
    assert bool((values.grad >= 0).all())
    assert float(values.grad.mean()) > 0.9
    assert not list(learned.parameters())


class Normed(nn.Module):
    """Norms that a compressed module may hold: stale statistics, none of its own scale, in inference form."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.stale = nn.BatchNorm2d(6)
        self.bare = nn.BatchNorm2d(6, affine=False)
        self.inference = nn.BatchNorm2d(6, eps=0.0)
        self.instance = nn.BatchNorm2d(6, track_running_stats=False)
        with torch.no_grad():
            self.stale.running_mean.fill_(0.7)
            self.stale.running_var.fill_(4.0)
            self.bare.running_var.fill_(0.3)
            self.inference.weight.copy_(torch.linspace(-1, 2, 6))
            self.inference.bias.fill_(0.3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stale(self.conv(x)))
        return self.instance(self.inference(torch.relu(self.bare(x)))).mean((2, 3))


def test_norms_written_anew_compute_the_same() -> None:
    module = Normed().eval()
    batches = [PROBE[:4], PROBE[4:]]
    with torch.no_grad():
        before = [module(batch) for batch in batches]
        restate(module, batches, {"inference": 1e-5})
        after = [module(batch) for batch in batches]
        torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)
        assert (module.stale.eps, module.inference.eps) == (1e-5, 1e-5)
        # And in training mode too, on what they were measured on.
        whole = module(PROBE)
        module.train()
        torch.testing.assert_close(module(PROBE), whole, rtol=1e-3, atol=1e-4)
