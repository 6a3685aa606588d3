"""Routes for candidates."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from leanfront.http.answers import Answer
from leanfront.http.openapi import reading
from leanfront.http.schemas.candidates import Candidate, Configuration
from leanfront.http.service import CandidateId, Ours, Service

router = APIRouter(prefix="/api/v1/candidates/{id}", tags=["candidates"])


@router.get("", response_model=Candidate, responses=reading())
async def candidate(request: Request, service: Ours, id: CandidateId) -> Response:
    """Return a candidate with all its measurements."""
    return (await service.read(_candidate, service, id)).response(request)


def _candidate(service: Service, identifier: int) -> Answer:
    return Answer.of(service.store.candidate(identifier).to_json())


@router.get("/configuration", response_model=Configuration, responses=reading())
async def configuration(request: Request, service: Ours, id: CandidateId) -> Response:
    """Return the candidate's configuration: everything needed to make it again."""
    return (await service.read(_configuration, service, id)).response(request)


def _configuration(service: Service, identifier: int) -> Answer:
    return Answer.of(service.store.candidate(identifier).configuration.to_json())
