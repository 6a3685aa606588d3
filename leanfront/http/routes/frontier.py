"""The addresses of a search's frontier: its members, budget queries, and what there is to say of the whole."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Query, Request, Response

from leanfront.core.objectives import STRATEGIES
from leanfront.core.search import Candidate
from leanfront.core.storage import marks
from leanfront.core.storage.memory import Version
from leanfront.core.storage.selection import is_of_front
from leanfront.errors import NotFoundError
from leanfront.http.answers import Answer, rendered
from leanfront.http.queries import (
    Asked,
    Stage,
    asked,
    limit_parameters,
    read_cursor,
    strategy_parameters,
    write_cursor,
)
from leanfront.http.routes.searches import Cursor, Limit, next_link
from leanfront.http.schemas import objects as schemas
from leanfront.http.service import Ours, SearchName, Service, ok, problems
from leanfront.http.settings import PAGE
from leanfront.reports import shapes

router = APIRouter(prefix="/api/v1/searches/{name}", tags=["frontier"])

Limits = Annotated[Asked, Depends(asked)]
_TAG = {
    "ETag": "The same for the same answer: send it as `If-None-Match`, and get 304 while nothing has changed."
}
_UNCHANGED: dict[int | str, dict[str, Any]] = {304: {"description": "What the client has is still true"}}


@router.get(
    "/frontier",
    response_model=schemas.Frontier,
    responses={
        **problems("not-found", "storage"),
        **_UNCHANGED,
        200: ok("A page of the frontier", Link='Address of the next page, rel="next".', **_TAG),
    },
    openapi_extra={"parameters": limit_parameters()},
)
async def frontier(
    request: Request,
    service: Ours,
    name: SearchName,
    limits: Limits,
    weak: Annotated[bool, Query(description="Also those that no other beats in every objective.")] = False,
    stage: Stage = "after",
    order_by: Annotated[
        str,
        Query(
            description="An objective of the search, or something measured on its frontier: best first.",
            max_length=100,
            examples=["memory"],
        ),
    ] = "memory",
    limit: Limit = PAGE,
    cursor: Cursor = None,
) -> Response:
    """The nondominated candidates within limits, a page at a time."""
    answer = await service.read(_frontier, service, name, limits, weak, stage, order_by, limit, cursor)
    return answer.response(request)


def _frontier(
    service: Service,
    name: str,
    limits: Asked,
    weak: bool,
    stage: str,
    order_by: str,
    limit: int,
    cursor: str | None,
) -> Answer:
    mark = marks.mark(service.store, name)
    about = ("frontier", mark.id, limits.canonical)
    after = read_cursor(cursor, *about)
    key: Hashable = (*about, mark.frontier, limit, cursor)
    known = service.answers.get(key)
    if known is not None:
        return known
    page = service.store.frontier_page(
        name, limits.budget, weak=weak, stage=stage, order_by=order_by, limit=limit, after=after
    )
    rest, headers = {}, {}
    if page.last is not None:
        rest["next"] = write_cursor(page.last, *about)
        query = "&".join(part for part in (limits.canonical, f"limit={limit}") if part)
        headers["Link"] = next_link(_address(name, "frontier"), query, rest["next"])
    whole = shapes.frontier_json(page.search, (), stage) | rest
    version = page.search.id, page.search.frontier_version
    # Candidates are most of the page: each is rendered once for every version of the frontier.
    parts = [_rendered(service, version, candidate) for candidate in page.candidates]
    body = rendered(whole).replace(b'"candidates":[]', b'"candidates":[' + b",".join(parts) + b"]", 1)
    answer = Answer.of(body, headers)
    # The page may be of a later moment than the mark: a version that has passed does not come again.
    service.answers.put(key, answer)
    return answer


def _rendered(service: Service, version: tuple[int | None, int], candidate: Candidate) -> bytes:
    key: Hashable = ("candidate", *version, candidate.id)
    known = service.answers.get(key)
    if known is None:
        known = Answer(rendered(candidate.to_json()), "")
        service.answers.put(key, known)
    return known.body


@router.get(
    "/select",
    response_model=schemas.Feasible | schemas.Infeasible,
    responses={**problems("not-found", "storage"), **_UNCHANGED, 200: ok("The answer", **_TAG)},
    openapi_extra={"parameters": [*limit_parameters(), *strategy_parameters()]},
)
async def select(
    request: Request,
    service: Ours,
    name: SearchName,
    limits: Limits,
    strategy: Annotated[
        str,
        Query(
            description="How to choose among those within the limits.",
            max_length=100,
            json_schema_extra={"enum": list(STRATEGIES)},
        ),
    ] = "accuracy",
    stage: Stage = "after",
    order: Annotated[
        str | None,
        Query(
            description="lexicographic: objectives, most important first, comma-separated.",
            max_length=500,
            examples=["memory,accuracy"],
        ),
    ] = None,
    tolerance: Annotated[
        float | None,
        Query(
            description="lexicographic: a difference, in each objective's unit, that counts as equal.",
            ge=0,
            allow_inf_nan=False,
        ),
    ] = None,
) -> Response:
    """Which candidate to ship within a budget; `feasible: false` with the nearest where none holds it."""
    options = {
        "order": None if order is None else tuple(part.strip() for part in order.split(",")),
        "tolerance": limits.tolerances or tolerance,
        "weights": limits.weights or None,
    }
    answer = await service.read(_select, service, name, limits, strategy, options, stage)
    return answer.response(request)


@router.get(
    "/knee",
    response_model=schemas.Feasible | schemas.Infeasible,
    responses={**problems("not-found", "storage"), **_UNCHANGED, 200: ok("The answer", **_TAG)},
    openapi_extra={"parameters": limit_parameters()},
)
async def knee(
    request: Request, service: Ours, name: SearchName, limits: Limits, stage: Stage = "after"
) -> Response:
    """The candidate beyond which more cost buys little: `select` with the strategy `knee`."""
    answer = await service.read(_select, service, name, limits, "knee", {}, stage)
    return answer.response(request)


def _select(
    service: Service, name: str, limits: Asked, strategy: str, options: dict[str, Any], stage: str
) -> Answer:
    mark = marks.mark(service.store, name)
    kept = is_of_front(mark.objectives, limits.budget, strategy, options)
    key: Hashable = ("select", strategy, stage, limits.canonical, mark.frontier)
    known = service.answers.get(key) if kept else None
    if known is not None:
        return known
    version = Version(mark.id, mark.frontier_version) if kept else None
    found = service.store.select_at(version, name, limits.budget, strategy, options, stage)
    answer = Answer.of(found.to_json())
    if kept:
        service.answers.put(key, answer)
    return answer


@router.get(
    "/hypervolume",
    response_model=schemas.Hypervolume,
    responses={**problems("not-found", "storage"), **_UNCHANGED},
)
async def hypervolume(request: Request, service: Ours, name: SearchName) -> Response:
    """How good the frontier is as a whole."""
    return (await service.read(_hypervolume, service, name)).response(request)


def _hypervolume(service: Service, name: str) -> Answer:
    record = service.store.search(name)
    return Answer.of(
        {
            "search": record.name,
            "hypervolume": record.hypervolume,
            "hypervolume_log2": record.hypervolume_log2,
            "reference": dict(record.reference),
            "frontier_size": record.frontier_size,
            "frontier_version": record.frontier_version,
        }
    )


@router.get(
    "/coverage", response_model=schemas.Coverage, responses={**problems("not-found", "storage"), **_UNCHANGED}
)
async def coverage(request: Request, service: Ours, name: SearchName) -> Response:
    """What of the model the search can compress; 404 until a worker has looked at the target."""
    return (await service.read(_coverage, service, name)).response(request)


def _coverage(service: Service, name: str) -> Answer:
    record = service.store.search(name)
    if not record.coverage:
        raise NotFoundError(
            f"the coverage of search {name!r} is not known: no worker has looked at its target yet"
        )
    return Answer.of(dict(record.coverage))


def _address(name: str, last: str) -> str:
    return f"/api/v1/searches/{quote(name, safe='')}/{last}"
