"""Predicted losses of single choices, as they are stored and read.

`compressors/refit/sensitivity.py` computes them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from leanfront.core.compressors.configuration import Configuration


@dataclass(frozen=True)
class Sensitivities:
    """Predicted increase of the cross-entropy by single choices, in nats per image.

    Groups and layers that could not be measured are left out.

    Args:
        channels: group -> predicted loss when n units are kept, n = 1..units (index n - 1); the last is 0.
        weights: layer -> weight bits -> predicted loss (16 and 32 bits: 0).
        sparsity: layer -> share of zeroed weights or ``"2:4"`` -> predicted loss.
        activations: layer -> activation bits -> predicted loss.
    """

    channels: Mapping[str, tuple[float, ...]]
    weights: Mapping[str, Mapping[int, float]]
    sparsity: Mapping[str, Mapping[float | str, float]]
    activations: Mapping[str, Mapping[int, float]]

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary with choices as text."""
        return {
            "channels": {name: list(losses) for name, losses in self.channels.items()},
            **{
                kind: {name: {str(k): v for k, v in losses.items()} for name, losses in found.items()}
                for kind, found in (
                    ("weights", self.weights),
                    ("sparsity", self.sparsity),
                    ("activations", self.activations),
                )
            },
        }

    def of_layer(self, layer: str, configuration: Configuration) -> float | None:
        """Return the predicted loss of a configuration's changes to a layer's weights and input; None if unknown.

        Input bits count only if they were a choice: if all candidates have the same bits, no loss was predicted.
        """
        losses: list[float | None] = []
        bits = configuration.weight_bits.get(layer)
        if bits is not None:
            table = self.weights.get(layer, {})
            losses.append(table.get(bits, 0.0 if table and bits >= 16 else None))
        sparsity = configuration.sparsity.get(layer)
        if sparsity is not None:
            losses.append(self.sparsity.get(layer, {}).get(sparsity))
        width = configuration.activation_bits.get(layer)
        if width is not None and (self.activations or not self.weights):
            losses.append(self.activations.get(layer, {}).get(width))
        return _total(losses)

    def of_group(self, group: str, kept: int) -> float | None:
        """Return the predicted loss if a channel group keeps this many units, at least 1; None if unknown."""
        table = self.channels.get(group, ())
        return _total([table[kept - 1] if kept <= len(table) else None])

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Sensitivities:
        """Read sensitivities that `to_json` wrote."""
        return cls(
            channels={name: tuple(losses) for name, losses in data["channels"].items()},
            weights={n: {int(k): v for k, v in found.items()} for n, found in data["weights"].items()},
            sparsity={
                n: {k if k == "2:4" else float(k): v for k, v in found.items()}
                for n, found in data["sparsity"].items()
            },
            activations={
                n: {int(k): v for k, v in found.items()} for n, found in data["activations"].items()
            },
        )


def _total(losses: Sequence[float | None]) -> float | None:
    total = 0.0
    for loss in losses:
        if loss is None or not math.isfinite(loss):
            return None
        total += max(loss, 0.0)  # negative only by rounding; the samplers also read it as 0
    return total
