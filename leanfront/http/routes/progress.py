"""Route for the growth of a search's frontier."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from leanfront.http.answers import Answer
from leanfront.http.openapi import reading
from leanfront.http.schemas.progress import Progress
from leanfront.http.service import Ours, SearchName, Service

router = APIRouter(prefix="/api/v1/searches/{name}", tags=["searches"])
POINTS = 60
MOST_POINTS = 200


@router.get("/progress", response_model=Progress, responses=reading())
async def progress(
    request: Request,
    service: Ours,
    name: SearchName,
    points: Annotated[
        int, Query(description="Largest number of places along the trials.", ge=2, le=MOST_POINTS)
    ] = POINTS,
) -> Response:
    """Return how the frontier of all candidates grew with the trials, in the order they were stored."""
    return (await service.read(_progress, service, name, points)).response(request)


def _progress(service: Service, name: str, points: int) -> Answer:
    mark = service.store.marks.of(name)
    last = service.store.marks.last_candidate(mark.id)
    key: Hashable = ("progress", mark.frontier, mark.trials, last, points)
    known = service.answers.get(key)
    if known is None:
        known = Answer.of(service.store.growth(name, points).to_json())
        service.answers.put(key, known)
    return known
