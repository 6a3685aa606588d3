"""The addresses of the service itself: health, targets, jobs, measurements."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from leanfront.http.answers import answered
from leanfront.http.metrics import CONTENT_TYPE
from leanfront.http.schemas import objects as schemas
from leanfront.http.service import Ours, Service, problems
from leanfront.http.settings import LARGEST_ID
from leanfront.version import __version__

router = APIRouter(prefix="/api/v1")
measured = APIRouter()


@router.get(
    "/health",
    response_model=schemas.Health,
    response_model_exclude_unset=True,
    responses=problems("storage"),
    tags=["service"],
)
async def health(request: Request, service: Ours) -> Response:
    """Whether the server and its database answer; 503 when the database does not.

    Needs no key. Without one, where keys are needed, it tells nothing but that.
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


@router.get("/targets", response_model=list[schemas.Target], responses=problems(), tags=["service"])
async def targets(service: Ours) -> Response:
    """The targets that the operator registered: what a search can be queued on."""
    return answered([{"name": each.name, "description": each.description} for each in service.registry])


@router.get(
    "/jobs/{id}", response_model=schemas.Job, responses=problems("not-found", "storage"), tags=["service"]
)
async def job(
    service: Ours, id: Annotated[int, Path(description="Id of the job.", ge=1, le=LARGEST_ID, examples=[3])]
) -> Response:
    """A piece of work for a worker, and where it is."""
    found = await service.read(service.store.jobs.job, id)
    return answered(found.to_json())


@measured.get(
    "/metrics",
    response_class=Response,
    responses={**problems(), 200: {"content": {"text/plain": {}}}},
    tags=["service"],
)
async def metrics(service: Ours) -> Response:
    """Measurements in Prometheus's text format."""
    text = await service.read(service.metrics.text)
    return Response(text, headers={"Cache-Control": "no-store"}, media_type=CONTENT_TYPE)
