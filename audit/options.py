"""Options of an audit."""

from __future__ import annotations

from dataclasses import dataclass

from leanfront.core.audit.levels import LEVELS
from leanfront.core.compressors import CRITERIA
from leanfront.core.compressors.configuration import METHODS
from leanfront.core.objectives.corruptions import CORRUPTIONS, MAIN
from leanfront.options import Options, option, options_of

POPULATIONS = ("recalibrated", "trained")
SPLITS = ("validation", "test")
SEVERITIES = (1, 2, 3, 4, 5)
TICKETS = "tickets"
"""Multi-prize tickets: subnetworks of a random initialisation, compared with the pruning criteria."""
COMPARED = ("random", "l1", "taylor", "fisher", "lamp", "reconstruction", TICKETS)
ALL = "all"
"""Name that stands for all corruptions."""
_IMAGES = ("robustness", "geometry", "limits")
_GEOMETRY = ("geometry",)


@dataclass(frozen=True, kw_only=True)
class AuditOptions(Options):
    """Options of an audit.

    Raises:
        UsageError: a value is invalid.
    """

    population: str = option(
        "recalibrated",
        "Models that classes and exemplars compare: recalibrated (the model on bootstrapped calibration samples, "
        "without training) or trained (from scratch, by the target's retrain function).",
        known=POPULATIONS,
        kinds=("classes", "exemplars"),
    )
    models: int = option(
        10, "Number of models in a population.", least=1, most=1000, kinds=("classes", "exemplars")
    )
    levels: tuple[str, ...] = option(
        (),
        "Sets of compressed versions to compare with, besides the candidates.",
        known=LEVELS,
        examples=(["quantisation"],),
    )
    split: str | None = option(
        None,
        "Split whose samples are used; by default test if the target has one, otherwise validation.",
        known=SPLITS,
    )
    samples: int = option(
        500,
        "Largest number of images to corrupt, add noise to and attack.",
        least=1,
        most=1_000_000,
        kinds=(*_IMAGES, "bounds"),
    )
    corruptions: tuple[str, ...] = option(
        tuple(MAIN),
        "Corruptions of the images.",
        known=CORRUPTIONS,
        fewest=1,
        kinds=_IMAGES,
        examples=(["gaussian_noise", "fog"],),
    )
    severities: tuple[int, ...] = option(
        SEVERITIES,
        "Severities of the corruptions.",
        known=SEVERITIES,
        fewest=1,
        kinds=("robustness", "geometry"),
        examples=([1, 3, 5],),
    )
    gallery: int = option(
        48, "Number of exemplars shown with their image.", least=0, most=1000, kinds=("exemplars",)
    )
    corrupted: str | None = option(
        None,
        "Folder of published corrupted images (CIFAR-10-C, ImageNet-C) of the target's classes.",
        metavar="DIR",
        local=True,
    )
    shift: str | None = option(
        None,
        "Images from another source with the same classes: a folder or zip of <class>/<image>.",
        metavar="data=DIR",
        local=True,
    )
    criteria: tuple[str, ...] = option(
        COMPARED,
        "Pruning criteria whose geometry is compared, and multi-prize tickets.",
        known=lambda: (*CRITERIA, TICKETS),
        fewest=1,
        kinds=_GEOMETRY,
        examples=(["l1", "reconstruction"],),
    )
    ratios: tuple[float, ...] = option(
        (0.3, 0.5, 0.7, 0.9),
        "Shares of zeroed weights at which geometry is compared.",
        above=0,
        below=1,
        fewest=1,
        longest=100,
        kinds=_GEOMETRY,
        examples=([0.5, 0.9],),
    )
    ticket_samples: int = option(
        20_000,
        "Number of training samples seen by the search for each ticket; it is skipped if `criteria` has no tickets.",
        least=1,
        most=10_000_000,
        kinds=_GEOMETRY,
    )
    criterion: str = option(
        "reconstruction",
        "Criterion that ranks the weights that the audit of limits prunes.",
        known=CRITERIA,
        kinds=("limits",),
    )
    method: str = option(
        "sequential",
        "How the audit of limits makes the kept weights; the methods are those of a search.",
        known=METHODS,
        kinds=("limits",),
    )
    seed: int = option(0, "Seed of every random choice.", least=0, below=2**31)

    def __post_init__(self) -> None:
        if self.corruptions in (ALL, (ALL,), [ALL]):
            object.__setattr__(self, "corruptions", tuple(CORRUPTIONS))
        super().__post_init__()


PATHS = tuple(name for name, each in options_of(AuditOptions).items() if each.local)
"""Options that name files, which cannot be given over the network."""
