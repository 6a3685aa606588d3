"""A noun of the API is a router and its schemas."""

from __future__ import annotations

from pathlib import Path

import leanfront
from leanfront.http.app import NOUNS

HTTP = Path(leanfront.__file__).parent / "http"
SHARED = {"fields", "problems"}
"""Schemas of no noun's own."""


def names(folder: str) -> set[str]:
    return {path.stem for path in (HTTP / folder).glob("*.py")} - {"__init__"}


def test_every_router_is_served_and_every_schema_is_of_one() -> None:
    assert names("routes") == set(NOUNS)
    assert len(NOUNS) == len(set(NOUNS))
    assert names("schemas") - SHARED < set(NOUNS)
