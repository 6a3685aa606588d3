"""Route for all candidates of a search, as columns."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Annotated
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Query, Request, Response

from leanfront.http.answers import Answer
from leanfront.http.openapi import TAG, ok, reading
from leanfront.http.paging import Cursor, next_link, read_cursor, write_cursor
from leanfront.http.problems import Problem
from leanfront.http.schemas.columns import Columns
from leanfront.http.service import Ours, SearchName, Service

router = APIRouter(prefix="/api/v1/searches/{name}", tags=["searches"])
PAGE = 1_000
LONGEST_PAGE = 10_000
MOST_COLUMNS = 32


@router.get(
    "/candidates",
    response_model=Columns,
    responses={
        **reading(),
        200: ok("A page of the candidates", Link='Address of the next page, rel="next".', **TAG),
    },
)
async def candidates(
    request: Request,
    service: Ours,
    name: SearchName,
    columns: Annotated[
        str | None,
        Query(
            description=f"Up to {MOST_COLUMNS} measurements, comma-separated, each a `name` (a cost, or a value on "
            "the validation split) or `name:split`; the search's objectives by default.",
            max_length=2_000,
            examples=["accuracy,memory_bytes,macs"],
        ),
    ] = None,
    limit: Annotated[int, Query(description="Largest number of candidates.", ge=1, le=LONGEST_PAGE)] = PAGE,
    cursor: Cursor = None,
) -> Response:
    """Return all candidates as columns, including failed and stopped ones: data for charts of thousands of them."""
    answer = await service.read(_candidates, service, name, _asked(columns), limit, cursor)
    return answer.response(request)


def _asked(columns: str | None) -> tuple[str, ...]:
    names = () if columns is None else tuple(dict.fromkeys(each.strip() for each in columns.split(",")))
    if "" in names or len(names) > MOST_COLUMNS:
        wrong = "a column has no name" if "" in names else f"more than {MOST_COLUMNS} columns"
        raise Problem("invalid", f"columns: {wrong}", [{"parameter": "columns", "detail": wrong}])
    return names


def _candidates(
    service: Service, name: str, asked: tuple[str, ...], limit: int, cursor: str | None
) -> Answer:
    mark = service.store.marks.of(name)
    about = ("candidates", mark.id, asked)
    place = read_cursor(cursor, *about)
    # A dominated candidate does not change the frontier's version; the largest id tells what else is stored.
    key: Hashable = (*about, mark.frontier, service.store.marks.last_candidate(mark.id), limit, cursor)
    known = service.answers.get(key)
    if known is not None:
        return known
    page = service.store.columns(name, *asked, after=0 if place is None else int(place[0]), limit=limit)
    found, headers = page.to_json(), {}
    if page.last is not None:
        found["next"] = write_cursor([page.last], *about)
        query = urlencode({"columns": ",".join(asked), "limit": limit} if asked else {"limit": limit})
        path = f"/api/v1/searches/{quote(name, safe='')}/candidates"
        headers["Link"] = next_link(path, query, found["next"])
    answer = Answer.of(found, headers)
    # The page may be newer than the key. This is harmless: an old version never comes again.
    service.answers.put(key, answer)
    return answer
