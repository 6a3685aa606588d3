"""A noun of the API is a router and its schemas, and no SQL."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import leanfront
from leanfront.http.app import NOUNS

PACKAGE = Path(leanfront.__file__).parent
HTTP = PACKAGE / "http"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if "core" not in path.relative_to(PACKAGE).parts)
SHARED = {"fields", "problems"}
"""Schemas of no noun's own."""
SQL = ("sqlalchemy", "alembic", "psycopg", "sqlite3", "leanfront.core.storage.tables")


def names(folder: str) -> set[str]:
    return {path.stem for path in (HTTP / folder).glob("*.py")} - {"__init__"}


def imported(path: Path) -> Iterator[str]:
    """Every module that a file imports, within functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_router_is_served_and_every_schema_is_of_one() -> None:
    assert names("routes") == set(NOUNS)
    assert len(NOUNS) == len(set(NOUNS))
    assert names("schemas") - SHARED < set(NOUNS)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_storage_speaks_sql(path: Path) -> None:
    wrong = [name for name in imported(path) if any(f"{name}.".startswith(f"{each}.") for each in SQL)]
    assert not wrong, f"{wrong}: what a database is asked is a method of the store"
