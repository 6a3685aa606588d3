"""The audit ``geometry``: effects of pruning criteria on the space before the last layer (robustness lottery)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from leanfront.core.audit.arrays import packed
from leanfront.core.audit.auditor import Auditor
from leanfront.core.audit.kind import Findings, entry
from leanfront.core.audit.kinds.geometry.contestants import Contestant, contestants, nonzero_weights
from leanfront.core.audit.kinds.geometry.fragility import Fragility, fragility
from leanfront.core.audit.kinds.geometry.geometries import Geometries, deviations, explained, means
from leanfront.core.audit.kinds.geometry.geometry import MEASURES, Geometry, Head, features, geometry, head
from leanfront.core.audit.kinds.geometry.occlusion import occlusion, patch_of
from leanfront.core.audit.kinds.geometry.similarity import (
    Map,
    between,
    distances,
    mapped,
    umap_points,
    vectors,
)
from leanfront.core.audit.options import SEVERITIES, TICKETS, AuditOptions
from leanfront.core.audit.redundancy import effects, redundancy
from leanfront.core.audit.suites import c_like
from leanfront.core.audit.thumbnail import LARGEST, png_address
from leanfront.core.compressors.statistics.outputs import batch_size
from leanfront.core.objectives.corruptions import MAIN
from leanfront.core.objectives.documents import plain
from leanfront.core.search.dense import require_split
from leanfront.core.targets import Split
from leanfront.core.targets.pictures import Pictures
from leanfront.core.targets.sampling import balanced
from leanfront.errors import StoppedError

Array = NDArray[np.float64]

MOST_SAMPLES = 300
"""Largest number of images, since measures of each under every model and corruption are stored."""
CORRUPTIONS = ("gaussian_noise", "gaussian_blur", "zoom_blur", "contrast", "jpeg_compression")
SHOWN_SEVERITIES = (3,)
"""Severities used when the options have their defaults, which are too many for all criteria and ratios."""
TOP = 20
"""Largest number of classes shown."""
LISTED = 24
"""Largest number of samples in a list."""
SMALL = 32
"""Pixels of the longer side of an image that the gallery does not show."""
COVERED = 6
"""Number of samples whose images are covered patch by patch."""
CONTROL = "random"
"""The criterion that prunes at random; lists of samples are also made without it, since it spares hardly any."""


@dataclass(frozen=True)
class Scene:
    """The samples, clean and corrupted.

    Args:
        split: the chosen samples.
        positions: positions of the samples in their whole split.
        ways: (corruption, severity) pairs; the first is no corruption, (None, None).
        data: the images of each way.
    """

    split: Split
    positions: list[int]
    ways: list[tuple[str | None, int | None]]
    data: list[Split | Pictures]


def audit_geometry(auditor: Auditor) -> Findings:
    """Measure and compare angle, norm and margin of samples for every criterion, ratio, corruption and severity.

    Raises:
        UsageError: the model has no last linear layer.
        StoppedError: the auditor was asked to stop.
    """
    scene = _scene(auditor)
    models, left_out = contestants(auditor)
    judged, weights = _judged(auditor, models, scene)
    names = [each.version.name for each in models]
    extended = judged.extended
    average = means(extended)
    shown = judged.confused(TOP)
    arrays: dict[str, Any] = {
        "positions": np.asarray(scene.positions),
        "labels": judged.labels,
        "measures": judged.measures,
        "predicted": judged.predicted,
        "means": average,
        "deviations": deviations(extended),
        "histograms": judged.histograms(),
        "class_means": judged.class_means(shown),
        "confusion": judged.confusion(shown),
    }
    apart = distances(vectors(np.concatenate(list(judged.measures.swapaxes(0, 1)))))
    lists = _lists(models, judged)
    occluded = _occlusion(auditor, models, scene, lists)
    if isinstance(occluded, dict):
        arrays["occlusion"] = occluded.pop("changes")
    document = {
        "split": auditor.split,
        "samples": len(scene.split),
        "seed": auditor.options.seed,
        "measures": MEASURES,
        "classes": [{"label": label, "name": auditor.target.classes[label]} for label in shown],
        "ways": [{"corruption": way, "severity": severity} for way, severity in scene.ways],
        "models": [
            {
                "name": each.version.name,
                "criterion": each.criterion,
                "ratio": each.ratio,
                "method": each.method,
                "nonzero_weights": count,
                "candidate": each.version.candidate,
            }
            for each, count in zip(models, weights, strict=True)
        ],
        "left_out": left_out,
        "accuracy": judged.accuracy,
        "edges": dict(zip(MEASURES, judged.edges(), strict=True)),
        "similarity": _similarity(apart, len(models), scene, auditor.options.seed),
        "alike": _alike(apart, models, len(scene.ways)),
        "lists": lists,
        "images": _images(auditor, scene, lists),
        "occlusion": occluded,
        "directions": {
            "tickets": _tickets(models, judged),
            "parameters": _parameters(models, judged),
            "redundancy": _redundancy(models, judged, scene),
        },
    }
    found = plain(document) | {"arrays": {name: packed(array) for name, array in arrays.items()}}
    versions = {}
    for each in auditor.versions:
        place = names.index(each.name)
        own = dict(zip((*MEASURES, "relative_margin"), average[place, 0], strict=True))
        own |= {"model": place, "accuracy": judged.accuracy[place, 0]}
        versions[each.name] = entry(each, plain(own))
    return Findings(found, versions)


def _scene(auditor: Auditor) -> Scene:
    options, pixels = auditor.options, auditor.target.pixels
    data = require_split(auditor.target, auditor.split)
    count = min(options.samples, MOST_SAMPLES, len(data))
    positions = balanced(data.labels, count, seed=options.seed, share=1.0)
    chosen = data.subset(positions)
    if pixels is None:
        return Scene(chosen, positions.tolist(), [(None, None)], [chosen])
    suite = c_like(chosen, pixels, positions, _corrupting(options))
    ways = list(suite.ways())
    images: list[Split | Pictures] = [suite.clean, *(suite.make(*way) for way in ways)]
    return Scene(chosen, positions.tolist(), [(None, None), *ways], images)


def _corrupting(options: AuditOptions) -> AuditOptions:
    """Replace default corruptions and severities in the options by those of this kind."""
    asked = options.corruptions != tuple(MAIN)
    return replace(
        options,
        corruptions=options.corruptions if asked else CORRUPTIONS,
        severities=options.severities if options.severities != SEVERITIES else SHOWN_SEVERITIES,
    )


def _judged(auditor: Auditor, models: list[Contestant], scene: Scene) -> tuple[Geometries, list[int]]:
    """Measure every model on every way, and count its nonzero weights."""
    labels = scene.split.labels
    measures = np.empty((len(models), len(scene.ways), len(MEASURES), len(labels)))
    predicted = np.empty((len(models), len(scene.ways), len(labels)), dtype=np.int64)
    weights = []
    for place, model in enumerate(models):
        auditor.report("geometry", place, len(models))
        if auditor.stop():
            raise StoppedError
        module = auditor.module(model.version)
        weights.append(nonzero_weights(module, auditor.structure.layers))
        measure = _measure(auditor, module)
        for way, data in enumerate(scene.data):
            found = measure(data, labels)
            measures[place, way] = found.stacked().numpy()
            predicted[place, way] = found.predicted.numpy()
    classes = len(auditor.target.classes)
    return Geometries(measures, predicted, labels.numpy(), classes), weights


def _measure(auditor: Auditor, module: nn.Module) -> Callable[[Split | Pictures, Tensor], Geometry]:
    example = auditor.target.example_input.to(auditor.device)
    last, size = head(module, example), batch_size(example)

    def measure(data: Split | Pictures, labels: Tensor) -> Geometry:
        batches = (inputs for inputs, _ in data.batches(size, auditor.device))
        return geometry(features(module, last, batches), last.weight, last.bias, labels)

    return measure


def _similarity(apart: Array, models: int, scene: Scene, seed: int) -> dict[str, Any]:
    """Make a map of the models for each way, and one of all models on all ways."""

    def told(found: Map, near: Array, embed: bool) -> dict[str, Any]:
        # UMAP takes seconds, so it is made only for the main maps.
        said: dict[str, Any] = plain(found)
        return said | {"umap": plain(umap_points(near, seed)) if embed else None}

    own = []
    for way in range(len(scene.ways)):
        block = slice(way * models, (way + 1) * models)
        own.append(told(mapped(apart[block, block]), apart[block, block], way == 0))
    return {"ways": own, "all": told(mapped(apart), apart, True)}


def _alike(apart: Array, models: list[Contestant], ways: int) -> dict[str, Any]:
    """Compute mean distances between criteria at equal ratio, over all ways and on clean images alone."""
    count = len(models)
    blocks = np.stack([apart[w * count : (w + 1) * count, w * count : (w + 1) * count] for w in range(ways)])
    ratios = [np.nan if each.ratio is None else each.ratio for each in models]
    criteria = [each.criterion for each in models]
    names, mean = between(blocks.mean(axis=0), criteria, ratios)
    _, clean = between(blocks[0], criteria, ratios)
    pairs = [
        {"first": names[i], "second": names[j], "distance": mean[i, j]}
        for i in range(len(names))
        for j in range(i + 1, len(names))
        if np.isfinite(mean[i, j])
    ]
    pairs.sort(key=lambda pair: pair["distance"])
    return {"criteria": names, "distance": mean, "clean": clean, "pairs": pairs}


def _lists(models: list[Contestant], judged: Geometries) -> dict[str, Any]:
    """List robust and fragile samples among the clean ones, under several sets of pruned models."""
    pruned = [place for place, each in enumerate(models) if each.pruned]
    chosen = [place for place in pruned if models[place].criterion != CONTROL]
    sets = {"all": pruned, f"without {CONTROL}": chosen}
    for ratio in dict.fromkeys(models[place].ratio for place in chosen):
        sets[f"{ratio:g}"] = [place for place in chosen if models[place].ratio == ratio]
    margins = judged.measures[:, 0, MEASURES.index("margin")]
    found = {}
    for name, places in sets.items():
        if not places:
            continue
        result = fragility(margins[0], margins[places])

        def told(place: int, result: Fragility = result) -> dict[str, Any]:
            return {
                "sample": place,
                "label": int(judged.labels[place]),
                "margin": margins[0, place],
                "drop": result.drop[place],
                "lost": result.lost[place],
            }

        found[name] = {
            "models": places,
            "n_robust": len(result.robust),
            "n_fragile": len(result.fragile),
            "robust": [told(place) for place in result.robust[:LISTED]],
            "fragile": [told(place) for place in result.fragile[:LISTED]],
        }
    return found


def _listed(lists: dict[str, Any]) -> list[int]:
    """Return the samples of all lists, in turn from each list, each once."""
    columns = [own[side] for own in lists.values() for side in ("fragile", "robust")]
    turns = [column[turn]["sample"] for turn in range(LISTED) for column in columns if turn < len(column)]
    return list(dict.fromkeys(turns))


def _images(auditor: Auditor, scene: Scene, lists: dict[str, Any]) -> dict[str, str]:
    """Return the image of each sample, larger if the gallery shows it; empty if inputs are no images."""
    clean = scene.data[0]
    if not isinstance(clean, Pictures):
        return {}
    large = set(_listed(lists)[: auditor.options.gallery])
    return {
        str(place): png_address(image, LARGEST if place in large else SMALL)
        for place, image in enumerate(clean.images)
    }


def _occlusion(
    auditor: Auditor, models: list[Contestant], scene: Scene, lists: dict[str, Any]
) -> dict[str, Any]:
    """Measure the effect of each patch of a few images on the measures, under each criterion at one ratio."""
    if auditor.target.example_input.dim() != 4:
        return {"reason": "inputs are no images (n, c, h, w)"}
    ratios = sorted({each.ratio for each in models if each.ratio is not None})
    ratio = ratios[len(ratios) // 2] if ratios else None
    places = [place for place, each in enumerate(models) if each.ratio in (None, ratio)]
    samples = (_listed(lists) or list(range(len(scene.split))))[:COVERED]
    inputs, labels = scene.split.subset(samples).tensors()
    patch = patch_of(int(inputs.shape[2]), int(inputs.shape[3]))
    every, _ = scene.split.tensors()
    fill = every.mean(dim=(0, 2, 3))
    changes = []
    for number, place in enumerate(places):
        auditor.report("occlusion", number, len(places))
        if auditor.stop():
            raise StoppedError
        module = auditor.module(models[place].version)
        last = head(module, auditor.target.example_input.to(auditor.device))

        def measure(shown: Tensor, module: nn.Module = module, last: Head = last) -> Tensor:
            x = features(module, last, [shown.to(auditor.device)])
            return geometry(x, last.weight, last.bias, labels).stacked().T

        changes.append(occlusion(measure, inputs, patch, fill))
    return {
        "samples": samples,
        "models": places,
        "patch": patch,
        "reason": None,
        "changes": torch.stack(changes).numpy(),
    }


def _tickets(models: list[Contestant], judged: Geometries) -> dict[str, Any]:
    """Compare mean and variance of the angle between tickets and trained models, on clean images."""
    angle = judged.measures[:, 0, MEASURES.index("angle")]
    mean, variance = means(angle), deviations(angle) ** 2
    rows = []
    for place, each in enumerate(models):
        if each.criterion != TICKETS:
            continue
        others = [p for p, other in enumerate(models) if other.pruned and other.ratio == each.ratio]
        others = [p for p in others if models[p].criterion != CONTROL] or [0]
        rows.append(
            {
                "ratio": each.ratio,
                "mean": mean[place],
                "variance": variance[place],
                "trained_mean": mean[others].mean(),
                "trained_variance": variance[others].mean(),
                "dense_mean": mean[0],
                "dense_variance": variance[0],
                "larger_mean": mean[place] > mean[others].mean(),
                "smaller_variance": variance[place] < variance[others].mean(),
                "accuracy": judged.accuracy[place, 0],
            }
        )
    return {"rows": rows}


def _parameters(models: list[Contestant], judged: Geometries) -> dict[str, Any]:
    """Compute the share of accuracy under corruption that the number of weights explains, and the extremes."""
    corrupted = judged.accuracy[:, 1:].mean(axis=1) if judged.accuracy.shape[1] > 1 else judged.accuracy[:, 0]
    places = [place for place, each in enumerate(models) if each.ratio is not None]
    chosen = [place for place in places if models[place].criterion != CONTROL]
    rows = []
    for ratio in dict.fromkeys(models[place].ratio for place in chosen):
        own = sorted((place for place in chosen if models[place].ratio == ratio), key=lambda p: corrupted[p])
        rows.append(
            {
                "ratio": ratio,
                "best": models[own[-1]].criterion,
                "best_accuracy": corrupted[own[-1]],
                "worst": models[own[0]].criterion,
                "worst_accuracy": corrupted[own[0]],
            }
        )

    def share(of: list[int]) -> float:
        return explained(corrupted[of], [models[p].ratio or 0.0 for p in of]) if of else float("nan")

    return {"explained": share(places), f"explained_without_{CONTROL}": share(chosen), "rows": rows}


def _redundancy(models: list[Contestant], judged: Geometries, scene: Scene) -> dict[str, Any]:
    """Return which corruptions have similar effects on the models."""
    corruptions = tuple(dict.fromkeys(name for name, _ in scene.ways if name is not None))
    if len(models) < 4 or len(corruptions) < 2:
        return {"reason": "needs 3 models besides the dense one and 2 corruptions"}
    table = judged.accuracy[1:, 1:].reshape(len(models) - 1, len(corruptions), -1)
    return redundancy(effects(table, judged.accuracy[1:, 0]), corruptions).to_json()
