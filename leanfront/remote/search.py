"""Searches on a server: the methods of `leanfront.SearchResult`, run by a worker there."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any
from urllib.parse import quote

import httpx2

from leanfront.actions.audit_request import DEFAULT_KINDS
from leanfront.actions.selection_options import FrontierOptions, SelectionOptions
from leanfront.core.audit import AuditOptions
from leanfront.core.objectives import Budget, Measurement, Selection
from leanfront.core.objectives.budget_options import BudgetOptions
from leanfront.core.search import ENDED, SearchRecord
from leanfront.core.storage import AuditRecord
from leanfront.errors import InfeasibleError, LeanfrontError, StorageError
from leanfront.options import options_of, plain, takes
from leanfront.remote.candidate import RemoteCandidate, candidate_of
from leanfront.remote.connection import Connection
from leanfront.remote.errors import error_of
from leanfront.remote.retries import ATTEMPTS, pause
from leanfront.reports.rows import Candidates
from leanfront.reports.text import infeasible_text

PAGE = 1000
"""Number of list entries requested at once."""


@dataclass(frozen=True)
class Event:
    """An event of a search.

    Args:
        kind: ``trial``, ``frontier`` or ``state``.
        data: content of the event.
        id: position after which a stream can continue; None if only earlier trials have one.
    """

    kind: str
    data: Mapping[str, Any]
    id: str | None = None


class RemoteSearch:
    """A search on a server: its frontier and answers to budget queries.

    Args:
        client: connection to the server.
        name: name of the search.
    """

    def __init__(self, client: Connection, name: str) -> None:
        self._client = client
        self.name = name
        self._path = f"/searches/{quote(name, safe='')}"

    def __repr__(self) -> str:
        return f"RemoteSearch({self.name!r} of {self._client.url})"

    def state(self) -> dict[str, Any]:
        """Return the state and progress as the server reports them. Raises `NotFoundError`."""
        found: dict[str, Any] = self._client.get(self._path).json()
        return found

    @property
    def record(self) -> SearchRecord:
        """Return the stored search; its settings have only the number of trials and the target's name."""
        found = self.state()
        known = {field.name for field in fields(SearchRecord)} & set(found)
        own = {name: found[name] for name in known}
        own["objectives"] = tuple(found["objectives"])
        own["dense"] = tuple(Measurement.from_json(each) for each in found["dense"])
        own["settings"] = {"options": {"trials": found["goal"]}, "registered": found["registered"]}
        return SearchRecord(**own)

    def coverage(self) -> dict[str, Any]:
        """Return which parts of the model the search can compress. Raises `NotFoundError` until it is loaded."""
        found: dict[str, Any] = self._client.get(f"{self._path}/coverage").json()
        return found

    @takes(FrontierOptions, BudgetOptions, omit=("stage",))
    def frontier(
        self, *, weak: bool = False, stage: str = "after", order_by: str = "memory", **limits: Any
    ) -> Candidates[RemoteCandidate]:
        """Return nondominated candidates within limits, smallest memory first.

        Args:
            weak: also return weakly nondominated candidates.
            stage: ``before`` recovery, or ``after``, with recovered candidates.
            order_by: an objective or another measurement of the frontier to order by, best first.
            options: see `leanfront.Budget.of`.
        """
        parameters = {**_limits(limits), "stage": stage, "order_by": order_by, "limit": PAGE}
        if weak:
            parameters["weak"] = "true"
        pages = self._client.pages(f"{self._path}/frontier", parameters)
        return Candidates(candidate_of(each, self._client) for page in pages for each in page["candidates"])

    def columns(self, *names: str) -> dict[str, Any]:
        """Return all candidates, including failed and stopped ones, as lists of equal length, by id.

        Args:
            names: measurements, each a ``name`` (a cost, or a value on the validation split) or ``name:split``; the
                objectives if empty.

        Returns:
            ``ids``, ``trials``, ``states``, ``on_frontier``, ``parents``, and ``columns``, which maps each name to
                its ``unit``, ``value``, ``low`` and ``high``.

        Raises:
            UsageError: a name is measured neither on a candidate nor on the dense model.
        """
        parameters = {"limit": 10 * PAGE} | ({"columns": ",".join(names)} if names else {})
        first, *rest = self._client.pages(f"{self._path}/candidates", parameters)
        found: dict[str, Any] = {key: value for key, value in first.items() if key != "next"}
        for page in rest:
            for key in ("ids", "trials", "states", "on_frontier", "parents"):
                found[key] += page[key]
            for name, column in found["columns"].items():
                for key in ("value", "low", "high"):
                    column[key] += page["columns"][name][key]
        return found

    def progress(self, points: int = 60) -> dict[str, Any]:
        """Return how the frontier grew: ``trials``, ``hypervolume``, ``hypervolume_log2``, ``frontier_size``.

        Args:
            points: largest number of places along the trials, 2 to 200.
        """
        found: dict[str, Any] = self._client.get(f"{self._path}/progress", {"points": points}).json()
        return found

    @takes(SelectionOptions, BudgetOptions, omit=("measure",))
    def selection(
        self, *, measure: int = 0, timeout: float | None = None, **options: Any
    ) -> Selection[RemoteCandidate]:
        """Return the whole answer to a budget query; see `leanfront.SearchResult.selection`.

        Args:
            measure: largest number of candidates on which a worker measures limited metrics that are missing, if such
                candidates could be a better answer; by default none is measured.
            timeout: seconds to wait for the worker; None waits for ever.
            options: see `leanfront.SearchResult.selection`.

        Raises:
            TimeoutError: no worker measured them in time.
            LeanfrontError: the candidates cannot be measured.
        """
        limits = {name: options.pop(name) for name in options_of(BudgetOptions) if name in options}
        asked = plain({"strategy": "accuracy", "stage": "after", **options}, SelectionOptions)
        strategy, stage, tolerance = asked["strategy"], asked["stage"], asked.pop("tolerance", None)
        parameters: dict[str, Any] = {**_limits(limits), "stage": stage, "strategy": strategy}
        if "order" in asked:
            parameters["order"] = ",".join(asked["order"])
        if isinstance(tolerance, Mapping):
            parameters |= {f"tolerance_{name}": value for name, value in tolerance.items()}
        elif tolerance is not None:
            parameters["tolerance"] = tolerance
        parameters |= {f"weight_{name}": value for name, value in asked.get("weights", {}).items()}
        answer = self._selection(strategy, parameters)
        if not (measure and answer.unmeasured):
            return answer
        budget = Budget.of(**limits).to_json()
        body = {**budget, "strategy": strategy, "stage": stage, "most": measure}
        self._client.work(f"{self._path}/measure", timeout=timeout, json=body)
        return self._selection(strategy, parameters)

    def _selection(self, strategy: str, parameters: Mapping[str, Any]) -> Selection[RemoteCandidate]:
        found = self._client.get(f"{self._path}/select", parameters).json()
        unmeasured = found.get("unmeasured", {})
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
            unmeasured=tuple(unmeasured.get("candidates", ())),
            unmeasured_metrics=tuple(unmeasured.get("metrics", ())),
        )

    @takes(SelectionOptions, BudgetOptions)
    def select(self, **options: Any) -> RemoteCandidate:
        """Return the candidate to ship within a budget.

        Args:
            options: see `selection`.

        Raises:
            InfeasibleError: no candidate is within it; the message names the nearest one and the binding limit.
        """
        answer = self.selection(**options)
        if not answer.feasible or answer.candidate is None:
            raise InfeasibleError(infeasible_text(answer), answer)
        return answer.candidate

    @takes(AuditOptions, network=True)
    def audit(
        self,
        *candidates: int,
        kinds: Sequence[str] | str = DEFAULT_KINDS,
        wait: bool = True,
        timeout: float | None = None,
        **options: Any,
    ) -> list[AuditRecord]:
        """Have a worker audit candidates against the dense model, and return the audits.

        Args:
            candidates: ids; by default, if `levels` is not given either, members spread over the frontier.
            kinds: kinds of audit, as `leanfront audit` takes them.
            wait: whether to wait for the worker; if not, the audit is only queued, for `audits` to return later.
            timeout: seconds to wait; None waits for ever.
            options: see `leanfront.core.audit.AuditOptions`.

        Returns:
            As `leanfront.SearchResult.audit`: for each kind, one record per candidate and one of the whole search. An
                empty list if `wait` is false.

        Raises:
            TimeoutError: no worker finished in time.
            UsageError: a kind or option is unknown, or the candidates cannot be audited with these options.
            LeanfrontError: the audit failed.
        """
        names = [kinds] if isinstance(kinds, str) else list(kinds)
        body = {"kinds": names, "candidates": list(candidates), **plain(options, AuditOptions)}
        self._client.work(f"{self._path}/audits", timeout=timeout, wait=wait, json=body)
        found: list[AuditRecord] = []
        for kind in names if wait else ():
            whole = self._audit(kind)
            versions = [each.get("candidate") for each in whole.document.get("versions", ())]
            own = [candidate for candidate in versions if candidate is not None]
            found += [*(self._audit(kind, each) for each in own), whole]
        return found

    def audits(self, candidate: int | None = None) -> list[AuditRecord]:
        """Return the stored audits of a candidate, or of the whole search. Raises `NotFoundError`."""
        rows = self._client.get(f"{self._place(candidate)}/audits").json()
        return [self._audit(row["kind"], candidate) for row in rows]

    def _audit(self, kind: str, candidate: int | None = None) -> AuditRecord:
        return AuditRecord(**self._client.get(f"{self._place(candidate)}/audits/{kind}").json())

    def _place(self, candidate: int | None) -> str:
        return self._path if candidate is None else f"/candidates/{candidate}"

    def cancel(self) -> None:
        """Ask the search to stop; its trials are kept."""
        self._client.send("POST", f"{self._path}/cancel", repeat=True)

    def resume(self) -> None:
        """Queue a cancelled or failed search again. Raises `BusyError` while it is queued or running."""
        self._client.send("POST", f"{self._path}/resume")

    def delete(self) -> None:
        """Delete the search and everything that belongs to it. Raises `BusyError` while a process drives it."""
        self._client.send("DELETE", self._path, repeat=True)

    def events(self, after: str | None = None) -> Iterator[Event]:
        """Iterate over events of the search, from its first trial or from the position `after`, until it ends.

        A broken stream is resumed.

        Raises:
            NotFoundError: the search does not exist.
            StorageError: the server did not answer in several attempts.
        """
        place, failures = after, 0
        while True:
            try:
                with self._client.stream(f"{self._path}/events", place) as source:
                    answer = source.response
                    if answer.status_code == 204:
                        return
                    if not answer.is_success:
                        answer.read()
                        if answer.status_code != 503 or failures + 1 >= ATTEMPTS:
                            raise error_of(answer)
                    else:
                        for sent in source:
                            if not sent.data:
                                continue  # It only says when to reconnect.
                            failures = 0
                            # An event without an id has that of the one before.
                            before, place = place, sent.id or place
                            event = Event(
                                sent.event, json.loads(sent.data), None if place == before else place
                            )
                            yield event
                            if event.kind == "state" and event.data["state"] in (*ENDED, "deleted"):
                                return
            except httpx2.TransportError as error:
                if failures + 1 >= ATTEMPTS:
                    raise StorageError(f"{self._client.url} does not answer ({error})") from None
            failures += 1
            pause(failures)

    def wait(self, timeout: float | None = None) -> SearchRecord:
        """Wait until the search ends.

        Args:
            timeout: seconds to wait; None waits for ever.

        Raises:
            TimeoutError: it did not end in time.
            LeanfrontError: it failed or was deleted.
        """
        end = None if timeout is None else time.monotonic() + timeout
        wait = 0.1
        while True:
            record = self.record
            if record.state == "failed":
                raise LeanfrontError(f"search '{self.name}' has failed: {record.message}")
            if record.state in ENDED:
                return record
            if end is not None and time.monotonic() >= end:
                raise TimeoutError(f"search '{self.name}' is still {record.state} after {timeout:g} s")
            time.sleep(wait)
            wait = min(2 * wait, 2.0)


def _limits(limits: Mapping[str, Any]) -> dict[str, Any]:
    """Return limits as query parameters; refuse invalid limits, as `Budget.of` does."""
    measured = (*(limits.get("maximum") or {}), *(limits.get("minimum") or {}))
    budget = Budget.of(**limits, measured=measured)
    return {f"max_{name}": repr(value) for name, value in budget.maximum.items()} | {
        f"min_{name}": repr(value) for name, value in budget.minimum.items()
    }
