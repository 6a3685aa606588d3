"""Moments and Fisher against explicit unfolding and loops over images."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from leanfront.core.compressors import Part
from leanfront.core.compressors.refit import solvers
from leanfront.core.compressors.statistics import linear_algebra
from leanfront.core.compressors.statistics.moments import (
    FEWEST_SAMPLES,
    Blocks,
    LayerMoments,
    Patches,
    collect,
    measurable,
    positions_wanted,
)
from leanfront.core.compressors.structure.derivation import derive
from leanfront.core.compressors.structure.modules import describe

ALL = 10**9


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def part_of(module: nn.Module) -> Part:
    part = describe("layer", module)
    assert part is not None
    return part


def unfolded(module: nn.Module, inputs: Tensor) -> Tensor:
    """(groups, samples, width): windows of the padded map, by Tensor.unfold one side after the other."""
    if isinstance(module, nn.Linear):
        return inputs.reshape(1, -1, inputs.shape[-1])
    conv: Any = module
    sides = len(conv.kernel_size)
    mode = "constant" if conv.padding_mode == "zeros" else conv.padding_mode
    windows = functional.pad(inputs, conv._reversed_padding_repeated_twice, mode=mode)
    for side in range(sides):
        reach = conv.dilation[side] * (conv.kernel_size[side] - 1) + 1
        windows = windows.unfold(2 + side, reach, conv.stride[side])[..., :: conv.dilation[side]]
    images, channels = windows.shape[:2]
    positions = math.prod(windows.shape[2 : 2 + sides])
    flat = windows.reshape(images, conv.groups, channels // conv.groups, positions, -1)
    return flat.permute(1, 0, 3, 2, 4).reshape(conv.groups, images * positions, -1)


CONVOLUTIONS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "plain": (nn.Conv2d(3, 4, 3), (7, 6)),
    "padded": (nn.Conv2d(3, 4, 3, padding=1), (7, 6)),
    "pointwise": (nn.Conv2d(3, 4, 1), (5, 5)),
    "strided": (nn.Conv2d(3, 4, 3, stride=(2, 3), padding=(1, 0)), (8, 9)),
    "dilated": (nn.Conv2d(3, 4, 3, dilation=(2, 1), padding=2), (8, 7)),
    "oblong": (nn.Conv2d(3, 4, (1, 5), stride=(1, 2), padding=(0, 3), dilation=(1, 2)), (4, 9)),
    "grouped": (nn.Conv2d(6, 4, 3, groups=2, padding=1, stride=2), (7, 6)),
    "depthwise": (nn.Conv2d(5, 5, 3, groups=5, padding=1), (6, 6)),
    "widening depthwise": (nn.Conv2d(3, 6, 3, groups=3, dilation=2), (7, 7)),
    "same": (nn.Conv2d(3, 4, 3, padding="same", dilation=2), (7, 6)),
    "same, even": (nn.Conv2d(3, 4, (4, 2), padding="same"), (7, 6)),
    "valid": (nn.Conv2d(3, 4, 3, padding="valid"), (7, 6)),
    "reflect": (nn.Conv2d(3, 4, 3, padding=(2, 1), padding_mode="reflect"), (7, 6)),
    "replicate": (nn.Conv2d(3, 4, 3, padding=2, padding_mode="replicate"), (7, 6)),
    "circular": (nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular", groups=1), (7, 6)),
    "same, circular": (nn.Conv2d(3, 4, 4, padding="same", padding_mode="circular"), (7, 6)),
    "one side": (nn.Conv1d(4, 6, 5, stride=2, padding=3, dilation=2, groups=2), (17,)),
    "one side, same": (nn.Conv1d(4, 6, 4, padding="same", padding_mode="reflect"), (9,)),
    "three sides": (nn.Conv3d(4, 6, (2, 3, 1), stride=(1, 2, 1), padding=(1, 0, 2), groups=2), (4, 6, 3)),
    "three sides, dilated": (nn.Conv3d(2, 4, 2, dilation=(2, 1, 3), padding=1), (4, 5, 6)),
    "whole map": (nn.Conv2d(3, 4, (7, 6)), (7, 6)),
}


@pytest.fixture(params=CONVOLUTIONS)
def convolution(request: pytest.FixtureRequest) -> tuple[Any, Tensor]:
    """A convolution and an input of three images."""
    module, sides = CONVOLUTIONS[request.param]
    return module, torch.randn(3, int(module.in_channels), *sides, generator=generator())  # type: ignore[arg-type]


# Blocks.


@st.composite
def layers(draw: st.DrawFn) -> tuple[Part, int]:
    """A convolution's description and a greatest width."""
    groups, inputs = draw(st.integers(1, 4)), draw(st.integers(1, 9))
    outputs, kernel = draw(st.integers(1, 3)), draw(st.sampled_from([1, 2, 9]))
    part = Part("layer", "conv", inputs * groups, outputs * groups, groups, kernel)
    return part, draw(st.integers(1, 40))


@settings(max_examples=200, deadline=None)
@given(layer=layers())
def test_runs_cover_the_inputs_evenly_and_none_is_too_wide(layer: tuple[Part, int]) -> None:
    part, widest = layer
    blocks = Blocks.of(part, widest)
    assert sum(blocks.runs) == part.inputs // part.groups
    assert max(blocks.runs) - min(blocks.runs) <= 1
    assert max(blocks.widths) <= max(widest, part.kernel)
    fewest = math.ceil(part.inputs // part.groups / max(1, widest // part.kernel))
    assert len(blocks.runs) == fewest


@settings(max_examples=100, deadline=None)
@given(layer=layers(), data=st.data())
def test_a_weight_is_split_and_joined(layer: tuple[Part, int], data: st.DataObject) -> None:
    part, widest = layer
    blocks = Blocks.of(part, widest)
    inputs = part.inputs // part.groups
    weight = torch.arange(float(part.weights)).reshape(part.outputs, inputs, part.kernel)
    rows = blocks.split(weight)
    for run, group in itertools.product(range(len(blocks.runs)), range(part.groups)):
        first, per_group = sum(blocks.runs[:run]), part.outputs // part.groups
        expected = weight[group * per_group : (group + 1) * per_group, first : first + blocks.runs[run]]
        assert torch.equal(rows[run][group], expected.flatten(1))
    assert torch.equal(blocks.join(rows, weight), weight)
    kept = data.draw(st.lists(st.integers(0, inputs - 1), unique=True).map(sorted))
    columns = blocks.columns([kept] * part.groups)
    chosen = torch.cat(
        [r.gather(2, c[:, None].expand(-1, r.shape[1], -1)) for r, c in zip(rows, columns, strict=True)], 2
    )
    assert torch.equal(chosen.reshape(part.outputs, -1), weight[:, kept].reshape(part.outputs, -1))


def test_groups_may_keep_different_channels() -> None:
    blocks = Blocks(2, 3, 2, (3,))
    [columns] = blocks.columns([[0, 2], [1, 2]])
    assert columns.tolist() == [[0, 1, 4, 5], [2, 3, 4, 5]]


# Patches.


def test_patches_are_the_windows(convolution: tuple[Any, Tensor]) -> None:
    module, inputs = convolution
    [rows] = Patches(module, Blocks.of(part_of(module)), ALL, generator()).read(inputs)
    assert torch.equal(rows, unfolded(module, inputs))


@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_weights_times_patches_are_the_layers_output(convolution: tuple[Any, Tensor]) -> None:
    # In runs of a few channels, at some of the positions; the layer itself knows its padding.
    module, inputs = convolution
    blocks = Blocks.of(part_of(module), 2 * part_of(module).kernel)
    rows = Patches(module, blocks, 5, generator(3)).read(inputs)
    weight = blocks.split(module.weight.detach())
    found = sum((r @ w.transpose(1, 2) for r, w in zip(rows, weight, strict=True)), torch.zeros(()))
    found = found.transpose(0, 1).reshape(found.shape[1], -1) + module.bias
    output = module(inputs).detach()
    patches = Patches(module, blocks, 5, generator(3))
    places = patches.places(patches.positions(output))
    assert len(places) == min(5, math.prod(output.shape[2:]))
    assert torch.allclose(found, patches.outputs(output, places), atol=1e-5)


@pytest.mark.parametrize("name", ["plain", "padded", "strided", "dilated", "oblong", "grouped", "depthwise"])
def test_patches_are_torchs_own(name: str) -> None:
    module: Any = CONVOLUTIONS[name][0]
    inputs = torch.randn(3, module.in_channels, *CONVOLUTIONS[name][1], generator=generator())
    [rows] = Patches(module, Blocks.of(part_of(module)), ALL, generator()).read(inputs)
    theirs = functional.unfold(inputs, module.kernel_size, module.dilation, module.padding, module.stride)
    columns = theirs.transpose(1, 2).reshape(-1, module.groups, rows.shape[2]).transpose(0, 1)
    assert torch.equal(rows, columns)


@pytest.mark.parametrize("shape", [(3, 6), (3, 5, 6), (3, 2, 4, 6)])
def test_tokens_are_the_inputs(shape: tuple[int, ...]) -> None:
    module = nn.Linear(6, 4)
    inputs = torch.randn(shape, generator=generator())
    blocks = Blocks.of(part_of(module), 4)
    patches = Patches(module, blocks, ALL, generator())
    rows = patches.read(inputs)
    assert [r.shape[2] for r in rows] == [3, 3]
    assert torch.equal(torch.cat(rows, 2), inputs.reshape(1, -1, 6))
    output = module(inputs).detach()
    positions = patches.positions(output)
    assert positions == math.prod(shape[1:-1])
    few = Patches(module, blocks, 3, generator(1))
    drawn = Patches(module, blocks, 3, generator(1)).places(positions)
    read = torch.cat(few.read(inputs), 2)[0]
    assert torch.allclose(module(read), few.outputs(output, drawn), atol=1e-6)


def test_positions_are_drawn_evenly_without_repeats() -> None:
    module = nn.Conv2d(3, 4, 3)
    patches = Patches(module, Blocks.of(part_of(module)), 4, generator())
    counts = torch.zeros(10)
    for _ in range(2000):
        places = patches.places(10)
        assert places.tolist() == sorted(set(places.tolist()))
        assert len(places) == 4
        counts[places] += 1
    # Each is drawn 800 times but for 22: a binomial's standard deviation.
    assert (counts - 800).abs().max() < 5 * 22
    assert patches.places(4).tolist() == [0, 1, 2, 3]


def test_few_positions_of_many_images_and_many_of_few() -> None:
    blocks = Blocks.of(Part("layer", "conv", 64, 64, 1, 9))
    assert positions_wanted(blocks, 1) == 24 * 576
    assert positions_wanted(blocks, 100) == math.ceil(24 * 576 / 100)
    assert positions_wanted(blocks, 10**9) == 1
    assert positions_wanted(Blocks.of(Part("layer", "linear", 4, 4)), 2) == FEWEST_SAMPLES // 2


# The pass.


def images(count: int = 24, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, 8, 8, generator=generator(seed))


def layer_inputs(model: nn.Module, names: list[str], batch: Tensor) -> dict[str, list[Tensor]]:
    """What layers read, call by call."""
    found: dict[str, list[Tensor]] = {name: [] for name in names}
    handles = [
        model.get_submodule(name).register_forward_pre_hook(
            lambda _, inputs, name=name: found[name].append(inputs[0].detach())
        )
        for name in names
    ]
    with torch.no_grad():
        model(batch)
    for handle in handles:
        handle.remove()
    return found


def test_moments_are_those_of_the_windows(net: Any) -> None:
    model = net.build()
    structure = derive(model, images(2))
    data = images()
    found = collect(model, structure, [data], len(data))
    read = layer_inputs(model, list(structure.layers), data)
    called = [name for name in structure.layers if read[name]]
    assert sorted(found) == sorted(n for n in called if not structure.parts[n].transposed)
    for name, layer in found.items():
        module = model.get_submodule(name)
        rows = torch.cat([unfolded(module, each) for each in read[name]], 1).double()
        [second], [mean] = layer.second, layer.mean
        assert layer.samples == rows.shape[1]
        assert second.dtype == mean.dtype == torch.float32
        assert torch.allclose(second.double(), rows.transpose(1, 2) @ rows / rows.shape[1], atol=1e-5), name
        assert torch.allclose(mean.double(), rows.mean(1), atol=1e-5), name
        [raw], [centred] = layer.of(centred=False), layer.of(centred=True)
        apart = rows - rows.mean(1, keepdim=True)
        assert torch.equal(raw, second)
        assert torch.allclose(centred.double(), apart.transpose(1, 2) @ apart / rows.shape[1], atol=1e-5), (
            name
        )


def test_batches_make_no_difference(nets: Any) -> None:
    model, data = nets["chain"].build(), images()
    structure = derive(model, data[:2])
    whole = collect(model, structure, [data], len(data))
    parts = collect(model, structure, iter(data.split([1, 7, 16])), len(data))
    for name, layer in whole.items():
        assert layer.samples == parts[name].samples
        assert torch.allclose(layer.second[0], parts[name].second[0], atol=1e-5)
        assert torch.allclose(layer.mean[0], parts[name].mean[0], atol=1e-5)


def test_wide_layers_keep_the_moments_within_their_runs() -> None:
    data = torch.randn(24, 3, 30, 30, generator=generator())
    model = nn.Sequential(nn.Flatten(), nn.Linear(2700, 4)).eval()
    layer = collect(model, derive(model, data[:2]), [data], len(data))["1"]
    assert layer.blocks.widths == [1350, 1350]
    for rows, second, mean in zip(data.flatten(1).split(1350, dim=1), layer.second, layer.mean, strict=True):
        assert torch.allclose(second, (rows.T @ rows / 24)[None], atol=1e-5)
        assert torch.allclose(mean, rows.mean(0, keepdim=True), atol=1e-5)


def test_drawn_positions_estimate_the_moments(nets: Any) -> None:
    model, data = nets["chain"].build(), images(400)
    structure = derive(model, data[:2])

    def measured(seed: int) -> LayerMoments:
        return collect(model, structure, data.split(50), len(data), seed)["conv2"]

    draws = [measured(seed) for seed in range(16)]
    assert {draw.samples for draw in draws} == {400 * math.ceil(FEWEST_SAMPLES / 400)}
    assert torch.equal(draws[1].second[0], measured(1).second[0])
    assert not torch.equal(draws[1].second[0], draws[2].second[0])
    rows = unfolded(model.conv2, layer_inputs(model, ["conv2"], data)["conv2"][0])
    whole = rows.transpose(1, 2) @ rows / rows.shape[1]
    second = torch.stack([draw.second[0] for draw in draws])
    # Unbiased: the mean of sixteen errors is a quarter of one.
    single = (second - whole).square().mean()
    assert (second.mean(0) - whole).square().mean() < 2 * single / 16
    assert single.sqrt() < 0.05 * whole.diagonal(dim1=1, dim2=2).mean()


class Own(nn.Conv2d):
    """A convolution of a user's: its output is not its weights times its input."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.abs())


def test_layers_that_compute_something_else_are_left_out(nets: Any) -> None:
    model = nets["chain"].build()
    own = Own(8, 6, 3, padding=1, bias=False)
    own.load_state_dict(model.conv2.state_dict())
    model.conv2 = own.eval()
    structure = derive(model, images(2))
    assert measurable(structure, dict(model.named_modules())) == ["conv1", "linear"]
    assert sorted(collect(model, structure, [images()], 24)) == ["conv1", "linear"]


def test_weights_inputs_and_hooks_are_as_before(nets: Any) -> None:
    model, data = nets["residual"].build(), images()
    structure = derive(model, data[:2])
    before, kept = copy.deepcopy(model.state_dict()), data.clone()
    collect(model, structure, [data], len(data))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(data, kept)
    assert not data.requires_grad
    assert hooks(model) == 0
    with pytest.raises(RuntimeError):
        collect(model, structure, [torch.zeros(2, 5, 8, 8)], 2)
    assert hooks(model) == 0


def hooks(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_callers_without_gradients_get_the_same(nets: Any, mode: Callable[[], Any]) -> None:
    model, data = nets["chain"].build(), images()
    structure = derive(model, data[:2])
    expected = collect(model, structure, [data], len(data))
    with mode():
        found = collect(model, structure, [data * 1], len(data))
    for name, layer in expected.items():
        assert torch.equal(found[name].second[0], layer.second[0])
        assert torch.equal(found[name].fisher, layer.fisher)


def test_constant_inputs_leave_a_solvable_problem() -> None:
    # A norm whose scale is zero writes its offset alone; rounding of E[x^2] - E[x]^2 is all that varies.
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3), nn.BatchNorm2d(32), nn.Conv2d(32, 8, 1), nn.Flatten(), nn.Linear(288, 4)
    )
    nn.init.zeros_(model[1].weight)  # type: ignore[arg-type]
    nn.init.normal_(model[1].bias, 30, 10, generator=generator())  # type: ignore[arg-type]
    structure = derive(model.eval(), images(2))
    layer = collect(model, structure, [images(64)], 64)["2"]
    for centred in (False, True):
        [gram] = layer.of(centred=centred)
        assert torch.isfinite(solvers.inverse_factor(linear_algebra.damp(gram))).all()


# Fisher.


def fisher_by_loop(model: nn.Module, names: list[str], batches: list[Tensor], seed: int) -> dict[str, Tensor]:
    """Image by image: autograd.grad of the loss of a drawn label by each call's output."""
    drawing = generator(seed)
    sums: dict[str, Tensor] = {}
    outputs: list[tuple[str, Tensor]] = []
    handles = [
        model.get_submodule(name).register_forward_hook(
            lambda _, __, output, name=name: outputs.append((name, output))
        )
        for name in names
    ]
    for batch in batches:
        with torch.no_grad():
            labels = torch.multinomial(model(batch).softmax(1), 1, generator=drawing)[:, 0]
        for image, label in zip(batch, labels, strict=True):
            outputs.clear()
            loss = -model(image[None]).log_softmax(1)[0, label]
            gradients = torch.autograd.grad(loss, [output for _, output in outputs])
            for (name, _), gradient in zip(outputs, gradients, strict=True):
                linear = isinstance(model.get_submodule(name), nn.Linear)
                flat = gradient.reshape(-1, gradient.shape[-1]) if linear else gradient.flatten(2)[0].T
                sums[name] = sums.get(name, torch.zeros(flat.shape[1])) + flat.square().sum(0)
    for handle in handles:
        handle.remove()
    return {name: total / sum(map(len, batches)) for name, total in sums.items()}


def test_fisher_is_that_of_a_loop_over_images(net: Any) -> None:
    model = net.build()
    batches = list(images(12).split(5))
    structure = derive(model, batches[0])
    found = collect(model, structure, batches, 12, seed=7)
    expected = fisher_by_loop(model, list(found), batches, 7)
    for name, layer in found.items():
        assert layer.fisher.shape == (structure.parts[name].outputs,)
        assert layer.fisher.dtype == torch.float32
        assert torch.allclose(layer.fisher, expected[name], rtol=1e-3, atol=1e-9), name


def test_the_logits_fisher_is_the_softmaxs_variance() -> None:
    # E (p - onehot)^2 = p (1 - p) for labels drawn from p: the true Fisher, not the empirical one.
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 4)).eval()
    data = 2 * images(4000)
    found = collect(model, derive(model, data[:2]), data.split(500), len(data))["1"].fisher
    p = model(data).detach().softmax(1)
    assert torch.allclose(found, (p * (1 - p)).mean(0), rtol=0.08)


class InPlace(nn.Module):
    """Changes its input, and every layer's output, where they lie."""

    def __init__(self, inplace: bool) -> None:
        super().__init__()
        self.inplace = inplace
        self.conv1 = nn.Conv2d(3, 8, 3)
        self.conv2 = nn.Conv2d(8, 6, 3)
        self.linear = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = x.sub_(0.5) if self.inplace else x - 0.5
        x = functional.relu(self.conv1(x), inplace=self.inplace)
        x = functional.relu(self.conv2(x), inplace=self.inplace)
        return self.linear(x.mean((2, 3)))


def test_layers_that_work_in_place_are_measured_alike() -> None:
    model, plain = InPlace(True).eval(), InPlace(False).eval()
    plain.load_state_dict(model.state_dict())
    data = images()
    structure = derive(plain, data[:2])
    found, expected = (collect(each, structure, [data], len(data)) for each in (model, plain))
    for name in ("conv1", "conv2", "linear"):
        assert torch.allclose(found[name].second[0], expected[name].second[0])
        assert torch.allclose(found[name].fisher, expected[name].fisher)


class Words(nn.Module):
    """Reads numbers of words: no gradient reaches its input."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 8)
        self.hidden = nn.Linear(8, 6)
        self.linear = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(torch.relu(self.hidden(self.embedding(x))).mean(1))


@pytest.mark.parametrize("trainable", [True, False])
def test_models_of_integers_have_a_fisher_too(trainable: bool) -> None:
    model = Words().eval().requires_grad_(trainable)
    words = torch.randint(20, (12, 5), generator=generator())
    structure = derive(model, words[:2])
    found = collect(model, structure, [words], 12, seed=3)
    expected = fisher_by_loop(copy.deepcopy(model).requires_grad_(True), ["hidden", "linear"], [words], 3)
    for name in ("hidden", "linear"):
        assert found[name].samples == (60 if name == "hidden" else 12)
        assert torch.allclose(found[name].fisher, expected[name], rtol=1e-3), name
