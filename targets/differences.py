"""Differences between two targets, by the digests of their parts. This module needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from leanfront.errors import TargetError

Digests = dict[str, str]
"""Part of a target -> digest: ``model``, ``weights``, ``classes``, ``inputs``, and every split by its name. The
digest of a split begins with its number of samples and a digest of its labels."""
_NAMES = {
    "model": "the structure of the model (its modules, or names and shapes of its weights)",
    "weights": "the values of the weights",
    "classes": "the classes or their order",
    "inputs": "the shape or type of the inputs",
}


class Digested(Protocol):
    """A target, by its fingerprint and its digests."""

    @property
    def fingerprint(self) -> str: ...
    @property
    def digests(self) -> Digests: ...


def differences(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Describe the parts that differ: ``the validation split (its labels; 250 samples)``.

    Args:
        before: digests of the one target; unknown parts are left out, and may be all.
        now: digests of the other.
    """
    found = []
    for part in [*before, *(part for part in now if part not in before)]:
        one, other = before.get(part), now.get(part)
        if one == other:
            continue
        if part in _NAMES:
            found.append(_NAMES[part])
        else:
            found.append(f"the {part} split ({_of_splits(one, other)})")
    # Weights of other shapes have other values: once is enough.
    return [each for each in found if each != _NAMES["weights"] or _NAMES["model"] not in found]


def _of_splits(one: str | None, other: str | None) -> str:
    if one is None or other is None:
        return f"{'new' if one is None else 'missing now'}"
    (count, labels, _), (count_now, labels_now, _) = one.split(":"), other.split(":")
    if count != count_now:
        return f"{int(count):,} samples, now {int(count_now):,}"
    what = "its inputs" if labels == labels_now else "its samples or their order"
    return f"{what}; {int(count):,} samples"


def named(parts: list[str]) -> str:
    """Join described parts: ``a``, ``a and b``, ``a, b and c``."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def require_same(
    target: Digested, fingerprint: str, digests: Mapping[str, Any] | None, message: Callable[[str], str]
) -> None:
    """Refuse a target that is not the one with a fingerprint.

    Args:
        target: target at hand.
        fingerprint: fingerprint of the wanted one.
        digests: its digests, or None if they are not known, as in databases of old releases.
        message: makes the message of a clause that says what differs, which is empty if that is not known.

    Raises:
        TargetError: another fingerprint.
    """
    if target.fingerprint == fingerprint:
        return
    parts = differences(digests, target.digests) if digests else []
    what = f"{named(parts)} {'differs' if len(parts) == 1 else 'differ'}" if parts else ""
    raise TargetError(message(what))
