"""Figures of audits, by kind: from an audit's document to plotly figures and galleries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from leanfront.core.audit.drawing import Card, Document, Drawing, Gallery, Piece
from leanfront.core.audit.kinds.bounds import figures as bounds
from leanfront.core.audit.kinds.calibration import figures as calibration
from leanfront.core.audit.kinds.capacity import figures as capacity
from leanfront.core.audit.kinds.classes import figures as classes
from leanfront.core.audit.kinds.exemplars import figures as exemplars
from leanfront.core.audit.kinds.geometry import figures as geometry
from leanfront.core.audit.kinds.limits import figures as limits
from leanfront.core.audit.kinds.robustness import figures as robustness

__all__ = ["PARTS", "Card", "Document", "Drawing", "Gallery", "Part", "Piece"]


@dataclass(frozen=True)
class Part:
    """How a kind of audit is shown.

    Args:
        reading: how to read it, a sentence or two.
        pieces: its figures, of a document with ``versions``.
    """

    reading: str
    pieces: Callable[[Document], list[Piece]]


PARTS: dict[str, Part] = {
    "classes": Part(
        "Which classes paid: the change of each class's recall between the dense and the compressed models, in "
        "percentage points, and whether Welch's test finds it larger than what models of one population differ by. "
        "Normalised changes are less the change of overall accuracy: a class far from 0 there changed otherwise than "
        "the model did.",
        classes.pieces,
    ),
    "exemplars": Part(
        "Exemplars (PIE) are the samples whose most frequent answer differs between the dense and the compressed "
        "models. Two halves of one dense population differ too: what stands above that noise floor is due to "
        "compression. Exemplars tend to be hard, mislabelled or ambiguous samples.",
        exemplars.pieces,
    ),
    "calibration": Part(
        "Whether confidence is accuracy: ECE is their mean distance over 15 bins of confidence, 0 where a model can "
        "be taken at its word. One temperature, fitted on other samples where there are any, often repairs it. In a "
        "reliability diagram points under the diagonal are too confident.",
        calibration.pieces,
    ),
    "robustness": Part(
        "What clean accuracy does not show. The corruption error (CE) divides a version's errors by those of the "
        "dense model, so that 1 is as robust as dense and more is worse; mCE is its mean over corruptions. Flips are "
        "answers that noise changes. Where rounding hides gradients, go by the attack made on the dense model.",
        robustness.pieces,
    ),
    "limits": Part(
        "How far the model can be compressed, along each axis. The prune potential is the largest ratio that costs "
        "no more accuracy than the tolerance; the breakpoint is where one straight line becomes another; the knee "
        "and the curvature say where a curve bends. A limit is abrupt where accuracy falls at least five times as "
        "fast after the breakpoint. It tends to come earlier under shift, and other measures to change before "
        "accuracy does.",
        limits.pieces,
    ),
    "bounds": Part(
        "What theory says must be paid, beside what is paid. A file cannot be coded below the entropy of its "
        "numbers; no scheme lies below R(D) of a source that fits the weights; the best model in the sense of "
        "description length is the one with the fewest bits of model and labels together. The mismatch bound holds "
        "on the average, to first order, for rounding alone.",
        bounds.pieces,
    ),
    "capacity": Part(
        "How much a model can hold and how much of it is used: its non-zero parameters, the directions that the "
        "training data determine (the effective dimension, sum of lambda / (lambda + alpha) over the eigenvalues of "
        "the curvature), and the bits that describe it together with the labels.",
        capacity.pieces,
    ),
    "geometry": Part(
        "How criteria of pruning change the space before the last layer. Of each sample: the angle to the vector of "
        "its class (smaller is better), the norm (which drives confidence) and the margin to the nearest border "
        "(below 0 where the answer is wrong). Models that are close on the map see the samples alike. A robust "
        "sample keeps its margin under every pruned model, a fragile one loses it under half of them.",
        geometry.pieces,
    ),
}
"""Kind of audit -> how a report shows it. A kind without an entry is shown by its tables."""
