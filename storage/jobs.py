"""The job queue: work that runners claim and hold under a lease."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Insert, and_, delete, func, or_, select
from sqlalchemy.orm import Session

from leanfront.core.search.candidate import ENDED, STATES
from leanfront.core.storage.database import Database
from leanfront.core.storage.failures import UnstorableError
from leanfront.core.storage.records import plain
from leanfront.core.storage.tables import PENDING, CandidateRow, JobRow, RunnerRow, SearchRow, table
from leanfront.errors import BusyError, LeaseLostError, NotFoundError, UsageError

SEARCH = "search"
"""Kind of job that drives a search. Each search has one, and the state of the search follows it."""
VERIFY, EXPORT = "verify", "export"
"""Kinds of job that verify a candidate, and that export it (parameters: ``format``)."""
RECOVER = "recover"
"""Kind of job that recovers a candidate (parameters: ``epochs``, ``seed``, ``minutes``)."""
AUDIT = "audit"
"""Kind of job that audits its candidate, or several candidates of its search (parameters: ``kinds``,
``options``, ``candidates``)."""
MEASURE = "measure"
"""Kind of job that measures what a budget query needs (parameters: ``maximum``, ``minimum``, ``strategy``,
``stage``, ``most``)."""
LEASE_SECONDS = 30.0
FORGOTTEN = timedelta(days=1)
ATTEMPTS = 5
"""Claims without progress after which a job is given up: it may be what kills its runners."""
# Process ids are reused, after a restart of a container even at once.
_RANDOM = uuid.uuid4().hex[:8]


@dataclass(frozen=True)
class Job:
    """A piece of work for a runner.

    Args:
        id: id in the store.
        kind: ``search``, or another kind that a runner knows.
        search: name of the search it belongs to.
        candidate: id of its candidate, if it has one.
        parameters: further parameters of the work, JSON.
        local: whether only the process that created it may drive it.
        state: one of `leanfront.core.search.STATES`.
        message: how it ended, as text.
        cancelling: whether its runner was asked to stop.
        runner: name of the runner that holds it, or held it last.
        lease_until: when its lease ends; None if nobody holds it.
        attempts: number of claims since the job last made progress.
        created: time in UTC.
        ended: time in UTC; None until the job is done, failed or cancelled.
    """

    id: int
    kind: str
    search: str
    candidate: int | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    local: bool = False
    state: str = "queued"
    message: str | None = None
    cancelling: bool = False
    runner: str | None = None
    lease_until: datetime | None = None
    attempts: int = 0
    created: datetime | None = None
    ended: datetime | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the JOB object of the API."""
        return {
            "id": self.id,
            "kind": self.kind,
            "search": self.search,
            "candidate": self.candidate,
            "state": "cancelling" if self.cancelling and self.state == "running" else self.state,
            "message": self.message,
            "created": None if self.created is None else self.created.isoformat(),
            "ended": None if self.ended is None else self.ended.isoformat(),
        }


@dataclass(frozen=True)
class Lease:
    """The right to run a job and to write its results.

    Args:
        job: id of the job.
        token: number that grows with every claim; a writer with an older token has lost the lease.
        runner: name of the runner that holds it.
    """

    job: int
    token: int
    runner: str


@dataclass(frozen=True)
class Runner:
    """A runner registered in the database.

    Args:
        name: host and process of the runner.
        version: its release of leanfront.
        kinds: kinds of job it takes.
        started: time in UTC.
        seen: when it was last seen, in UTC.
    """

    name: str
    version: str
    kinds: tuple[str, ...]
    started: datetime
    seen: datetime


def runner_name() -> str:
    """Return the runner name of this process, ``HOST:PROCESS:RANDOM``; it never changes."""
    return f"{socket.gethostname()}:{os.getpid()}:{_RANDOM}"


class Jobs:
    """The job queue of a database.

    Callers queue jobs, runners claim them, and the store uses leases as a fence against stale writers. All times are
    the database's, so the clocks of hosts do not matter.

    Args:
        database: an open database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def queue(
        self,
        kind: str,
        search: str,
        *,
        candidate: int | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> Job:
        """Queue a job, or return the equal one that is already queued or running.

        Jobs are equal if they have the same kind, search, candidate and parameters; a job that was asked to stop does
        not count. A search has one job of kind `SEARCH`, which is queued again once it has ended.

        Raises:
            NotFoundError: the search does not exist, or has no such candidate.
            BusyError: the job that drives the search is queued or running.
        """
        wanted = dict(parameters or {})
        with self._database.writing() as session:
            if kind == SEARCH:
                return self._queue_search(session, search, wanted)
            # Locked until the end, so that neither the search nor its candidates are deleted meanwhile.
            owner = _search(session, search, share=True)
            if candidate is not None:
                found = session.get(CandidateRow, candidate)
                if found is None or found.search_id != owner.id:
                    raise NotFoundError(f"search '{search}' has no candidate {candidate}")
            fresh = {
                "kind": kind,
                "search_id": owner.id,
                "candidate_id": candidate,
                "parameters": wanted,
                "state": "queued",
                "digest": digest(kind, owner.id, candidate, wanted),
            }
            same = select(JobRow).where(JobRow.digest == fresh["digest"], PENDING)
            while (row := session.scalar(same)) is None:
                # If another process is adding an equal job, this waits for its transaction and adds nothing. If that
                # job has ended by the time it is looked up, the loop adds this one.
                session.execute(self._unless_there(fresh))
            return _job(row, search)

    def _unless_there(self, values: Mapping[str, Any]) -> Insert:
        # Importing a dialect takes time, and only one is needed.
        if self._database.is_sqlite:
            from sqlalchemy.dialects import sqlite

            return sqlite.insert(table(JobRow)).values(values).on_conflict_do_nothing()
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table(JobRow)).values(values).on_conflict_do_nothing()

    def _queue_search(self, session: Session, search: str, parameters: dict[str, Any]) -> Job:
        row = of_search(session, _search(session, search).id)
        if row.state not in ENDED and not row.local:
            raise BusyError(f"search '{search}' is {row.state} already: cancel it first, or wait for its end")
        require_free(row, search, self._database.now(session))
        row.local, row.cancelling, row.attempts = False, False, 0
        row.runner, row.lease_until, row.ended = None, None, None
        row.parameters = parameters
        set_job_state(session, row, "queued", None)
        session.flush()
        return _job(row, search)

    def claim(
        self, runner: str, kinds: Sequence[str], seconds: float = LEASE_SECONDS
    ) -> tuple[Job, Lease] | None:
        """Claim the oldest job that nobody holds; None if there is none.

        A job whose lease has expired counts as queued. Jobs that were asked to stop, or that made no progress in
        `ATTEMPTS` claims, are ended instead.
        """
        while True:
            with self._database.writing() as session:
                moment = self._database.now(session)
                row = session.scalar(
                    select(JobRow)
                    .where(JobRow.kind.in_(list(kinds)), ~JobRow.local, _free(moment))
                    .order_by(JobRow.id)
                    .limit(1)
                    .with_for_update(skip_locked=True)
                )
                if row is None:
                    return None
                owner = session.get_one(SearchRow, row.search_id)
                if row.cancelling:
                    end(session, row, "cancelled", "cancelled", moment)
                    continue
                _count_attempt(row, owner)
                if row.attempts > ATTEMPTS:
                    last = row.message or f"its runner was lost, the last one was {row.runner}"
                    reason = f"given up after {ATTEMPTS} attempts that got no further: {last}"
                    end(session, row, "failed", reason, moment)
                    continue
                lease = _take(session, row, runner, moment, seconds)
                return _job(row, owner.name), lease

    def drive(self, search: str, runner: str, seconds: float = LEASE_SECONDS) -> Lease:
        """Claim the job of a search for this process, so that no worker takes it.

        Raises:
            NotFoundError: the search does not exist.
            BusyError: another process holds it.
        """
        with self._database.writing() as session:
            row = of_search(session, _search(session, search).id)
            moment = self._database.now(session)
            if row.runner != runner:
                require_free(row, search, moment)
            row.local, row.cancelling, row.attempts, row.ended = True, False, 1, None
            return _take(session, row, runner, moment, seconds)

    def beat(self, lease: Lease, seconds: float = LEASE_SECONDS) -> bool:
        """Renew a lease and return whether the job was asked to stop.

        Raises:
            LeaseLostError: another runner may hold the job now.
        """
        with self._database.writing() as session:
            row = held(session, lease, lock=True)
            row.lease_until = self._database.now(session) + timedelta(seconds=seconds)
            return row.cancelling

    def finish(self, lease: Lease, state: str, message: str | None = None) -> None:
        """End a job held under a lease, and its search if the job drives one.

        Raises:
            LeaseLostError: the lease is lost; nothing is changed.
            UsageError: `state` is not an end state.
        """
        if state not in ENDED:
            raise UsageError(f"a job ends as one of {', '.join(ENDED)}, not {state!r}")
        with self._database.writing() as session:
            end(session, held(session, lease, lock=True), state, message, self._database.now(session))

    def give_back(self, lease: Lease, reason: str | None = None) -> None:
        """Put a job back into the queue for another runner.

        Args:
            lease: lease of the job.
            reason: what went wrong, if anything; the claim then counts as an attempt.

        Raises:
            LeaseLostError: the lease is lost; nothing is changed.
        """
        with self._database.writing() as session:
            row = held(session, lease, lock=True)
            row.lease_until = None
            if reason is None:
                row.attempts = max(0, row.attempts - 1)
            set_job_state(session, row, "queued", reason)

    def cancel(self, job: int) -> Job:
        """Ask a job to stop: at once if nobody runs it, otherwise when its runner next renews the lease.

        An ended job is left as it is. Raises `NotFoundError`.
        """
        with self._database.writing() as session:
            row = session.scalar(select(JobRow).where(JobRow.id == job).with_for_update())
            if row is None:
                raise NotFoundError(f"no job {job}")
            moment = self._database.now(session)
            if row.state not in ENDED:
                row.cancelling = True
                if not _held(row, moment) or _is_dead(row.runner):
                    end(session, row, "cancelled", "cancelled", moment)
            session.flush()
            return _job(row, session.get_one(SearchRow, row.search_id).name)

    def cancel_search(self, search: str) -> Job:
        """Ask the job that drives a search to stop. Raises `NotFoundError`."""
        return self.cancel(self.of_search(search).id)

    def job(self, identifier: int) -> Job:
        """Return the job with that id. Raises `NotFoundError`."""
        with self._database.reading() as session:
            row = session.get(JobRow, identifier)
            if row is None:
                raise NotFoundError(f"no job {identifier}")
            return _job(row, session.get_one(SearchRow, row.search_id).name)

    def of_search(self, search: str) -> Job:
        """Return the job that drives a search. Raises `NotFoundError`."""
        with self._database.reading() as session:
            return _job(of_search(session, _search(session, search).id, lock=False), search)

    def counts(self) -> dict[tuple[str, str], int]:
        """Return the number of jobs by kind and state."""
        with self._database.reading() as session:
            rows = session.execute(
                select(JobRow.kind, JobRow.state, func.count()).group_by(JobRow.kind, JobRow.state)
            )
            return {(kind, state): count for kind, state, count in rows}

    # Runners

    def present(self, name: str, version: str, kinds: Sequence[str]) -> None:
        """Register a runner as present, and forget runners not seen for a day."""
        with self._database.writing() as session:
            moment = self._database.now(session)
            session.execute(delete(RunnerRow).where(RunnerRow.seen < moment - FORGOTTEN))
            row = session.get(RunnerRow, name)
            if row is None:
                row = RunnerRow(name=name, started=moment)
                session.add(row)
            row.version, row.kinds, row.seen = version, list(kinds), moment

    def leave(self, name: str) -> None:
        """Remove a runner that ends."""
        with self._database.writing() as session:
            row = session.get(RunnerRow, name)
            if row is not None:
                session.delete(row)

    def runners(self, seconds: float = LEASE_SECONDS) -> list[Runner]:
        """Return the runners seen within the last `seconds`, by name."""
        with self._database.reading() as session:
            since = self._database.now(session) - timedelta(seconds=seconds)
            rows = session.scalars(select(RunnerRow).where(RunnerRow.seen >= since).order_by(RunnerRow.name))
            return [Runner(r.name, r.version, tuple(r.kinds), r.started, r.seen) for r in rows]


def digest(kind: str, search: int, candidate: int | None, parameters: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a job's work, equal for equal work. Raises `UnstorableError` if it is not JSON."""
    try:
        text = json.dumps([kind, search, candidate, parameters], allow_nan=False, sort_keys=True)
    except (TypeError, ValueError) as error:
        raise UnstorableError(str(error)) from None
    return hashlib.sha256(text.encode()).hexdigest()


def held(session: Session, lease: Lease, *, lock: bool = False) -> JobRow:
    """Return the job row of a valid lease, locked so that nobody else writes for the job in this transaction.

    An expired lease that nobody else has claimed is still valid: nobody can have written meanwhile.

    Raises:
        LeaseLostError: the job was claimed by another runner, has ended, or was deleted.
    """
    wanted = select(JobRow).where(JobRow.id == lease.job)
    # A shared lock keeps others from claiming the job until this transaction ends. Jobs are always locked before
    # searches, so that two transactions that lock both cannot deadlock.
    row = session.scalar(wanted.with_for_update(read=not lock))
    if row is None or row.token != lease.token or row.state != "running":
        raise LeaseLostError(
            f"{lease.runner} does not hold job {lease.job} any more: "
            + ("it was deleted" if row is None else f"it is {row.state}, last held by {row.runner}")
        )
    return row


def search_job(state: str, *, local: bool) -> JobRow:
    """Return the job of a new search, not yet attached to it."""
    return JobRow(kind=SEARCH, parameters={}, state=state, local=local)


def of_search(session: Session, search: int, *, lock: bool = True) -> JobRow:
    """Return the job that drives a search. Raises `NotFoundError`."""
    wanted = select(JobRow).where(JobRow.search_id == search, JobRow.kind == SEARCH)
    row = session.scalar(wanted.with_for_update() if lock else wanted)
    if row is None:
        raise NotFoundError("the search was deleted meanwhile")
    return row


def _search(session: Session, name: str, *, share: bool = False) -> SearchRow:
    wanted = select(SearchRow).where(SearchRow.name == name)
    row = session.scalar(wanted.with_for_update(read=True, key_share=True) if share else wanted)
    if row is None:
        raise NotFoundError(f"no search named {name!r}")
    return row


def _free(moment: datetime) -> ColumnElement[bool]:
    lapsed = or_(JobRow.lease_until.is_(None), JobRow.lease_until < moment)
    return or_(JobRow.state == "queued", and_(JobRow.state == "running", lapsed))


def _held(row: JobRow, moment: datetime) -> bool:
    return row.state == "running" and row.lease_until is not None and row.lease_until >= moment


def _is_dead(runner: str | None) -> bool:
    """Whether a runner was a process of this host that is gone, so that its lease need not expire."""
    host, process, *_ = *(runner or "").rsplit(":", 2), ""
    if host != socket.gethostname() or not process.isdigit():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def require_free(row: JobRow, search: str, moment: datetime) -> None:
    """Refuse to change a search that a process is driving. Raises `BusyError`."""
    if _held(row, moment) and not _is_dead(row.runner):
        assert row.lease_until is not None
        raise BusyError(
            f"search '{search}' is being driven by {row.runner} (its lease ends at {row.lease_until:%H:%M:%S} UTC): "
            "cancel it, or wait for its end"
        )


def _count_attempt(row: JobRow, owner: SearchRow) -> None:
    # The version also grows with work after the last trial: test split, latency, recovery.
    reached = owner.trials + owner.frontier_version
    further = row.kind == SEARCH and reached > row.mark
    row.attempts = 1 if further else row.attempts + 1
    row.mark = reached


def _take(session: Session, row: JobRow, runner: str, moment: datetime, seconds: float) -> Lease:
    row.token += 1
    row.runner, row.lease_until = runner, moment + timedelta(seconds=seconds)
    set_job_state(session, row, "running", None)
    session.flush()
    return Lease(row.id, row.token, runner)


def end(session: Session, row: JobRow, state: str, message: str | None, moment: datetime) -> None:
    """End a job and release its lease."""
    row.lease_until, row.ended = None, moment
    set_job_state(session, row, state, message)


def set_job_state(session: Session, row: JobRow, state: str, message: str | None) -> None:
    """Change the state of a job, and of its search if it drives one. The job's row must be locked."""
    assert state in STATES
    row.state, row.message = state, None if message is None else plain(message)[:2000]
    if state != "running":
        row.lease_until = None
    if row.kind == SEARCH:
        owner = session.get_one(SearchRow, row.search_id, with_for_update=True)
        owner.state, owner.message = state, row.message


def _job(row: JobRow, search: str) -> Job:
    return Job(
        id=row.id,
        kind=row.kind,
        search=search,
        candidate=row.candidate_id,
        parameters=row.parameters,
        local=row.local,
        state=row.state,
        message=row.message,
        cancelling=row.cancelling,
        runner=row.runner,
        lease_until=row.lease_until,
        attempts=row.attempts,
        created=row.created,
        ended=row.ended,
    )
