"""The memory format is tried on the model, never forced on it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from leanfront.core.compressors import Compressor, Configuration
from leanfront.core.compressors.artifact.packed_file import write
from leanfront.core.cost_models import Costs, Profile
from leanfront.core.search.claim_checks import COSTS, _restored
from leanfront.core.search.evaluation import Evaluator
from leanfront.core.targets import Target
from leanfront.core.targets.memory_format import allows_innermost, has_innermost, in_format, like_weights

PROBE = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class View(nn.Module):
    """Flattens with `view` behind a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8 * 36, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.conv(x))
        return self.head(x.view(x.size(0), -1))


class Split(View):
    """Splits channels with `view`, as hand-written channel shuffles do."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        x = x.view(len(x), 2, 4 * 36).transpose(1, 2)
        return self.head(x.reshape(len(x), -1))


class Spectral(View):
    """Multiplies spectra by complex numbers that it stores as pairs, as global filters do."""

    def __init__(self) -> None:
        super().__init__()
        self.filter = nn.Parameter(torch.randn(8, 6, 4, 2))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.fft.rfft2(self.conv(x)) * torch.view_as_complex(self.filter)
        return self.head(torch.fft.irfft2(x, s=(6, 6)).flatten(1))


class Strided(View):
    """Reads the memory of its activations: no error, other numbers."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.head(torch.as_strided(x, (len(x), 288), (288, 1)))


def flat_inplace() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 32, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(512, 3),
    )


def instance_norm() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.InstanceNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 3)
    )


def target(model: nn.Module) -> Target:
    return Target(model=model.eval(), example_input=PROBE[:1], validation=(PROBE, torch.arange(6) % 3))


@pytest.mark.parametrize("kind", [View, Split, Spectral, Strided])
def test_a_model_that_the_format_breaks_stays_in_the_default_one(kind: type[nn.Module]) -> None:
    subject = target(kind())
    assert not subject.channels_last
    compressor = Compressor(subject, samples=6)
    layer = compressor.structure.layers[0]
    module = compressor.materialise(Configuration(weight_bits={layer: 8})).module
    assert not has_innermost(module)
    assert torch.allclose(module(PROBE), subject.model(PROBE), atol=0.1)


@pytest.mark.parametrize("make", [flat_inplace, instance_norm])
def test_a_model_that_computes_the_same_gets_the_faster_format(make: type[nn.Module]) -> None:
    subject = target(make())
    assert subject.channels_last
    assert has_innermost(Compressor(subject, samples=6).context.dense())


def test_a_model_without_images_gains_nothing() -> None:
    assert not allows_innermost(nn.Sequential(nn.Flatten(), nn.Linear(192, 3)), PROBE)
    assert not allows_innermost(nn.Sequential(nn.Conv3d(1, 2, 1), nn.Flatten()), torch.randn(2, 1, 2, 2, 2))


def test_a_target_whose_weights_have_channels_innermost_is_the_same() -> None:
    model = flat_inplace()
    plain = target(model)
    turned = target(model.to(memory_format=torch.channels_last))
    assert turned.fingerprint == plain.fingerprint
    assert not has_innermost(turned.model)


def test_inputs_follow_the_weights() -> None:
    module = flat_inplace()
    assert like_weights(module, in_format(PROBE, True)).is_contiguous()
    module.to(memory_format=torch.channels_last)
    assert like_weights(module, PROBE).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("make", [flat_inplace, instance_norm, View])
def test_activation_memory_is_found_as_it_was_predicted(make: type[nn.Module]) -> None:
    subject = target(make())
    evaluator = Evaluator(subject, Compressor(subject, samples=6).structure, samples=6)
    structure = evaluator.compressor.structure
    group = next(iter(structure.groups))
    configuration = Configuration(channels={group: 2}, method="rounding")
    costs = Costs(Profile(subject.model, subject.example_input, structure))
    content = write(evaluator.compressor.materialise(configuration), structure)
    found = COSTS["activation_memory_bytes"](_restored(content, evaluator))
    assert found == costs.of(configuration)["activation_memory_bytes"]
