"""ASGI middleware: request ids, authentication, load limits, access log."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from leanfront.http.metrics import Metrics
from leanfront.http.pages import FOLDERS, PAGES
from leanfront.http.problems import Problem
from leanfront.http.settings import Settings

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_OPEN = frozenset({"/api/v1/health", "/openapi.json", *(path for path in PAGES if "{" not in path)})
STREAMS = frozenset({"/api/v1/events", "/api/v1/searches/{name}/events"})
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_BEARER = re.compile(rb"bearer +([!-~]+) *", re.IGNORECASE)

log = logging.getLogger("leanfront.http")


class Gate:
    """ASGI middleware around the whole application.

    Args:
        app: the application to protect.
        settings: keys and limits.
        metrics: metrics that count the requests.
    """

    def __init__(self, app: App, settings: Settings, metrics: Metrics) -> None:
        self._app = app
        self._settings = settings
        self._metrics = metrics
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = _headers(scope)
        request_id = _request_id(headers)
        begin, status, size = time.perf_counter(), 0, 0
        # All requests share the state of the lifespan.
        scope = {**scope, "state": {**scope.get("state", {}), "request_id": request_id}}
        method = scope["method"]
        if method == "HEAD":
            # The server drops the body of the answer to a HEAD request.
            scope["method"], scope["state"]["head"] = "GET", True

        async def sending(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"x-request-id", request_id.encode()),
                    (b"x-content-type-options", b"nosniff"),
                ]
            else:
                size += len(message.get("body", b""))
            await send(message)

        self._running += 1
        self._metrics.running.set(self._running)
        try:
            await self._pass(scope, headers, receive, sending)
        except Problem as problem:
            if status:
                raise
            await problem.response(request_id)(scope, receive, sending)
        except Exception:
            log.exception("the request failed", extra={"request_id": request_id})
            if status:
                # Part of the answer is sent: only closing the connection tells the client.
                raise
            failure = Problem("internal", "the server's log says why, under this request's id")
            await failure.response(request_id)(scope, receive, sending)
        finally:
            self._running -= 1
            self._metrics.running.set(self._running)
            seconds = time.perf_counter() - begin
            route = getattr(scope.get("route"), "path", None) or "none"
            self._metrics.request(method, route, status, None if route in STREAMS else seconds)
            client = scope.get("client")
            log.info(
                "request",
                extra={
                    "request_id": request_id,
                    "method": method[:20],
                    "route": route,
                    "status": status,
                    "milliseconds": round(1000 * seconds, 3),
                    "bytes": size,
                    "client": client[0] if client else None,
                },
            )

    async def _pass(self, scope: Scope, headers: dict[bytes, bytes], receive: Receive, send: Send) -> None:
        settings = self._settings
        if self._running > settings.requests + settings.streams:
            raise Problem("overloaded", "too many requests are running; try again in a moment")
        if settings.keys:
            scope["state"]["known"] = self._has_key(headers)
            if not scope["state"]["known"] and not is_open(scope["path"]):
                raise _unauthorized(headers)
        else:
            scope["state"]["known"] = True
            _require_local(scope, headers)
        if scope["method"] in SAFE:
            await self._app(scope, receive, send)
            return
        body = await self._body(headers, receive)
        await self._app(scope, _replayed(body, receive), send)

    def _has_key(self, headers: dict[bytes, bytes]) -> bool:
        match = _BEARER.fullmatch(headers.get(b"authorization", b""))
        return match is not None and self._settings.keys.admit(match[1])

    async def _body(self, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        """Read the whole body; the limit is small enough to read it before it is parsed."""
        most = self._settings.body_bytes
        large = Problem(
            "too-large", f"a request's body has {most} bytes at most", headers={"Connection": "close"}
        )
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or len(length) > 18 or int(length) > most:
            raise large
        parts: list[bytes] = []
        try:
            async with asyncio.timeout(self._settings.body_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Problem("malformed", "the connection was closed before the body was over")
                    parts.append(message.get("body", b""))
                    if sum(map(len, parts)) > most:
                        raise large
                    if not message.get("more_body", False):
                        return b"".join(parts)
        except TimeoutError:
            raise Problem(
                "too-slow",
                f"the body did not arrive within {self._settings.body_seconds:g} s",
                headers={"Connection": "close"},
            ) from None


def is_open(path: str) -> bool:
    """Whether an address needs no key, since it reveals nothing about searches. Pages ask for a key themselves."""
    return path in _OPEN or path.startswith(FOLDERS)


def _headers(scope: Scope) -> dict[bytes, bytes]:
    """Return headers by name; of a repeated header, the last value."""
    return dict(scope["headers"])


def _request_id(headers: dict[bytes, bytes]) -> str:
    given = headers.get(b"x-request-id", b"")
    return given.decode() if _ID.fullmatch(given) else uuid.uuid4().hex


def _unauthorized(headers: dict[bytes, bytes]) -> Problem:
    if b"authorization" not in headers:
        return Problem("unauthorized", "send the header Authorization: Bearer KEY")
    return Problem(
        "unauthorized",
        "the key is not one of this server's",
        headers={"WWW-Authenticate": 'Bearer realm="leanfront", error="invalid_token"'},
    )


def _require_local(scope: Scope, headers: dict[bytes, bytes]) -> None:
    """Without keys, refuse requests that a web page can make a browser on this machine send.

    A page of another site can reach a loopback port under its own host name, if its owner points that name to
    127.0.0.1 (DNS rebinding). It can also send simple requests to the port itself; these name their origin.
    """
    host = headers.get(b"host", b"").decode("latin-1")
    if not is_loopback(_host_name(f"//{host}")):
        raise Problem(
            "misdirected", "without API keys this server answers only under a loopback name such as localhost"
        )
    origin = headers.get(b"origin")
    if scope["method"] not in SAFE and origin is not None and not _is_same(origin.decode("latin-1"), host):
        raise Problem("cross-site", "this request comes from a web page of another site")


def _is_same(origin: str, host: str) -> bool:
    return origin.partition("://")[2].lower() == host.lower()


def _host_name(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's loopback: localhost, 127.0.0.0/8 or ::1."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def _replayed(body: bytes, receive: Receive) -> Receive:
    waiting = [body]

    async def replay() -> Message:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}
        return await receive()

    return replay
