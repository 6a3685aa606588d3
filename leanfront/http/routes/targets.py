"""The address of the targets that the operator registered."""

from __future__ import annotations

from fastapi import APIRouter, Response

from leanfront.http.answers import answered
from leanfront.http.openapi import problems
from leanfront.http.schemas.targets import Target
from leanfront.http.service import Ours

router = APIRouter(prefix="/api/v1", tags=["service"])


@router.get("/targets", response_model=list[Target], responses=problems())
async def targets(service: Ours) -> Response:
    """The targets that the operator registered: what a search can be queued on."""
    return answered([{"name": each.name, "description": each.description} for each in service.registry])
