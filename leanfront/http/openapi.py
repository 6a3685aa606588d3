"""Building blocks of the OpenAPI document besides parameters and models."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from leanfront.http.gate import is_open
from leanfront.http.problems import KINDS, MEDIA_TYPE
from leanfront.http.schemas.problems import Problem

Responses = dict[int | str, dict[str, Any]]

TAG = {"ETag": "Entity tag: send it as `If-None-Match` to get 304 while the answer has not changed."}
"""Header of cacheable answers."""
UNCHANGED: Responses = {304: {"description": "The client's copy is up to date"}}
"""Further answer of routes that send an entity tag."""


def problems(*slugs: str, body: bool = False) -> Responses:
    """Return the error responses of a route.

    Args:
        slugs: its kinds of problem, besides those of every route.
        body: whether the route takes a body.
    """
    every = ("unauthorized", "misdirected", "invalid", "internal", "overloaded")
    writing = ("malformed", "cross-site", "too-slow", "too-large") if body else ()
    found: Responses = {}
    for slug in dict.fromkeys((*every, *writing, *slugs)):
        kind = KINDS[slug]
        before = found.get(kind.status, {}).get("description")
        answer: dict[str, Any] = {
            "description": kind.title if before is None else f"{before}; or: {kind.title}",
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        if kind.retry is not None:
            answer["headers"] = {
                "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}
            }
        found[kind.status] = answer
    return found


def ok(description: str, **headers: str) -> dict[str, Any]:
    """Return the description of an answer with headers."""
    return {
        "description": description,
        "headers": {
            name.replace("_", "-"): {"description": text, "schema": {"type": "string"}}
            for name, text in headers.items()
        },
    }


def reading(*slugs: str) -> Responses:
    """Return the further answers of a route that reads and sends entity tags.

    Args:
        slugs: its kinds of problem, besides those of every such route.
    """
    return {**problems("not-found", *slugs, "storage"), **UNCHANGED}


_documents: dict[str, dict[str, Any]] = {}


def document(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document: FastAPI's, with problems and keys.

    It is made once a process, in a third of a second: all our applications have the same routes.
    """
    if app.version not in _documents:
        _documents[app.version] = _made(app)
    return _documents[app.version]


def _made(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    components = document.setdefault("components", {})
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    own = components.setdefault("schemas", {})
    own |= problem.pop("$defs", {})
    own["Problem"] = problem
    for unused in ("HTTPValidationError", "ValidationError"):
        own.pop(unused, None)
    components["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "description": "An API key of the operator."}
    }
    for path, operations in document["paths"].items():
        for operation in operations.values():
            operation["security"] = [{"key": []}, {}] if is_open(path) else [{"key": []}]
    return document
