"""Routes for candidates' files."""

from __future__ import annotations

import base64
import re
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse

from leanfront.core.compressors.exchange.formats import FORMATS, PACKED
from leanfront.core.storage import ArtifactRecord
from leanfront.core.storage.jobs import EXPORT
from leanfront.errors import NotFoundError
from leanfront.http.answers import Answer, has_tag
from leanfront.http.openapi import ok, reading
from leanfront.http.problems import Problem
from leanfront.http.routes.jobs import accepted, queue_on, queueing
from leanfront.http.schemas.files import File
from leanfront.http.service import CandidateId, Ours, Service

router = APIRouter(prefix="/api/v1/candidates/{id}", tags=["candidates"])

_FORMATS = list(FORMATS)
_RANGE = re.compile(r"bytes=(?:(?P<first>\d{1,18})-(?P<last>\d{0,18})|-(?P<suffix>\d{1,18}))")

Format = Annotated[
    str, Query(description="Format of the file.", max_length=20, json_schema_extra={"enum": _FORMATS})
]


@router.get(
    "/artifact",
    response_class=FileResponse,
    responses={
        **reading("range", "artifact"),
        200: {
            **ok(
                "The file",
                ETag="SHA-256 of the file in hexadecimal digits, quoted: send it as `If-None-Match`.",
                Repr_Digest="SHA-256 of the file (RFC 9530).",
                Content_Disposition="Suggested file name.",
                Accept_Ranges="bytes: part of the file can be requested with `Range`.",
            ),
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        },
        206: {"description": "The part requested with `Range`"},
    },
)
async def artifact(request: Request, service: Ours, id: CandidateId, format: Format = PACKED) -> Response:
    """Download a candidate's file. 404 if it has not been made; `POST` to this address has a worker make it.

    Searches keep the packed files (`safetensors`) of candidates that enter the frontier.
    """
    _require_format(format)
    found = await service.read(_found, service, id, format)
    tag = f'"{found.digest}"'
    headers = {
        "ETag": tag,
        "Repr-Digest": f"sha-256=:{base64.b64encode(bytes.fromhex(found.digest)).decode()}:",
        "Cache-Control": "private, no-cache",
    }
    if has_tag(request.headers.get("if-none-match"), tag):
        return Response(status_code=304, headers=headers)
    name = await service.read(_name, service, id, format)
    place = await service.read(service.shelf.folder.require_whole, found.digest, found.bytes)
    headers["Content-Length"] = str(found.bytes)
    answer = FileResponse(place, headers=headers, media_type="application/octet-stream", filename=name)
    if request.scope["state"].get("head"):
        return Response(headers=dict(answer.headers))
    _read_range(request, found.bytes)
    return answer


def _found(service: Service, identifier: int, format: str) -> ArtifactRecord:
    found = service.shelf.find(identifier, format)
    if found is None or found.digest not in service.shelf.folder:
        service.store.candidate(identifier)
        raise NotFoundError(
            f"candidate {identifier} has no {format} file yet: POST to this address, and a worker makes it"
        )
    return found


def _name(service: Service, identifier: int, format: str) -> str:
    search = re.sub(r"[^A-Za-z0-9._-]+", "_", service.store.candidate(identifier).search).strip("._")
    return f"{search or 'candidate'}-{identifier}.{format}"


def _read_range(request: Request, size: int) -> None:
    """Check a `Range` header: ignore one that cannot be parsed, as HTTP requires; refuse one beyond the file."""
    asked = request.headers.get("range")
    match = None if asked is None else _RANGE.fullmatch(asked)
    backwards = bool(match and match["last"] and int(match["last"]) < int(match["first"]))
    if asked is not None and (match is None or backwards):
        request.scope["headers"] = [each for each in request.scope["headers"] if each[0] != b"range"]
    elif match and (int(match["first"]) >= size if match["first"] else int(match["suffix"]) == 0):
        raise Problem(
            "range",
            f"the file has {size} bytes: {asked} is not in it",
            headers={"Content-Range": f"bytes */{size}"},
        )


@router.get("/artifacts", response_model=list[File], responses=reading())
async def artifacts(request: Request, service: Ours, id: CandidateId) -> Response:
    """List a candidate's files, in each available format."""
    return (await service.read(_artifacts, service, id)).response(request)


def _artifacts(service: Service, identifier: int) -> Answer:
    service.store.candidate(identifier)
    found: list[Any] = [_file(service, identifier, format) for format in _FORMATS]
    return Answer.of(found)


def _file(service: Service, identifier: int, format: str) -> dict[str, Any]:
    record = service.shelf.find(identifier, format)
    there = record is not None and record.digest in service.shelf.folder
    return {
        "format": format,
        "bytes": record.bytes if record and there else None,
        "sha256": record.digest if record and there else None,
    }


@router.post("/artifact", **queueing())
async def make(service: Ours, id: CandidateId, format: Format = PACKED) -> Response:
    """Have a worker make a candidate's file, unless there is an undamaged one, and verify the candidate."""
    _require_format(format)
    return accepted(await service.write(queue_on, service, id, EXPORT, {"format": format}))


def _require_format(format: str) -> None:
    if format not in _FORMATS:
        detail = f"unknown format; choose from {', '.join(_FORMATS)}"
        raise Problem("invalid", f"format: {detail}", [{"parameter": "format", "detail": detail}])
