"""Integrity check of a database: ``leanfront database check``."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, exists, func, select, text
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from leanfront.core.objectives.dominance import nondominated
from leanfront.core.objectives.objective import minimisation
from leanfront.core.search.candidate import STAGES
from leanfront.core.storage import schema
from leanfront.core.storage.artifacts import ArtifactStore
from leanfront.core.storage.database import Database
from leanfront.core.storage.jobs import SEARCH
from leanfront.core.storage.records import objectives_of
from leanfront.core.storage.shelf import STRAY_SECONDS, needed, strays
from leanfront.core.storage.tables import (
    VECTOR,
    ArtifactRow,
    AuditRow,
    CandidateArtifactRow,
    CandidateRow,
    FrontierRow,
    JobRow,
    MeasurementRow,
    SearchRow,
    TrialRow,
    VerificationRow,
)
from leanfront.errors import ArtifactError, NotFoundError, StorageError


@dataclass(frozen=True)
class SearchCheck:
    """Row counts of one search."""

    name: str
    trials: int
    candidates: int
    failed: int
    stopped: int
    frontier_size: int
    weak_size: int


@dataclass(frozen=True)
class Report:
    """Result of `check`.

    Args:
        url: address of the database, without its password.
        schema: schema version of the database; None if it has none.
        head: the schema version of this release.
        searches: one entry per search, oldest first; empty unless the schema is this release's.
        problems: problems found, one sentence each.
        files: number of files that searches and candidates need; None if the folder was not checked.
        strays: number of files and file rows that nothing needs. They are harmless: a process died before it
            removed or named them.
    """

    url: str
    schema: str | None
    head: str
    searches: tuple[SearchCheck, ...] = ()
    problems: tuple[str, ...] = ()
    files: int | None = None
    strays: int = 0

    @property
    def ok(self) -> bool:
        """Whether no problem was found."""
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        return {**asdict(self), "ok": self.ok}


def check(url: str, folder: ArtifactStore | None = None) -> Report:
    """Check a database without changing it.

    Args:
        url: address of the database.
        folder: its artifact folder, in which every needed file is read; not checked if it does not exist.

    Checks the schema version; SQLite's own integrity check; that the owner of every row exists; that exactly the
    running jobs are held by a runner; and, for each search, that one job drives it, that its counters and the
    order of its trials are right, and that its stored frontiers (before and after recovery, weak and strict) equal
    those found by comparing all candidates.

    Raises:
        StorageError: the database does not exist or cannot be read.
    """
    database = Database(url)
    try:
        if database.path is not None and not database.path.is_file():
            raise StorageError(f"there is no database {database.path}: check --database")
        with database.connection() as connection:
            version = schema.current(connection)
        head = schema.head()
        if version != head:
            return Report(database.url, version, head, problems=(_schema_problem(version, head),))
        with database.reading() as session:
            problems = _damage(session) if database.is_sqlite else []
            problems += _orphans(session) + _unfiled(session) + _leases(session)
            searches = []
            for row in session.scalars(select(SearchRow).order_by(SearchRow.id)).all():
                entry, found = _check_search(session, row)
                searches.append(entry)
                problems += found
            if folder is None or not folder.folder.is_dir():
                return Report(database.url, version, head, tuple(searches), tuple(problems))
            wanted = needed(session)
            problems += _files(session, folder, wanted)
            lost = strays(session, folder, time.time() - STRAY_SECONDS)
        return Report(database.url, version, head, tuple(searches), tuple(problems), len(wanted), len(lost))
    finally:
        database.close()


def _schema_problem(version: str | None, head: str) -> str:
    if version is None:
        return "the database has no leanfront schema: `leanfront database upgrade` makes one"
    if version in schema.versions():
        return f"schema version {version} is older than {head}: run `leanfront database upgrade`"
    return f"schema version {version} is unknown to this release, whose own is {head}: update leanfront"


def _damage(session: Session) -> list[str]:
    rows = list(session.scalars(text("PRAGMA integrity_check")))
    return [] if rows == ["ok"] else [f"SQLite finds damage: {row}" for row in rows]


def _unfiled(session: Session) -> list[str]:
    """Report recovered candidates without a packed file: their weights cannot be made again."""
    rows = session.execute(
        select(CandidateRow.id, CandidateRow.configuration)
        .outerjoin(CandidateArtifactRow, CandidateArtifactRow.candidate_id == CandidateRow.id)
        .where(
            CandidateRow.parent.is_not(None),
            CandidateRow.state == "complete",
            CandidateArtifactRow.candidate_id.is_(None),
        )
        .order_by(CandidateRow.id)
    )
    found = [identifier for identifier, configuration in rows if configuration.get("recovery")]
    return [f"recovered candidate {found[0]} has no file ({len(found)} in all)"] if found else []


def _orphans(session: Session) -> list[str]:
    links: list[tuple[str, InstrumentedAttribute[Any], type[SearchRow] | type[CandidateRow]]] = [
        ("candidates without a search", CandidateRow.search_id, SearchRow),
        ("candidates without their parent", CandidateRow.parent, CandidateRow),
        ("measurements without a candidate", MeasurementRow.candidate_id, CandidateRow),
        ("measurements without a search", MeasurementRow.search_id, SearchRow),
        ("trials without a candidate", TrialRow.candidate_id, CandidateRow),
        ("trials without a search", TrialRow.search_id, SearchRow),
        ("frontier members without a candidate", FrontierRow.candidate_id, CandidateRow),
        ("frontier members without a search", FrontierRow.search_id, SearchRow),
        ("files without their candidate", CandidateArtifactRow.candidate_id, CandidateRow),
        ("verifications without a candidate", VerificationRow.candidate_id, CandidateRow),
        ("audits without a search", AuditRow.search_id, SearchRow),
        ("audits without their candidate", AuditRow.candidate_id, CandidateRow),
        ("jobs without a search", JobRow.search_id, SearchRow),
        ("jobs without their candidate", JobRow.candidate_id, CandidateRow),
    ]
    problems = []
    for what, column, owner in links:
        other = aliased(owner)
        lost = _count(session, column, column.is_not(None), ~exists().where(other.id == column))
        if lost:
            problems.append(f"{lost} {what}")
    return problems


def _files(session: Session, folder: ArtifactStore, wanted: set[str]) -> list[str]:
    problems = []
    rows = session.execute(select(ArtifactRow.digest, ArtifactRow.bytes))
    sizes = {row.digest: row.bytes for row in rows}
    for digest in sorted(wanted):
        try:
            folder.require_whole(digest, sizes.get(digest, -1))
        except (ArtifactError, NotFoundError) as error:
            problems.append(str(error))
    return problems


def _leases(session: Session) -> list[str]:
    wrong = {
        "jobs run without a lease": (JobRow.state == "running", JobRow.lease_until.is_(None), ~JobRow.local),
        "jobs have a lease that nobody holds": (JobRow.lease_until.is_not(None), JobRow.runner.is_(None)),
        "jobs have a lease but do not run": (JobRow.lease_until.is_not(None), JobRow.state != "running"),
        "jobs have a lease but were never claimed": (JobRow.lease_until.is_not(None), JobRow.token == 0),
    }
    counts = {what: _count(session, JobRow.id, *conditions) for what, conditions in wrong.items()}
    return [f"{count} {what}" for what, count in counts.items() if count]


def _count(session: Session, column: InstrumentedAttribute[Any], *conditions: ColumnElement[bool]) -> int:
    return session.scalar(select(func.count()).select_from(column.class_).where(*conditions)) or 0


def _check_search(session: Session, row: SearchRow) -> tuple[SearchCheck, list[str]]:
    objectives = objectives_of(row)
    stored = session.execute(
        select(CandidateRow.id, CandidateRow.state, CandidateRow.objective_values, CandidateRow.parent)
        .where(CandidateRow.search_id == row.id)
        .order_by(CandidateRow.id)
    ).all()
    compared = [(each.id, each.objective_values) for each in stored if each.state == "complete"]
    members = {
        member.candidate_id: member
        for member in session.scalars(select(FrontierRow).where(FrontierRow.search_id == row.id))
    }
    on_front = {stage: _stored(members, stage) for stage in STAGES}
    strict, weak = on_front["after"]
    entry = SearchCheck(
        name=row.name,
        trials=_count(session, TrialRow.number, TrialRow.search_id == row.id),
        candidates=len(compared),
        failed=sum(each.state == "failed" for each in stored),
        stopped=sum(each.state == "stopped" for each in stored),
        frontier_size=len(strict),
        weak_size=len(weak),
    )
    problems = _jobs_and_order(session, row, strict)
    if row.trials != entry.trials:
        problems.append(f"search '{row.name}' counts {row.trials} trials but has {entry.trials}")
    if row.frontier_size != entry.frontier_size:
        problems.append(
            f"search '{row.name}' counts {row.frontier_size} frontier members but has {entry.frontier_size}"
        )
    lacking = [
        candidate for candidate, values in compared if values is None or len(values) != len(objectives)
    ]
    if lacking:
        problems.append(f"search '{row.name}': candidate {lacking[0]} is complete but lacks objective values")
        return entry, problems
    kept = _count(
        session,
        FrontierRow.candidate_id,
        FrontierRow.search_id == row.id,
        FrontierRow.strict_before.is_not(True),
        FrontierRow.correct.is_not(None),
    )
    if kept:
        problems.append(f"search '{row.name}' keeps the correctness of {kept} candidates off the frontier")
    vectors = {candidate: minimisation(objectives, values) for candidate, values in compared}
    recovered = {each.id for each in stored if each.parent is not None}
    for stage, found in on_front.items():
        among = {key: own for key, own in vectors.items() if stage == "after" or key not in recovered}
        where = f"of search '{row.name}'" + (" before recovery" if stage == "before" else "")
        for name, have, is_weak in zip(("frontier", "weak frontier"), found, (False, True), strict=True):
            problems += _difference(f"{name} {where}", have, _brute_force(among, is_weak))
    moved = [
        candidate
        for candidate, member in members.items()
        if candidate in vectors
        and vectors[candidate] != tuple(getattr(member, axis) for axis in VECTOR[: len(objectives)])
    ]
    if moved:
        problems.append(f"the frontier of search '{row.name}' holds other values than candidate {moved[0]}")
    return entry, problems


def _stored(members: Mapping[int, FrontierRow], stage: str) -> tuple[set[int], set[int]]:
    """Return the ids on a stage's strict front and on its weak front."""
    strict = {candidate: getattr(member, f"strict_{stage}") for candidate, member in members.items()}
    return {key for key, each in strict.items() if each}, {
        key for key, each in strict.items() if each is not None
    }


def _jobs_and_order(session: Session, row: SearchRow, strict: set[int]) -> list[str]:
    problems = []
    states = session.scalars(
        select(JobRow.state).where(JobRow.search_id == row.id, JobRow.kind == SEARCH)
    ).all()
    if len(states) != 1:
        problems.append(f"search '{row.name}' has {len(states)} jobs that drive it, not one")
    elif states[0] != row.state:
        problems.append(f"search '{row.name}' is {row.state}, but the job that drives it is {states[0]}")
    trials = session.execute(
        select(TrialRow.sequence, TrialRow.candidate_id, TrialRow.duplicate, TrialRow.entered)
        .where(TrialRow.search_id == row.id)
        .order_by(TrialRow.sequence)
    ).all()
    if [each.sequence for each in trials] != list(range(1, len(trials) + 1)):
        problems.append(f"the trials of search '{row.name}' are not counted from 1 without gaps")
    makers = {each.candidate_id: each for each in trials if not each.duplicate}
    if len(makers) != sum(not each.duplicate for each in trials):
        problems.append(f"search '{row.name}' has a candidate that two trials made")
    unmade = {each.candidate_id for each in trials} - makers.keys()
    if unmade:
        problems.append(
            f"search '{row.name}': no trial made candidate {min(unmade)}, but one is its duplicate"
        )
    silent = {each for each in strict if each in makers and not makers[each].entered}
    if silent or any(each.entered and each.duplicate for each in trials):
        problems.append(f"the trials of search '{row.name}' do not say rightly which came onto the frontier")
    return problems


def _brute_force(vectors: dict[int, tuple[float, ...]], weak: bool) -> set[int]:
    ids: Sequence[int] = list(vectors)
    mask = nondominated(np.array(list(vectors.values()), dtype=np.float64), weak=weak)
    return {candidate for candidate, keep in zip(ids, mask, strict=True) if keep}


def _difference(what: str, have: set[int], should: set[int]) -> list[str]:
    problems = []
    if should - have:
        problems.append(f"the {what} lacks candidate {min(should - have)} ({len(should - have)} in all)")
    if have - should:
        problems.append(
            f"the {what} holds candidate {min(have - should)}, which is dominated, stopped or failed "
            f"({len(have - should)} in all)"
        )
    return problems
