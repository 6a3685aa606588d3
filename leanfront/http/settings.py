"""What an API server is told: who may ask, and how much."""

from __future__ import annotations

from dataclasses import dataclass, field

from leanfront.http.keys import Keys

LOG_LEVELS = ("debug", "info", "warning", "error")
"""What a server can be told to say at least."""


@dataclass(frozen=True)
class Settings:
    """Keys and limits of a server. Sizes are bytes, times seconds.

    Args:
        keys: who may ask; without any, only requests to a loopback address are answered.
        body_bytes: largest body of a request.
        body_seconds: how long a body may take to arrive.
        requests: how many are answered at once; more are refused (503).
        readers: threads that read from the database.
        writers: threads that write: a database that blocks writers does not block readers.
        streams: event streams open at once; more are refused (503).
        poll_seconds: between two looks at a search that somebody follows.
        heartbeat_seconds: between two signs of life on a silent stream.
        send_seconds: how long a client may take to accept what it is sent on a stream.
        cache_bytes: of rendered answers that are kept.
        shutdown_seconds: how long running requests have at the end.
    """

    keys: Keys = field(default_factory=Keys)
    body_bytes: int = 65_536
    body_seconds: float = 20.0
    requests: int = 256
    readers: int = 6
    writers: int = 3
    streams: int = 100
    poll_seconds: float = 0.3
    heartbeat_seconds: float = 15.0
    send_seconds: float = 30.0
    cache_bytes: int = 32_000_000
    shutdown_seconds: int = 20


LARGEST_ID = 2**63 - 1
"""What the databases' integers hold."""
