"""How to audit: what a user may say, and what a queued audit stores of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from leanfront.core.compressors import CRITERIA
from leanfront.core.compressors.configuration import METHODS
from leanfront.core.objectives.corruptions import CORRUPTIONS, MAIN
from leanfront.errors import UsageError

POPULATIONS = ("recalibrated", "trained")
SPLITS = ("validation", "test")
SEVERITIES = (1, 2, 3, 4, 5)
MOST_MODELS = 1000
PATHS = ("corrupted", "shift")
"""Options that name files: nobody may give them over the network."""

TICKETS = "tickets"
"""Multi-prize tickets: subnetworks of a random initialisation, compared beside the pruning criteria."""
COMPARED = ("random", "l1", "taylor", "fisher", "lamp", "reconstruction", TICKETS)


@dataclass(frozen=True)
class AuditOptions:
    """How to audit.

    Args:
        population: ``recalibrated``: the model on bootstrapped calibration samples, which costs no training;
            ``trained``: anew from scratch, by the target's `retrain`.
        models: K, how many models a population has.
        levels: sets of compressed versions to compare with, beside the candidates: names in `levels.LEVELS`.
        split: ``validation`` or ``test``; by default ``test`` where the target has one.
        samples: images of the split that are corrupted, made noisy and attacked; all where there are fewer.
        corruptions: names in `leanfront.core.objectives.corruptions.CORRUPTIONS`.
        severities: of them, 1 to 5.
        gallery: how many exemplars are shown with their images.
        seed: of everything random.
        corrupted: folder of a published set of corrupted images (CIFAR-10-C, ImageNet-C), or None.
        shift: images of another source with the same classes (a folder or zip), or None.
        criteria: pruning criteria whose geometry is compared: names in `leanfront.core.compressors.CRITERIA`, and
            ``tickets``.
        ratios: shares of zero weights at which they are, in (0, 1).
        ticket_samples: training samples that the search for each ticket sees.
        criterion: that ranks what the audit of limits prunes: a name in `leanfront.core.compressors.CRITERIA`.
        method: that makes the weights there: a name in `leanfront.core.compressors.configuration.METHODS`.

    Raises:
        UsageError: a value cannot be used.
    """

    population: str = "recalibrated"
    models: int = 10
    levels: tuple[str, ...] = ()
    split: str | None = None
    samples: int = 500
    corruptions: tuple[str, ...] = field(default_factory=lambda: tuple(MAIN))
    severities: tuple[int, ...] = SEVERITIES
    gallery: int = 48
    seed: int = 0
    corrupted: str | None = None
    shift: str | None = None
    criteria: tuple[str, ...] = COMPARED
    ratios: tuple[float, ...] = (0.3, 0.5, 0.7, 0.9)
    ticket_samples: int = 20_000
    criterion: str = "reconstruction"
    method: str = "sequential"

    def __post_init__(self) -> None:
        if self.population not in POPULATIONS:
            raise UsageError(f"unknown population '{self.population}'; known: {', '.join(POPULATIONS)}")
        if not 1 <= self.models <= MOST_MODELS:
            raise UsageError(f"a population has 1 to {MOST_MODELS} models, not {self.models}")
        if self.split is not None and self.split not in SPLITS:
            raise UsageError(f"audits read the splits {' and '.join(SPLITS)}, not '{self.split}'")
        if self.samples < 1:
            raise UsageError(f"samples must be at least 1, not {self.samples}")
        if not 0 <= self.gallery <= 1000:
            raise UsageError(f"a gallery has 0 to 1000 images, not {self.gallery}")
        if self.seed < 0:
            raise UsageError(f"a seed is 0 or more, not {self.seed}")
        unknown = [name for name in self.corruptions if name not in CORRUPTIONS]
        if unknown or not self.corruptions:
            said = f"unknown corruption: {', '.join(unknown)}" if unknown else "no corruption is named"
            raise UsageError(f"{said}; known: {', '.join(CORRUPTIONS)}")
        if not self.severities or not set(self.severities) <= set(SEVERITIES):
            raise UsageError(f"severities are 1 to 5, not {', '.join(map(str, self.severities)) or 'none'}")
        _check_compared(self.criteria, self.ratios)
        for what, name, known in (
            ("criterion", self.criterion, CRITERIA),
            ("method", self.method, METHODS),
        ):
            if name not in known:
                raise UsageError(f"unknown {what} '{name}'; known: {', '.join(known)}")
        if self.ticket_samples < 1:
            raise UsageError(
                f"a ticket must see at least 1 training sample, not {self.ticket_samples}; to have no tickets leave "
                f"'{TICKETS}' out of the criteria"
            )

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> AuditOptions:
        """Read what `to_json` wrote, or a part of it.

        Raises:
            UsageError: an unknown key, or a value that cannot be used.
        """
        unknown = sorted(set(data) - set(cls.__dataclass_fields__))
        if unknown:
            raise UsageError(
                f"unknown audit option: {', '.join(unknown)}; known: {', '.join(cls.__dataclass_fields__)}"
            )
        own: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in data.items()
        }
        return cls(**own)


def _check_compared(criteria: tuple[str, ...], ratios: tuple[float, ...]) -> None:
    known = (*CRITERIA, TICKETS)
    unknown = [name for name in criteria if name not in known]
    if unknown or not criteria:
        said = f"unknown criterion: {', '.join(unknown)}" if unknown else "no criterion is named"
        raise UsageError(f"{said}; known: {', '.join(known)}")
    if not ratios or not all(isinstance(ratio, float) and 0 < ratio < 1 for ratio in ratios):
        raise UsageError(
            f"ratios are shares of zero weights in (0, 1), not {', '.join(map(str, ratios)) or 'none'}"
        )
    for what, values in (("criterion", criteria), ("ratio", ratios)):
        if len(set(values)) < len(values):
            raise UsageError(f"a {what} comes twice: {', '.join(map(str, values))}")
