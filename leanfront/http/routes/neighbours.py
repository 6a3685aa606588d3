"""Route for a candidate's neighbours on the frontier."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from leanfront.http.answers import Answer
from leanfront.http.openapi import reading
from leanfront.http.queries import Stage
from leanfront.http.schemas.neighbours import Neighbours
from leanfront.http.service import CandidateId, Ours, Service

router = APIRouter(prefix="/api/v1/candidates/{id}", tags=["candidates"])


@router.get("/neighbours", response_model=Neighbours, responses=reading())
async def neighbours(request: Request, service: Ours, id: CandidateId, stage: Stage = "after") -> Response:
    """Return the frontier members next to a candidate: what slightly more or less of each cost would change."""
    return (await service.read(_neighbours, service, id, stage)).response(request)


def _neighbours(service: Service, identifier: int, stage: str) -> Answer:
    return Answer.of(service.store.neighbours(identifier, stage=stage).to_json())
