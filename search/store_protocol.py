"""Interface of the database that a search needs; `storage` implements it, and callers pass it in."""

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

    Every method is one transaction: a method that raises has changed nothing. All methods raise `StorageError` (with
    the reason and what to do) if the database cannot be read or written; those that write raise `LeaseLostError` if
    another process now drives the search.
    """

    def create_search(self, record: SearchRecord) -> SearchRecord:
        """Store a new search. Raises `NameTakenError` if the name exists."""
        ...

    def prepare_search(self, record: SearchRecord) -> SearchRecord:
        """Complete the record of a queued search with what only the loaded target tells.

        Raises `UsageError` if it has trials.
        """
        ...

    def search(self, name: str) -> SearchRecord:
        """Return the search of that name. Raises `NotFoundError` that lists the searches."""
        ...

    def searches(self, *, after: int = 0, limit: int | None = None) -> list[SearchRecord]:
        """Return searches, oldest first, after the one with id `after`."""
        ...

    def set_state(self, name: str, state: str, message: str | None = None) -> None:
        """Change the state of a search. Raises `UsageError` if there is no such state."""
        ...

    def record(
        self, search: str, trial: TrialRecord, candidate: Candidate, correct: bytes | None = None
    ) -> Candidate:
        """Store a trial with its candidate and update the frontier in one transaction.

        If the search already has the candidate's configuration, the trial is marked a duplicate and the stored
        candidate is returned. A failed or stopped candidate never enters the frontier, nor does one with an objective
        that is missing or not finite, which is stored as failed with the reason.

        Args:
            search: name of the search.
            trial: the trial; the store sets its candidate and its marks for duplicate and stopped.
            candidate: the candidate of the trial.
            correct: packed correctness on the validation split (`pack` of `racing.py`), kept while the candidate is
                on the frontier before recovery.

        Returns:
            The stored candidate with its id and frontier membership.

        Raises:
            NotFoundError: there is no such search, or no candidate with the parent's id.
            UsageError: a trial with that number is stored already, or the candidate's state is unknown.
        """
        ...

    def recovered(self, search: str, parent: int | None = None) -> list[Candidate]:
        """Return the recovered candidates of a search, or those of one parent, by id, including failed ones."""
        ...

    def find(self, search: str, digest: str) -> Candidate | None:
        """Return the candidate with a configuration digest, or None."""
        ...

    def trials(self, search: str) -> list[TrialRecord]:
        """Return all trials of a search by number, with the objective values of their candidates."""
        ...

    def candidate(self, identifier: int) -> Candidate:
        """Return the candidate with that id. Raises `NotFoundError`."""
        ...

    def candidates(self, search: str, *, failed: bool = False) -> Iterator[Candidate]:
        """Iterate over the complete candidates of a search by id; with `failed`, over failed and stopped ones too."""
        ...

    def correctness(self, search: str) -> Mapping[int, bytes]:
        """Return the packed correctness of the frontier before recovery, by id; members without it are left out."""
        ...

    def add_measurements(self, identifier: int, measurements: Sequence[Measurement]) -> Candidate:
        """Add or replace measurements of a candidate, by name and split.

        Raises:
            NotFoundError: there is no such candidate.
            UsageError: a measurement belongs to an objective, on which the frontier depends.
        """
        ...

    def frontier(
        self, search: str, budget: Budget | None = None, *, weak: bool = False, stage: str = "after"
    ) -> list[Candidate]:
        """Return the frontier members within a budget, smallest memory first; with `weak`, the whole weak front.

        At the stage ``before`` recovery, only candidates without a parent count.
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
        """Answer a budget query over all complete candidates of a stage; see `leanfront.core.objectives.select`."""
        ...

    def set_hypervolume(self, name: str, hypervolume: float, hypervolume_log2: float) -> None:
        """Store the hypervolume of the current frontier."""
        ...
