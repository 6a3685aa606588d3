"""The bank's entries against closed forms and explicit samples, and its two memories."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from leanfront.core.compressors import Bank, BankCache, Part, Structure, quantise_weight
from leanfront.core.compressors.refit import bank as bank_module
from leanfront.core.compressors.refit import solvers
from leanfront.core.compressors.refit.bank import Choice, choice_of
from leanfront.core.compressors.refit.solution import Solution
from leanfront.core.compressors.statistics import linear_algebra
from leanfront.core.compressors.statistics.moments import Blocks, LayerMoments
from leanfront.core.compressors.structure.kept_channels import KeptChannels
from leanfront.core.compressors.structure.structure import ChannelGroup, Member, Shape, nonzeros

SAMPLES = 600
PARTS = {
    "conv": Part("conv", "conv", 8, 6, kernel=3, bias=True),
    "linear": Part("linear", "linear", 10, 5),
    "grouped": Part("grouped", "conv", 8, 6, groups=2, kernel=2),
    "depthwise": Part("depthwise", "depthwise", 6, 6, groups=6, kernel=9),
    "wide": Part("wide", "conv", 11, 4, kernel=2),
}
WIDEST = {"wide": 8}


def inputs_of(part: Part) -> Tensor:
    """Correlated inputs with means, (groups, samples, width)."""
    generator = torch.Generator().manual_seed(len(part.name))
    width = part.inputs // part.groups * part.kernel
    mixing = torch.randn(part.groups, width, width, generator=generator)
    offset = torch.randn(part.groups, 1, width, generator=generator)
    return torch.randn(part.groups, SAMPLES, width, generator=generator) @ mixing + offset


def moments_of(part: Part) -> LayerMoments:
    blocks = Blocks.of(part, WIDEST.get(part.name, 10**6))
    runs = inputs_of(part).split(blocks.widths, dim=2)
    means = tuple(run.mean(1) for run in runs)
    covariance = tuple(
        (run - run.mean(1, keepdim=True)).transpose(1, 2) @ (run - run.mean(1, keepdim=True)) / SAMPLES
        for run in runs
    )
    return LayerMoments(blocks, covariance, means, SAMPLES, torch.ones(part.outputs))


def make(cache: BankCache | None = None, centred: bool = True) -> Bank:
    generator = torch.Generator().manual_seed(0)
    weights = {
        name: torch.randn(part.outputs, part.inputs // part.groups, part.kernel, generator=generator)
        for name, part in PARTS.items()
    }
    moments = {name: moments_of(part) for name, part in PARTS.items()}
    group = ChannelGroup("depthwise", 6, (Member("depthwise", "out", tuple((u,) for u in range(6))),))
    structure = Structure(PARTS, {"depthwise": group}, tuple(PARTS))
    return Bank(structure, weights, moments, dict.fromkeys(PARTS, centred), cache)


def weight_of(bank: Bank, layer: str) -> Tensor:
    return bank._weights[layer]


COLUMNS = {
    "conv": ((0, 2, 3, 7),),
    "linear": ((1, 2, 3, 4, 8, 9),),
    "grouped": ((0, 3), (1, 2)),
    "wide": ((0, 1, 4, 8, 10),),
}


def equal(first: list[Solution], second: list[Solution]) -> bool:
    return len(first) == len(second) and all(
        (a is None and b is None) or (a is not None and b is not None and torch.equal(a, b))
        for one, two in zip(first, second, strict=True)
        for a, b in (
            (one.weight, two.weight),
            (one.codes, two.codes),
            (one.scale, two.scale),
            (one.mask, two.mask),
        )
    )


@pytest.mark.parametrize("layer", PARTS)
@pytest.mark.parametrize("bits", [None, 16])
def test_the_whole_layer_is_itself(layer: str, bits: int | None) -> None:
    bank = make()
    split = bank.moments[layer].blocks.split(weight_of(bank, layer))
    for rows, solution in zip(split, bank.entry(layer, Choice(bits=bits)), strict=True):
        assert torch.equal(solution.weight, rows if bits is None else rows.half().float())


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("layer", COLUMNS)
def test_fewer_inputs_are_refitted_by_least_squares(layer: str, centred: bool) -> None:
    bank = make(centred=centred)
    blocks, part = bank.moments[layer].blocks, PARTS[layer]
    found = bank.entry(layer, Choice(columns=COLUMNS[layer]))
    runs = inputs_of(part).double().split(blocks.widths, dim=2)
    first = 0
    for run, (rows, dense) in enumerate(zip(runs, blocks.split(weight_of(bank, layer)), strict=True)):
        for group in range(blocks.groups):
            x = rows[group] - rows[group].mean(0) if centred else rows[group]
            level = linear_algebra.RIDGE * float((x.square().sum(0) / SAMPLES).mean())
            x = torch.cat([x, (SAMPLES * level) ** 0.5 * torch.eye(x.shape[1], dtype=x.dtype)])
            stays = [
                (c - first) * part.kernel + k
                for c in COLUMNS[layer][group]
                if first <= c < first + blocks.runs[run]
                for k in range(part.kernel)
            ]
            wanted = x @ dense[group].double().T
            expected = torch.linalg.lstsq(x[:, stays], wanted).solution.T
            torch.testing.assert_close(found[run].weight[group].double(), expected, rtol=1e-3, atol=1e-3)
        first += blocks.runs[run]


def outputs(bank: Bank, layer: str, weights: list[Tensor], kept: list[Tensor]) -> Tensor:
    """(samples, groups x rows) of weights over the kept columns of each run."""
    blocks = bank.moments[layer].blocks
    total = torch.zeros(())
    for rows, weight, columns in zip(
        inputs_of(PARTS[layer]).split(blocks.widths, dim=2), weights, kept, strict=True
    ):
        taken = rows.gather(2, columns[:, None].expand(-1, SAMPLES, -1))
        total = total + taken @ weight.transpose(1, 2)
    return total.transpose(0, 1).reshape(SAMPLES, -1)


@pytest.mark.parametrize("bits", [None, 3])
@pytest.mark.parametrize("layer", COLUMNS)
def test_shift_and_error_are_those_of_the_samples(layer: str, bits: int | None) -> None:
    bank = make()
    blocks = bank.moments[layer].blocks
    choice = Choice(columns=COLUMNS[layer], bits=bits)
    everything = [list(range(blocks.inputs))] * blocks.groups
    dense = outputs(bank, layer, blocks.split(weight_of(bank, layer)), blocks.columns(everything))
    now = outputs(bank, layer, [s.weight for s in bank.entry(layer, choice)], blocks.columns(COLUMNS[layer]))
    torch.testing.assert_close(bank.shift(layer, choice), (dense - now).mean(0), rtol=1e-3, atol=1e-3)
    if len(blocks.runs) == 1:
        # The damping's own share aside.
        expected = (dense - now).var(0, correction=0)
        torch.testing.assert_close(bank.error(layer, choice).flatten(), expected, rtol=0.05, atol=0.01)


@pytest.mark.parametrize("layer", PARTS)
def test_rounding_is_better_than_plain(layer: str) -> None:
    bank = make()
    blocks = bank.moments[layer].blocks
    choice = Choice(bits=3)
    plain = quantise_weight(weight_of(bank, layer), 3).dequantise()
    worst = torch.zeros(())
    for rows, dense, gram in zip(
        blocks.split(plain), blocks.split(weight_of(bank, layer)), bank.gram(layer), strict=True
    ):
        worst = worst + solvers.error(dense - rows, gram)
    assert bool((bank.error(layer, choice) <= worst * (1 + 1e-4)).all())
    assert float(bank.error(layer, choice).sum()) < 0.9 * float(worst.sum())
    for solution in bank.entry(layer, choice):
        assert solution.codes is not None
        assert solution.scale is not None
        assert torch.equal(solution.codes * solution.scale[..., None], solution.weight)
        assert torch.equal(solution.scale, bank.entry(layer, choice)[0].scale)
        assert solution.codes.min() >= -4
        assert solution.codes.max() <= 3


@pytest.mark.parametrize("sparsity", [0.4, "2:4"])
@pytest.mark.parametrize("bits", [None, 4, 16])
@pytest.mark.parametrize("layer", PARTS)
def test_masks_hold_exactly_the_counted_weights(layer: str, bits: int | None, sparsity: Any) -> None:
    bank, part = make(), PARTS[layer]
    columns = COLUMNS.get(layer)
    inputs = part.inputs if columns is None else sum(map(len, columns))
    shape = Shape(inputs, part.outputs, part.groups)
    stored = nonzeros(part, shape, sparsity)
    found = bank.entry(layer, Choice(columns, bits=bits, sparsity=sparsity, stored=stored))
    masks = [s.mask for s in found if s.mask is not None]
    assert sum(int(mask.sum()) for mask in masks) == stored
    assert all(not s.weight[~mask].any() for s, mask in zip(found, masks, strict=True))
    if sparsity == "2:4":
        whole = torch.cat(masks, dim=2).unflatten(2, (-1, part.kernel))
        quads = whole[:, :, : whole.shape[2] // 4 * 4].unflatten(2, (-1, 4)).sum(3)
        assert bool((quads == 2).all())


def test_a_run_may_lose_all_its_inputs() -> None:
    bank = make()
    for choice in (
        Choice(columns=((0, 1),)),
        Choice(columns=((9, 10),), bits=3),
        Choice(columns=((0,),), bits=4, sparsity=0.5, stored=4),
    ):
        found = bank.entry("wide", choice)
        whole = torch.cat([solution.weight for solution in found], dim=2)
        assert whole.shape == (1, 4, 2 * len(choice.columns[0]))  # type: ignore[index]
        assert whole.any()
        assert len(bank.shift("wide", choice)) == 4


def test_kept_groups_of_a_depthwise_layer_share_its_weights() -> None:
    bank, part = make(), PARTS["depthwise"]
    kept = KeptChannels.of(bank.structure, {"depthwise": (1, 2, 5)})
    stored = nonzeros(part, Shape(3, 3, 3), 0.5)
    choice = choice_of(bank.structure, "depthwise", kept, bits=None, sparsity=0.5, stored=stored)
    (found,) = bank.entry("depthwise", choice)
    assert found.mask is not None
    assert found.mask.shape == (3, 1, 9)
    assert int(found.mask.sum()) == stored
    assert bank.error("depthwise", choice).shape == (3, 1)
    # Without sparsity the groups do not touch: one entry serves all cuts.
    assert choice_of(bank.structure, "depthwise", kept, bits=3, sparsity=None, stored=0) == Choice(bits=3)


CHOICES = (
    ("conv", Choice(columns=COLUMNS["conv"], bits=3)),
    ("conv", Choice(columns=COLUMNS["conv"])),
    ("grouped", Choice(bits=16)),
    ("wide", Choice(bits=4, sparsity="2:4")),
    ("linear", Choice(rows=((0, 2, 4),), bits=5, sparsity=0.5, stored=15)),
)


def test_entries_are_read_back_from_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = [make().entry(*choice) for choice in CHOICES]
    first = make(BankCache(tmp_path))
    assert all(equal(first.entry(*c), e) for c, e in zip(CHOICES, expected, strict=True))
    assert first.entry(*CHOICES[0]) is first.entry(*CHOICES[0])
    monkeypatch.setattr(bank_module, "solve_runs", lambda *_, **__: pytest.fail("solved again"))
    second = make(BankCache(tmp_path))
    assert all(equal(second.entry(*c), e) for c, e in zip(CHOICES, expected, strict=True))


def test_damaged_files_are_solved_again(tmp_path: Path) -> None:
    bank = make(BankCache(tmp_path))
    expected = [bank.entry(*choice) for choice in CHOICES]
    files = sorted(tmp_path.rglob("*.safetensors"))
    assert len(files) == len(CHOICES)
    whole = [path.read_bytes() for path in files]
    for path, content in zip(files, whole, strict=True):
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    again = make(BankCache(tmp_path))
    assert all(equal(again.entry(*c), e) for c, e in zip(CHOICES, expected, strict=True))
    assert [path.read_bytes() for path in files] == whole


def _enter(folder: str) -> None:
    torch.set_num_threads(1)
    bank = make(BankCache(Path(folder)))
    for choice in CHOICES:
        bank.entry(*choice)


def test_another_process_finds_what_one_has_solved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = multiprocessing.get_context("fork").Process(target=_enter, args=(str(tmp_path),))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    expected = [make().entry(*choice) for choice in CHOICES]
    monkeypatch.setattr(bank_module, "solve_runs", lambda *_, **__: pytest.fail("solved again"))
    bank = make(BankCache(tmp_path))
    assert all(equal(bank.entry(*c), e) for c, e in zip(CHOICES, expected, strict=True))


def test_other_moments_and_other_choices_are_other_entries(tmp_path: Path) -> None:
    cache = BankCache(tmp_path)
    make(cache).entry("conv", Choice(bits=3))
    count = len(list(tmp_path.rglob("*.safetensors")))
    make(cache, centred=False).entry("conv", Choice(bits=3))
    make(cache).entry("conv", Choice(bits=4))
    make(cache).entry("conv", Choice(bits=3))
    assert len(list(tmp_path.rglob("*.safetensors"))) == count + 2


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    bank = make()
    size = bank_module._bytes(bank.entry("conv", Choice()))
    monkeypatch.setattr(bank_module, "MEMORY", 3 * size)
    bank = make()
    first = bank.entry("conv", Choice(columns=((0, 1, 2, 3, 4, 5, 6, 7),)))
    for gone in range(6):
        bank.entry("conv", Choice(columns=(tuple(c for c in range(8) if c != gone),)))
        assert sum(map(bank_module._bytes, bank._entries.values())) == bank._held <= 3 * size
    again = bank.entry("conv", Choice(columns=((0, 1, 2, 3, 4, 5, 6, 7),)))
    assert again is not first
    assert equal(again, first)
