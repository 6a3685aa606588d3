"""Routes for server-sent events of one search and of all searches."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response

from leanfront.http.openapi import problems
from leanfront.http.service import Ours, SearchName
from leanfront.http.streams.board import NEWEST, follow_all, snapshot
from leanfront.http.streams.channel import StreamPosition, follow_search
from leanfront.http.streams.event_stream import EventStream

router = APIRouter(prefix="/api/v1", tags=["searches"])


@router.get(
    "/searches/{name}/events",
    name="events",
    status_code=200,
    response_class=EventStream,
    responses={
        **problems("not-found", "storage"),
        200: {
            "description": "Events until the search ends: `trial` (its id is its sequence), `frontier`, `state`",
            "content": {
                "text/event-stream": {
                    "schema": {"type": "string"},
                    "example": 'id: 1\nevent: trial\ndata: {"sequence": 1, "trial": 0, "candidate": 17}\n\n',
                }
            },
        },
        204: {"description": "The search has ended and the client has received all of its events"},
    },
)
async def of_search(
    request: Request,
    service: Ours,
    name: SearchName,
    after: Annotated[
        str | None, Query(description="Like `Last-Event-ID`, for clients that cannot send it.", max_length=40)
    ] = None,
    last_event_id: Annotated[
        str | None,
        Header(description="Id of the last event received; the stream continues after it.", max_length=40),
    ] = None,
) -> Response:
    """Follow a search. A broken stream can be continued from its last event with `Last-Event-ID`."""
    position = StreamPosition(last_event_id or after)
    mark = await service.read(service.store.marks.of, name)
    if position.is_end(mark):
        return Response(status_code=204)
    if request.scope["state"].get("head"):
        return Response(media_type=EventStream.media_type)
    return EventStream(service.hub, follow_search(service.hub, mark, position))


@router.get(
    "/events",
    name="events",
    status_code=200,
    response_class=EventStream,
    responses={
        **problems("storage"),
        200: {
            "description": f"Endless events: `search` (as `GET /searches` lists it) for each of the {NEWEST} newest "
            "searches, then for each new or changed one; `removed` for each deleted one",
            "content": {
                "text/event-stream": {
                    "schema": {"type": "string"},
                    "example": 'event: removed\ndata: {"name": "mine"}\n\n',
                }
            },
        },
    },
)
async def of_all(request: Request, service: Ours) -> Response:
    """Follow all searches. A stream cannot be continued: a new one begins with the current state."""
    first = await service.read(snapshot, service.store)
    if request.scope["state"].get("head"):
        return Response(media_type=EventStream.media_type)
    return EventStream(service.hub, follow_all(service.hub, first))
