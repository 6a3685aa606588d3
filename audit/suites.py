"""Suites of corrupted images: made from the images of a split, or read from a folder of published ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from leanfront.core.audit.options import AuditOptions
from leanfront.core.audit.shifts import Shift, corruption_folder
from leanfront.core.objectives.corruptions import corrupt
from leanfront.core.targets import Pixels, Split, Target
from leanfront.core.targets.pictures import Pictures
from leanfront.core.targets.sampling import balanced
from leanfront.errors import TargetError

C_LIKE, PUBLISHED = "c_like", "published"


@dataclass(frozen=True)
class Suite:
    """Images under several corruptions at several severities.

    Args:
        name: ``c_like`` or ``published``.
        text: origin of the images, for readers.
        corruptions: names of the corruptions.
        severities: severities of each corruption.
        labels: int64 (n,) labels of the images, the same for every corruption and severity.
        clean: images without corruption.
        make: function of (corruption, severity) that returns the n images.
        key: cache key of the images.
    """

    name: str
    text: str
    corruptions: tuple[str, ...]
    severities: tuple[int, ...]
    labels: Tensor
    clean: Split | Pictures
    make: Callable[[str, int], Split | Pictures]
    key: tuple[str | int, ...]

    def ways(self) -> Iterator[tuple[str, int]]:
        """Yield every corruption at every severity."""
        for corruption in self.corruptions:
            for severity in self.severities:
                yield corruption, severity


def c_like(split: Split, pixels: Pixels, positions: Tensor, options: AuditOptions) -> Suite:
    """Make a suite of the target's own images under C-like corruptions.

    Args:
        split: the samples.
        pixels: how inputs are made from pixels.
        positions: positions of the samples in their whole split; they seed the corruption of each sample.
        options: options with the corruptions and severities.
    """
    pictures = Pictures.of(split, pixels)
    clean, seeds = pictures.scaled(), positions.tolist()

    def make(corruption: str, severity: int) -> Pictures:
        return pictures.others(corrupt(corruption, clean, severity, seeds))

    return Suite(
        C_LIKE,
        "C-like: the target's own images under corruptions after Hendrycks and Dietterich 2019, built anew",
        tuple(options.corruptions),
        tuple(options.severities),
        split.labels,
        pictures,
        make,
        (C_LIKE, split.digest, *pixels_key(pixels), *seeds_key(seeds)),
    )


def pixels_key(pixels: Pixels) -> tuple[str, ...]:
    """Return the cache key of pixels: the parts that images depend on."""
    return (repr(pixels.mean), repr(pixels.std))


def seeds_key(seeds: list[int]) -> tuple[str]:
    """Return the cache key of seeds."""
    return (",".join(map(str, seeds)),)


def published(path: str, target: Target, pixels: Pixels, data: Split, options: AuditOptions) -> Suite:
    """Read a suite of published corrupted images from a folder, with all classes equally represented.

    Args:
        path: path of the folder.
        target: target with the classes of the images.
        pixels: how its inputs are made from pixels.
        data: samples without corruption.
        options: options with the number of images; corruptions and severities are those of the folder.

    Raises:
        TargetError: the folder has another layout, or cannot be read.
    """
    folder = corruption_folder(path)
    if folder is None:
        raise TargetError(
            f"data: '{path}' holds no corrupted images: expected CIFAR-10-C's <corruption>.npy and labels.npy, or "
            "ImageNet-C's <corruption>/<severity>/<class>/<image>"
        )
    severities = tuple(sorted({severity for _, severity in folder.ways}))
    # A corruption without some severity has no corruption error.
    whole = tuple(each for each in folder.corruptions if all((each, s) in folder.ways for s in severities))

    def shift(corruption: str, severity: int) -> Shift:
        return folder.shift(
            corruption,
            severity,
            pixels=pixels,
            example_input=target.example_input,
            classes=target.classes,
        )

    first = shift(whole[0], severities[0])
    count = min(options.samples, len(first.split))
    positions = balanced(first.split.labels, count, seed=options.seed, share=1.0)
    chosen = first.split.subset(positions)

    def make(corruption: str, severity: int) -> Split:
        found = shift(corruption, severity).split
        if not torch.equal(found.labels, first.split.labels):
            raise TargetError(
                f"data: '{path}': the images of {corruption} {severity} are not those of {whole[0]} "
                f"{severities[0]} in the same order; corruptions of other images cannot be compared"
            )
        return found.subset(positions)

    note = "" if first.note is None else f"; {first.note}"
    return Suite(
        PUBLISHED,
        f"published images, {count} of {len(first.split)} of each corruption and severity{note}",
        whole,
        severities,
        chosen.labels,
        data,
        make,
        (
            PUBLISHED,
            folder.path.name,
            *arrays_key(folder.path),
            chosen.digest,
            *pixels_key(pixels),
            *seeds_key(positions.tolist()),
        ),
    )


def arrays_key(path: Path) -> tuple[str, ...]:
    """Return a key of the arrays in a folder from their sizes and times, without reading them."""
    files = sorted(path.glob("*.npy"))
    return tuple(f"{each.name} {each.stat().st_size} {each.stat().st_mtime_ns}" for each in files)
