"""The layer bank: for each layer and choice of kept inputs, sparsity and bits, the weights that reproduce it best.

Entries are solved from the dense model's second moments when they are first used, and kept in memory and on disk
under a hash of the data that they were solved from.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from leanfront.core.compressors.configuration import Sparsity
from leanfront.core.compressors.refit import solvers
from leanfront.core.compressors.refit.solution import Solution, solve_runs, take_rows
from leanfront.core.compressors.statistics import linear_algebra
from leanfront.core.compressors.statistics.cache import BankCache, KeyPart, content_key
from leanfront.core.compressors.statistics.moments import LayerMoments
from leanfront.core.compressors.structure.kept_channels import KeptChannels
from leanfront.core.compressors.structure.structure import Structure

VERSION = 1
"""Version of the solvers' results: entries of another version are not read."""
MEMORY = 256 * 1024**2
"""Maximum bytes of solutions kept in memory."""


@dataclass(frozen=True)
class Choice:
    """Compression of one layer.

    Args:
        columns: kept inputs per group, numbered within the group; None for all.
        rows: kept outputs per group; None for all. Set only for sparse layers, whose solution depends on them.
        groups: kept groups of a depthwise layer; None for all. Set only for sparse layers.
        bits: 2..8, 16, or None for float32.
        sparsity: a share, ``"2:4"`` or None.
        stored: number of weights that stay under a share.
    """

    columns: tuple[tuple[int, ...], ...] | None = None
    rows: tuple[tuple[int, ...], ...] | None = None
    groups: tuple[int, ...] | None = None
    bits: int | None = None
    sparsity: Sparsity | None = None
    stored: int = 0


class Bank:
    """Solver of layers from their moments, which keeps its solutions.

    Args:
        structure: structure of the model.
        weights: layer -> dense weight, output channels first, float32 on the CPU.
        moments: measured layer -> moments.
        centred: layer -> whether a norm or a bias behind it absorbs offsets.
        cache: cache on disk; None for no cache.
    """

    def __init__(
        self,
        structure: Structure,
        weights: Mapping[str, Tensor],
        moments: Mapping[str, LayerMoments],
        centred: Mapping[str, bool],
        cache: BankCache | None,
    ) -> None:
        self.structure = structure
        self.moments = moments
        self.centred = centred
        self._weights = weights
        self._cache = cache
        self._grams: dict[str, list[Tensor]] = {}
        self._contents: dict[str, str] = {}
        self._entries: OrderedDict[tuple[str, Choice], list[Solution]] = OrderedDict()
        self._held = 0

    def gram(self, layer: str) -> list[Tensor]:
        """Return the damped moments of each run of a layer, (groups, width, width)."""
        if layer not in self._grams:
            found = self.moments[layer].of(centred=self.centred[layer])
            self._grams[layer] = [linear_algebra.damp(moments) for moments in found]
        return self._grams[layer]

    def entry(self, layer: str, choice: Choice) -> list[Solution]:
        """Return the solution of each run: (groups, rows, kept inputs)."""
        key = (layer, choice)
        if key in self._entries:
            self._entries.move_to_end(key)
            return self._entries[key]
        found = self._solve_or_read(layer, choice)
        self._entries[key] = found
        self._held += _bytes(found)
        while self._held > MEMORY and len(self._entries) > 1:
            _, old = self._entries.popitem(last=False)
            self._held -= _bytes(old)
        return found

    def error(self, layer: str, choice: Choice) -> Tensor:
        """Return the mean squared error of each output under a choice, (groups, rows)."""
        total = torch.zeros(())
        blocks = self.moments[layer].blocks
        columns = self._columns(layer, choice)
        solved = self.entry(layer, choice)
        split = self._rows(blocks.split(self._weights[layer]), choice)
        grams = _of_groups(self.gram(layer), choice)
        for dense, gram, kept, solution in zip(split, grams, columns, solved, strict=True):
            difference = dense.clone()
            spread = kept[:, None, :].expand(-1, dense.shape[1], -1)
            difference.scatter_(2, spread, dense.gather(2, spread) - solution.weight)
            total = total + solvers.error(difference, gram)
        return total

    def shift(self, layer: str, choice: Choice) -> Tensor:
        """Return the mean dense output minus the mean output under a choice, (groups x rows,), to add to the bias."""
        moments = self.moments[layer]
        split = self._rows(moments.blocks.split(self._weights[layer]), choice)
        total = torch.zeros(())
        means = _of_groups(moments.mean, choice)
        for dense, mean, kept, solution in zip(
            split, means, self._columns(layer, choice), self.entry(layer, choice), strict=True
        ):
            now = solution.weight @ mean.gather(1, kept)[:, :, None]
            total = total + (dense @ mean[:, :, None] - now).squeeze(2)
        return total.flatten()

    def _solve_or_read(self, layer: str, choice: Choice) -> list[Solution]:
        if self._cache is None:
            return self._solve(layer, choice)
        key = content_key(VERSION, self._content(layer), *_parts(choice))
        stored = self._cache.get(key)
        if stored is not None:
            return _unpacked(stored, len(self.moments[layer].blocks.runs))
        solved = self._solve(layer, choice)
        self._cache.put(key, _packed(solved))
        return solved

    def _solve(self, layer: str, choice: Choice) -> list[Solution]:
        blocks = self.moments[layer].blocks
        weights = self._rows(blocks.split(self._weights[layer]), choice)
        grams = _of_groups(self.gram(layer), choice)
        if choice.columns is not None:
            kept = self._columns(layer, choice)
            weights = [solvers.refit(w, g, k) for w, g, k in zip(weights, grams, kept, strict=True)]
            grams = [solvers.restrict(g, k) for g, k in zip(grams, kept, strict=True)]
        return solve_runs(
            weights,
            grams,
            bits=choice.bits,
            sparsity=choice.sparsity,
            kept=choice.stored,
            kernel=blocks.kernel,
        )

    def _columns(self, layer: str, choice: Choice) -> list[Tensor]:
        blocks = self.moments[layer].blocks
        everything = [list(range(blocks.inputs))] * blocks.groups
        found = blocks.columns(choice.columns if choice.columns is not None else everything)
        return _of_groups(found, choice)

    def _rows(self, split: Sequence[Tensor], choice: Choice) -> list[Tensor]:
        found = _of_groups(split, choice)
        return found if choice.rows is None else [take_rows(rows, choice.rows) for rows in found]

    def _content(self, layer: str) -> str:
        if layer not in self._contents:
            moments = self.moments[layer]
            self._contents[layer] = content_key(
                self._weights[layer], *moments.second, *moments.mean, self.centred[layer]
            )
        return self._contents[layer]


def choice_of(
    structure: Structure,
    layer: str,
    kept: KeptChannels,
    *,
    bits: int | None,
    sparsity: Sparsity | None,
    stored: int,
) -> Choice:
    """Return a configuration's choice for a layer. A depthwise layer keeps its inputs and loses whole groups."""
    depthwise = structure.parts[layer].kind == "depthwise"
    columns = None if depthwise else kept.columns(structure, layer)
    rows = None if depthwise or not sparsity else kept.rows(structure, layer)
    return Choice(
        None if columns is None else tuple(map(tuple, columns)),
        None if rows is None else tuple(map(tuple, rows)),
        kept.outputs.get(layer) if depthwise and sparsity else None,
        bits,
        sparsity,
        stored,
    )


def _of_groups(values: Sequence[Tensor], choice: Choice) -> list[Tensor]:
    """Return the values (groups, ...) of the kept groups, for each run."""
    return list(values) if choice.groups is None else [value[list(choice.groups)] for value in values]


def _parts(choice: Choice) -> tuple[KeyPart, ...]:
    return choice.columns, choice.rows, choice.groups, choice.bits, choice.sparsity, choice.stored


def _packed(solutions: Sequence[Solution]) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for run, solution in enumerate(solutions):
        if solution.codes is None or solution.scale is None:
            tensors[f"{run}.weight"] = solution.weight.contiguous()
        else:
            tensors[f"{run}.codes"] = solution.codes.to(torch.int8).contiguous()
            tensors[f"{run}.scale"] = solution.scale.contiguous()
        if solution.mask is not None:
            tensors[f"{run}.mask"] = solution.mask.to(torch.uint8).contiguous()
    return tensors


def _unpacked(tensors: Mapping[str, Tensor], runs: int) -> list[Solution]:
    found = []
    for run in range(runs):
        mask = tensors.get(f"{run}.mask")
        mask = None if mask is None else mask.bool()
        if f"{run}.weight" in tensors:
            found.append(Solution(tensors[f"{run}.weight"], mask=mask))
            continue
        codes, scale = tensors[f"{run}.codes"].float(), tensors[f"{run}.scale"]
        found.append(Solution(codes * scale[..., None], codes, scale, mask))
    return found


def _bytes(solutions: Sequence[Solution]) -> int:
    return sum(4 * s.weight.numel() * (1 if s.codes is None else 2) for s in solutions)
