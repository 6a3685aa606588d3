"""Protocol of a candidate for the selection strategies."""

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
    """A candidate as the selection strategies see it."""

    @property
    def id(self) -> int | None:
        """Number in the store; None before it is stored."""
        ...

    def value(self, name: str, split: str | None = None) -> float | None:
        """Return the measured value; without `split`, the cost or the value on the validation split."""
        ...
