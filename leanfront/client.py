"""A client of the HTTP API: the verbs and objects of the Python face, on a server elsewhere."""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self
from urllib.parse import quote, urlsplit

import httpx2

import search as searching
from leanfront.candidates import Candidates
from leanfront.remote import RemoteCandidate, candidate_of
from leanfront.result import infeasible_text
from leanfront.version import __version__
from objectives import Budget, Measurement, Selection
from search import SearchRecord
from targets.errors import (
    ArtifactError,
    BusyError,
    InfeasibleError,
    LeanfrontError,
    NameTakenError,
    NotFoundError,
    StorageError,
    UsageError,
)

TYPE = "urn:leanfront:problem:"
ERRORS: dict[str, type[LeanfrontError]] = {
    "not-found": NotFoundError,
    "name-taken": NameTakenError,
    "busy": BusyError,
    "artifact": ArtifactError,
    "invalid": UsageError,
    "malformed": UsageError,
    "too-large": UsageError,
    "storage": StorageError,
    "overloaded": StorageError,
}
"""What a problem's type becomes again on this side; other problems are a `LeanfrontError`."""

ATTEMPTS = 4
LONGEST_WAIT = 10.0
"""Seconds; a server that asks for more patience is asked again after these."""
_ENDED = (*searching.ENDED, "deleted")
_PAGE = 1000


@dataclass(frozen=True)
class Event:
    """Something that happened to a search.

    Args:
        kind: ``trial``, ``frontier`` or ``state``.
        data: what is told of it.
        id: where a stream goes on behind it; None where only the trials before it count.
    """

    kind: str
    data: Mapping[str, Any]
    id: str | None = None


class Client:
    """A server of the HTTP API. Use it as a context, or `close` it.

    Calls that change nothing, or nothing more when repeated, are repeated after a broken connection and while
    the server has too much to do.

    Args:
        url: of the server: ``http://host:8000``.
        key: one of its API keys; None where it needs none.
        timeout: seconds to wait for an answer.

    Raises:
        UsageError: an address or a key that cannot be.
    """

    def __init__(self, url: str, key: str | None = None, *, timeout: float = 30.0) -> None:
        try:
            parts = urlsplit(url)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise UsageError(f"{url!r} is no server's address; write it like http://host:8000")
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
        return f"Client({self.url!r})"

    def health(self) -> dict[str, Any]:
        """Version, kind of database, and workers seen. Raises `StorageError` where the database does not answer."""
        found: dict[str, Any] = self.get("/health").json()
        return found

    def targets(self) -> list[dict[str, str]]:
        """The registered targets: name and description of each."""
        found: list[dict[str, str]] = self.get("/targets").json()
        return found

    def search(
        self,
        target: str,
        *,
        name: str | None = None,
        objectives: Sequence[str] | str | None = None,
        bits: Sequence[int] | None = None,
        **options: Any,
    ) -> RemoteSearch:
        """Queue a search; a worker of the server's drives it (`RemoteSearch.wait`).

        Args:
            target: name of a registered target.
            name: of the search; the server makes one from the target's when None.
            objectives: names of costs and metrics.
            bits: weight bit-widths to choose from.
            options: ``trials``, ``minutes``, ``criterion``, ``method``, ``sparsity``, ``activation_bits``,
                ``sampler``, ``seed``, ``samples``, ``false_elimination``, ``latency_backend``, ``latency_threads``,
                ``latency_batch``, ``recover``, ``recover_minutes``, as `leanfront.search` takes them.

        Raises:
            NameTakenError: the name exists.
            UsageError: a value that cannot be used; the message names it.
        """
        if isinstance(objectives, str):
            objectives = [part.strip() for part in objectives.split(",")]
        body = {
            "target": target,
            "name": name,
            "objectives": None if objectives is None else list(objectives),
            "bits": None if bits is None else list(bits),
            **options,
        }
        answer = self.send("POST", "/searches", json={k: v for k, v in body.items() if v is not None})
        return RemoteSearch(self, answer.json()["name"])

    def open_search(self, name: str) -> RemoteSearch:
        """A stored search. Raises `NotFoundError`."""
        found = RemoteSearch(self, name)
        found.state()
        return found

    def searches(self) -> list[dict[str, Any]]:
        """All searches, oldest first: name, target, state, trials, frontier size, hypervolume."""
        return [row for page in self.pages("/searches", {"limit": _PAGE}) for row in page]

    def candidate(self, identifier: int) -> RemoteCandidate:
        """The candidate with that id. Raises `NotFoundError`."""
        return candidate_of(self.get(f"/candidates/{identifier}").json(), self)

    def compare(self, *identifiers: int) -> dict[str, Any]:
        """Candidates side by side."""
        found: dict[str, Any] = self.get(
            "/compare", {"ids": ",".join(str(identifier) for identifier in identifiers)}
        ).json()
        return found

    # Requests

    def pages(self, path: str, parameters: Mapping[str, Any]) -> Iterator[Any]:
        """The bodies of a list's pages."""
        answer = self.get(path, parameters)
        yield answer.json()
        while "next" in answer.links:
            answer = self.get(answer.links["next"]["url"].removeprefix("/api/v1"))
            yield answer.json()

    def get(self, path: str, parameters: Mapping[str, Any] | None = None) -> httpx2.Response:
        """An answer that changes nothing."""
        return self.send("GET", path, params=dict(parameters) if parameters else None, repeat=True)

    def send(self, method: str, path: str, *, repeat: bool = False, **content: Any) -> httpx2.Response:
        """Ask the server.

        Args:
            method: of the request.
            path: below ``/api/v1``.
            repeat: whether doing it twice is as good as once.
            content: of the request.

        Raises:
            StorageError: the server does not answer, or cannot.
            LeanfrontError: it refuses; of the class that the Python face raises.
        """
        for attempt in range(1, ATTEMPTS + 1):
            again = attempt < ATTEMPTS
            try:
                answer = self._http.request(method, path, **content)
            except httpx2.ConnectError as error:
                # Nothing has been sent yet.
                if not again:
                    raise self._lost(error) from None
                _pause(attempt)
                continue
            except httpx2.TransportError as error:
                if not (again and repeat):
                    raise self._lost(error) from None
                _pause(attempt)
                continue
            if answer.status_code in (429, 503) and again and repeat:
                _pause(attempt, answer.headers.get("retry-after"))
                continue
            if method == "DELETE" and answer.status_code == 404 and attempt > 1:
                # The attempt whose answer was lost has deleted it.
                return answer
            if answer.is_success:
                return answer
            raise error_of(answer)
        raise AssertionError("unreachable")

    def file(self, path: str, parameters: Mapping[str, Any]) -> bytes:
        """A file. Raises `ArtifactError` where it has not the digest that the server says."""
        answer = self.get(path, parameters)
        found = hashlib.sha256(answer.content).hexdigest()
        if answer.headers.get("etag") != f'"{found}"':
            raise ArtifactError(
                f"{answer.url}: {len(answer.content)} bytes of the SHA-256 {found} arrived, which is not what was "
                "sent: try again"
            )
        return answer.content

    def work(
        self,
        path: str,
        parameters: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        **content: Any,
    ) -> None:
        """Queue a job by posting to an address, and wait for its end.

        Args:
            path: below ``/api/v1``.
            parameters: of the address.
            timeout: seconds; None for ever.
            content: of the request.

        Raises:
            TimeoutError: it has not ended by then.
            LeanfrontError: it has failed, or was cancelled.
        """
        job = self.send("POST", path, params=dict(parameters or {}), repeat=True, **content).json()
        end = None if timeout is None else time.monotonic() + timeout
        pause = 0.1
        while job["state"] not in _ENDED:
            if end is not None and time.monotonic() >= end:
                raise TimeoutError(
                    f"job {job['id']} ({job['kind']}) is still {job['state']} after {timeout:g} s; does a "
                    "`leanfront worker` run?"
                )
            time.sleep(pause)
            pause = min(2 * pause, 2.0)
            job = self.get(f"/jobs/{job['id']}").json()
        if job["state"] != "done":
            raise LeanfrontError(f"job {job['id']} ({job['kind']}) has {job['state']}: {job['message']}")

    def stream(self, path: str, place: str | None) -> Any:
        """A stream of events behind a place, as a context."""
        headers = {"Accept": "text/event-stream"} | ({} if place is None else {"Last-Event-ID": place})
        # A stream lives as long as its signs of life come.
        return self._http.stream("GET", path, headers=headers, timeout=httpx2.Timeout(60.0))

    def _lost(self, error: Exception) -> StorageError:
        return StorageError(
            f"{self.url} does not answer ({str(error) or type(error).__name__}): check the address, and that "
            "`leanfront serve` runs there"
        )


class RemoteSearch:
    """A search on a server: its frontier and the answers to budget queries.

    Args:
        client: of the server.
        name: of the search.
    """

    def __init__(self, client: Client, name: str) -> None:
        self._client = client
        self.name = name
        self._path = f"/searches/{quote(name, safe='')}"

    def __repr__(self) -> str:
        return f"RemoteSearch({self.name!r} of {self._client.url})"

    def state(self) -> dict[str, Any]:
        """State and progress, as the server tells them. Raises `NotFoundError`."""
        found: dict[str, Any] = self._client.get(self._path).json()
        return found

    @property
    def record(self) -> SearchRecord:
        """The search as stored now; of its settings only the wanted number of trials and its target's name."""
        found = self.state()
        known = {field.name for field in fields(SearchRecord)} & set(found)
        own = {name: found[name] for name in known}
        own["objectives"] = tuple(found["objectives"])
        own["dense"] = tuple(Measurement.from_json(each) for each in found["dense"])
        own["settings"] = {"trials": found["goal"], "registered": found["registered"]}
        return SearchRecord(**own)

    def coverage(self) -> dict[str, Any]:
        """What of the model the search can compress. Raises `NotFoundError` until a worker has looked."""
        found: dict[str, Any] = self._client.get(f"{self._path}/coverage").json()
        return found

    def frontier(
        self, *, weak: bool = False, stage: str = "after", order_by: str = "memory", **limits: Any
    ) -> Candidates[RemoteCandidate]:
        """Nondominated candidates within limits, cheapest memory first.

        Args:
            weak: the weakly nondominated ones too.
            stage: among the candidates ``before`` recovery, or ``after``: the recovered ones too.
            order_by: an objective, or something measured on the frontier: best first.
            limits: as `leanfront.Budget.of` takes them.
        """
        parameters = {**_limits(limits), "stage": stage, "order_by": order_by, "limit": _PAGE}
        if weak:
            parameters["weak"] = "true"
        pages = self._client.pages(f"{self._path}/frontier", parameters)
        return Candidates(candidate_of(each, self._client) for page in pages for each in page["candidates"])

    def selection(
        self,
        *,
        strategy: str = "accuracy",
        stage: str = "after",
        order: Sequence[str] | None = None,
        tolerance: float | Mapping[str, float] | None = None,
        weights: Mapping[str, float] | None = None,
        **limits: Any,
    ) -> Selection[RemoteCandidate]:
        """The whole answer to a budget query; arguments as `leanfront.SearchResult.selection` takes them."""
        parameters: dict[str, Any] = {**_limits(limits), "stage": stage, "strategy": strategy}
        if order is not None:
            parameters["order"] = order if isinstance(order, str) else ",".join(order)
        if isinstance(tolerance, Mapping):
            parameters |= {f"tolerance_{name}": value for name, value in tolerance.items()}
        elif tolerance is not None:
            parameters["tolerance"] = tolerance
        parameters |= {f"weight_{name}": value for name, value in (weights or {}).items()}
        found = self._client.get(f"{self._path}/select", parameters).json()
        chosen, nearest = found.get("candidate"), found.get("nearest")
        return Selection(
            found["feasible"],
            strategy,
            candidate=None if chosen is None else candidate_of(chosen, self._client),
            nearest=None if nearest is None else candidate_of(nearest, self._client),
            violations={
                name: float("inf") if value is None else value
                for name, value in found.get("violations", {}).items()
            },
            binding=found.get("binding"),
            cheapest=found.get("cheapest"),
            note=found.get("note"),
        )

    def select(self, **limits: Any) -> RemoteCandidate:
        """The candidate to ship within a budget.

        Raises:
            InfeasibleError: no candidate holds it; the message names the nearest and the binding limit.
        """
        answer = self.selection(**limits)
        if not answer.feasible or answer.candidate is None:
            raise InfeasibleError(infeasible_text(answer), answer)
        return answer.candidate

    def cancel(self) -> None:
        """Ask it to stop; its trials stay."""
        self._client.send("POST", f"{self._path}/cancel", repeat=True)

    def resume(self) -> None:
        """Queue it again after it was cancelled or has failed. Raises `BusyError` while it is queued or driven."""
        self._client.send("POST", f"{self._path}/resume")

    def delete(self) -> None:
        """Delete it with all that hangs on it. Raises `BusyError` while a process drives it."""
        self._client.send("DELETE", self._path, repeat=True)

    def events(self, after: str | None = None) -> Iterator[Event]:
        """What happens to it, from its first trial or behind a place on, until it ends.

        A stream that breaks off is taken up again.

        Raises:
            NotFoundError: no such search.
            StorageError: the server has not answered in several attempts.
        """
        place, failures = after, 0
        while True:
            try:
                with self._client.stream(f"{self._path}/events", place) as answer:
                    if answer.status_code == 204:
                        return
                    if not answer.is_success:
                        answer.read()
                        if answer.status_code != 503 or failures + 1 >= ATTEMPTS:
                            raise error_of(answer)
                    else:
                        for event in _events(answer.iter_lines()):
                            failures = 0
                            place = event.id or place
                            yield event
                            if event.kind == "state" and event.data["state"] in _ENDED:
                                return
            except httpx2.TransportError as error:
                if failures + 1 >= ATTEMPTS:
                    raise StorageError(f"{self._client.url} does not answer ({error})") from None
            failures += 1
            _pause(failures)

    def wait(self, timeout: float | None = None) -> SearchRecord:
        """Wait for its end.

        Args:
            timeout: seconds; None for ever.

        Raises:
            TimeoutError: it has not ended by then.
            LeanfrontError: it has failed, or was deleted.
        """
        end = None if timeout is None else time.monotonic() + timeout
        pause = 0.1
        while True:
            record = self.record
            if record.state == "failed":
                raise LeanfrontError(f"search '{self.name}' has failed: {record.message}")
            if record.state in _ENDED:
                return record
            if end is not None and time.monotonic() >= end:
                raise TimeoutError(f"search '{self.name}' is still {record.state} after {timeout:g} s")
            time.sleep(pause)
            pause = min(2 * pause, 2.0)


def error_of(answer: httpx2.Response) -> LeanfrontError:
    """The error that a refusal tells of."""
    try:
        problem = answer.json()
        kind, detail = str(problem["type"]), str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        return LeanfrontError(f"{answer.url} answered {answer.status_code}, and not as this API does")
    error = ERRORS.get(kind.removeprefix(TYPE), LeanfrontError)
    return error(
        detail if issubclass(error, UsageError | NotFoundError) else f"{problem.get('title')}: {detail}"
    )


def _limits(limits: Mapping[str, Any]) -> dict[str, Any]:
    """Limits as parameters of an address; what is no limit is refused here, as `Budget.of` does."""
    measured = (*(limits.get("maximum") or {}), *(limits.get("minimum") or {}))
    budget = Budget.of(**limits, measured=measured)
    return {f"max_{name}": repr(value) for name, value in budget.maximum.items()} | {
        f"min_{name}": repr(value) for name, value in budget.minimum.items()
    }


def _events(lines: Iterator[str]) -> Iterator[Event]:
    found: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            found[name] = value.removeprefix(" ")
            continue
        if "data" in found:
            yield Event(found.get("event", "message"), json.loads(found["data"]), found.get("id"))
        found = {}


def _pause(attempt: int, asked: str | None = None) -> None:
    wanted = float(asked) if asked is not None and asked.isdigit() else 0.1 * 2**attempt
    # Spread, so that clients of a server that comes back do not all come at once.
    time.sleep(min(wanted, LONGEST_WAIT) * random.uniform(0.75, 1.25))
