"""Routes for verifying candidates: queue a verification, and read the latest result."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from leanfront.core.storage.jobs import VERIFY
from leanfront.http.answers import Answer
from leanfront.http.openapi import reading
from leanfront.http.routes.jobs import accepted, queue_on, queueing
from leanfront.http.schemas.verifications import Verification
from leanfront.http.service import CandidateId, Ours, Service

router = APIRouter(prefix="/api/v1/candidates/{id}", tags=["candidates"])


@router.post("/verify", **queueing())
async def verify(service: Ours, id: CandidateId) -> Response:
    """Have a worker check every claim about a candidate against its packed file alone."""
    return accepted(await service.write(queue_on, service, id, VERIFY, {}))


@router.get("/verification", response_model=Verification, responses=reading())
async def verification(request: Request, service: Ours, id: CandidateId) -> Response:
    """Return the candidate's latest verification; 404 if there is none."""
    return (await service.read(_verification, service, id)).response(request)


def _verification(service: Service, identifier: int) -> Answer:
    return Answer.of(service.store.verification(identifier).to_json())
