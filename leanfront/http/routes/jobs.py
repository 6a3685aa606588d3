"""The address of jobs, and what addresses share that queue one."""

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
    """A piece of work for a worker, and where it is."""
    found = await service.read(service.store.jobs.job, id)
    return answered(found.to_json())


def queueing(*slugs: str) -> dict[str, Any]:
    """What an address that queues a job says of itself, as keywords of its route.

    Args:
        slugs: kinds of refusals besides those of every such address.
    """
    return {
        "status_code": 202,
        "response_model": jobs.Job,
        "responses": {
            **problems("not-found", *slugs, "storage", body=True),
            202: ok("Queued, or waiting already", Location="Address of the job."),
        },
    }


def accepted(job: Job) -> Response:
    """The answer of an address that queues a job."""
    return answered(job.to_json(), 202, {"Location": f"/api/v1/jobs/{job.id}"})


def queue_on(service: Service, candidate: int, kind: str, parameters: Mapping[str, Any]) -> Job:
    """Queue work on a candidate's files, unless the same waits or runs already.

    Raises:
        NotFoundError: no such candidate.
        UsageError: it failed.
    """
    found = service.store.candidate(candidate)
    if found.state == "failed":
        raise UsageError(f"candidate {candidate} failed, there is nothing to ship: {found.reason}")
    return service.store.jobs.queue(kind, found.search, candidate=candidate, parameters=parameters)
