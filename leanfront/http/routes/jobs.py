"""Route for jobs, and helpers of the routes that queue them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Path, Response

from leanfront.core.storage import Job
from leanfront.errors import UsageError
from leanfront.http.answers import answered
from leanfront.http.openapi import ok, problems
from leanfront.http.schemas import jobs
from leanfront.http.service import Ours, Service
from leanfront.http.settings import LARGEST_ID

router = APIRouter(prefix="/api/v1", tags=["service"])


@router.get("/jobs/{id}", response_model=jobs.Job, responses=problems("not-found", "storage"))
async def job(
    service: Ours, id: Annotated[int, Path(description="Id of the job.", ge=1, le=LARGEST_ID, examples=[3])]
) -> Response:
    """Return a job and its state."""
    found = await service.read(service.store.jobs.job, id)
    return answered(found.to_json())


def queueing(*slugs: str) -> dict[str, Any]:
    """Return the route keywords of an address that queues a job.

    Args:
        slugs: its kinds of problem, besides those of every such address.
    """
    return {
        "status_code": 202,
        "response_model": jobs.Job,
        "responses": {
            **problems("not-found", *slugs, "storage", body=True),
            202: ok("Queued, or already queued or running", Location="Address of the job."),
        },
    }


def accepted(job: Job) -> Response:
    """Return the response of a route that queued a job."""
    return answered(job.to_json(), 202, {"Location": f"/api/v1/jobs/{job.id}"})


def queue_on(service: Service, candidate: int, kind: str, parameters: Mapping[str, Any]) -> Job:
    """Queue work on a candidate's files, unless an equal job is queued or running.

    Raises:
        NotFoundError: the candidate does not exist.
        UsageError: the candidate has failed.
    """
    found = service.store.candidate(candidate)
    if found.state == "failed":
        raise UsageError(f"candidate {candidate} failed, there is nothing to ship: {found.reason}")
    return service.store.jobs.queue(kind, found.search, candidate=candidate, parameters=parameters)
