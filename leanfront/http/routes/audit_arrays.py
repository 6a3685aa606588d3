"""Route for the arrays of a search's audits, paginated."""

from __future__ import annotations

import math
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from leanfront.core.audit.arrays import unpacked
from leanfront.core.objectives.documents import plain
from leanfront.errors import NotFoundError
from leanfront.http.answers import Answer
from leanfront.http.openapi import reading
from leanfront.http.routes.audits import KindName, stored_audit
from leanfront.http.schemas.audit_arrays import Rows
from leanfront.http.service import Ours, SearchName, Service

router = APIRouter(prefix="/api/v1/searches/{name}", tags=["audits"])
MOST_ROWS = 1000
MOST_VALUES = 200_000
"""Largest number of values on one page; large arrays get fewer rows."""


@router.get("/audits/{kind}/arrays/{array}", response_model=Rows, responses=reading())
async def rows(
    request: Request,
    service: Ours,
    name: SearchName,
    kind: KindName,
    array: Annotated[str, Path(description="A name in `arrays` of the audit's document.", max_length=100)],
    offset: Annotated[int, Query(description="Index of the first row.", ge=0, le=10**9)] = 0,
    limit: Annotated[int, Query(description="Largest number of rows.", ge=1, le=MOST_ROWS)] = 100,
) -> Response:
    """Return rows of an array of a search's audit."""
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
