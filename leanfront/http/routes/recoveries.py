"""Routes for recoveries of a candidate: queue one, and list the results."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from leanfront.core.search import require_recoverable
from leanfront.core.storage import Job
from leanfront.core.storage.jobs import RECOVER
from leanfront.http.answers import Answer
from leanfront.http.openapi import reading
from leanfront.http.routes.jobs import accepted, queueing
from leanfront.http.schemas.candidates import Candidate
from leanfront.http.schemas.recoveries import RecoveryRequest
from leanfront.http.service import CandidateId, Ours, Service

router = APIRouter(prefix="/api/v1/candidates/{id}", tags=["candidates"])


@router.post("/recover", **queueing("unsupported-media-type"))
async def recover(service: Ours, id: CandidateId, wanted: RecoveryRequest | None = None) -> Response:
    """Have a worker recover a candidate by training; the result is stored as a new candidate with this one as parent.

    A recovery that was done before is returned, not repeated. Without a body, the default settings are used.
    """
    job = await service.write(_queue, service, id, wanted or RecoveryRequest())
    return accepted(job)


def _queue(service: Service, identifier: int, wanted: RecoveryRequest) -> Job:
    candidate = service.store.candidate(identifier)
    require_recoverable(candidate, service.store.search(candidate.search))
    return service.store.jobs.queue(
        RECOVER, candidate.search, candidate=identifier, parameters=wanted.parameters()
    )


@router.get("/recoveries", response_model=list[Candidate], responses=reading())
async def recoveries(request: Request, service: Ours, id: CandidateId) -> Response:
    """List the candidates recovered from this one, oldest first; a failed one means that nothing was gained."""
    return (await service.read(_recoveries, service, id)).response(request)


def _recoveries(service: Service, identifier: int) -> Answer:
    search = service.store.candidate(identifier).search
    found: list[Any] = [each.to_json() for each in service.store.recovered(search, identifier)]
    return Answer.of(found)
