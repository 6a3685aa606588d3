"""Rendered answers: JSON with entity tags, and a cache of them."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fastapi import Request, Response

_REVALIDATE = {"Cache-Control": "private, no-cache"}
_NEVER = {"Cache-Control": "no-store"}


@dataclass(frozen=True)
class Answer:
    """A rendered answer.

    Args:
        body: JSON document.
        tag: entity tag; equal bodies have equal tags, whichever server rendered them.
        headers: further headers.
    """

    body: bytes
    tag: str
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, value: Any, headers: Mapping[str, str] | None = None) -> Answer:
        """Render a JSON value, unless it is already an answer."""
        body = value if isinstance(value, bytes) else rendered(value)
        own = dict(headers or {})
        digest = hashlib.sha256(body + repr(sorted(own.items())).encode()).hexdigest()[:32]
        return cls(body, f'"{digest}"', own)

    def response(self, request: Request) -> Response:
        """Return the response to a request: 304 if the client already has the answer."""
        headers = {"ETag": self.tag, **_REVALIDATE, **self.headers}
        if has_tag(request.headers.get("if-none-match"), self.tag):
            return Response(status_code=304, headers=headers)
        return Response(self.body, headers=headers, media_type="application/json")


class Answers:
    """Cache of the most recently used answers; safe for several threads.

    Args:
        most: largest total size of the bodies in bytes.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._bytes = 0
        self._found: OrderedDict[Hashable, Answer] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Answer | None:
        """Return the answer under a key if it is in the cache."""
        with self._lock:
            answer = self._found.get(key)
            if answer is not None:
                self._found.move_to_end(key)
            return answer

    def put(self, key: Hashable, answer: Answer) -> None:
        """Store an answer; the least recently used ones are dropped when the cache is full."""
        with self._lock:
            old = self._found.pop(key, None)
            self._bytes += len(answer.body) - (0 if old is None else len(old.body))
            self._found[key] = answer
            while self._bytes > self._most:
                self._bytes -= len(self._found.popitem(last=False)[1].body)


def has_tag(header: str | None, tag: str) -> bool:
    """Whether an ``If-None-Match`` header names an entity tag."""
    if header is None:
        return False
    tags = [each.strip().removeprefix("W/") for each in header.split(",")]
    return "*" in tags or tag in tags


def rendered(value: Any) -> bytes:
    """Render a value as JSON. Raises `ValueError` for NaN and infinities, which JSON does not have."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()


def answered(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Render an answer that clients must not cache."""
    return Response(rendered(value), status, {**_NEVER, **(headers or {})}, "application/json")
