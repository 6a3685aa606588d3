"""Check that splits do not share samples."""

from __future__ import annotations

import itertools
import warnings
from collections import Counter
from collections.abc import Sequence

from leanfront.core.targets.split import Split
from leanfront.errors import TargetError

NATURAL_SHARE = 0.01
"""Equal content in up to this share of the smaller split counts as duplicates in the original data."""


def check_disjoint(splits: Sequence[Split]) -> None:
    """Check that no two splits share a dataset and index, a file, or content.

    Content is compared if it is known without decoding: tensors in memory, arrays in ``data``, image files by their
    checksums. Equal content below `NATURAL_SHARE` of the smaller split only gives a warning.

    Raises:
        TargetError: two splits overlap; the message names them, the number of shared samples and an example.
    """
    contents = {split.name: split.contents() for split in splits}
    for one, other in itertools.combinations(splits, 2):
        places = {place: index for index, place in enumerate(one.places())}
        same = [(places[place], index) for index, place in enumerate(other.places()) if place in places]
        if same:
            raise _overlap(one, other, same, "are the very same samples of one dataset")
        mine, theirs = contents[one.name], contents[other.name]
        if mine is None or theirs is None:
            continue
        known = {content: index for index, content in enumerate(mine)}
        same = [(known[content], index) for index, content in enumerate(theirs) if content in known]
        files = [(i, j) for i, j in same if theirs[j].startswith("file:")]
        if files:
            raise _overlap(one, other, files, "are the same files")
        if not same:
            continue
        # The smaller count, since a few samples repeated many times are still few.
        occurrences = Counter(mine)
        shared = {theirs[j] for _, j in same}
        count = min(len(same), sum(occurrences[content] for content in shared))
        if count >= NATURAL_SHARE * min(len(one), len(other)):
            raise _overlap(one, other, same, "have the same content")
        warnings.warn(
            f"{one.name} and {other.name} share {count} sample(s) of equal content, such as {one.name} "
            f"{same[0][0]} and {other.name} {same[0][1]}: too few to refuse, yet better removed",
            UserWarning,
            stacklevel=4,
        )


def _overlap(one: Split, other: Split, same: Sequence[tuple[int, int]], what: str) -> TargetError:
    i, j = same[0]
    return TargetError(
        f"{one.name} and {other.name} overlap: {len(same)} sample(s) {what}, such as {one.name} {i} and "
        f"{other.name} {j}; give disjoint splits"
    )
