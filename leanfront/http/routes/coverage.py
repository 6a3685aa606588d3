"""Route for the coverage report of a search's model."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from leanfront.errors import NotFoundError
from leanfront.http.answers import Answer
from leanfront.http.openapi import reading
from leanfront.http.schemas.coverage import Coverage
from leanfront.http.service import Ours, SearchName, Service

router = APIRouter(prefix="/api/v1/searches/{name}", tags=["frontier"])


@router.get("/coverage", response_model=Coverage, responses=reading())
async def coverage(request: Request, service: Ours, name: SearchName) -> Response:
    """Return which parts of the model the search can compress; 404 until a worker has loaded the target."""
    return (await service.read(_coverage, service, name)).response(request)


def _coverage(service: Service, name: str) -> Answer:
    record = service.store.search(name)
    if not record.coverage:
        raise NotFoundError(
            f"the coverage of search {name!r} is not known: no worker has looked at its target yet"
        )
    return Answer.of(dict(record.coverage))
