"""The JSON of audits as tables, figures and galleries, as the OpenAPI document tells it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from leanfront.http.schemas.audits import AuditRow


class AuditKind(BaseModel):
    """A kind of audit."""

    kind: str = Field(description="Its name.", examples=["classes"])
    title: str = Field(description="For people.", examples=["Class impact"])
    reading: str = Field(description="What it is for and how to read it; nothing of a kind without figures.")
    source: str = Field(description="Where it comes from.")


class Table(BaseModel):
    """A table of texts."""

    title: str
    header: list[str] = Field(description="Of the columns; the first column names the rows.")
    rows: list[list[str]] = Field(description="As many cells each.")
    note: str = Field(description="What to keep in mind, or nothing.")


class Plotly(BaseModel):
    """A plotly figure without a template: whoever draws it brings the colours of text and background."""

    data: list[dict[str, Any]]
    layout: dict[str, Any]


class Figure(BaseModel):
    """A plotly figure. In its texts, as plotly reads tags there, `&`, `<` and `>` are escaped."""

    type: Literal["figure"]
    title: str
    alt: str = Field(description="What it shows, in words.")
    small: bool = Field(description="Whether several of its like may stand side by side.")
    fold: str = Field(
        description="Pieces of the same fold are opened together; nothing of those always shown."
    )
    figure: Plotly


class Card(BaseModel):
    """A sample in a gallery."""

    image: str | None = Field(description="A data URI of a PNG; null where there is no image.")
    alt: str = Field(description="What the image shows.")
    rows: list[tuple[str, str]] = Field(description="(what, value) of the sample.")


class Gallery(BaseModel):
    """Samples side by side."""

    type: Literal["gallery"]
    title: str
    fold: str = Field(description="As of a figure.")
    note: str = Field(description="What there is to say, for one why there are no cards; or nothing.")
    cards: list[Card]


class Section(BaseModel):
    """What was found of the search, or of a candidate that is not in that."""

    heading: str = Field(description="Nothing of the search's own.")
    tables: list[Table]
    pieces: list[Annotated[Figure | Gallery, Field(discriminator="type")]]


class AuditFigures(AuditRow):
    """What the last audit of a kind found, ready to be shown. All texts are plain ones, but those in figures."""

    title: str = Field(description="Of the kind.", examples=["Calibration"])
    reading: str = Field(description="How to read it, a sentence or two.")
    source: str = Field(description="Where the kind comes from.")
    parts: list[Section]
