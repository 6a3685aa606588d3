"""Errors as RFC 9457 problem details: the kinds of problem and how each is answered."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError

from leanfront.errors import (
    ArtifactError,
    BusyError,
    ConfigurationError,
    InfeasibleError,
    LeanfrontError,
    LeaseLostError,
    NameTakenError,
    NotFoundError,
    SchemaError,
    StorageError,
    TargetError,
    UsageError,
)

MEDIA_TYPE = "application/problem+json"
TYPE = "urn:leanfront:problem:"
"""Prefix of every problem's type; the rest is the slug of its kind, which never changes."""
RETRY_SECONDS = 2
_MOST_ERRORS = 50

log = logging.getLogger("leanfront.http")


@dataclass(frozen=True)
class Kind:
    """A kind of problem.

    Args:
        slug: last part of the type.
        status: HTTP status of the answer.
        title: title shared by all problems of the kind.
        retry: seconds after which the same request may succeed; None if repeating it does not help.
    """

    slug: str
    status: int
    title: str
    retry: int | None = None


KINDS: dict[str, Kind] = {
    kind.slug: kind
    for kind in (
        Kind("malformed", 400, "The request cannot be read"),
        Kind("unauthorized", 401, "A valid API key is needed"),
        Kind("cross-site", 403, "Other web pages may not ask for this"),
        Kind("not-found", 404, "There is no such thing"),
        Kind("method-not-allowed", 405, "The address does not take this method"),
        Kind("too-slow", 408, "The request took too long to arrive"),
        Kind("name-taken", 409, "The name is taken"),
        Kind("busy", 409, "Another process drives it"),
        Kind("too-large", 413, "The request is too large"),
        Kind("unsupported-media-type", 415, "The body is not of a type that is read here"),
        Kind("range", 416, "The file has no such part"),
        Kind("misdirected", 421, "The request is for another host"),
        Kind("invalid", 422, "A value cannot be used"),
        Kind("internal", 500, "The server failed"),
        Kind("artifact", 500, "A stored file cannot be used"),
        Kind("overloaded", 503, "The server has too much to do", RETRY_SECONDS),
        Kind("storage", 503, "The database cannot be used now", RETRY_SECONDS),
    )
}
"""Slug -> kind of problem; add new kinds here."""

ERRORS: tuple[tuple[type[LeanfrontError], str], ...] = (
    (NotFoundError, "not-found"),
    (NameTakenError, "name-taken"),
    (BusyError, "busy"),
    (LeaseLostError, "busy"),
    (SchemaError, "storage"),
    (StorageError, "storage"),
    (UsageError, "invalid"),
    (ConfigurationError, "invalid"),
    (TargetError, "invalid"),
    (ArtifactError, "artifact"),
    (InfeasibleError, "invalid"),
    (LeanfrontError, "internal"),
)
"""Error classes and the slugs they are answered with; the first match counts."""

HIDDEN = {"storage", "internal"}
"""Kinds whose message goes only to the log, since it names paths and hosts."""

_BY_STATUS = {kind.status: kind.slug for kind in reversed(KINDS.values())} | {503: "overloaded"}


@dataclass(eq=False)
class Problem(Exception):
    """A refusal; raised anywhere in the API, it becomes the answer.

    Args:
        slug: slug of its kind.
        detail: what is wrong in this case, as text.
        errors: each error and its place: ``{"detail", "parameter"}``, or ``{"detail", "pointer"}`` into the body.
        headers: further headers of the answer.
    """

    slug: str
    detail: str
    errors: Sequence[Mapping[str, str]] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self, request_id: str = "") -> Response:
        """Return the answer."""
        kind = KINDS[self.slug]
        body: dict[str, Any] = {
            "type": TYPE + kind.slug,
            "title": kind.title,
            "status": kind.status,
            "detail": self.detail,
            "request_id": request_id,
        }
        if self.errors:
            body["errors"] = [dict(error) for error in self.errors[:_MOST_ERRORS]]
        headers = {"Cache-Control": "no-store", **self.headers}
        if kind.retry is not None:
            headers.setdefault("Retry-After", str(kind.retry))
        if kind.status == HTTPStatus.UNAUTHORIZED:
            headers.setdefault("WWW-Authenticate", 'Bearer realm="leanfront"')
        return Response(json.dumps(body), kind.status, headers, MEDIA_TYPE)


def not_found() -> Problem:
    """Return the problem for an unknown address."""
    return Problem("not-found", "nothing is at this address; /docs lists what there is")


def of_error(error: LeanfrontError, request_id: str) -> Problem:
    """Return the problem for an error; hidden messages go to the log."""
    slug = next(slug for kind, slug in ERRORS if isinstance(error, kind))
    if slug in HIDDEN:
        log.error("%s: %s", type(error).__name__, error, extra={"request_id": request_id})
        return Problem(slug, f"{KINDS[slug].title}: the server's log says why, under this request's id")
    return Problem(slug, str(error)[:2000])


def request_id_of(request: Request) -> str:
    """Return the id under which a request is logged."""
    return str(request.scope.get("state", {}).get("request_id", ""))


def install(app: FastAPI) -> None:
    """Make an application answer every error with a problem."""

    async def ours(request: Request, error: Exception) -> Response:
        assert isinstance(error, LeanfrontError)
        request_id = request_id_of(request)
        return of_error(error, request_id).response(request_id)

    async def raised(request: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        return error.response(request_id_of(request))

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return _invalid(error.errors()).response(request_id_of(request))

    async def status(request: Request, error: Exception) -> Response:
        return _of_status(app, request, error).response(request_id_of(request))

    app.add_exception_handler(LeanfrontError, ours)
    app.add_exception_handler(Problem, raised)
    app.add_exception_handler(RequestValidationError, invalid)
    for code in range(400, 600):
        if code != HTTPStatus.INTERNAL_SERVER_ERROR:
            app.add_exception_handler(code, status)


def _invalid(found: Sequence[Mapping[str, Any]]) -> Problem:
    errors = []
    for each in found:
        where, *path = each["loc"] or ("body",)
        if each["type"] == "json_invalid":
            return Problem(
                "malformed", f"the body is no JSON: {each.get('ctx', {}).get('error', each['msg'])}"
            )
        place = (
            {"pointer": "#" + "".join("/" + _escaped(part) for part in path)}
            if where == "body"
            else {"parameter": ".".join(map(str, path))}
        )
        errors.append({"detail": str(each["msg"]).removeprefix("Value error, ")[:300], **place})
    return Problem("invalid", "; ".join(_sentence(error) for error in errors)[:2000], errors)


def _escaped(part: object) -> str:
    return str(part)[:100].replace("~", "~0").replace("/", "~1")


def _sentence(error: Mapping[str, str]) -> str:
    return f"{error.get('parameter') or error.get('pointer')}: {error['detail']}"


def _of_status(app: FastAPI, request: Request, error: Exception) -> Problem:
    """Return the problem for an error raised by the framework."""
    code = int(getattr(error, "status_code", HTTPStatus.INTERNAL_SERVER_ERROR))
    if code == HTTPStatus.NOT_FOUND:
        return not_found()
    if code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = ", ".join(_methods(app, request.scope["path"]))
        return Problem(
            "method-not-allowed",
            f"{request.method[:20]} is not for this address; it takes {allowed}",
            headers={"Allow": allowed},
        )
    if code == HTTPStatus.BAD_REQUEST:
        return Problem("malformed", "the body cannot be read as JSON")
    return Problem(
        _BY_STATUS.get(code, "internal" if code >= 500 else "malformed"), str(HTTPStatus(code).phrase)
    )


def _methods(app: FastAPI, path: str) -> list[str]:
    """Return the methods of an address; the framework knows only those of the first matching route."""
    found: set[str] = set()
    for template, operations in app.openapi()["paths"].items():
        if re.fullmatch(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template)), path):
            found |= {method.upper() for method in operations}
    found = found or {"GET"}  # the OpenAPI document and its pages are not listed
    return sorted(found | ({"HEAD"} if "GET" in found else set()))
