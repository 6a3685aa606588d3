"""Kept channels of every module for a choice of units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from leanfront.core.compressors.structure.structure import Structure

Units = Mapping[str, tuple[int, ...]]
"""Channel group -> indices of the kept units; only groups that are cut."""


@dataclass(frozen=True)
class KeptChannels:
    """Kept channels, in the dense model's numbering.

    Args:
        inputs: module -> kept input channels; only modules that lose some.
        outputs: module -> kept output channels; only modules that lose some.
    """

    inputs: Mapping[str, tuple[int, ...]]
    outputs: Mapping[str, tuple[int, ...]]

    @classmethod
    def of(cls, structure: Structure, units: Units) -> KeptChannels:
        """Return the kept channels of every module."""
        gone: dict[tuple[str, str], set[int]] = {}
        for name, kept in units.items():
            group = structure.groups[name]
            lost = set(range(group.units)) - set(kept)
            for member in group.members:
                if member.side != "parameter":
                    channels = gone.setdefault((member.part, member.side), set())
                    for unit in lost:
                        channels.update(member.indices[unit])
        sides: dict[str, dict[str, tuple[int, ...]]] = {"in": {}, "out": {}}
        for (part, side), channels in gone.items():
            described = structure.parts[part]
            total = described.inputs if side == "in" else described.outputs
            stays = tuple(c for c in range(total) if c not in channels)
            sides[side][part] = stays
            # Modules that do not mix channels lose the same channels on both sides.
            if described.kind not in ("conv", "linear", "shortcut"):
                sides["in" if side == "out" else "out"][part] = stays
        return cls(sides["in"], sides["out"])

    def rows(self, structure: Structure, layer: str) -> list[list[int]] | None:
        """Return the kept outputs per group, numbered within it; None if all stay. Not for depthwise layers."""
        return self._per_group(
            self.outputs.get(layer), structure.parts[layer].outputs, structure.parts[layer].groups
        )

    def columns(self, structure: Structure, layer: str) -> list[list[int]] | None:
        """Return the kept inputs per group, numbered within it; None if all stay. Not for depthwise layers."""
        return self._per_group(
            self.inputs.get(layer), structure.parts[layer].inputs, structure.parts[layer].groups
        )

    @staticmethod
    def _per_group(kept: Sequence[int] | None, total: int, groups: int) -> list[list[int]] | None:
        if kept is None:
            return None
        size = total // groups
        found: list[list[int]] = [[] for _ in range(groups)]
        for channel in kept:
            found[channel // size].append(channel % size)
        return found
