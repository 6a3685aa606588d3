"""The `Store` of searches over a database: candidates, trials, and the frontier maintained on insert."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Self, cast

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from objectives.budget import Budget
from objectives.measurement import SEARCHED_SPLITS, Measurement
from objectives.objective import resolve
from objectives.selection import Selection
from search.candidate import CANDIDATE_STATES, Candidate, SearchRecord, TrialRecord
from search.store import Store
from storage import candidates, frontier, pages, selection, trials
from storage.database import open_database
from storage.jobs import (
    ENDED,
    Jobs,
    Lease,
    end,
    held,
    of_search,
    require_free,
    search_job,
    set_job_state,
)
from storage.pages import Neighbours, Page
from storage.records import (
    measurement_values,
    numbers,
    objectives_of,
    require_distinct,
    search_record,
    search_row,
    trial_record,
)
from storage.searches import find_search, require_measured, require_name, require_state
from storage.tables import ArtifactRow, CandidateRow, FrontierRow, MeasurementRow, SearchRow, TrialRow
from storage.trials import TrialEvent
from targets.errors import NameTakenError, NotFoundError, UsageError

_PAGE = 500


@dataclass(frozen=True)
class ArtifactRecord:
    """A file in the artifact folder.

    Args:
        digest: SHA-256 of its content.
        kind: what it is (``weights``, ``report``).
        bytes: its length.
        created: when it was first recorded, in UTC.
    """

    digest: str
    kind: str
    bytes: int
    created: datetime


class FrontierStore(Store):
    """Searches, trials and candidates in a database.

    Safe for several threads of one process, and for several processes on one database. Each call is one
    transaction; `record` stores a candidate, its measurements, its trial and the frontier's change together
    or not at all. See `search.store.Store` for what each method promises.

    Args:
        url: ``sqlite:///FILE`` or ``postgresql://...``; a fresh database gets its tables.
        upgrade: bring an older schema up to this release's instead of refusing it.

    Raises:
        SchemaError: the database has an older schema, or a newer one.
        StorageError: as `storage.open_database`.
    """

    def __init__(self, url: str, *, upgrade: bool = False) -> None:
        self.database = open_database(url, upgrade=upgrade)
        self.jobs = Jobs(self.database)
        self._fronts = frontier.Fronts()
        self._lease: Lease | None = None

    def under(self, lease: Lease) -> FrontierStore:
        """The same store for the holder of a lease: once that is lost, every write raises `LeaseLostError`."""
        own = copy.copy(self)
        own._lease = lease
        return own

    @property
    def url(self) -> str:
        """The database's address, without its password."""
        return self.database.url

    def close(self) -> None:
        """Close the connections. The store can be used again afterwards."""
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Searches

    def create_search(self, record: SearchRecord) -> SearchRecord:
        """Store a new search; its counters start at 0 and its time of creation is set.

        A queued one waits for a worker; any other is driven by the process that made it.

        Raises:
            NameTakenError: the name exists.
            UsageError: a name or state that cannot be, or unknown objectives.
        """
        require_name(record.name)
        require_state(record.state)
        objectives = resolve(record.objectives)
        with self.database.writing() as session:
            row = search_row(record, objectives)
            taken = NameTakenError(
                f"a search named {record.name!r} exists already: choose another name, or go on with "
                f"`leanfront resume {record.name}`"
            )
            if session.scalar(select(SearchRow.id).where(SearchRow.name == record.name)) is not None:
                raise taken
            session.add(row)
            try:
                session.flush()
            except IntegrityError:
                # Where writers run side by side (PostgreSQL) another may have come first since.
                raise taken from None
            job = search_job(record.state, local=record.state != "queued")
            job.search_id = row.id
            session.add(job)
            session.flush()
            return search_record(row)

    def prepare_search(self, record: SearchRecord) -> SearchRecord:
        """Fill in what only the target could tell of a search that was queued by its name.

        Raises:
            NotFoundError: no such search.
            UsageError: it has trials already.
        """
        objectives = resolve(record.objectives)
        with self._changing(record.name) as (session, row):
            if row.trials:
                raise UsageError(f"search {record.name!r} has trials already: it cannot be prepared again")
            fresh = search_row(record, objectives)
            for column in (
                "fingerprint",
                "reference",
                "settings",
                "dense",
                "coverage",
                "artifact",
                "objectives",
            ):
                setattr(row, column, getattr(fresh, column))
            session.flush()
            return search_record(row)

    def search(self, name: str) -> SearchRecord:
        """The search of that name. Raises `NotFoundError`, naming the searches that exist."""
        with self.database.reading() as session:
            return search_record(find_search(session, name))

    def searches(self, *, after: int = 0, limit: int | None = None) -> list[SearchRecord]:
        """Searches, oldest first.

        Args:
            after: id of the search before the first one wanted.
            limit: how many at most; all by default.
        """
        wanted = select(SearchRow).where(SearchRow.id > after).order_by(SearchRow.id).limit(limit)
        with self.database.reading() as session:
            return [search_record(row) for row in session.scalars(wanted)]

    def delete_search(self, name: str) -> None:
        """Delete a search with all that hangs on it.

        Raises:
            NotFoundError: no such search.
            BusyError: a process drives it.
        """
        with self.database.writing() as session:
            job = of_search(session, find_search(session, name).id)
            require_free(job, name, self.database.now(session))
            session.execute(delete(SearchRow).where(SearchRow.id == job.search_id))

    def set_state(self, name: str, state: str, message: str | None = None) -> None:
        """Change a search's state and its message, and its job's; whoever held it does not after an end."""
        require_state(state)
        with self.database.writing() as session:
            if self._lease is not None:
                held(session, self._lease, lock=True)
            job = of_search(session, find_search(session, name).id)
            if state in ENDED:
                end(session, job, state, message, self.database.now(session))
            else:
                set_job_state(session, job, state, message)

    def set_hypervolume(self, name: str, hypervolume: float, hypervolume_log2: float) -> None:
        """Store the hypervolume of the present frontier. Raises `UsageError` where one is not finite."""
        for value in (hypervolume, hypervolume_log2):
            if not math.isfinite(value):
                raise UsageError(f"a hypervolume must be finite, not {value}")
        with self._changing(name) as (_, row):
            row.hypervolume, row.hypervolume_log2 = float(hypervolume), float(hypervolume_log2)

    @contextmanager
    def _changing(self, name: str) -> Iterator[tuple[Session, SearchRow]]:
        """A write transaction on a search, which nobody else changes meanwhile."""
        with self.database.writing() as session:
            if self._lease is not None:
                held(session, self._lease)
            yield session, find_search(session, name, lock=True)

    # Trials and candidates

    def record(
        self, search: str, trial: TrialRecord, candidate: Candidate, correct: bytes | None = None
    ) -> Candidate:
        """Store a trial with its candidate and update the frontier, in one transaction.

        The store sets the candidate's id, and the trial's candidate and marks; a candidate that is complete or
        stopped but has an objective missing, NaN or infinite is stored as failed.

        Raises:
            NotFoundError: no such search, or no such parent.
            UsageError: the trial is stored already, the candidate's state is unknown, or two of its
                measurements contradict each other.
            LeaseLostError: another process drives the search by now.
        """
        return self.record_many(search, [(trial, candidate, correct)])[0]

    def record_many(
        self, search: str, entries: Sequence[tuple[TrialRecord, Candidate, bytes | None]]
    ) -> list[Candidate]:
        """Store trials with their candidates, in order and in one transaction: all of them or none.

        Args:
            search: name of the search.
            entries: each as `record` takes it.

        Raises:
            As `record`.
        """
        for _, candidate, _ in entries:
            if candidate.state not in CANDIDATE_STATES:
                raise UsageError(
                    f"a candidate's state is one of {', '.join(CANDIDATE_STATES)}, not {candidate.state!r}"
                )
            require_distinct(candidate.measurements)
        with self._changing(search) as (session, owner):
            objectives = objectives_of(owner)
            before = self._fronts.get(session, owner.id, len(objectives), owner.frontier_version)
            found, front = trials.store(session, owner, objectives, before, entries)
            session.flush()
            identifier = owner.id
        # Only what is committed may be remembered.
        self._fronts.put(identifier, front)
        return found

    def find(self, search: str, digest: str) -> Candidate | None:
        """The candidate with that configuration digest, or None. Raises `NotFoundError`: no such search."""
        with self.database.reading() as session:
            found = candidates.known(session, find_search(session, search).id, [digest])
            return candidates.get(session, found[digest]) if found else None

    def trials(self, search: str) -> list[TrialRecord]:
        """All trials of a search, by number, with the candidates' objective values."""
        with self.database.reading() as session:
            rows = session.execute(
                select(TrialRow, CandidateRow.objective_values, CandidateRow.state)
                .join(CandidateRow, CandidateRow.id == TrialRow.candidate_id)
                .where(TrialRow.search_id == find_search(session, search).id)
                .order_by(TrialRow.number)
            )
            return [trial_record(row, values, state) for row, values, state in rows]

    def correctness(self, search: str) -> dict[int, bytes]:
        """Packed correctness of the frontier's members, by candidate id; members stored without are left out."""
        with self.database.reading() as session:
            return frontier.correctness(session, find_search(session, search).id)

    def candidate(self, identifier: int) -> Candidate:
        """The candidate with that id. Raises `NotFoundError`."""
        with self.database.reading() as session:
            return candidates.get(session, identifier)

    def candidates(self, search: str, *, failed: bool = False) -> Iterator[Candidate]:
        """All complete candidates of a search by id; with `failed` the failed and stopped ones too.

        They are read in pages, so that millions fit; what is stored meanwhile may or may not be seen.
        """
        with self.database.reading() as session:
            owner = find_search(session, search).id
        return self._pages(owner, failed)

    def _pages(self, owner: int, failed: bool) -> Iterator[Candidate]:
        wanted = candidates.wanted().where(CandidateRow.search_id == owner).order_by(CandidateRow.id)
        wanted = wanted.limit(_PAGE)
        if not failed:
            wanted = wanted.where(CandidateRow.state == "complete")
        last = 0
        while True:
            with self.database.reading() as session:
                page = candidates.records(session, session.execute(wanted.where(CandidateRow.id > last)))
            yield from page
            if len(page) < _PAGE:
                return
            last = cast(int, page[-1].id)

    def add_measurements(self, identifier: int, measurements: Sequence[Measurement]) -> Candidate:
        """Add or replace measurements (name and split) of a candidate.

        Raises:
            NotFoundError: no such candidate.
            UsageError: an objective's value, which the frontier stands on, or measurements that contradict
                each other or those stored.
        """
        require_distinct(measurements)
        with self.database.reading() as session:
            name = candidates.get(session, identifier).search
        with self._changing(name) as (session, owner):
            fixed = {objective.measurement for objective in objectives_of(owner)}
            rows = session.scalars(select(MeasurementRow).where(MeasurementRow.candidate_id == identifier))
            stored = {(row.name, row.split): row for row in rows}
            for each in measurements:
                if each.name in fixed and each.split in SEARCHED_SPLITS:
                    raise UsageError(
                        f"'{each.name}' is an objective of search {owner.name!r}: its value cannot be changed"
                    )
                other = {"": "validation", "validation": ""}.get(each.split)
                if other is not None and (each.name, other) in stored:
                    raise UsageError(
                        f"candidate {identifier} has '{each.name}' measured "
                        f"{'on the validation split' if other else 'as a cost'}: store one value"
                    )
                row = stored.get((each.name, each.split))
                if row is None:
                    session.add(MeasurementRow(**measurement_values(each, owner.id, identifier)))
                else:
                    for column, value in numbers(each).items():
                        setattr(row, column, value)
            version = owner.frontier_version
            if session.get(FrontierRow, identifier) is not None:
                owner.frontier_version += 1
            session.flush()
            renewed = owner.id, version, owner.frontier_version
            found = candidates.get(session, identifier)
        self._fronts.renew(*renewed)
        return found

    # Queries

    def frontier(self, search: str, budget: Budget | None = None, *, weak: bool = False) -> list[Candidate]:
        """Frontier members within the budget, cheapest memory first; with `weak` the weakly nondominated.

        Ties in memory go by fewer MACs, then higher accuracy, then id.

        Raises:
            NotFoundError: no such search.
            UsageError: a limit on something that this search has not measured.
        """
        return list(self.frontier_page(search, budget, weak=weak).candidates)

    def frontier_page(
        self,
        search: str,
        budget: Budget | None = None,
        *,
        weak: bool = False,
        order_by: str = "memory",
        limit: int | None = None,
        after: Sequence[float] | None = None,
    ) -> Page:
        """Frontier members within the budget, a page at a time.

        Args:
            search: name of the search.
            budget: limits; None for none.
            weak: the weakly nondominated too.
            order_by: an objective of the search, best first; ties go by fewer bytes, fewer MACs, higher
                accuracy, and then id.
            limit: how many at most; all by default.
            after: the place of the last one of the page before, as `Page.last` says.

        Raises:
            NotFoundError: no such search.
            UsageError: a limit on something that this search has not measured, or an order by something that
                is no objective of it.
        """
        with self.database.reading() as session:
            owner = find_search(session, search)
            objectives = objectives_of(owner)
            limits = Budget() if budget is None else budget
            require_measured(session, owner, limits)
            front = self._fronts.get(session, owner.id, len(objectives), owner.frontier_version)
            ids, last = pages.page(
                session,
                owner,
                front,
                objectives,
                limits,
                weak=weak,
                order_by=order_by,
                limit=limit,
                after=after,
            )
            found = candidates.load(session, ids)
            return Page(tuple(found[identifier] for identifier in ids), last, search_record(owner))

    def neighbours(self, identifier: int) -> Neighbours:
        """The frontier members next to a candidate (methods.md section 1). Raises `NotFoundError`."""
        with self.database.reading() as session:
            candidate = candidates.get(session, identifier)
            owner = find_search(session, candidate.search)
            objectives = objectives_of(owner)
            front = self._fronts.get(session, owner.id, len(objectives), owner.frontier_version).strictly()
            found = pages.neighbours(candidate, front, objectives)
            ids = {each for pair in found.values() for each in pair if each is not None}
            return pages.between(candidate, found, candidates.load(session, ids), objectives)

    def events(self, search: str, after: int = 0, limit: int = 500) -> list[TrialEvent]:
        """Trials stored after the one with that sequence, in the order they were stored.

        Raises `NotFoundError`: no such search.
        """
        with self.database.reading() as session:
            return trials.since(session, find_search(session, search).id, after, limit)

    def select(
        self, search: str, budget: Budget | None = None, *, strategy: str = "accuracy", **options: object
    ) -> Selection[Candidate]:
        """Answer a budget query over all complete candidates (methods.md section 1).

        The frontier alone is looked at where that cannot change the answer. ``cheapest`` of an infeasible
        answer is what the search's settings hold under that name.

        Raises:
            NotFoundError: no such search.
            UsageError: a limit on something that this search has not measured, an unknown strategy, or an
                option that it does not take or cannot read.
        """
        with self.database.reading() as session:
            owner = find_search(session, search)
            objectives = objectives_of(owner)
            limits = Budget() if budget is None else budget
            require_measured(session, owner, limits)
            picked = selection.choose(
                session,
                owner.id,
                self._fronts.get(session, owner.id, len(objectives), owner.frontier_version),
                objectives,
                limits,
                strategy,
                options,
                owner.settings.get("cheapest"),
            )
            return selection.answer(picked, candidates.load(session, selection.chosen(picked)))

    # Artifacts

    def add_artifact(self, digest: str, kind: str, size: int) -> None:
        """Note a file in the artifact folder; one that is noted already stays as it is.

        Args:
            digest: SHA-256 of its content, as `ArtifactStore.put` returns it.
            kind: what it is (``weights``, ``report``).
            size: its length in bytes.
        """
        with self.database.writing() as session:
            if session.get(ArtifactRow, digest) is None:
                session.add(ArtifactRow(digest=digest, kind=kind, bytes=size))

    def artifact(self, digest: str) -> ArtifactRecord:
        """What is known of a file in the artifact folder. Raises `NotFoundError`."""
        with self.database.reading() as session:
            row = session.get(ArtifactRow, digest)
            if row is None:
                raise NotFoundError(f"no artifact {digest} is noted in {self.url}")
            return ArtifactRecord(row.digest, row.kind, row.bytes, row.created)
