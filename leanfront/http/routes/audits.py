"""Routes for audits of candidates and searches: queue one, and read the latest results."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Path, Request, Response

from leanfront.actions.audit_request import require_auditable
from leanfront.core.audit import KINDS, PATHS
from leanfront.core.search import Candidate
from leanfront.core.storage import AuditRecord, Job
from leanfront.core.storage.jobs import AUDIT
from leanfront.errors import NotFoundError, UsageError
from leanfront.http.answers import Answer
from leanfront.http.openapi import reading
from leanfront.http.problems import Problem
from leanfront.http.routes.jobs import accepted, queueing
from leanfront.http.schemas.audits import Audit, AuditRequest, AuditRow, SearchAuditRequest
from leanfront.http.service import CandidateId, Ours, SearchName, Service

router = APIRouter(prefix="/api/v1", tags=["audits"])

KindName = Annotated[
    str,
    Path(
        description="Kind of audit.",
        max_length=100,
        json_schema_extra={"enum": list(KINDS)},
        examples=["classes"],
    ),
]


@router.post("/candidates/{id}/audits", **queueing("unsupported-media-type"))
async def audit_candidate(service: Ours, id: CandidateId, wanted: AuditRequest) -> Response:
    """Have a worker audit a candidate: how it differs from the dense model beyond its loss of accuracy."""
    return accepted(await service.write(_queue_one, service, id, wanted))


def _queue_one(service: Service, identifier: int, wanted: AuditRequest) -> Job:
    candidate = service.store.candidate(identifier)
    require_auditable([candidate], candidate.search)
    return service.store.jobs.queue(
        AUDIT, candidate.search, candidate=identifier, parameters=wanted.parameters()
    )


@router.post("/searches/{name}/audits", **queueing("unsupported-media-type"))
async def audit_search(service: Ours, name: SearchName, wanted: SearchAuditRequest) -> Response:
    """Have a worker audit several candidates of a search: the given ones, or some spread over its frontier."""
    return accepted(await service.write(_queue_many, service, name, wanted))


def _queue_many(service: Service, name: str, wanted: SearchAuditRequest) -> Job:
    record = service.store.search(name)
    require_auditable([_named(service, number, each) for number, each in enumerate(wanted.candidates)], name)
    parameters = wanted.parameters()
    alone = all(KINDS[kind].alone for kind in wanted.kinds)
    if not (alone or wanted.candidates or parameters["options"]["levels"] or record.frontier_size):
        raise UsageError(f"search '{name}' has no candidate yet: audit it when it has one, or give levels")
    return service.store.jobs.queue(AUDIT, name, parameters=parameters)


def _named(service: Service, number: int, identifier: int) -> Candidate:
    try:
        return service.store.candidate(identifier)
    except NotFoundError as error:
        where = {"pointer": f"#/candidates/{number}", "detail": str(error)}
        raise Problem("invalid", str(error), [where]) from None


@router.get("/candidates/{id}/audits", response_model=list[AuditRow], responses=reading())
async def audits_of_candidate(request: Request, service: Ours, id: CandidateId) -> Response:
    """List a candidate's audits without their documents."""
    return (await service.read(_rows, service, None, id)).response(request)


@router.get("/searches/{name}/audits", response_model=list[AuditRow], responses=reading())
async def audits_of_search(request: Request, service: Ours, name: SearchName) -> Response:
    """List the audits of a whole search without their documents."""
    return (await service.read(_rows, service, name, None)).response(request)


def _rows(service: Service, name: str | None, candidate: int | None) -> Answer:
    search = name or service.store.candidate(candidate or 0).search
    records = service.store.audits(search, candidate, documents=False)
    found: list[Any] = [shown(record) for record in records]
    for each in found:
        del each["document"]
    return Answer.of(found)


@router.get("/candidates/{id}/audits/{kind}", response_model=Audit, responses=reading())
async def audit_of_candidate(request: Request, service: Ours, id: CandidateId, kind: KindName) -> Response:
    """Return a candidate's latest audit of a kind; 404 if there is none."""
    return (await service.read(_one_audit, service, None, id, kind)).response(request)


@router.get("/searches/{name}/audits/{kind}", response_model=Audit, responses=reading())
async def audit_of_search(request: Request, service: Ours, name: SearchName, kind: KindName) -> Response:
    """Return a search's latest audit of a kind; 404 if there is none."""
    return (await service.read(_one_audit, service, name, None, kind)).response(request)


@router.get("/searches/{name}/limits", response_model=Audit, responses=reading())
async def limits(request: Request, service: Ours, name: SearchName) -> Response:
    """Return how far the search's model can be compressed before it breaks: its latest audit of kind `limits`."""
    return (await service.read(_one_audit, service, name, None, "limits")).response(request)


def _one_audit(service: Service, name: str | None, candidate: int | None, kind: str) -> Answer:
    """Return the latest audit of a kind, with only the shapes of arrays."""
    return Answer.of(shown(stored_audit(service, name, candidate, kind)))


def stored_audit(service: Service, name: str | None, candidate: int | None, kind: str) -> AuditRecord:
    """Return the latest audit of a kind.

    Raises:
        NotFoundError: the search, candidate, kind or audit does not exist.
    """
    require_kind(kind)
    search = name or service.store.candidate(candidate or 0).search
    service.store.search(search)
    try:
        return service.store.audit(search, kind, candidate)
    except NotFoundError:
        what = f"search {search!r}" if candidate is None else f"candidate {candidate}"
        path = f"searches/{quote(search, safe='')}" if candidate is None else f"candidates/{candidate}"
        raise NotFoundError(
            f'{what} has no audit {kind!r} yet: POST {{"kinds": ["{kind}"]}} to /api/v1/{path}/audits, and a worker '
            "makes it"
        ) from None


def require_kind(kind: str) -> None:
    """Refuse an unknown kind of audit without asking the database. Raises `NotFoundError`."""
    if kind not in KINDS:
        raise NotFoundError(f"there is no kind of audit {kind!r}; there are: {', '.join(KINDS)}")


def shown(record: AuditRecord) -> dict[str, Any]:
    """Return an AUDIT object for the network, without folders on the worker's machine and without arrays.

    Arrays have their own routes.
    """
    document = dict(record.document)
    if "arrays" in document:
        document["arrays"] = {
            name: {key: each[key] for key in ("shape", "dtype")} for name, each in document["arrays"].items()
        }
    parameters = _without_folders(record.parameters)
    return record.to_json() | {"parameters": parameters, "document": document}


def _without_folders(parameters: Mapping[str, Any]) -> dict[str, Any]:
    named = {path: parameters[path] for path in PATHS if parameters.get(path) is not None}
    # The audit may have been made on Windows.
    last = {path: PurePath(str(value).replace("\\", "/")).name for path, value in named.items()}
    return {**parameters, **{path: name or True for path, name in last.items()}}
