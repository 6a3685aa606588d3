"""Calibration samples for targets without a calibration split."""

from __future__ import annotations

from leanfront.core.targets.sampling import balanced
from leanfront.core.targets.split import Split
from leanfront.errors import TargetError

CALIBRATION_SAMPLES = 512
CUT_SEED = 0


def cut_calibration(source: Split, count: int = CALIBRATION_SAMPLES) -> tuple[Split, Split, str]:
    """Cut a class-balanced, seeded calibration split out of another split, at most a quarter of it.

    Args:
        source: training or validation samples.
        count: largest number of samples to take.

    Returns:
        (calibration split, rest of the source, a sentence that describes the cut).

    Raises:
        TargetError: the source is too small.
    """
    chosen = balanced(source.labels, min(count, len(source) // 4), seed=CUT_SEED)
    if not len(chosen):
        raise TargetError(
            f"{source.name}: has {len(source)} sample(s), too few to cut a calibration split from it; "
            "give the target a calibration split (a few hundred training samples)"
        )
    calibration, rest = source.cut("calibration", chosen)
    said = f"calibration: {len(calibration)} samples cut from {source.name}, which keeps {len(rest)}"
    return calibration, rest, said
