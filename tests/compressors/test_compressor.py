from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from leanfront.core.compressors import (
    CRITERIA,
    ActivationQuantiser,
    Compressor,
    Configuration,
    compress,
    preset,
    quantise_weight,
)
from leanfront.core.compressors.structure.slicing import cut
from leanfront.core.compressors.structure.structure import nonzeros
from leanfront.core.targets import Target
from leanfront.core.targets.memory_format import in_format
from leanfront.errors import CompressionError, ConfigurationError

PROBE = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(11))


def outputs(module: nn.Module, inputs: Tensor = PROBE) -> Tensor:
    with torch.no_grad():
        return module(inputs)


def all_of(compressor: Compressor, **fields: Any) -> Configuration:
    """Half of every group and one value for every layer."""
    structure = compressor.structure
    channels = {name: max(1, g.units // 2) for name, g in structure.groups.items()}
    return Configuration(
        channels=channels, **{key: dict.fromkeys(structure.layers, value) for key, value in fields.items()}
    )


def test_the_target_is_never_touched(net: Any, make_target: Any) -> None:
    target = make_target(net.build(), 24)
    before = copy.deepcopy(target.model.state_dict())
    fingerprint = target.fingerprint
    flags = [p.requires_grad for p in target.model.parameters()]
    compressor = Compressor(target)
    for criterion in ("l1", "taylor", "bn_scale"):
        configuration = all_of(compressor, weight_bits=4, activation_bits=8, sparsity=0.3)
        compressor.materialise(configuration.change(criterion=criterion))
    after = target.model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[key], before[key]) for key in before)
    assert [p.requires_grad for p in target.model.parameters()] == flags
    assert not any(m.training or m._forward_hooks or m._forward_pre_hooks for m in target.model.modules())
    assert target.fingerprint == fingerprint


def test_the_dense_configuration_is_bit_identical(net: Any, make_target: Any) -> None:
    target = make_target(net.build(), 24)
    compressed = Compressor(target).materialise(Configuration())
    state = target.model.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in compressed.module.state_dict().items())
    assert compressed.kept == compressed.codes == compressed.masks == {}
    # The copy differs in memory format alone; a copy in the given format gives the same bits.
    assert torch.equal(
        outputs(compressed.module.to(memory_format=torch.contiguous_format)), outputs(target.model)
    )


def test_the_same_configuration_gives_the_same_module(net: Any, make_target: Any) -> None:
    target = make_target(net.build(), 24)
    compressor = Compressor(target)
    configuration = all_of(compressor, weight_bits=3, activation_bits=6, sparsity=0.4).change(
        criterion="random", seed=5
    )
    first = compressor.materialise(configuration)
    for other in (compressor.materialise(configuration), Compressor(target).materialise(configuration)):
        assert other.kept == first.kept
        expected = first.module.state_dict()
        found = other.module.state_dict()
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[key], expected[key]) for key in expected)
        assert torch.equal(outputs(other.module), outputs(first.module))


def test_a_cut_keeps_the_best_channels(nets: Any, make_target: Any) -> None:
    target = make_target(nets["residual"].build())
    compressor = Compressor(target)
    configuration = Configuration(channels={"inner": 3, "stem": 5}, criterion="l1", method="rounding")
    compressed = compressor.materialise(configuration)
    inner = target.model.inner.weight.detach().abs().flatten(1).sum(1)
    assert compressed.kept["inner"] == tuple(sorted(inner.argsort(descending=True)[:3].tolist()))
    rows, columns = compressed.kept["inner"], compressed.kept["stem"]
    assert torch.equal(
        compressed.module.inner.weight, target.model.inner.weight.detach()[list(rows)][:, list(columns)]
    )
    assert not compressed.module.training
    assert not any(p.requires_grad for p in compressed.module.parameters())


def test_norms_follow_what_compression_changed_on_the_calibration_split(nets: Any, make_target: Any) -> None:
    target = make_target(nets["chain"].build(), 48)
    dense = target.model.bn1
    compressed = (
        Compressor(target).materialise(Configuration(weight_bits={"conv1": 2}, method="rounding")).module
    )
    inputs, _ = target.calibration.tensors()
    with torch.no_grad():
        before, after = target.model.conv1(inputs), compressed.conv1(inputs)
    change = after.mean((0, 2, 3)) - before.mean((0, 2, 3))
    assert float(change.abs().max()) > 1e-3
    torch.testing.assert_close(compressed.bn1.running_mean, dense.running_mean + change)
    share = after.var((0, 2, 3)) / before.var((0, 2, 3))
    torch.testing.assert_close(compressed.bn1.running_var, dense.running_var * share)


def test_norms_that_see_what_they_saw_keep_their_statistics(nets: Any, make_target: Any) -> None:
    target = make_target(nets["chain"].build(), 48)
    compressed = (
        Compressor(target).materialise(Configuration(channels={"conv2": 3}, method="rounding")).module
    )
    torch.testing.assert_close(compressed.bn1.running_mean, target.model.bn1.running_mean)
    torch.testing.assert_close(compressed.bn1.running_var, target.model.bn1.running_var)


def test_calibration_batches_are_of_one_size(nets: Any, make_target: Any) -> None:
    compressor = Compressor(make_target(nets["chain"].build(), 261))
    assert [len(batch) for batch in compressor.context.calibration.batches] == [131, 130]
    compressor = Compressor(make_target(nets["chain"].build(), 261), samples=10)
    assert [len(batch) for batch in compressor.context.calibration.batches] == [10]


def test_weights_are_the_quantised_slices(net: Any, make_target: Any) -> None:
    target = make_target(net.build(), 24)
    compressor = Compressor(target)
    configuration = all_of(compressor, weight_bits=4).change(method="rounding")
    compressed = compressor.materialise(configuration)
    small = copy.deepcopy(target.model)
    groups = [compressor.structure.groups[name] for name in compressed.kept]
    cut(small, groups, {g.name: sorted(set(range(g.units)) - set(compressed.kept[g.name])) for g in groups})
    modules = dict(compressed.module.named_modules())
    for name, module in small.named_modules():
        if name in compressor.structure.layers:
            transposed = bool(getattr(module, "transposed", False))
            expected = quantise_weight(module.weight, 4, axis=1 if transposed else 0)
            assert torch.equal(modules[name].weight, expected.dequantise())
            assert torch.equal(compressed.codes[name].codes, expected.codes)
            assert compressed.codes[name].scale.shape == (
                compressor.structure.shapes(configuration)[name].outputs,
            )
    assert set(compressed.codes) == set(compressor.structure.layers)


def test_float16_weights(nets: Any, make_target: Any) -> None:
    target = make_target(nets["flatten"].build())
    module = compress(target, Configuration(weight_bits={"hidden": 16}, method="rounding"))
    assert torch.equal(module.hidden.weight, target.model.hidden.weight.half().float())
    assert torch.equal(module.conv.weight, target.model.conv.weight)


@pytest.mark.parametrize("sparsity", [0.25, 0.9, "2:4"])
@pytest.mark.parametrize("criterion", CRITERIA)
def test_sparse_and_cut_layers_keep_exactly_the_counted_weights(
    nets: Any, make_target: Any, sparsity: Any, criterion: str
) -> None:
    for name in ("grouped", "transposed", "depthwise", "flatten"):
        compressor = Compressor(make_target(nets[name].build(), 8))
        structure = compressor.structure
        for configuration in (
            Configuration(
                sparsity=dict.fromkeys(structure.layers, sparsity), criterion=criterion, method="rounding"
            ),
            all_of(compressor, sparsity=sparsity).change(criterion=criterion, method="rounding"),
        ):
            compressed = compressor.materialise(configuration)
            shapes = structure.shapes(compressed.configuration)
            modules = dict(compressed.module.named_modules())
            assert set(compressed.masks) == set(compressed.configuration.sparsity)
            for layer, mask in compressed.masks.items():
                counted = nonzeros(structure.parts[layer], shapes[layer], sparsity)
                assert int(mask.sum()) == counted
                assert int(modules[layer].weight.count_nonzero()) == counted


def test_magnitude_masks_are_the_largest_weights_left(nets: Any, make_target: Any) -> None:
    target = make_target(nets["flatten"].build(), 8)
    configuration = Configuration(sparsity={"hidden": 0.8}, criterion="l1", method="rounding")
    compressed = Compressor(target).materialise(configuration)
    dense = target.model.hidden.weight.detach()
    threshold = dense.abs().flatten().sort(descending=True).values[round(0.2 * dense.numel()) - 1]
    assert torch.equal(compressed.module.hidden.weight, torch.where(dense.abs() >= threshold, dense, 0))


def test_activation_ranges_are_of_the_compressed_model(nets: Any, make_target: Any) -> None:
    target = make_target(nets["flatten"].build())
    configuration = Configuration(
        weight_bits={"conv": 2}, activation_bits={"hidden": 8}, activation_range="minmax"
    )
    module: Any = compress(target, configuration)
    seen = []
    handle = module.hidden.input_quantiser.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    outputs(module, target.calibration.tensors()[0])
    handle.remove()
    assert float(module.hidden.input_quantiser.scale) == pytest.approx(float(seen[0].max()) / 255)
    assert int(module.hidden.input_quantiser.zero_point) == 0
    assert "input_quantiser" not in dict(module.linear.named_children())


def quantised_layers(module: nn.Module) -> set[str]:
    return {
        name.removesuffix(".input_quantiser")
        for name, child in module.named_modules()
        if isinstance(child, ActivationQuantiser)
    }


@pytest.mark.parametrize("name", ["float16", "dynamic-int8", "fixed-int8"])
def test_presets_work_on_every_network(net: Any, make_target: Any, name: str) -> None:
    target = make_target(net.build(), 24)
    compressor = Compressor(target)
    compressed = compressor.materialise(preset(name, compressor.structure))
    callable_layers = set(compressor.structure.layers) - set(compressor.structure.uncalled)
    assert quantised_layers(compressed.module) == (set() if name == "float16" else callable_layers)
    dense = outputs(target.model, target.calibration.tensors()[0])
    found = outputs(compressed.module, target.calibration.tensors()[0])
    assert bool(found.isfinite().all())
    # Batch norms are re-estimated, so agreement is asked of networks without them.
    if not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in target.model.modules()):
        assert float((found - dense).norm() / dense.norm()) < (1e-3 if name == "float16" else 0.1)


def test_what_does_not_fit_is_refused(nets: Any, make_target: Any) -> None:
    compressor = Compressor(make_target(nets["chain"].build()))
    with pytest.raises(ConfigurationError, match="unknown criterion 'magic'; known: random, l1"):
        compressor.materialise(Configuration(channels={"conv1": 3}, criterion="magic"))
    with pytest.raises(ConfigurationError, match="no such channel group: conv9"):
        compressor.materialise(Configuration(channels={"conv9": 3}))
    with pytest.raises(ConfigurationError, match="has 8 channels; 10 cannot be kept"):
        compressor.materialise(Configuration(channels={"conv1": 10}))


class Narrow(nn.Module):
    """Refuses one number of channels, as a user's own code may, which no proof tries."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.norm = nn.BatchNorm2d(8)
        self.linear = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x))
        if x.shape[1] == 2:
            raise KeyError("two channels")
        return self.linear(x.mean((2, 3)))


def test_a_model_that_fails_when_cut_is_a_compression_error(make_target: Any) -> None:
    compressor = Compressor(make_target(Narrow().eval()))
    compressor.materialise(Configuration(channels={"conv": 4}))
    with pytest.raises(CompressionError, match=r"could not be applied \(KeyError: 'two channels'\)"):
        compressor.materialise(Configuration(channels={"conv": 2}))


class Branch(nn.Module):
    """A layer that only inputs of a certain kind reach."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(192, 4)
        self.rare = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x.flatten(1))
        return self.rare(y) if len(x) == 1 else y


def test_a_layer_that_calibration_never_reaches_has_no_range(make_target: Any) -> None:
    compressor = Compressor(make_target(Branch().eval()))
    with pytest.raises(CompressionError, match="layer 'rare' was not called on the calibration samples"):
        compressor.materialise(Configuration(activation_bits={"rare": 8}))


def test_a_kept_structure_is_used(nets: Any, make_target: Any) -> None:
    target = make_target(nets["chain"].build())
    first = Compressor(target)
    assert Compressor(target, structure=first.structure).structure is first.structure


def test_channels_last_is_for_images() -> None:
    assert in_format(PROBE, True).is_contiguous(memory_format=torch.channels_last)
    flat = torch.randn(3, 4)
    assert in_format(flat, True) is flat


def test_digits_survive_eight_bits(digits: Target) -> None:
    compressor = Compressor(digits)
    module = compressor.materialise(preset("fixed-int8", compressor.structure)).module
    inputs, labels = digits.validation.tensors()
    dense = float((outputs(digits.model, inputs).argmax(1) == labels).float().mean())
    assert float((outputs(module, inputs).argmax(1) == labels).float().mean()) >= dense - 0.015
