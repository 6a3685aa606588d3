"""Route for comparing candidates."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from leanfront.http.answers import Answer
from leanfront.http.openapi import reading
from leanfront.http.problems import Problem
from leanfront.http.schemas.comparisons import Comparison
from leanfront.http.service import Ours, Service
from leanfront.http.settings import LARGEST_ID
from leanfront.reports import shapes

router = APIRouter(prefix="/api/v1", tags=["candidates"])
MOST_COMPARED = 20


@router.get("/compare", response_model=Comparison, responses=reading())
async def compare(
    request: Request,
    service: Ours,
    ids: Annotated[
        str,
        Query(
            description=f"Ids of 2 to {MOST_COMPARED} candidates, comma-separated.",
            pattern=rf"^\d{{1,19}}(,\d{{1,19}}){{1,{MOST_COMPARED - 1}}}$",
            max_length=20 * MOST_COMPARED,
            examples=["17,23"],
        ),
    ],
) -> Response:
    """Compare candidates of one search or several, side by side."""
    wanted = [int(part) for part in ids.split(",")]
    if len(set(wanted)) < len(wanted) or not all(1 <= each <= LARGEST_ID for each in wanted):
        raise Problem(
            "invalid",
            "an id is given twice or is not a valid one",
            [{"parameter": "ids", "detail": "positive numbers, each given once"}],
        )
    return (await service.read(_compare, service, wanted)).response(request)


def _compare(service: Service, wanted: list[int]) -> Answer:
    found: list[Any] = [service.store.candidate(identifier) for identifier in wanted]
    return Answer.of(shapes.comparison_json(found))
