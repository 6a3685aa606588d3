"""Settings of an API server: keys and limits."""

from __future__ import annotations

from dataclasses import dataclass, field

from leanfront.http.keys import Keys

LOG_LEVELS = ("debug", "info", "warning", "error")
"""Available log levels."""


@dataclass(frozen=True)
class Settings:
    """Keys and limits of a server. Sizes are in bytes, times in seconds.

    Args:
        keys: accepted keys; without any, only requests to a loopback address are answered.
        body_bytes: largest request body.
        body_seconds: longest time for a body to arrive.
        requests: largest number of requests answered at once; more are refused (503).
        readers: number of threads that read from the database.
        writers: number of threads that write; separate, so that a database that blocks writers does not block
            readers.
        streams: largest number of open event streams; more are refused (503).
        poll_seconds: time between two polls of a followed search.
        heartbeat_seconds: time between two heartbeats on a silent stream.
        send_seconds: longest time for a client to accept data of a stream.
        cache_bytes: size of the cache of rendered answers.
        shutdown_seconds: time that running requests have on shutdown.
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
"""Largest integer that the databases store."""
