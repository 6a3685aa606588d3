"""Three common schemes of post-training quantisation, as named configurations."""

from __future__ import annotations

from collections.abc import Callable

from leanfront.core.compressors.configuration import Configuration
from leanfront.core.compressors.structure.structure import Structure
from leanfront.errors import UsageError


def _float16(structure: Structure) -> Configuration:
    """Weights in float16, activations in float32."""
    return Configuration(weight_bits=dict.fromkeys(structure.layers, 16))


def _dynamic_int8(structure: Structure) -> Configuration:
    """8-bit weights and activations, ranges from each batch ("hybrid")."""
    return Configuration(
        weight_bits=dict.fromkeys(structure.layers, 8),
        activation_bits=dict.fromkeys(structure.layers, 8),
        activation_range="dynamic",
    )


def _fixed_int8(structure: Structure) -> Configuration:
    """8-bit weights and activations, ranges from the calibration split."""
    return Configuration(
        weight_bits=dict.fromkeys(structure.layers, 8),
        activation_bits=dict.fromkeys(structure.layers, 8),
        activation_range="minmax",
    )


PRESETS: dict[str, Callable[[Structure], Configuration]] = {
    "float16": _float16,
    "dynamic-int8": _dynamic_int8,
    "fixed-int8": _fixed_int8,
}
"""Quantisation schemes by name."""


def preset(name: str, structure: Structure) -> Configuration:
    """Return the configuration of a named quantisation scheme for a model.

    Args:
        name: a key of `PRESETS`.
        structure: structure of the model.

    Raises:
        UsageError: the name is unknown.
    """
    if name not in PRESETS:
        raise UsageError(f"unknown preset '{name}'; known: {', '.join(PRESETS)}")
    return PRESETS[name](structure)
