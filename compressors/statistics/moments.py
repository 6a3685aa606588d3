"""Second moments of a dense model's layer inputs and output gradients, from one calibration pass.

A layer's input is taken as the matrix product sees it: patches for a convolution, tokens for a linear map.
A layer is split into blocks whose inputs do not mix: the groups of a grouped convolution and, where a layer
is too wide for one dense matrix, runs of input channels (then the moments between runs are taken as zero).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from leanfront.core.compressors.structure.gradients import outside, throughout
from leanfront.core.compressors.structure.modules import channel_axis
from leanfront.core.compressors.structure.structure import Part, Structure

WIDEST = 2304
"""Most inputs in one block: 21 MB of moments in float32, and a solve of a few seconds. Wider layers are split."""
SAMPLES_PER_INPUT = 24
"""Patches per input of a block: more change the moments by less than their own sampling error."""
FEWEST_SAMPLES, MOST_SAMPLES = 8192, 16384
"""Bounds of the number of patches: at the upper one, a block of 2,304 inputs takes 2 s on two cores."""
PLAIN_FORWARDS = (nn.Conv1d.forward, nn.Conv2d.forward, nn.Conv3d.forward, nn.Linear.forward)


@dataclass(frozen=True)
class Blocks:
    """Split of a layer's weight into blocks of inputs that are solved separately.

    Args:
        groups: groups of the convolution, 1 otherwise.
        inputs: input channels per group.
        kernel: weights per channel pair.
        runs: input channels of each run, in order; one run unless the layer is wider than `WIDEST`.
    """

    groups: int
    inputs: int
    kernel: int
    runs: tuple[int, ...]

    @classmethod
    def of(cls, part: Part, widest: int | None = None) -> Blocks:
        """Return the blocks of a layer, with runs as equal as possible, of at most `widest` inputs (`WIDEST`)."""
        widest = WIDEST if widest is None else widest
        inputs = part.inputs // part.groups
        count = math.ceil(inputs / max(1, widest // part.kernel))
        bounds = [inputs * i // count for i in range(count + 1)]
        runs = tuple(stop - start for start, stop in itertools.pairwise(bounds))
        return cls(part.groups, inputs, part.kernel, runs)

    @property
    def widths(self) -> list[int]:
        """Inputs of each run."""
        return [channels * self.kernel for channels in self.runs]

    def split(self, weight: Tensor) -> list[Tensor]:
        """Split a weight (outputs, inputs / groups, ...) into one (groups, outputs / groups, width) per run."""
        flat = weight.contiguous().reshape(self.groups, -1, self.inputs * self.kernel)
        return list(torch.split(flat, self.widths, dim=2))

    def join(self, rows: Sequence[Tensor], like: Tensor) -> Tensor:
        """Join the parts that `split` returned, in the shape of `like`."""
        return torch.cat(list(rows), dim=2).reshape(like.shape)

    def columns(self, kept: Sequence[Sequence[int]]) -> list[Tensor]:
        """Return the kept columns of each run, (groups, kept), for kept input channels per group, numbered within it.

        All groups of a run must keep equally many, as the cuts of a grouped convolution do.
        """
        found, first = [], 0
        for channels in self.runs:
            rows = [
                [
                    (c - first) * self.kernel + k
                    for c in group
                    if first <= c < first + channels
                    for k in range(self.kernel)
                ]
                for group in kept
            ]
            found.append(torch.tensor(rows, dtype=torch.long).reshape(self.groups, len(rows[0])))
            first += channels
        return found


@dataclass(frozen=True)
class LayerMoments:
    """Calibration statistics of one layer.

    Args:
        blocks: split of the inputs.
        covariance: Cov(x) of each run, (groups, width, width), float32.
        mean: E[x] of each run, (groups, width), float32.
        samples: number of patches or tokens.
        fisher: (outputs,) mean over images of the squared gradient of the loss by the layer's output, summed
            over positions; labels drawn from the model's own softmax (the true Fisher's diagonal).
    """

    blocks: Blocks
    covariance: tuple[Tensor, ...]
    mean: tuple[Tensor, ...]
    samples: int
    fisher: Tensor

    def of(self, *, centred: bool) -> list[Tensor]:
        """Return the second moments of each run; centred if a norm or a bias behind the layer absorbs offsets."""
        if centred:
            return list(self.covariance)
        return [c + m[:, :, None] * m[:, None, :] for c, m in zip(self.covariance, self.mean, strict=True)]

    @property
    def second(self) -> list[Tensor]:
        """E[x x^T] of each run, (groups, width, width)."""
        return self.of(centred=False)


def packed(moments: Mapping[str, LayerMoments]) -> dict[str, Tensor]:
    """Return moments as named tensors, for the cache."""
    found = {}
    for layer, measured in moments.items():
        for run, (covariance, mean) in enumerate(zip(measured.covariance, measured.mean, strict=True)):
            found[f"{layer}/covariance/{run}"], found[f"{layer}/mean/{run}"] = covariance, mean
        found[f"{layer}/samples"] = torch.tensor(measured.samples)
        found[f"{layer}/fisher"] = measured.fisher
    return found


def unpacked(tensors: Mapping[str, Tensor], structure: Structure) -> dict[str, LayerMoments]:
    """Return the moments that `packed` packed for the same structure."""
    found = {}
    for layer in structure.layers:
        if f"{layer}/samples" in tensors:
            blocks = Blocks.of(structure.parts[layer])
            covariance, mean = (
                tuple(tensors[f"{layer}/{what}/{run}"] for run in range(len(blocks.runs)))
                for what in ("covariance", "mean")
            )
            samples, fisher = int(tensors[f"{layer}/samples"]), tensors[f"{layer}/fisher"]
            found[layer] = LayerMoments(blocks, covariance, mean, samples, fisher)
    return found


class Patches:
    """Reader of a layer's input as its matrix product sees it, at positions that are drawn once per call.

    Args:
        module: the layer, dense or cut.
        blocks: blocks of that layer.
        per_image: maximum number of positions per image.
        generator: generator of the positions; equal generators draw equal positions.
    """

    def __init__(self, module: nn.Module, blocks: Blocks, per_image: int, generator: torch.Generator) -> None:
        self.blocks = blocks
        self._module = module
        self._per_image = per_image
        self._generator = generator

    def places(self, positions: int) -> Tensor:
        """Draw positions out of this many, ascending."""
        if positions <= self._per_image:
            return torch.arange(positions)
        return torch.randperm(positions, generator=self._generator)[: self._per_image].sort().values

    def read(self, inputs: Tensor) -> list[Tensor]:
        """Return patches or tokens of an input, one (groups, samples, width) per run; samples image by image."""
        linear = isinstance(self._module, nn.Linear)
        found = self._tokens(inputs) if linear else self._patches(inputs)
        return list(torch.split(found, self.blocks.widths, dim=2))

    def outputs(self, output: Tensor, places: Tensor) -> Tensor:
        """Return the layer's outputs at given positions, (samples, outputs)."""
        return at_places(output, places, last=isinstance(self._module, nn.Linear))

    def positions(self, output: Tensor) -> int:
        """Return the number of positions of an output map."""
        linear = isinstance(self._module, nn.Linear)
        return math.prod(output.shape[1:-1] if linear else output.shape[2:])

    def _tokens(self, inputs: Tensor) -> Tensor:
        flat = inputs.reshape(len(inputs), -1, inputs.shape[-1])
        chosen = flat[:, self.places(flat.shape[1]).to(inputs.device)]
        return chosen.reshape(1, -1, inputs.shape[-1])

    def _patches(self, inputs: Tensor) -> Tensor:
        conv: Any = self._module
        sides = len(conv.kernel_size)
        padding = conv._reversed_padding_repeated_twice
        mode = "constant" if conv.padding_mode == "zeros" else conv.padding_mode
        if any(padding):
            inputs = functional.pad(inputs, padding, mode=mode)
        reach = [d * (k - 1) for k, d in zip(conv.kernel_size, conv.dilation, strict=True)]
        sizes = [(n - r - 1) // s + 1 for n, r, s in zip(inputs.shape[2:], reach, conv.stride, strict=True)]
        places = self.places(math.prod(sizes))
        # In the flat padded map: index read by each position's first weight, and offsets of the other weights.
        strides = [math.prod(inputs.shape[3 + side :]) for side in range(sides)]
        starts, rest = torch.zeros_like(places), places
        for side in reversed(range(sides)):
            starts += rest % sizes[side] * conv.stride[side] * strides[side]
            rest = rest // sizes[side]
        offsets = torch.zeros(1, dtype=torch.long)
        for side in range(sides):
            steps = torch.arange(conv.kernel_size[side]) * conv.dilation[side] * strides[side]
            offsets = (offsets[:, None] + steps).flatten()
        index = (starts[:, None] + offsets).flatten().to(inputs.device)
        images, channels = inputs.shape[:2]
        # Channels innermost: one gather moves whole pixels.
        pixels = inputs.flatten(2).transpose(1, 2).contiguous().index_select(1, index)
        groups = conv.groups
        found = pixels.reshape(images * len(places), len(offsets), groups, channels // groups)
        return found.permute(2, 0, 3, 1).reshape(groups, images * len(places), -1)


def at_places(output: Tensor, places: Tensor, *, last: bool) -> Tensor:
    """Return a map's vectors at given positions, (samples, channels); channels are its last axis or its second."""
    flat = output.reshape(len(output), -1, output.shape[-1]) if last else output.flatten(2).transpose(1, 2)
    return flat[:, places.to(output.device)].reshape(-1, flat.shape[-1])


def positions_wanted(blocks: Blocks, images: int) -> int:
    """Return the number of positions to read per image."""
    wanted = min(MOST_SAMPLES, max(FEWEST_SAMPLES, SAMPLES_PER_INPUT * max(blocks.widths)))
    return max(1, math.ceil(wanted / max(1, images)))


class _Accumulator:
    """Sums of a layer's input in float64, batch after batch.

    They are centred at the first batch's mean: for inputs that hardly vary, E[x^2] - E[x]^2 is only rounding error.
    """

    def __init__(self, patches: Patches) -> None:
        self._patches = patches
        widths, groups = patches.blocks.widths, patches.blocks.groups
        self._second = [torch.zeros(groups, width, width, dtype=torch.float64) for width in widths]
        self._mean = [torch.zeros(groups, width, dtype=torch.float64) for width in widths]
        self._shifts: list[Tensor] = []
        self.samples = 0

    def add(self, inputs: Tensor) -> None:
        """Add a batch."""
        runs = self._patches.read(inputs.detach().float())
        if not self._shifts:
            self._shifts = [rows.mean(1, keepdim=True) for rows in runs]
        for rows, shift, second, mean in zip(runs, self._shifts, self._second, self._mean, strict=True):
            rows = rows - shift
            second += (rows.transpose(1, 2) @ rows).double().cpu()
            mean += rows.sum(1, dtype=torch.float64).cpu()
        self.samples += runs[0].shape[1]

    def moments(self, fisher: Tensor) -> LayerMoments:
        """Return the moments of all batches."""
        means = [mean / self.samples for mean in self._mean]
        covariances = [
            s / self.samples - m[:, :, None] * m[:, None] for s, m in zip(self._second, means, strict=True)
        ]
        return LayerMoments(
            self._patches.blocks,
            tuple(covariance.float() for covariance in covariances),
            tuple((m + s[:, 0].double().cpu()).float() for m, s in zip(means, self._shifts, strict=True)),
            self.samples,
            fisher.float().cpu(),
        )


@torch.inference_mode(False)
def collect(
    model: nn.Module, structure: Structure, batches: Iterable[Tensor], images: int, seed: int = 0
) -> dict[str, LayerMoments]:
    """Collect the moments of every layer that computes a plain convolution or linear map, in one pass.

    Args:
        model: the dense model, in eval mode, on the device of the batches; not changed.
        structure: structure of the model.
        batches: inputs (n, ...).
        images: number of images in all batches.
        seed: seed of the drawn positions and labels.

    Returns:
        Layer -> moments; without layers that are never called or have a forward function of their own.
    """
    generator = torch.Generator().manual_seed(seed)
    modules = dict(model.named_modules())
    watched = {}
    for name in measurable(structure, modules):
        blocks = Blocks.of(structure.parts[name])
        watched[name] = _Accumulator(
            Patches(modules[name], blocks, positions_wanted(blocks, images), generator)
        )
    fisher: dict[str, Tensor] = {}
    seen = 0
    smooth = True
    with _frozen(model), _hooks(modules, watched, fisher):
        for inputs in batches:
            smooth = smooth and _backward(model, inputs, generator)
            if not smooth:
                with torch.no_grad():
                    model(inputs.clone())
            seen += len(inputs)
    found = {}
    for name, sums in watched.items():
        # Without gradients all outputs have the same weight.
        ones = torch.ones(structure.parts[name].outputs)
        weight = fisher.get(name, torch.zeros_like(ones)) / seen if smooth else ones
        if sums.samples:
            found[name] = sums.moments(weight)
    return found


def _backward(model: nn.Module, inputs: Tensor, generator: torch.Generator) -> bool:
    """Run forward and backward with labels drawn from the model; return whether it can be differentiated."""
    try:
        with torch.enable_grad():
            with throughout():
                logits = model(inputs.clone()).float()
            drawn = torch.multinomial(logits.detach().softmax(1).cpu(), 1, generator=generator)
            loss = functional.cross_entropy(logits, drawn.flatten().to(logits.device), reduction="sum")
            if loss.requires_grad:
                torch.autograd.backward(loss)
    except RuntimeError:
        # Inference tricks overwrite tensors that a gradient needs. The moments of the inputs are still valid.
        return False
    return True


def measurable(structure: Structure, modules: Mapping[str, nn.Module]) -> list[str]:
    """Return the layers whose input moments describe their output; others are rounded plainly and never refitted."""
    return [
        name
        for name in structure.layers
        if type(modules[name]).forward in PLAIN_FORWARDS and not structure.parts[name].transposed
    ]


@contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    """Disable gradients of the parameters within the context."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)


@contextmanager
def _hooks(
    modules: Mapping[str, nn.Module], watched: Mapping[str, _Accumulator], fisher: dict[str, Tensor]
) -> Iterator[None]:
    def reads(name: str) -> Callable[[nn.Module, Any], None]:
        def hook(_: nn.Module, inputs: Any) -> None:
            with outside(), torch.no_grad():
                watched[name].add(inputs[0])

        return hook

    def writes(name: str) -> Callable[[nn.Module, Any, Any], Any]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> Any:
            if not output.requires_grad:
                # Gradients start at the first layers' outputs; cloned, since a leaf cannot be changed in place.
                output = output.detach().requires_grad_().clone()
            if not output.requires_grad:
                return output
            axis = output.dim() - 1 if channel_axis(module) == -1 else 1

            def gradient(value: Tensor) -> None:
                others = [d for d in range(value.dim()) if d != axis]
                squares = value.detach().square().sum(others, dtype=torch.float64)
                fisher[name] = fisher[name] + squares if name in fisher else squares

            output.register_hook(gradient)
            return output

        return hook

    handles = []
    for name in watched:
        handles.append(modules[name].register_forward_pre_hook(reads(name)))
        handles.append(modules[name].register_forward_hook(writes(name)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
