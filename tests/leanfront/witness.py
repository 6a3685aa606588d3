"""What is seen of the service from outside while it is maltreated, and what must be true of it afterwards."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import httpx2
from sqlalchemy import select

from leanfront.core.search import TrialRecord
from leanfront.core.storage import FrontierStore, check
from leanfront.core.storage.jobs import ENDED
from leanfront.core.storage.tables import JobRow, RunnerRow


def trials_of(store: FrontierStore, name: str) -> int:
    return store.search(name).trials


class Watch:
    """Remembers trials as they are seen in the database: none may change or vanish afterwards."""

    def __init__(self, store: FrontierStore, names: list[str]) -> None:
        self._store = store
        self._seen: dict[str, dict[int, TrialRecord]] = {name: {} for name in names}

    def look(self) -> dict[str, int]:
        """Look again; trials by search."""
        for name, seen in self._seen.items():
            found = {trial.number: trial for trial in self._store.trials(name)}
            lost = [number for number, trial in seen.items() if found.get(number) != trial]
            assert not lost, f"trials {lost[:5]} of {name} were stored and are gone, or changed"
            seen.update(found)
        return {name: len(seen) for name, seen in self._seen.items()}


def require_sound(store: FrontierStore, url: str, goals: dict[str, int]) -> None:
    """All searches done, each trial there once, each configuration evaluated once, none failed, no job held."""
    for name, goal in goals.items():
        record = store.search(name)
        assert (record.state, record.trials) == ("done", goal), record.message
        trials = store.trials(name)
        assert sorted(trial.number for trial in trials) == list(range(goal))
        events = store.events(name, 0, goal + 1)
        assert [event.sequence for event in events] == list(range(1, goal + 1))
        assert {event.number: event.candidate for event in events} == {t.number: t.candidate for t in trials}
        candidates = {c.id: c for c in store.candidates(name, failed=True)}
        assert not [c.reason for c in candidates.values() if c.state == "failed"]
        assert Counter(t.candidate for t in trials if not t.duplicate) == Counter(candidates.keys())
        assert {t.candidate for t in trials} == set(candidates)
        assert len({c.configuration.digest for c in candidates.values()}) == len(candidates)
        makers = {t.candidate: t.number for t in trials if not t.duplicate}
        assert {c.id: c.number for c in candidates.values()} == makers
        assert all(c.value("accuracy", "test") is not None for c in store.frontier(name))
    report = check(url)
    assert report.ok, report.problems
    with store.database.reading() as session:
        for job in session.scalars(select(JobRow)):
            assert (job.state in ENDED, job.lease_until) == (True, None), (job.search_id, job.state)


def require_no_rows(store: FrontierStore, members: list[Any]) -> None:
    """Runners that ended in order have left nothing behind."""
    with store.database.reading() as session:
        names = list(session.scalars(select(RunnerRow.name)))
    assert not [name for name in names for member in members if member.is_runner(name)]


class Events:
    """What a follower of a search has heard."""

    def __init__(self) -> None:
        self.trials: list[int] = []
        self.state = ""
        self.place = ""

    @property
    def over(self) -> bool:
        """Whether the search has ended, as far as the follower knows."""
        return self.state in ENDED

    def hear(self, response: httpx2.Response, left: threading.Event) -> None:
        """Read a stream until it breaks off or nobody listens any more."""
        kind = ""
        for line in response.iter_lines():
            if left.is_set():
                return
            name, _, value = line.partition(": ")
            if name == "id":
                self.place = value
            elif name == "event":
                kind = value
            elif name == "data":
                data = json.loads(value)
                if kind == "trial":
                    self.trials.append(data["sequence"])
                elif kind == "state":
                    self.state = data["state"]


@contextmanager
def following(address: str, name: str) -> Iterator[Events]:
    """Follow a search as a browser does: where the stream breaks off, from the last event on."""
    events, left = Events(), threading.Event()
    place = f"{address}/api/v1/searches/{name}/events"

    def follow() -> None:
        while not (left.is_set() or events.over):
            headers = {"Last-Event-ID": events.place} if events.place else {}
            with (
                suppress(httpx2.HTTPError),
                httpx2.stream("GET", place, headers=headers, timeout=20) as response,
            ):
                if response.status_code == 200:
                    events.hear(response, left)
            left.wait(0.2)

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        yield events
    finally:
        left.set()
        thread.join(30)


@contextmanager
def asking(address: str) -> Iterator[list[httpx2.Response]]:
    """Ask for an address all the time; its answers."""
    answers: list[httpx2.Response] = []
    left = threading.Event()

    def ask() -> None:
        with httpx2.Client(timeout=20) as client:
            while not left.wait(0.1):
                answers.append(client.get(address))

    with ThreadPoolExecutor(1) as executor:
        asked = executor.submit(ask)
        try:
            yield answers
        finally:
            left.set()
        asked.result()
