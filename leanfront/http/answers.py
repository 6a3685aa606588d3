"""Rendered answers: JSON, entity tags, and those of the same frontier kept."""

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
        body: JSON.
        tag: its entity tag: equal for equal bodies, whichever server rendered them.
        headers: further headers.
    """

    body: bytes
    tag: str
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, value: Any, headers: Mapping[str, str] | None = None) -> Answer:
        """Render a JSON value, unless it is rendered already."""
        body = value if isinstance(value, bytes) else rendered(value)
        own = dict(headers or {})
        digest = hashlib.sha256(body + repr(sorted(own.items())).encode()).hexdigest()[:32]
        return cls(body, f'"{digest}"', own)

    def response(self, request: Request) -> Response:
        """The answer to a request: 304 where the client has it already."""
        headers = {"ETag": self.tag, **_REVALIDATE, **self.headers}
        if has_tag(request.headers.get("if-none-match"), self.tag):
            return Response(status_code=304, headers=headers)
        return Response(self.body, headers=headers, media_type="application/json")


class Answers:
    """The answers used last; safe for several threads.

    Args:
        most: bytes of bodies that are kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._bytes = 0
        self._found: OrderedDict[Hashable, Answer] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Answer | None:
        """The answer under a key, if it is still there."""
        with self._lock:
            answer = self._found.get(key)
            if answer is not None:
                self._found.move_to_end(key)
            return answer

    def put(self, key: Hashable, answer: Answer) -> None:
        """Keep an answer; the one not asked for longest goes when there is too much."""
        with self._lock:
            old = self._found.pop(key, None)
            self._bytes += len(answer.body) - (0 if old is None else len(old.body))
            self._found[key] = answer
            while self._bytes > self._most:
                self._bytes -= len(self._found.popitem(last=False)[1].body)


def has_tag(header: str | None, tag: str) -> bool:
    """Whether a header ``If-None-Match`` names an entity tag."""
    if header is None:
        return False
    tags = [each.strip().removeprefix("W/") for each in header.split(",")]
    return "*" in tags or tag in tags


def rendered(value: Any) -> bytes:
    """A value as JSON. NaN and infinities, which JSON has not, are refused."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()


def answered(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An answer that is true only now."""
    return Response(rendered(value), status, {**_NEVER, **(headers or {})}, "application/json")
