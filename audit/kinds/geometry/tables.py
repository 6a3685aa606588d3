"""Tables of the audit ``geometry``."""

from __future__ import annotations

import numpy as np

from leanfront.core.audit.arrays import unpacked
from leanfront.core.audit.document import Document
from leanfront.core.audit.table import Table, samples_title

PAIRS = 6
"""Number of most similar pairs of criteria that are listed."""


def tables(document: Document) -> list[Table]:
    """Make tables of the models under corruptions, of similar criteria, and of the lists of samples."""
    return [_models(document), _alike(document), _samples(document)]


def _models(document: Document) -> Table:
    average, deviation = (unpacked(document["arrays"][name]) for name in ("means", "deviations"))
    rows = []
    for place, model in enumerate(document["models"]):
        accuracy = document["accuracy"][place]
        angle, norm, margin, relative = average[place, 0].tolist()
        rows.append(
            [
                model["name"],
                str(model["nonzero_weights"]),
                f"{accuracy[0]:.4f}",
                f"{np.mean(accuracy[1:]):.4f}" if len(accuracy) > 1 else "-",
                f"{angle:.1f}",
                f"{deviation[place, 0, 0]:.1f}",
                f"{norm:.3g}",
                f"{margin:.3g}",
                f"{relative:.3f}",
            ]
        )
    header = ["model", "weights", "clean", "corrupted", "angle", "sd", "norm", "margin", "margin/norm"]
    ways = [f"{way['corruption']} {way['severity']}" for way in document["ways"] if way["corruption"]]
    told = [f"corrupted: mean over {', '.join(ways)}; " if ways else "", "the other columns: clean images"]
    told += [f"; {name} left out: {reason}" for name, reason in document["left_out"].items()]
    title = samples_title("Geometry", document)
    return Table(title, header, rows, "".join(told))


def _alike(document: Document) -> Table:
    alike, directions = document["alike"], document["directions"]
    rows = [
        [f"{pair['first']} - {pair['second']}", f"{pair['distance']:.3f}"] for pair in alike["pairs"][:PAIRS]
    ]
    share = directions["parameters"]["explained"]
    told = "root mean square difference of the measures at equal ratio, in standard deviations"
    if share is not None:
        told += f"; the number of weights explains {100 * share:.0f}% of the variance of accuracy under corruption"
    return Table("Most similar criteria", ["pair", "distance"], rows, told)


def _samples(document: Document) -> Table:
    rows = [
        [name, str(len(own["models"])), str(own["n_robust"]), str(own["n_fragile"])]
        for name, own in document["lists"].items()
    ]
    told = (
        "robust: right under all of the models; fragile: right under the dense model, wrong under at least half of "
        "them"
    )
    return Table("Robust and fragile samples", ["pruned models", "count", "robust", "fragile"], rows, told)
