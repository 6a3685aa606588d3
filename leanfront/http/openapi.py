"""The OpenAPI document: what addresses say in it besides their parameters and models."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from leanfront.http.gate import is_open
from leanfront.http.problems import KINDS, MEDIA_TYPE
from leanfront.http.schemas.problems import Problem

Responses = dict[int | str, dict[str, Any]]

TAG = {
    "ETag": "The same for the same answer: send it as `If-None-Match`, and get 304 while nothing has changed."
}
"""A header of answers that are true for a while."""
UNCHANGED: Responses = {304: {"description": "What the client has is still true"}}
"""The other answer of an address that sends it."""


def problems(*slugs: str, body: bool = False) -> Responses:
    """The refusals of a route, for the OpenAPI document.

    Args:
        slugs: its own kinds, besides those of every route.
        body: whether it changes something.
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
    """An answer with headers, for the OpenAPI document."""
    return {
        "description": description,
        "headers": {
            name.replace("_", "-"): {"description": text, "schema": {"type": "string"}}
            for name, text in headers.items()
        },
    }


def reading(*slugs: str) -> Responses:
    """The other answers of an address that reads, and has entity tags.

    Args:
        slugs: kinds of refusals besides those of every such address.
    """
    return {**problems("not-found", *slugs, "storage"), **UNCHANGED}


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document: the framework's, with problems and keys."""
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
        "key": {"type": "http", "scheme": "bearer", "description": "One of the operator's API keys."}
    }
    for path, operations in document["paths"].items():
        for operation in operations.values():
            operation["security"] = [{"key": []}, {}] if is_open(path) else [{"key": []}]
    return document
