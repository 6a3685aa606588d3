"""The addresses of candidates: one, its neighbours, several side by side."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from leanfront.http.answers import Answer
from leanfront.http.problems import Problem
from leanfront.http.queries import Stage
from leanfront.http.schemas import objects as schemas
from leanfront.http.service import CandidateId, Ours, Service, problems
from leanfront.http.settings import LARGEST_ID, MOST_COMPARED
from leanfront.reports import shapes

router = APIRouter(prefix="/api/v1", tags=["candidates"])

_READING = {**problems("not-found", "storage"), 304: {"description": "What the client has is still true"}}


@router.get("/candidates/{id}", response_model=schemas.Candidate, responses=_READING)
async def candidate(request: Request, service: Ours, id: CandidateId) -> Response:
    """A candidate with all that is measured on it."""
    return (await service.read(_candidate, service, id)).response(request)


def _candidate(service: Service, identifier: int) -> Answer:
    return Answer.of(service.store.candidate(identifier).to_json())


@router.get("/candidates/{id}/configuration", response_model=schemas.Configuration, responses=_READING)
async def configuration(request: Request, service: Ours, id: CandidateId) -> Response:
    """What was done to the model: enough to do it again."""
    return (await service.read(_configuration, service, id)).response(request)


def _configuration(service: Service, identifier: int) -> Answer:
    return Answer.of(service.store.candidate(identifier).configuration.to_json())


@router.get("/candidates/{id}/neighbours", response_model=schemas.Neighbours, responses=_READING)
async def neighbours(request: Request, service: Ours, id: CandidateId, stage: Stage = "after") -> Response:
    """What a little more or less of each cost would change: the frontier members next to a candidate."""
    return (await service.read(_neighbours, service, id, stage)).response(request)


def _neighbours(service: Service, identifier: int, stage: str) -> Answer:
    return Answer.of(service.store.neighbours(identifier, stage=stage).to_json())


@router.get("/compare", response_model=schemas.Comparison, responses=_READING)
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
    """Candidates side by side, of one search or several."""
    wanted = [int(part) for part in ids.split(",")]
    if len(set(wanted)) < len(wanted) or not all(1 <= each <= LARGEST_ID for each in wanted):
        raise Problem(
            "invalid",
            "ids name a candidate twice, or one that cannot be",
            [{"parameter": "ids", "detail": "each is a positive number, and there once"}],
        )
    return (await service.read(_compare, service, wanted)).response(request)


def _compare(service: Service, wanted: list[int]) -> Answer:
    found: list[Any] = [service.store.candidate(identifier) for identifier in wanted]
    return Answer.of(shapes.comparison_json(found))
