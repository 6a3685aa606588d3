"""Connection to a server of the HTTP API: requests, retries and errors."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, Self
from urllib.parse import urlsplit

import httpx2

from leanfront.core.search import ENDED
from leanfront.errors import ArtifactError, LeanfrontError, StorageError, UsageError
from leanfront.remote.errors import error_of
from leanfront.remote.retries import ATTEMPTS, pause
from leanfront.version import __version__


class Connection:
    """Connection to a server. Use it as a context manager or `close` it.

    Idempotent requests are retried if the connection breaks or the server is overloaded.

    Args:
        url: address of the server: ``http://host:8000``.
        key: one of the server's API keys; None if it needs none.
        timeout: seconds to wait for an answer.

    Raises:
        UsageError: the address or the key is invalid.
    """

    def __init__(self, url: str, key: str | None = None, *, timeout: float = 30.0) -> None:
        try:
            parts = urlsplit(url)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise UsageError(f"{url!r} is not a server's address; write it like http://host:8000")
        if key is not None and (not key.isascii() or not key.isprintable() or not key or " " in key):
            raise UsageError("an API key is made of printable ASCII characters without spaces")
        headers = {"User-Agent": f"leanfront/{__version__}", "Accept": "application/json"}
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        self.url = url.rstrip("/").removesuffix("/api/v1")
        self._http = httpx2.Client(base_url=f"{self.url}/api/v1", headers=headers, timeout=timeout)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    def pages(self, path: str, parameters: Mapping[str, Any]) -> Iterator[Any]:
        """Iterate over the contents of a list's pages."""
        answer = self.get(path, parameters)
        yield answer.json()
        while "next" in answer.links:
            answer = self.get(answer.links["next"]["url"].removeprefix("/api/v1"))
            yield answer.json()

    def get(self, path: str, parameters: Mapping[str, Any] | None = None) -> httpx2.Response:
        """Return the answer to a GET request."""
        return self.send("GET", path, params=dict(parameters) if parameters else None, repeat=True)

    def send(self, method: str, path: str, *, repeat: bool = False, **content: Any) -> httpx2.Response:
        """Send a request and return the answer.

        Args:
            method: method of the request.
            path: path below ``/api/v1``.
            repeat: whether the request is idempotent and may be retried.
            content: content of the request.

        Raises:
            StorageError: the server does not answer, or its database fails.
            LeanfrontError: the server refuses; the class is that which the Python interface raises.
        """
        for attempt in range(1, ATTEMPTS + 1):
            again = attempt < ATTEMPTS
            try:
                answer = self._http.request(method, path, **content)
            except httpx2.ConnectError as error:
                # Nothing has been sent yet.
                if not again:
                    raise self._lost(error) from None
                pause(attempt)
                continue
            except httpx2.TransportError as error:
                if not (again and repeat):
                    raise self._lost(error) from None
                pause(attempt)
                continue
            if answer.status_code in (429, 503) and again and repeat:
                pause(attempt, answer.headers.get("retry-after"))
                continue
            if method == "DELETE" and answer.status_code == 404 and attempt > 1:
                # An earlier attempt, whose answer was lost, has deleted it.
                return answer
            if answer.is_success:
                return answer
            raise error_of(answer)
        raise AssertionError("unreachable")

    def file(self, path: str, parameters: Mapping[str, Any]) -> bytes:
        """Return a file. Raises `ArtifactError` if its digest is not the one that the server sent."""
        answer = self.get(path, parameters)
        found = hashlib.sha256(answer.content).hexdigest()
        if answer.headers.get("etag") != f'"{found}"':
            raise ArtifactError(
                f"{answer.url}: {len(answer.content)} bytes with SHA-256 {found} arrived, not the content that was "
                "sent: try again"
            )
        return answer.content

    def work(
        self,
        path: str,
        parameters: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        *,
        wait: bool = True,
        **content: Any,
    ) -> None:
        """Queue a job by a POST request, and wait for its end.

        Args:
            path: path below ``/api/v1``.
            parameters: query parameters.
            timeout: seconds to wait; None waits for ever.
            wait: whether to wait; if not, the job is only queued.
            content: content of the request.

        Raises:
            TimeoutError: the job did not end in time.
            LeanfrontError: the job failed or was cancelled.
        """
        job = self.send("POST", path, params=dict(parameters or {}), repeat=True, **content).json()
        if not wait:
            return
        end = None if timeout is None else time.monotonic() + timeout
        nap = 0.1
        while job["state"] not in ENDED:
            if end is not None and time.monotonic() >= end:
                raise TimeoutError(
                    f"job {job['id']} ({job['kind']}) is still {job['state']} after {timeout:g} s; does a "
                    "`leanfront worker` run?"
                )
            time.sleep(nap)
            nap = min(2 * nap, 2.0)
            job = self.get(f"/jobs/{job['id']}").json()
        if job["state"] != "done":
            raise LeanfrontError(f"job {job['id']} ({job['kind']}) has {job['state']}: {job['message']}")

    def stream(self, path: str, place: str | None) -> AbstractContextManager[httpx2.EventSource]:
        """Return a context manager for a stream of events after a position."""
        headers = {} if place is None else {"Last-Event-ID": place}
        # A stream is alive as long as its heartbeats come.
        return self._http.sse(path, headers=headers, timeout=60.0)

    def _lost(self, error: Exception) -> StorageError:
        return StorageError(
            f"{self.url} does not answer ({str(error) or type(error).__name__}): check the address, and that "
            "`leanfront serve` runs there"
        )
