"""The client of the HTTP API: the Python interface, for a server."""

from __future__ import annotations

from typing import Any

from leanfront.core.search import SearchOptions
from leanfront.core.storage import AuditRecord
from leanfront.options import plain, takes
from leanfront.remote.candidate import RemoteCandidate, candidate_of
from leanfront.remote.connection import Connection
from leanfront.remote.search import PAGE, RemoteSearch


class Client(Connection):
    """Client of a server. Use it as a context manager or `close` it; see `Connection` for arguments and errors."""

    def health(self) -> dict[str, Any]:
        """Return the server's version, kind of database and workers. Raises `StorageError` if its database fails."""
        found: dict[str, Any] = self.get("/health").json()
        return found

    def targets(self) -> list[dict[str, str]]:
        """Return the registered targets: name and description of each."""
        found: list[dict[str, str]] = self.get("/targets").json()
        return found

    @takes(SearchOptions, network=True)
    def search(self, target: str, *, name: str | None = None, **options: Any) -> RemoteSearch:
        """Queue a search; a worker of the server drives it (`RemoteSearch.wait`).

        Args:
            target: name of a registered target.
            name: name of the search; the server makes one from the target's name when None.
            options: see `leanfront.core.search.SearchOptions`.

        Raises:
            NameTakenError: a search of that name exists.
            UsageError: a value is invalid; the message names it.
        """
        body = {"target": target, **plain({"name": name, **options}, SearchOptions)}
        answer = self.send("POST", "/searches", json=body)
        return RemoteSearch(self, answer.json()["name"])

    def open_search(self, name: str) -> RemoteSearch:
        """Return a stored search. Raises `NotFoundError`."""
        found = RemoteSearch(self, name)
        found.state()
        return found

    def searches(self) -> list[dict[str, Any]]:
        """Return all searches, oldest first: name, target, state, trials, frontier size, hypervolume."""
        return [row for page in self.pages("/searches", {"limit": PAGE}) for row in page]

    def candidate(self, identifier: int) -> RemoteCandidate:
        """Return the candidate with that id. Raises `NotFoundError`."""
        return candidate_of(self.get(f"/candidates/{identifier}").json(), self)

    def audit(self, about: str | int, **wanted: Any) -> list[AuditRecord]:
        """Have a worker audit one candidate, or candidates of a search together.

        Args:
            about: id of the candidate, or name of the search.
            wanted: arguments of `RemoteCandidate.audit` or `RemoteSearch.audit`.

        Raises:
            NotFoundError: the candidate or search does not exist.
            LeanfrontError: any other error of these methods.
        """
        found = self.candidate(about) if isinstance(about, int) else RemoteSearch(self, about)
        return found.audit(**wanted)

    def audits(self, about: str | int) -> list[AuditRecord]:
        """Return the stored audits of a candidate (id) or of a whole search (name). Raises `NotFoundError`."""
        found = self.candidate(about) if isinstance(about, int) else RemoteSearch(self, about)
        return found.audits()

    def compare(self, *identifiers: int) -> dict[str, Any]:
        """Return candidates side by side."""
        found: dict[str, Any] = self.get(
            "/compare", {"ids": ",".join(str(identifier) for identifier in identifiers)}
        ).json()
        return found
