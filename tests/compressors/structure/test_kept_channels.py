"""Kept channels against what a cut module is left with."""

from __future__ import annotations

import copy
from typing import Any

import torch

from leanfront.core.compressors.structure.derivation import derive
from leanfront.core.compressors.structure.kept_channels import KeptChannels
from leanfront.core.compressors.structure.slicing import cut
from leanfront.core.compressors.structure.structure import Structure


def some_units(structure: Structure) -> dict[str, tuple[int, ...]]:
    """Two thirds of every group, drawn."""
    generator = torch.Generator().manual_seed(3)
    return {
        name: tuple(sorted(torch.randperm(g.units, generator=generator)[: max(1, g.units * 2 // 3)].tolist()))
        for name, g in structure.groups.items()
    }


def test_slices_of_the_dense_weight_are_the_cut_modules_weight(net: Any) -> None:
    dense = net.build()
    structure = derive(dense, torch.randn(1, 3, 8, 8))
    units = some_units(structure)
    kept = KeptChannels.of(structure, units)
    small = copy.deepcopy(dense)
    groups = [structure.groups[name] for name in units]
    cut(small, groups, {g.name: sorted(set(range(g.units)) - set(units[g.name])) for g in groups})
    modules = dict(small.named_modules())
    checked = 0
    for layer in structure.layers:
        part = structure.parts[layer]
        if part.transposed or layer not in dict(dense.named_modules()):
            continue
        weight = dense.get_submodule(layer).weight.detach()
        found = modules[layer].weight.detach()
        if part.kind == "depthwise":
            taken = weight[list(kept.outputs.get(layer, range(part.outputs)))]
        else:
            rows, columns = kept.rows(structure, layer), kept.columns(structure, layer)
            blocks = weight.reshape(part.groups, part.outputs // part.groups, *weight.shape[1:])
            taken = torch.cat(
                [
                    block[rows[i] if rows else slice(None)][:, columns[i] if columns else slice(None)]
                    for i, block in enumerate(blocks)
                ]
            )
        assert torch.equal(taken, found), layer
        checked += 1
    assert checked >= 1
    for name, channels in kept.outputs.items():
        if structure.parts[name].kind == "norm":
            assert kept.inputs[name] == channels
            if (running := getattr(dense.get_submodule(name), "running_mean", None)) is not None:
                assert torch.equal(running[list(channels)], modules[name].running_mean)


def test_what_is_not_cut_is_not_named(nets: Any) -> None:
    structure = derive(nets["chain"].build(), torch.randn(1, 3, 8, 8))
    kept = KeptChannels.of(structure, {"conv1": (0, 2, 7)})
    assert dict(kept.outputs) == {"conv1": (0, 2, 7), "bn1": (0, 2, 7)}
    assert dict(kept.inputs) == {"conv2": (0, 2, 7), "bn1": (0, 2, 7)}
    assert kept.rows(structure, "conv2") is None
    assert kept.columns(structure, "conv2") == [[0, 2, 7]]
    assert KeptChannels.of(structure, {}) == KeptChannels({}, {})


def test_a_concatenation_loses_channels_of_every_group(nets: Any) -> None:
    structure = derive(nets["dense"].build(), torch.randn(1, 3, 8, 8))
    kept = KeptChannels.of(structure, {"stem": (0, 1, 2, 3, 4, 5, 6), "conv1": (1, 3)})
    assert kept.inputs["conv2"] == (0, 1, 2, 3, 4, 5, 6, 9, 11)
    assert kept.inputs["linear"] == (0, 1, 2, 3, 4, 5, 6, 9, 11, 12, 13, 14, 15)


def test_channels_of_a_grouped_layer_are_numbered_within_their_group(nets: Any) -> None:
    structure = derive(nets["grouped"].build(), torch.randn(1, 3, 8, 8))
    kept = KeptChannels.of(structure, {"enter": (0, 3), "grouped": (1,)})
    assert kept.columns(structure, "grouped") == [[0, 3]] * 4
    assert kept.rows(structure, "grouped") == [[1]] * 4
    assert kept.inputs["grouped"] == (0, 3, 4, 7, 8, 11, 12, 15)
