"""Routes for budget queries: which candidate of a search to ship."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from leanfront.actions.selection_options import SelectionOptions
from leanfront.core.storage.memory import Version
from leanfront.core.storage.selection import is_of_front
from leanfront.http.answers import Answer
from leanfront.http.openapi import TAG, ok, reading
from leanfront.http.queries import Asked, Limits, Stage, limit_parameters, strategy_parameters
from leanfront.http.schemas.selections import Feasible, Infeasible
from leanfront.http.service import Ours, SearchName, Service
from leanfront.options import options_of

_OPTIONS = options_of(SelectionOptions)

router = APIRouter(prefix="/api/v1/searches/{name}", tags=["frontier"])


@router.get(
    "/select",
    response_model=Feasible | Infeasible,
    responses={**reading(), 200: ok("The answer", **TAG)},
    openapi_extra={"parameters": [*limit_parameters(), *strategy_parameters()]},
)
async def select(
    request: Request,
    service: Ours,
    name: SearchName,
    limits: Limits,
    strategy: Annotated[
        str,
        Query(
            description=_OPTIONS["strategy"].help,
            max_length=_OPTIONS["strategy"].longest,
            json_schema_extra={"enum": list(_OPTIONS["strategy"].choices or ())},
        ),
    ] = _OPTIONS["strategy"].default,
    stage: Stage = "after",
    order: Annotated[
        str | None,
        Query(
            description=f"{_OPTIONS['order'].help} Comma-separated.",
            max_length=500,
            examples=list(_OPTIONS["order"].examples),
        ),
    ] = None,
    tolerance: Annotated[
        float | None,
        Query(
            description=_OPTIONS["tolerance"].help,
            ge=_OPTIONS["tolerance"].least,
            allow_inf_nan=False,
        ),
    ] = None,
) -> Response:
    """Return the candidate to ship within a budget, or `feasible: false` with the nearest one."""
    options = {
        "order": None if order is None else tuple(part.strip() for part in order.split(",")),
        "tolerance": limits.tolerances or tolerance,
        "weights": limits.weights or None,
    }
    answer = await service.read(_select, service, name, limits, strategy, options, stage)
    return answer.response(request)


@router.get(
    "/knee",
    response_model=Feasible | Infeasible,
    responses={**reading(), 200: ok("The answer", **TAG)},
    openapi_extra={"parameters": limit_parameters()},
)
async def knee(
    request: Request, service: Ours, name: SearchName, limits: Limits, stage: Stage = "after"
) -> Response:
    """Return the candidate beyond which more cost gains little: `select` with the strategy `knee`."""
    answer = await service.read(_select, service, name, limits, "knee", {}, stage)
    return answer.response(request)


def _select(
    service: Service, name: str, limits: Asked, strategy: str, options: dict[str, Any], stage: str
) -> Answer:
    mark = service.store.marks.of(name)
    kept = is_of_front(mark.objectives, limits.budget, strategy, options)
    key: Hashable = ("select", strategy, stage, limits.canonical, mark.frontier)
    known = service.answers.get(key) if kept else None
    if known is not None:
        return known
    version = Version(mark.id, mark.frontier_version) if kept else None
    found = service.store.select_at(version, name, limits.budget, strategy, options, stage)
    answer = Answer.of(found.to_json())
    if kept:
        service.answers.put(key, answer)
    return answer
