"""Pydantic models of audits as tables, figures and galleries."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from leanfront.http.schemas.audits import AuditRow


class AuditKind(BaseModel):
    """A kind of audit."""

    kind: str = Field(description="Its name.", examples=["classes"])
    title: str = Field(description="For people.", examples=["Class impact"])
    reading: str = Field(description="What it is for and how to read it; empty for a kind without figures.")
    source: str = Field(description="Literature source.")


class Table(BaseModel):
    """A table of texts."""

    title: str
    header: list[str] = Field(description="Column headers; the first column names the rows.")
    rows: list[list[str]] = Field(description="Cells, one list per row.")
    note: str = Field(description="Remark on the table, or empty.")


class Plotly(BaseModel):
    """A plotly figure without a template: the client sets the colours of text and background."""

    data: list[dict[str, Any]]
    layout: dict[str, Any]


class Figure(BaseModel):
    """A plotly figure. `&`, `<` and `>` in its texts are escaped, since plotly reads tags there."""

    type: Literal["figure"]
    title: str
    alt: str = Field(description="Description of the figure.")
    small: bool = Field(description="Whether several such figures may stand side by side.")
    fold: str = Field(
        description="Pieces with the same fold are opened together; empty for pieces that are always shown."
    )
    figure: Plotly


class Card(BaseModel):
    """A sample in a gallery."""

    image: str | None = Field(description="Data URI of a PNG; null without an image.")
    alt: str = Field(description="Description of the image.")
    rows: list[tuple[str, str]] = Field(description="(name, value) pairs of the sample.")


class Gallery(BaseModel):
    """Samples side by side."""

    type: Literal["gallery"]
    title: str
    fold: str = Field(description="As in a figure.")
    note: str = Field(description="Remark, such as why there are no cards; or empty.")
    cards: list[Card]


class Section(BaseModel):
    """Results for the search, or for a candidate that the search's audit does not include."""

    heading: str = Field(description="Heading; empty for the search's own section.")
    tables: list[Table]
    pieces: list[Annotated[Figure | Gallery, Field(discriminator="type")]]


class AuditFigures(AuditRow):
    """The latest audit of a kind, ready to be shown. All texts are plain, except those in figures."""

    title: str = Field(description="Title of the kind.", examples=["Calibration"])
    reading: str = Field(description="How to read it, in a sentence or two.")
    source: str = Field(description="Literature source of the kind.")
    parts: list[Section]
