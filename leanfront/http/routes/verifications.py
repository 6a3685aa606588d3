"""The addresses of what came of verifying candidates: have one verified, and what was found."""

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
    """Have a worker find everything that is claimed of a candidate again, in its packed file alone."""
    return accepted(await service.write(queue_on, service, id, VERIFY, {}))


@router.get("/verification", response_model=Verification, responses=reading())
async def verification(request: Request, service: Ours, id: CandidateId) -> Response:
    """What came of verifying a candidate last; 404 where nobody has."""
    return (await service.read(_verification, service, id)).response(request)


def _verification(service: Service, identifier: int) -> Answer:
    return Answer.of(service.store.verification(identifier).to_json())
