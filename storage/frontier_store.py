"""The database implementation of `Store`: candidates, trials, and a frontier maintained on insert."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from leanfront.core.objectives.measurement import SEARCHED_SPLITS, Measurement
from leanfront.core.objectives.objective import resolve
from leanfront.core.search.candidate import CANDIDATE_STATES, ENDED, Candidate, SearchRecord, TrialRecord
from leanfront.core.search.store_protocol import Store
from leanfront.core.search.verification import Verification
from leanfront.core.storage import audits, candidates, trials
from leanfront.core.storage.audits import AuditRecord
from leanfront.core.storage.database import open_database
from leanfront.core.storage.jobs import (
    Jobs,
    Lease,
    end,
    held,
    of_search,
    require_free,
    search_job,
    set_job_state,
)
from leanfront.core.storage.memory import Known
from leanfront.core.storage.reading import FrontierReader
from leanfront.core.storage.records import (
    measurement_values,
    numbers,
    require_distinct,
    search_record,
    search_row,
    verification_values,
)
from leanfront.core.storage.searches import find_search, require_name, require_state
from leanfront.core.storage.tables import (
    CandidateArtifactRow,
    CandidateRow,
    JobRow,
    MeasurementRow,
    SearchRow,
    VerificationRow,
)
from leanfront.errors import NameTakenError, UsageError


class FrontierStore(FrontierReader, Store):
    """Store of searches, trials and candidates in a database.

    Safe for several threads and for several processes on one database. Each call is one transaction: `record`
    stores a candidate, its measurements, its trial and the change of the frontier together or not at all. See
    `leanfront.core.search.store_protocol.Store` for the contract of each method.

    Args:
        url: ``sqlite:///FILE`` or ``postgresql://...``; tables are created in a new database.
        upgrade: upgrade an older schema to this release's instead of refusing it.

    Raises:
        SchemaError: the schema of the database is older or newer than this release's.
        StorageError: as `leanfront.core.storage.open_database`.
    """

    def __init__(self, url: str, *, upgrade: bool = False) -> None:
        super().__init__(open_database(url, upgrade=upgrade))
        self.jobs = Jobs(self.database)
        self._lease: Lease | None = None

    def under(self, lease: Lease) -> FrontierStore:
        """Return this store bound to a lease: once the lease is lost, every write raises `LeaseLostError`."""
        own = copy.copy(self)
        own._lease = lease
        return own

    # Searches

    def create_search(self, record: SearchRecord) -> SearchRecord:
        """Store a new search with all counters 0 and the current time.

        A queued search waits for a worker; any other is driven by the process that creates it.

        Raises:
            NameTakenError: a search of that name exists.
            UsageError: the name or state is invalid, or an objective is unknown.
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
                # With concurrent writers (PostgreSQL), another one may have taken the name since.
                raise taken from None
            job = search_job(record.state, local=record.state != "queued")
            job.search_id = row.id
            session.add(job)
            session.flush()
            return search_record(row)

    def prepare_search(self, record: SearchRecord) -> SearchRecord:
        """Complete the record of a queued search with what only the loaded target tells.

        Raises:
            NotFoundError: the search does not exist.
            UsageError: the search already has trials.
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
            row.frontier_version += 1
            session.flush()
            return search_record(row)

    def delete_search(self, name: str) -> tuple[str, ...]:
        """Delete a search and everything that belongs to it except its files.

        Returns:
            Digests of its files, to be passed to `Shelf.discard`.

        Raises:
            NotFoundError: the search does not exist.
            BusyError: a process is driving the search.
        """
        with self.database.writing() as session:
            owner = find_search(session, name, counters=True).id
            # Its jobs are deleted too, and jobs are always locked before searches.
            session.execute(
                select(JobRow.id).where(JobRow.search_id == owner).order_by(JobRow.id).with_for_update()
            )
            require_free(of_search(session, owner), name, self.database.now(session))
            files = {session.scalar(select(SearchRow.artifact).where(SearchRow.id == owner))}
            files.update(
                session.scalars(
                    select(CandidateArtifactRow.digest)
                    .join(CandidateRow, CandidateRow.id == CandidateArtifactRow.candidate_id)
                    .where(CandidateRow.search_id == owner)
                )
            )
            session.execute(delete(SearchRow).where(SearchRow.id == owner))
            return tuple(sorted(digest for digest in files if digest is not None))

    def set_state(self, name: str, state: str, message: str | None = None) -> None:
        """Set the state and message of a search and of its job; an end state releases the lease."""
        require_state(state)
        with self.database.writing() as session:
            if self._lease is not None:
                held(session, self._lease, lock=True)
            job = of_search(session, find_search(session, name, counters=True).id)
            if state in ENDED:
                end(session, job, state, message, self.database.now(session))
            else:
                set_job_state(session, job, state, message)

    def set_hypervolume(self, name: str, hypervolume: float, hypervolume_log2: float) -> None:
        """Store the hypervolume of the current frontier. Raises `UsageError` if a value is not finite."""
        for value in (hypervolume, hypervolume_log2):
            if not math.isfinite(value):
                raise UsageError(f"a hypervolume must be finite, not {value}")
        with self._changing(name) as (_, row):
            row.hypervolume, row.hypervolume_log2 = float(hypervolume), float(hypervolume_log2)

    @contextmanager
    def _changing(self, name: str) -> Iterator[tuple[Session, SearchRow]]:
        """Open a write transaction that locks the search."""
        with self.database.writing() as session:
            if self._lease is not None:
                held(session, self._lease)
            yield session, find_search(session, name, lock=True, counters=True)

    # Trials and candidates

    def record(
        self, search: str, trial: TrialRecord, candidate: Candidate, correct: bytes | None = None
    ) -> Candidate:
        """Store a trial with its candidate and update the frontier in one transaction.

        The store sets the candidate's id and the trial's candidate and marks. A complete or stopped candidate with an
        objective that is missing, NaN or infinite is stored as failed.

        Raises:
            NotFoundError: the search or the candidate's parent does not exist.
            UsageError: the trial is already stored, the candidate's state is unknown, its parent belongs to
                another search, or two of its measurements contradict each other.
            LeaseLostError: another process now drives the search.
        """
        return self.record_many(search, [(trial, candidate, correct)])[0]

    def record_many(
        self, search: str, entries: Sequence[tuple[TrialRecord, Candidate, bytes | None]]
    ) -> list[Candidate]:
        """Store trials with their candidates, in order and in one transaction.

        Args:
            search: name of the search.
            entries: tuples of trial, candidate and packed correctness, as `record` takes them.

        Raises:
            As `record`.
        """
        return self._record(search, entries)

    def add_recovered(
        self, candidate: Candidate, link: Callable[[Session, int], None] | None = None
    ) -> Candidate:
        """Store a candidate made by recovery instead of by a trial, or return the stored one if it exists.

        Args:
            candidate: the candidate, with its parent.
            link: called in the same transaction with the id of a newly stored candidate; see `Shelf.link`.

        Raises:
            As `record`.
        """
        return self._record(candidate.search, [(None, candidate, None)], link)[0]

    def _record(
        self,
        search: str,
        entries: Sequence[trials.Entry],
        link: Callable[[Session, int], None] | None = None,
    ) -> list[Candidate]:
        """Store entries in one transaction; `link` is called with the id of each new candidate."""
        for _, candidate, _ in entries:
            if candidate.state not in CANDIDATE_STATES:
                raise UsageError(
                    f"a candidate's state is one of {', '.join(CANDIDATE_STATES)}, not {candidate.state!r}"
                )
            require_distinct(candidate.measurements)
        with self._changing(search) as (session, owner):
            known = self._memory.of(owner)
            before = self._memory.fronts(session, known)
            digests = [each.configuration.digest for _, each, _ in entries] if link is not None else []
            stored = candidates.known(session, owner.id, digests)
            found, after, changes = trials.store(session, owner, known.objectives, before, entries)
            for each in found:
                if link is not None and each.configuration.digest not in stored:
                    assert each.id is not None
                    link(session, each.id)
        # Remember only what is committed.
        if changes:
            self._memory.changed(known, after, changes)
        return found

    def add_measurements(self, identifier: int, measurements: Sequence[Measurement]) -> Candidate:
        """Add or replace measurements of a candidate, identified by name and split.

        Raises:
            NotFoundError: the candidate does not exist.
            UsageError: a measurement is an objective, whose value must not change, or measurements contradict
                each other or stored ones.
        """
        require_distinct(measurements)

        def change(session: Session, owner: SearchRow, known: Known) -> None:
            fixed = {objective.measurement for objective in known.objectives}
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
            owner.measured_version += any(each.split in SEARCHED_SPLITS for each in measurements)

        return self._change_candidate(identifier, change)

    def add_verification(self, verification: Verification) -> Candidate:
        """Store the result of a verification, replacing the previous one.

        Raises:
            NotFoundError: the candidate does not exist.
        """
        identifier = verification.candidate

        def change(session: Session, owner: SearchRow, known: Known) -> None:
            session.execute(delete(VerificationRow).where(VerificationRow.candidate_id == identifier))
            session.add(VerificationRow(**verification_values(verification, identifier)))

        return self._change_candidate(identifier, change)

    def add_audits(self, records: Sequence[AuditRecord]) -> None:
        """Store audits of a search, replacing earlier ones of the same kinds; all of them or none.


        Raises:
            NotFoundError: a search or candidate does not exist.
            LeaseLostError: another process now does this work.
        """
        for name in dict.fromkeys(record.search for record in records):
            with self._changing(name) as (session, owner):
                for record in records:
                    if record.search == name:
                        audits.replace(session, owner.id, record)

    def _change_candidate(
        self, identifier: int, change: Callable[[Session, SearchRow, Known], None]
    ) -> Candidate:
        """Change stored facts about a candidate but not its vector: the front stays, under a new version."""
        with self.database.reading() as session:
            name = candidates.get(session, identifier).search
        with self._changing(name) as (session, owner):
            of = session.scalar(select(CandidateRow.search_id).where(CandidateRow.id == identifier))
            if of != owner.id:
                # Its search has been deleted since.
                raise candidates.missing(identifier)
            known = self._memory.of(owner)
            change(session, owner, known)
            owner.frontier_version += 1
            session.flush()
            after = replace(known, version=owner.frontier_version, measured=owner.measured_version)
            found = candidates.get(session, identifier)
        self._memory.measured(known, after, identifier)
        return found
