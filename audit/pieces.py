"""What audits are shown as beside tables: drawings and galleries, data without markup."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Drawing:
    """A plotly figure of an audit.

    Args:
        title: text.
        figure: what users named went through `drawing.label`.
        alt: what it shows, in words.
        small: whether several of its like may stand side by side.
        fold: drawings of the same fold are shown together when it is opened; ``""`` of those always shown.
    """

    title: str
    figure: Any
    alt: str
    small: bool = False
    fold: str = ""

    def plotly(self) -> dict[str, Any]:
        """The figure's ``data`` and ``layout``, without a template: whoever shows it brings the reader's colours."""
        figure = self.figure.to_plotly_json()
        return {
            "data": figure["data"],
            "layout": {k: v for k, v in figure["layout"].items() if k != "template"},
        }

    def to_json(self) -> dict[str, Any]:
        """JSON-ready but for arrays within the figure."""
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
        image: as a data URI; None where there is none.
        alt: what the image shows, text.
        rows: (what, value) of it, text.
    """

    image: str | None
    alt: str
    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Gallery:
    """Samples side by side.

    Args:
        title: text.
        cards: the samples.
        note: text; why there are no cards, for one.
        fold: as of a drawing.
    """

    title: str
    cards: Sequence[Card] = ()
    note: str = ""
    fold: str = ""

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"type": "gallery", **asdict(self)}


Piece = Drawing | Gallery
