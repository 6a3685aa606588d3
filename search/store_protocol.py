"""What a search needs of a database: `storage` implements it, and whoever starts a search hands it over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from leanfront.core.objectives.budget import Budget
from leanfront.core.objectives.measurement import Measurement
from leanfront.core.objectives.selection import Selection
from leanfront.core.search.candidate import Candidate, SearchRecord, TrialRecord


class Store(Protocol):
    """Searches, trials and candidates, with the frontier maintained on insert.

    `leanfront.testing.StoreConformance` holds the tests that an implementation must pass.

    Every method is one transaction; a method that raises has changed nothing. All raise `StorageError`
    (with the reason and what to do) when the database cannot be read or written, and those that write
    `LeaseLostError` when another process drives the search by now.
    """

    def create_search(self, record: SearchRecord) -> SearchRecord:
        """Store a new search. Raises `NameTakenError` when the name exists."""
        ...

    def prepare_search(self, record: SearchRecord) -> SearchRecord:
        """Fill in what only the target could tell of a search that was queued by its request alone.

        Raises `UsageError` when it has trials.
        """
        ...

    def search(self, name: str) -> SearchRecord:
        """The search of that name. Raises `NotFoundError`, naming the searches that exist."""
        ...

    def searches(self, *, after: int = 0, limit: int | None = None) -> list[SearchRecord]:
        """Searches, oldest first, after the one with that id."""
        ...

    def set_state(self, name: str, state: str, message: str | None = None) -> None:
        """Change a search's state. Raises `UsageError` when there is no such state."""
        ...

    def record(
        self, search: str, trial: TrialRecord, candidate: Candidate, correct: bytes | None = None
    ) -> Candidate:
        """Store a trial with its candidate and update the frontier, in one transaction.

        A candidate whose configuration the search has already is not stored again: the trial is marked a
        duplicate of it, and the stored one is returned. A failed or stopped candidate, or one with an
        objective that is missing or not finite, never enters the frontier (the latter is stored as failed with
        the reason).

        Args:
            search: name of the search.
            trial: the trial; its candidate, duplicate and stopped marks are the store's to set.
            candidate: what came of it.
            correct: its packed correctness on the validation split (`pack` of `racing.py`), kept for as long as
                it is on the frontier before recovery.

        Returns:
            The stored candidate with its id and frontier membership.

        Raises:
            NotFoundError: there is no such search, or no candidate with the parent's id.
            UsageError: a trial with that number is stored already, or the candidate's state is unknown.
        """
        ...

    def recovered(self, search: str, parent: int | None = None) -> list[Candidate]:
        """Candidates that were recovered from others of the search, or from that one, by id; failed ones too."""
        ...

    def find(self, search: str, digest: str) -> Candidate | None:
        """The candidate with that configuration digest, or None."""
        ...

    def trials(self, search: str) -> list[TrialRecord]:
        """All trials of a search, by number, with the candidates' objective values."""
        ...

    def candidate(self, identifier: int) -> Candidate:
        """The candidate with that id. Raises `NotFoundError`."""
        ...

    def candidates(self, search: str, *, failed: bool = False) -> Iterator[Candidate]:
        """All complete candidates of a search by id; with `failed` the failed and stopped ones too."""
        ...

    def correctness(self, search: str) -> Mapping[int, bytes]:
        """Packed correctness of the frontier's members before recovery, by id; those stored without are left out."""
        ...

    def add_measurements(self, identifier: int, measurements: Sequence[Measurement]) -> Candidate:
        """Add or replace measurements (name and split) of a candidate.

        Raises:
            NotFoundError: there is no such candidate.
            UsageError: a measurement is an objective's, which the frontier depends on.
        """
        ...

    def frontier(
        self, search: str, budget: Budget | None = None, *, weak: bool = False, stage: str = "after"
    ) -> list[Candidate]:
        """Frontier members within the budget, cheapest memory first; with `weak` the weakly nondominated.

        At the stage ``before`` recovery those of the candidates without a parent.
        """
        ...

    def select(
        self,
        search: str,
        budget: Budget | None = None,
        *,
        strategy: str = "accuracy",
        stage: str = "after",
        **options: object,
    ) -> Selection:
        """Answer a budget query over all complete candidates of a stage (methods.md section 1)."""
        ...

    def set_hypervolume(self, name: str, hypervolume: float, hypervolume_log2: float) -> None:
        """Store the hypervolume of the present frontier."""
        ...
