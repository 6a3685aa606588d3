"""Routes for showing audits: the kinds, and an audit as tables, figures and galleries."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from leanfront.core.audit import KINDS
from leanfront.core.storage import AuditRecord
from leanfront.errors import NotFoundError
from leanfront.http.answers import Answer
from leanfront.http.openapi import UNCHANGED, problems, reading
from leanfront.http.routes.audits import KindName, require_kind, shown, stored_audit
from leanfront.http.schemas.audit_figures import AuditFigures, AuditKind
from leanfront.http.service import CandidateId, Ours, SearchName, Service
from leanfront.reports.chapters import chapter_of, kinds_in_order, reading_of, title_of

router = APIRouter(prefix="/api/v1", tags=["audits"])

_TOLD = ("search", "candidate", "release", "created", "parameters")


@router.get("/audits/kinds", response_model=list[AuditKind], responses={**problems(), **UNCHANGED})
async def kinds(request: Request, service: Ours) -> Response:
    """List the kinds of audit, in the best order to read them."""
    return (await service.read(_kinds)).response(request)


def _kinds() -> Answer:
    return Answer.of(
        [
            {"kind": kind, "title": title_of(kind), "reading": reading_of(kind), "source": KINDS[kind].source}
            for kind in kinds_in_order()
        ]
    )


@router.get("/candidates/{id}/audits/{kind}/figures", response_model=AuditFigures, responses=reading())
async def figures_of_candidate(request: Request, service: Ours, id: CandidateId, kind: KindName) -> Response:
    """Return a candidate's latest audit of a kind as tables, plotly figures and galleries; 404 if there is none."""
    return (await service.read(_figures, service, None, id, kind)).response(request)


@router.get("/searches/{name}/audits/{kind}/figures", response_model=AuditFigures, responses=reading())
async def figures_of_search(request: Request, service: Ours, name: SearchName, kind: KindName) -> Response:
    """Return a search's latest audit of a kind as tables, plotly figures and galleries; 404 if there is none."""
    return (await service.read(_figures, service, name, None, kind)).response(request)


def _figures(service: Service, name: str | None, candidate: int | None, kind: str) -> Answer:
    require_kind(kind)
    search = name or service.store.candidate(candidate or 0).search
    # The audits that the answer uses, and perhaps more.
    made = service.store.marks.audits(service.store.marks.of(search).id, kind, candidate)
    key = ("figures", kind, candidate, made)
    known = service.answers.get(key)
    if known is not None:
        return known
    record = stored_audit(service, search if candidate is None else None, candidate, kind)
    answer = Answer.of(
        chapter_of(kind, [record, *_fill(service, record)]).to_json()
        | {name: value for name, value in shown(record).items() if name in _TOLD}
    )
    # The audits read may be newer than the key. This is harmless: their old ids are never used again.
    service.answers.put(key, answer)
    return answer


def _fill(service: Service, record: AuditRecord) -> list[AuditRecord]:
    """Return the audits of single candidates that fill the gaps of a search's audit."""
    if record.candidate is not None or not KINDS[record.kind].heavy:
        return []
    versions: list[dict[str, Any]] = record.document.get("versions", [])
    found = []
    for candidate in {each["candidate"]: None for each in versions if each.get("candidate") is not None}:
        try:
            found.append(service.store.audit(record.search, record.kind, candidate))
        except NotFoundError:
            continue
    return found
