"""Drawings and galleries of audits, as data without markup."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Drawing:
    """A plotly figure of an audit.

    Args:
        title: title, plain text.
        figure: the figure, with names by users escaped by `drawing.label`.
        alt: description in words.
        small: whether several such drawings may stand side by side.
        fold: name of the fold whose drawings are shown together when it is opened; ``""`` if always shown.
    """

    title: str
    figure: Any
    alt: str
    small: bool = False
    fold: str = ""

    def plotly(self) -> dict[str, Any]:
        """Return the figure's ``data`` and ``layout`` without a template, which each page sets by its colours."""
        figure = self.figure.to_plotly_json()
        return {
            "data": figure["data"],
            "layout": {k: v for k, v in figure["layout"].items() if k != "template"},
        }

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary that is JSON-ready but for arrays within the figure."""
        return {
            "type": "figure",
            "title": self.title,
            "alt": self.alt,
            "small": self.small,
            "fold": self.fold,
            "figure": self.plotly(),
        }


@dataclass(frozen=True)
class Card:
    """A sample in a gallery.

    Args:
        image: the image as a data URI, or None.
        alt: description of the image, plain text.
        rows: (name, value) pairs, plain text.
    """

    image: str | None
    alt: str
    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Gallery:
    """Samples side by side.

    Args:
        title: title, plain text.
        cards: the samples.
        note: remark, such as the reason why there are no cards, plain text.
        fold: as for a drawing.
    """

    title: str
    cards: Sequence[Card] = ()
    note: str = ""
    fold: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        return {"type": "gallery", **asdict(self)}


Piece = Drawing | Gallery
