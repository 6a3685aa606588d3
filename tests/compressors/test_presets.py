from __future__ import annotations

from typing import Any

import pytest
import torch

from leanfront.core.compressors import PRESETS, Configuration, preset
from leanfront.core.compressors.structure.derivation import derive
from leanfront.errors import UsageError


def test_the_three_schemes(nets: Any) -> None:
    structure = derive(nets["flatten"].build(), torch.randn(1, 3, 8, 8))
    layers = ("conv", "hidden", "linear")
    eight = dict.fromkeys(layers, 8)
    assert set(PRESETS) == {"float16", "dynamic-int8", "fixed-int8"}
    assert preset("float16", structure) == Configuration(weight_bits=dict.fromkeys(layers, 16))
    assert preset("dynamic-int8", structure) == Configuration(
        weight_bits=eight, activation_bits=eight, activation_range="dynamic"
    )
    assert preset("fixed-int8", structure) == Configuration(
        weight_bits=eight, activation_bits=eight, activation_range="minmax"
    )


def test_an_unknown_name_is_refused(nets: Any) -> None:
    structure = derive(nets["chain"].build(), torch.randn(1, 3, 8, 8))
    with pytest.raises(UsageError, match="unknown preset 'int4'; known: float16, dynamic-int8, fixed-int8"):
        preset("int4", structure)
