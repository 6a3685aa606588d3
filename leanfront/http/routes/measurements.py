"""Route for measuring what a budget query needs."""

from __future__ import annotations

from fastapi import APIRouter, Response

from leanfront.core.storage import Job
from leanfront.core.storage.jobs import MEASURE
from leanfront.http.routes.jobs import accepted, queueing
from leanfront.http.schemas.measurements import MeasureRequest
from leanfront.http.service import Ours, SearchName, Service

router = APIRouter(prefix="/api/v1/searches/{name}", tags=["frontier"])


@router.post("/measure", **queueing("unsupported-media-type"))
async def measure(service: Ours, name: SearchName, wanted: MeasureRequest) -> Response:
    """Have a worker measure the candidates that `select` lists as unmeasured, until none could be a better answer.

    The message of the job tells the new answer; `select` returns it.
    """
    return accepted(await service.write(_queue, service, name, wanted))


def _queue(service: Service, name: str, wanted: MeasureRequest) -> Job:
    budget = wanted.budget()
    # Refuse here what the worker would refuse.
    service.store.select(name, budget, strategy=wanted.strategy, stage=wanted.stage)
    parameters = {
        **budget.to_json(),
        "strategy": wanted.strategy,
        "stage": wanted.stage,
        "most": wanted.most,
    }
    return service.store.jobs.queue(MEASURE, name, parameters=parameters)
