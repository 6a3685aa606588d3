"""Options of a budget, as users give them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from leanfront.options import Options, option

Quantity = str | float
"""A number, or text that `leanfront.core.objectives.parse_size` or `parse_count` reads."""


@dataclass(frozen=True, kw_only=True)
class BudgetOptions(Options):
    """Limits on measurements."""

    max_memory: Quantity | None = option(
        None, "Largest parameter memory: 64KB (powers of 1000), 64KiB (of 1024) or bytes.", metavar="SIZE"
    )
    max_macs: Quantity | None = option(None, "Largest number of multiply-adds: 20M.", metavar="COUNT")
    min_accuracy: Quantity | None = option(
        None, "Smallest top-1 accuracy on the validation split, in [0, 1]: 0.9.", metavar="SHARE"
    )
    maximum: Mapping[str, Quantity] = option(
        {}, "Upper limits on other measurements, by name or alias.", flag="--max", metavar="METRIC=VALUE"
    )
    minimum: Mapping[str, Quantity] = option(
        {}, "Lower limits on other measurements, by name or alias.", flag="--min", metavar="METRIC=VALUE"
    )
