"""Routes for searches: queue, list, read, cancel, resume, delete."""

from __future__ import annotations

import itertools
import logging
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request, Response

from leanfront.actions.space_bounds import bounded
from leanfront.core.search import SearchOptions, SearchRecord, queued
from leanfront.core.storage import FrontierStore, require_name
from leanfront.core.storage.jobs import SEARCH
from leanfront.core.targets.registry import Registry
from leanfront.errors import NameTakenError, NotFoundError, StorageError, UsageError
from leanfront.http.answers import answered
from leanfront.http.openapi import ok, problems
from leanfront.http.paging import PAGE, Cursor, Limit, next_link, read_cursor, write_cursor
from leanfront.http.problems import Problem
from leanfront.http.schemas.jobs import Job
from leanfront.http.schemas.searches import Search, SearchRequest, SearchRow
from leanfront.http.service import Ours, SearchName, Service

router = APIRouter(prefix="/api/v1/searches", tags=["searches"])

log = logging.getLogger("leanfront.http")

MOST_NUMBERS = 1_000
"""Largest number appended to make a name unique."""


@router.post(
    "",
    status_code=201,
    response_model=Search,
    responses={
        **problems("name-taken", "unsupported-media-type", "storage", body=True),
        201: ok("Queued", Location="Its address."),
    },
)
async def create(request: Request, service: Ours, wanted: SearchRequest) -> Response:
    """Queue a search on a registered target; a worker runs it when one is free."""
    name, found = await service.write(_create, service.store, service.registry, wanted)
    return answered(found, 201, {"Location": f"/api/v1/searches/{quote(name, safe='')}"})


def _create(store: FrontierStore, registry: Registry, wanted: SearchRequest) -> tuple[str, dict[str, Any]]:
    reference = _reference(registry, wanted.target)
    options = _bounded(store, wanted)
    if wanted.name is not None:
        _require_name(wanted.name)
        record = store.create_search(queued(wanted.name, reference, options, registered=wanted.target))
        return record.name, _status(store, record)
    taken = store.marks.names_like(wanted.target)
    for number in itertools.islice(itertools.count(1), MOST_NUMBERS):
        name = wanted.target if number == 1 else f"{wanted.target}-{number}"
        if name in taken:
            continue
        try:
            record = store.create_search(queued(name, reference, options, registered=wanted.target))
        except NameTakenError:
            continue  # taken by another request meanwhile
        return name, _status(store, record)
    raise NameTakenError(f"there are {MOST_NUMBERS} searches named after '{wanted.target}': choose a name")


def _bounded(store: FrontierStore, wanted: SearchRequest) -> SearchOptions:
    try:
        return bounded(store, wanted.options(), files=False)
    except NotFoundError as error:
        raise Problem("invalid", str(error), [{"pointer": "#/limits", "detail": str(error)}]) from None


def _reference(registry: Registry, target: str) -> str:
    try:
        return registry.reference(target)
    except UsageError as error:
        raise Problem("invalid", str(error), [{"pointer": "#/target", "detail": str(error)}]) from None


def _require_name(name: str) -> None:
    try:
        require_name(name)
        if name in (".", ".."):
            raise UsageError(f"a search cannot be named {name!r}: the name cannot be part of a URL")
    except UsageError as error:
        raise Problem("invalid", str(error), [{"pointer": "#/name", "detail": str(error)}]) from None


def _status(store: FrontierStore, record: SearchRecord) -> dict[str, Any]:
    return {
        **record.to_json(),
        "goal": record.goal,
        "seed": record.seed,
        "reference": dict(record.reference),
        "fingerprint": record.fingerprint,
        "frontier_version": record.frontier_version,
        "registered": record.registered,
        "dense": [measurement.to_json() for measurement in record.dense],
        "job": store.jobs.of_search(record.name).to_json(),
    }


@router.get(
    "",
    response_model=list[SearchRow],
    responses={**problems("storage"), 200: ok("Oldest first", Link='Address of the next page, rel="next".')},
)
async def listed(request: Request, service: Ours, limit: Limit = PAGE, cursor: Cursor = None) -> Response:
    """List the searches of the database, oldest first, paginated."""
    place = read_cursor(cursor, "searches")
    after = 0 if place is None else int(place[0])
    found = await service.read(service.store.searches, after=after, limit=limit + 1)
    headers = {}
    if len(found) > limit:
        last = found[limit - 1].id
        assert last is not None
        headers["Link"] = next_link("/api/v1/searches", f"limit={limit}", write_cursor([last], "searches"))
    return answered([record.to_json() for record in found[:limit]], headers=headers)


@router.get("/{name}", response_model=Search, responses=problems("not-found", "storage"))
async def one(service: Ours, name: SearchName) -> Response:
    """Return a search: its state, its progress, and the job that drives it."""
    return answered(await service.read(_one, service, name))


def _one(service: Service, name: str) -> dict[str, Any]:
    return _status(service.store, service.store.search(name))


@router.post(
    "/{name}/cancel",
    status_code=202,
    response_model=Job,
    responses=problems("not-found", "storage", body=True),
)
async def cancel(service: Ours, name: SearchName) -> Response:
    """Ask a search to stop: at once if it is queued, otherwise when its worker next checks. Its trials are kept."""
    found = await service.write(service.store.jobs.cancel_search, name)
    return answered(found.to_json(), 202)


@router.post(
    "/{name}/resume",
    status_code=202,
    response_model=Job,
    responses=problems("not-found", "busy", "storage", body=True),
)
async def resume(service: Ours, name: SearchName) -> Response:
    """Queue a cancelled or failed search again; it continues from its trials. 409 while it is running."""
    found = await service.write(service.store.jobs.queue, SEARCH, name)
    return answered(found.to_json(), 202)


@router.delete(
    "/{name}",
    status_code=204,
    response_class=Response,
    responses=problems("not-found", "busy", "storage", body=True),
)
async def delete(service: Ours, name: SearchName) -> Response:
    """Delete a search with everything that belongs to it, including files. 409 while a process drives it."""
    await service.write(_delete, service, name)
    return Response(status_code=204)


def _delete(service: Service, name: str) -> None:
    files = service.store.delete_search(name)
    try:
        service.shelf.discard(files)
    except StorageError as error:
        # The search is deleted all the same; its files are unneeded, and a check finds them.
        log.warning("files of search %r stay: %s", name, error)
