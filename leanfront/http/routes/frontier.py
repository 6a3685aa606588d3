"""Routes for a search's frontier: its members, and its hypervolume."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response

from leanfront.core.search import Candidate
from leanfront.http.answers import Answer, rendered
from leanfront.http.openapi import TAG, ok, reading
from leanfront.http.paging import PAGE, Cursor, Limit, next_link, read_cursor, write_cursor
from leanfront.http.queries import Asked, Limits, Stage, limit_parameters
from leanfront.http.schemas.frontier import Frontier, Hypervolume
from leanfront.http.service import Ours, SearchName, Service
from leanfront.reports import shapes

router = APIRouter(prefix="/api/v1/searches/{name}", tags=["frontier"])


@router.get(
    "/frontier",
    response_model=Frontier,
    responses={
        **reading(),
        200: ok("A page of the frontier", Link='Address of the next page, rel="next".', **TAG),
    },
    openapi_extra={"parameters": limit_parameters()},
)
async def frontier(
    request: Request,
    service: Ours,
    name: SearchName,
    limits: Limits,
    weak: Annotated[bool, Query(description="Also return weakly nondominated candidates.")] = False,
    stage: Stage = "after",
    order_by: Annotated[
        str,
        Query(
            description="An objective or another measurement of the frontier, best first.",
            max_length=100,
            examples=["memory"],
        ),
    ] = "memory",
    limit: Limit = PAGE,
    cursor: Cursor = None,
) -> Response:
    """Return the nondominated candidates within limits, paginated."""
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
    mark = service.store.marks.of(name)
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
    # Candidates make up most of a page: each is rendered once per version of the frontier.
    parts = [_rendered(service, version, candidate) for candidate in page.candidates]
    body = rendered(whole).replace(b'"candidates":[]', b'"candidates":[' + b",".join(parts) + b"]", 1)
    answer = Answer.of(body, headers)
    # The page may be newer than the mark. This is harmless: an old version never comes again.
    service.answers.put(key, answer)
    return answer


def _rendered(service: Service, version: tuple[int | None, int], candidate: Candidate) -> bytes:
    key: Hashable = ("candidate", *version, candidate.id)
    known = service.answers.get(key)
    if known is None:
        known = Answer(rendered(candidate.to_json()), "")
        service.answers.put(key, known)
    return known.body


@router.get("/hypervolume", response_model=Hypervolume, responses=reading())
async def hypervolume(request: Request, service: Ours, name: SearchName) -> Response:
    """Return the quality of the frontier as a whole: its hypervolume."""
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


def _address(name: str, last: str) -> str:
    return f"/api/v1/searches/{quote(name, safe='')}/{last}"
