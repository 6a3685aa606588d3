"""Route for a candidate's layers."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from leanfront.http.answers import Answer
from leanfront.http.openapi import reading
from leanfront.http.schemas.layers import Layers
from leanfront.http.service import CandidateId, Ours, Service
from leanfront.reports.layers import layers_json

router = APIRouter(prefix="/api/v1", tags=["candidates"])


@router.get("/candidates/{id}/layers", response_model=Layers, responses=reading())
async def layers(request: Request, service: Ours, id: CandidateId) -> Response:
    """Return the remaining size, cost and predicted loss of each layer and channel group."""
    return (await service.read(_layers, service, id)).response(request)


def _layers(service: Service, identifier: int) -> Answer:
    candidate = service.store.candidate(identifier)
    return Answer.of(layers_json(candidate, service.store.search(candidate.search)))
