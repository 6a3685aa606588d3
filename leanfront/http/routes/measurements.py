"""The address that has a worker measure what a budget query needs."""

from __future__ import annotations

from fastapi import APIRouter, Response

from leanfront.core.storage import Job
from leanfront.core.storage.jobs import MEASURE
from leanfront.http.queueing import ACCEPTED, accepted, queue_once
from leanfront.http.schemas.audits import MeasureRequest
from leanfront.http.schemas.objects import Job as JobAnswer
from leanfront.http.service import Ours, SearchName, Service, problems

router = APIRouter(prefix="/api/v1/searches/{name}", tags=["frontier"])


@router.post(
    "/measure",
    status_code=202,
    response_model=JobAnswer,
    responses={
        **problems("not-found", "unsupported-media-type", "storage", body=True),
        202: ACCEPTED,
    },
)
async def measure(service: Ours, name: SearchName, wanted: MeasureRequest) -> Response:
    """Have a worker measure the candidates that `select` names as unmeasured, until none could be a better answer.

    The job's message says what the answer is then; `select` gives it.
    """
    return accepted(await service.write(_queue, service, name, wanted))


def _queue(service: Service, name: str, wanted: MeasureRequest) -> Job:
    budget = wanted.budget()
    # What the worker would refuse is refused here.
    service.store.select(name, budget, strategy=wanted.strategy, stage=wanted.stage)
    parameters = {
        **budget.to_json(),
        "strategy": wanted.strategy,
        "stage": wanted.stage,
        "most": wanted.most,
    }
    return queue_once(service.store, MEASURE, name, parameters)
