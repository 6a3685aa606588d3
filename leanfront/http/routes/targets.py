"""Route for the registered targets."""

from __future__ import annotations

from fastapi import APIRouter, Response

from leanfront.http.answers import answered
from leanfront.http.openapi import problems
from leanfront.http.schemas.targets import Target
from leanfront.http.service import Ours

router = APIRouter(prefix="/api/v1", tags=["service"])


@router.get("/targets", response_model=list[Target], responses=problems())
async def targets(service: Ours) -> Response:
    """List the targets registered by the operator, on which searches can be queued."""
    return answered([{"name": each.name, "description": each.description} for each in service.registry])
