"""What the selection rules need to know of a candidate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    # A default lets callers write a plain `Selection`. Type checkers know this module; nothing imports it.
    from typing_extensions import TypeVar

    P = TypeVar("P", bound="Point", default=Any)
else:
    from typing import TypeVar

    P = TypeVar("P", bound="Point")


class Point(Protocol):
    """A candidate as the selection rules see it."""

    @property
    def id(self) -> int | None:
        """The store's number; None before it is stored."""
        ...

    def value(self, name: str, split: str | None = None) -> float | None:
        """The measured value; without `split` the cost or the one on the validation split."""
        ...
