"""Route for the health of the service."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from leanfront.http.answers import answered
from leanfront.http.openapi import problems
from leanfront.http.schemas.health import Health
from leanfront.http.service import Ours, Service
from leanfront.version import __version__

router = APIRouter(prefix="/api/v1", tags=["service"])


@router.get(
    "/health",
    response_model=Health,
    response_model_exclude_unset=True,
    responses=problems("storage"),
)
async def health(request: Request, service: Ours) -> Response:
    """Report whether the server and its database work; 503 if the database does not answer.

    Needs no key. If the server has keys and none is given, only `status` is returned.
    """
    found = await service.read(_health, service)
    return answered(found if request.scope["state"]["known"] else {"status": found["status"]})


def _health(service: Service) -> dict[str, Any]:
    return {
        "status": "ok",
        "version": __version__,
        "database": "sqlite" if service.store.database.is_sqlite else "postgresql",
        "workers": [
            {
                "name": runner.name,
                "version": runner.version,
                "kinds": list(runner.kinds),
                "started": runner.started.isoformat(),
                "seen": runner.seen.isoformat(),
            }
            for runner in service.store.jobs.runners()
        ],
    }
