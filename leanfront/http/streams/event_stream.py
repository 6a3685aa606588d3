"""Events as they are sent, and the answer that sends them; a client that accepts nothing is disconnected."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

from fastapi import Response

from leanfront.http.streams.hub import Hub


def event(kind: str, data: dict[str, Any], identifier: str | None = None) -> bytes:
    """An event as it is sent. Who comes back sends the identifier of the last one that had any."""
    head = "" if identifier is None else f"id: {identifier}\n"
    return f"{head}event: {kind}\ndata: {json.dumps(data, allow_nan=False)}\n\n".encode()


class EventStream(Response):
    """An answer that goes on until the search ends, the client leaves, or the server stops.

    Args:
        hub: the server's streams.
        events: what to send.
    """

    media_type = "text/event-stream"

    def __init__(self, hub: Hub, events: AsyncIterator[bytes]) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        # The length is not known.
        del self.headers["content-length"]
        self._hub = hub
        self._events = events

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        self._hub.enter()
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            sending = asyncio.ensure_future(self._send(send))
            leaving = asyncio.ensure_future(_left(receive))
            try:
                await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (sending, leaving):
                    task.cancel()
                outcome = await asyncio.gather(sending, leaving, return_exceptions=True)
            if isinstance(outcome[0], Exception) and not isinstance(outcome[0], OSError):
                raise outcome[0]
        finally:
            self._hub.leave()

    async def _send(self, send: Callable[[MutableMapping[str, Any]], Awaitable[None]]) -> None:
        events = self._events
        try:
            async for chunk in events:
                async with asyncio.timeout(self._hub.settings.send_seconds):
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            raise OSError("the client accepts nothing") from None
        finally:
            await events.aclose()  # type: ignore[attr-defined]


async def _left(receive: Callable[[], Awaitable[MutableMapping[str, Any]]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
