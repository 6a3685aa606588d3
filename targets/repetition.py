"""Resolution of a reference twice, to make sure that it gives the same target in every process."""

from __future__ import annotations

import gc
import logging
import time

from leanfront.core.targets.differences import Digests, differences, named
from leanfront.core.targets.digests import tensors_of
from leanfront.core.targets.random_states import disturb, kept_states
from leanfront.core.targets.reference import file_of, resolve
from leanfront.core.targets.target import Target
from leanfront.core.targets.user_file import anew
from leanfront.errors import LeanfrontError, TargetError

SECONDS = 60.0
"""Longest time of the first resolution after which there is a second one."""
BYTES = 4 * 1024**3
"""Largest number of bytes of weights and inputs of a target of which a second copy is made."""

log = logging.getLogger(__name__)


def resolve_twice(reference: str) -> Target:
    """Return the target for a reference, after a second resolution gave the same one.

    The second resolution loads the file and the modules beside it anew, with other states of the random generators,
    as another process would. Built-in targets are not loaded twice. Targets that are slow to load or large are not
    either; a warning says so.

    Args:
        reference: as for `resolve`.

    Raises:
        TargetError: the two targets differ; the message names the parts.
        LeanfrontError: as `resolve`.
    """
    begin = time.monotonic()
    target = resolve(reference)
    path = file_of(reference)
    if path is None:
        return target
    digests, seconds, size = target.digests, time.monotonic() - begin, _bytes(target)
    if seconds > SECONDS or size > BYTES:
        log.warning(
            "'%s' takes %.0f s to load and %.1f GB of memory, so it was not loaded a second time to check that it is "
            "the same in every process",
            reference,
            seconds,
            size / 1e9,
        )
        return target
    parts = differences(digests, _again(reference, path))
    if parts:
        raise TargetError(
            f"'{reference}' gives another target every time: {named(parts)} changed from one call to the next. Other "
            "processes need the same target for verify, export, resume and recover: load weights from a file, and "
            "give what is drawn a seed (random_split(..., generator=torch.Generator().manual_seed(0)), "
            "torch.manual_seed(0) before a random network, numpy.random.default_rng(0))"
        )
    return target


def _again(reference: str, path: str) -> Digests:
    try:
        digests = _digests(reference, path, reload=True)
    except LeanfrontError:
        # A file that registers something, for example, may be executed once only.
        digests = _digests(reference, path, reload=False)
    gc.collect()
    return digests


def _digests(reference: str, path: str, *, reload: bool) -> Digests:
    with kept_states(), anew(path, reload=reload):
        disturb()
        return resolve(reference).digests


def _bytes(target: Target) -> int:
    weights = sum(tensor.numel() * tensor.element_size() for tensor in tensors_of(target.model).values())
    return weights + sum(split.held_bytes for split in target.splits.values())
