"""Encoding of server-sent events, and the response that sends them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from contextlib import aclosing
from typing import Any

from fastapi.responses import StreamingResponse
from fastapi.sse import format_sse_event
from starlette.requests import ClientDisconnect

from leanfront.http.streams.hub import Hub

RETRY = format_sse_event(retry=2000)
"""First event of a stream: milliseconds after which a client that lost the stream reconnects."""


def event(kind: str, data: dict[str, Any], identifier: str | None = None) -> bytes:
    """Encode an event. A client that reconnects sends the last identifier that it received."""
    return format_sse_event(event=kind, data_str=json.dumps(data, allow_nan=False), id=identifier)


class EventStream(StreamingResponse):
    """A response that continues until the search ends, the client leaves, or the server stops.

    FastAPI's `EventSourceResponse` does not serve here: it marks routes that are generators, which wait for a slow
    client without limit, fix the interval of keep-alives and the ``Cache-Control`` header, and cannot answer 204.

    Args:
        hub: the server's streams.
        events: encoded events to send.
    """

    media_type = "text/event-stream"

    def __init__(self, hub: Hub, events: AsyncGenerator[bytes]) -> None:
        super().__init__(events, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self._hub = hub
        self._events = events

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        async def send_in_time(message: MutableMapping[str, Any]) -> None:
            async with asyncio.timeout(self._hub.settings.send_seconds):
                await send(message)

        self._hub.enter()
        try:
            async with aclosing(self._events):
                await super().__call__(scope, receive, send_in_time)
        except (OSError, ClientDisconnect):
            pass  # The client has left or accepts nothing (`TimeoutError`); the server closes the connection.
        finally:
            self._hub.leave()
