"""A client of the HTTP API: the verbs and objects of the Python face, on a server elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from leanfront.core.storage import AuditRecord
from leanfront.remote.candidate import RemoteCandidate, candidate_of
from leanfront.remote.connection import Connection
from leanfront.remote.search import PAGE, RemoteSearch


class Client(Connection):
    """A server of the HTTP API. Use it as a context, or `close` it; arguments and errors as of `Connection`."""

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
        metrics: Sequence[str] = (),
        **options: Any,
    ) -> RemoteSearch:
        """Queue a search; a worker of the server's drives it (`RemoteSearch.wait`).

        Args:
            target: name of a registered target.
            name: of the search; the server makes one from the target's when None.
            objectives: names of costs and metrics.
            bits: weight bit-widths to choose from.
            metrics: that candidates are measured by beside the objectives and those that cost nothing.
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
            "metrics": list(metrics) or None,
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
        return [row for page in self.pages("/searches", {"limit": PAGE}) for row in page]

    def candidate(self, identifier: int) -> RemoteCandidate:
        """The candidate with that id. Raises `NotFoundError`."""
        return candidate_of(self.get(f"/candidates/{identifier}").json(), self)

    def audit(self, about: str | int, **wanted: Any) -> list[AuditRecord]:
        """Have a worker audit a candidate, or candidates of a search together.

        Args:
            about: the candidate's id, or the search's name.
            wanted: as `RemoteCandidate.audit` or `RemoteSearch.audit` takes it.

        Raises:
            NotFoundError: no such candidate or search.
            LeanfrontError: as there.
        """
        found = self.candidate(about) if isinstance(about, int) else RemoteSearch(self, about)
        return found.audit(**wanted)

    def audits(self, about: str | int) -> list[AuditRecord]:
        """What was audited of a candidate (its id), or of a search as a whole (its name). Raises `NotFoundError`."""
        found = self.candidate(about) if isinstance(about, int) else RemoteSearch(self, about)
        return found.audits()

    def compare(self, *identifiers: int) -> dict[str, Any]:
        """Candidates side by side."""
        found: dict[str, Any] = self.get(
            "/compare", {"ids": ",".join(str(identifier) for identifier in identifiers)}
        ).json()
        return found
