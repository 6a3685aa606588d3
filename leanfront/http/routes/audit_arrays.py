"""The address of the arrays of an audit's document, a page at a time; and that of a search's limits."""

from __future__ import annotations

import math
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, Field

from leanfront.core.audit.arrays import unpacked
from leanfront.core.objectives.documents import plain
from leanfront.errors import NotFoundError
from leanfront.http.answers import Answer
from leanfront.http.routes.audits import KindName, one_audit, stored_audit
from leanfront.http.schemas import audits as schemas
from leanfront.http.service import Ours, SearchName, Service, problems

router = APIRouter(prefix="/api/v1/searches/{name}", tags=["audits"])
MOST_ROWS = 1000
MOST_VALUES = 200_000
"""Of one page: rows of a large array are fewer."""

_READING = {**problems("not-found", "storage"), 304: {"description": "What the client has is still true"}}


class Rows(BaseModel):
    """Rows of an array."""

    array: str = Field(examples=["angle"])
    shape: list[int] = Field(description="Of the whole array.", examples=[[30, 300]])
    dtype: str = Field(description="As it is stored.", examples=["float16"])
    offset: int = Field(description="Place of the first row shown along the first axis.", examples=[0])
    rows: list[Any] = Field(description="Values; null where there is none.")
    next: int | None = Field(description="The offset of the next page; null on the last.", examples=[100])


@router.get("/limits", response_model=schemas.Audit, responses=_READING)
async def limits(request: Request, service: Ours, name: SearchName) -> Response:
    """How far the search's model can be compressed before it breaks: its audit of the kind `limits`."""
    return (await service.read(one_audit, service, name, None, "limits")).response(request)


@router.get("/audits/{kind}/arrays/{array}", response_model=Rows, responses=_READING)
async def rows(
    request: Request,
    service: Ours,
    name: SearchName,
    kind: KindName,
    array: Annotated[str, Path(description="A name in the document's `arrays`.", max_length=100)],
    offset: Annotated[int, Query(description="Place of the first row.", ge=0, le=10**9)] = 0,
    limit: Annotated[int, Query(description="How many rows at most.", ge=1, le=MOST_ROWS)] = 100,
) -> Response:
    """Rows of an array in what an audit of a search found."""
    return (await service.read(_rows, service, name, kind, array, offset, limit)).response(request)


def _rows(service: Service, name: str, kind: str, array: str, offset: int, limit: int) -> Answer:
    entries = stored_audit(service, name, None, kind).document.get("arrays", {})
    if array not in entries:
        listed = ", ".join(entries) or "none"
        raise NotFoundError(f"the audit {kind!r} of search {name!r} has no array {array!r}; it has {listed}")
    values = unpacked(entries[array])
    if not values.ndim:
        values = values[None]
    each = max(1, math.prod(values.shape[1:]))
    count = min(limit, max(1, MOST_VALUES // each))
    end = offset + count
    return Answer.of(
        {
            "array": array,
            "shape": list(values.shape),
            "dtype": entries[array]["dtype"],
            "offset": offset,
            "rows": plain(values[offset:end]),
            "next": end if end < len(values) else None,
        }
    )
