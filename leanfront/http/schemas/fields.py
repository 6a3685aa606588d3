"""Fields that several nouns share, and those that are made of known names."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, TypeVar

from pydantic import Field

T = TypeVar("T")
LARGEST_EPOCHS = 100_000
FRONTIER_VERSION: Any = Field(
    description="Grows with every change of the frontier, and of what is measured.", examples=[12]
)
NEXT: Any = Field(
    default=None,
    description="Cursor of the next page; absent on the last. The header Link holds its address.",
)


def one_of(names: Iterable[str | None], description: str, default: str | None) -> Any:
    """A field that takes one of some names."""
    return Field(
        default=default, description=description, max_length=100, json_schema_extra={"enum": list(names)}
    )


def each_once(values: list[T], known: Collection[T] | None = None) -> list[T]:
    """A list of a request, unless something in it comes twice or is unknown. Raises `ValueError`."""
    unknown = [] if known is None else [str(each) for each in values if each not in known]
    if unknown and known is not None:
        raise ValueError(f"unknown: {', '.join(unknown)[:100]}; known: {', '.join(map(str, known))}")
    if len(set(values)) < len(values):
        raise ValueError("something comes twice")
    return values


def names_of(known: Iterable[str]) -> dict[str, Any]:
    """What the document says of a list of such names."""
    return {"items": {"type": "string", "enum": list(known)}, "uniqueItems": True}
