"""The `Store` of searches over a database: candidates, trials, and the frontier maintained on insert."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Self, cast

from sqlalchemy import Select, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, selectinload

from objectives.budget import Budget
from objectives.measurement import SEARCHED_SPLITS, Measurement
from objectives.objective import objective_values, resolve
from objectives.selection import Selection
from objectives.strategies import preference
from search.candidate import CANDIDATE_STATES, STATES, Candidate, SearchRecord, TrialRecord
from search.store import Store
from storage import frontier, selection
from storage.database import open_database
from storage.records import (
    candidate_record,
    candidate_row,
    fill,
    measurement_row,
    objectives_of,
    plain,
    require_distinct,
    search_record,
    search_row,
    trial_record,
)
from storage.tables import ArtifactRow, CandidateRow, FrontierRow, MeasurementRow, SearchRow, TrialRow
from targets.errors import NameTakenError, NotFoundError, UsageError

LONGEST_NAME = 100
_LISTED = 20
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

        Raises:
            NameTakenError: the name exists.
            UsageError: a name or state that cannot be, or unknown objectives.
        """
        require_name(record.name)
        _require_state(record.state)
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
            return search_record(row)

    def search(self, name: str) -> SearchRecord:
        """The search of that name. Raises `NotFoundError`, naming the searches that exist."""
        with self.database.reading() as session:
            return search_record(_find_search(session, name))

    def searches(self) -> list[SearchRecord]:
        """All searches, oldest first."""
        with self.database.reading() as session:
            return [search_record(row) for row in session.scalars(select(SearchRow).order_by(SearchRow.id))]

    def set_state(self, name: str, state: str, message: str | None = None) -> None:
        """Change a search's state and its message."""
        _require_state(state)
        with self.database.writing() as session:
            row = _find_search(session, name, lock=True)
            row.state, row.message = state, None if message is None else plain(message)

    def set_hypervolume(self, name: str, hypervolume: float, hypervolume_log2: float) -> None:
        """Store the hypervolume of the present frontier. Raises `UsageError` where one is not finite."""
        for value in (hypervolume, hypervolume_log2):
            if not math.isfinite(value):
                raise UsageError(f"a hypervolume must be finite, not {value}")
        with self.database.writing() as session:
            row = _find_search(session, name, lock=True)
            row.hypervolume, row.hypervolume_log2 = float(hypervolume), float(hypervolume_log2)

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
        """
        if candidate.state not in CANDIDATE_STATES:
            raise UsageError(
                f"a candidate's state is one of {', '.join(CANDIDATE_STATES)}, not {candidate.state!r}"
            )
        require_distinct(candidate.measurements)
        with self.database.writing() as session:
            # The lock orders writers where the database itself does not (PostgreSQL).
            owner = _find_search(session, search, lock=True)
            if session.get(TrialRow, (owner.id, trial.number)) is not None:
                raise UsageError(f"trial {trial.number} of search {search!r} is stored already")
            known = _by_digest(session, owner.id, candidate.configuration.digest)
            row = known if known is not None else _insert(session, owner, candidate, correct)
            session.add(
                TrialRow(
                    search_id=owner.id,
                    number=trial.number,
                    parameters=dict(trial.parameters),
                    attributes=dict(trial.attributes),
                    candidate_id=row.id,
                    duplicate=known is not None,
                )
            )
            owner.trials += 1
            owner.frontier_size = frontier.size(session, owner.id)
            session.flush()
            identifier = row.id
            # The objects at hand were built, not loaded: read back what others will read.
            session.expire_all()
            return _load(session, [identifier])[identifier]

    def find(self, search: str, digest: str) -> Candidate | None:
        """The candidate with that configuration digest, or None. Raises `NotFoundError`: no such search."""
        with self.database.reading() as session:
            row = _by_digest(session, _find_search(session, search).id, digest)
            return None if row is None else candidate_record(row, search)

    def trials(self, search: str) -> list[TrialRecord]:
        """All trials of a search, by number, with the candidates' objective values."""
        with self.database.reading() as session:
            rows = session.execute(
                select(TrialRow, CandidateRow.objective_values, CandidateRow.state)
                .join(CandidateRow, CandidateRow.id == TrialRow.candidate_id)
                .where(TrialRow.search_id == _find_search(session, search).id)
                .order_by(TrialRow.number)
            )
            return [trial_record(row, values, state) for row, values, state in rows]

    def correctness(self, search: str) -> dict[int, bytes]:
        """Packed correctness of the frontier's members, by candidate id; members stored without are left out."""
        with self.database.reading() as session:
            return frontier.correctness(session, _find_search(session, search).id)

    def candidate(self, identifier: int) -> Candidate:
        """The candidate with that id. Raises `NotFoundError`."""
        with self.database.reading() as session:
            return _get(session, identifier)

    def candidates(self, search: str, *, failed: bool = False) -> Iterator[Candidate]:
        """All complete candidates of a search by id; with `failed` the failed and stopped ones too.

        They are read in pages, so that millions fit; what is stored meanwhile may or may not be seen.
        """
        with self.database.reading() as session:
            owner = _find_search(session, search).id
        return self._pages(owner, search, failed)

    def _pages(self, owner: int, search: str, failed: bool) -> Iterator[Candidate]:
        wanted = _candidates().where(CandidateRow.search_id == owner).order_by(CandidateRow.id).limit(_PAGE)
        if not failed:
            wanted = wanted.where(CandidateRow.state == "complete")
        last = 0
        while True:
            with self.database.reading() as session:
                rows = session.scalars(wanted.where(CandidateRow.id > last))
                page = [candidate_record(row, search) for row in rows]
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
        with self.database.writing() as session:
            owner = session.scalar(
                select(SearchRow)
                .join(CandidateRow, CandidateRow.search_id == SearchRow.id)
                .where(CandidateRow.id == identifier)
                .with_for_update()
            )
            if owner is None:
                raise _no_candidate(identifier)
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
                    row = measurement_row(each, owner.id)
                    row.candidate_id = identifier
                    session.add(row)
                else:
                    fill(row, each)
            session.flush()
            return _get(session, identifier)

    # Queries

    def frontier(self, search: str, budget: Budget | None = None, *, weak: bool = False) -> list[Candidate]:
        """Frontier members within the budget, cheapest memory first; with `weak` the weakly nondominated.

        Ties in memory go by fewer MACs, then higher accuracy, then id.

        Raises:
            NotFoundError: no such search.
            UsageError: a limit on something that this search has not measured.
        """
        with self.database.reading() as session:
            owner = _find_search(session, search)
            limits = Budget() if budget is None else budget
            _require_measured(session, owner, limits)
            members = select(FrontierRow.candidate_id).where(FrontierRow.search_id == owner.id)
            if not weak:
                members = members.where(FrontierRow.strict)
            inside = selection.capped(members, owner.id, limits, objectives_of(owner))
            found = session.scalars(_candidates().where(CandidateRow.id.in_(inside)))
            return sorted((candidate_record(row, search) for row in found), key=_cheapest_first)

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
            owner = _find_search(session, search)
            limits = Budget() if budget is None else budget
            _require_measured(session, owner, limits)
            picked = selection.choose(
                session,
                owner.id,
                objectives_of(owner),
                limits,
                strategy,
                options,
                owner.settings.get("cheapest"),
            )
            return selection.answer(picked, _load(session, selection.chosen(picked)))

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


def require_name(name: str) -> None:
    """Refuse a search's name that could not be typed, shown or put into an address.

    Raises:
        UsageError: not 1 to 100 characters, blank, or with control characters or '/'.
    """
    if not isinstance(name, str) or not 1 <= len(name) <= LONGEST_NAME or not name.strip():
        raise UsageError(f"a search's name has 1 to {LONGEST_NAME} characters, not {name!r}")
    # Control characters, lone surrogates, and separators of lines and paragraphs.
    bad = [sign for sign in name if sign == "/" or unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp")]
    if bad:
        raise UsageError(
            f"a search's name must not contain {bad[0]!r}: {name!r}; use letters, digits, '-', '_'"
        )


def _require_state(state: str) -> None:
    if state not in STATES:
        raise UsageError(f"a search's state is one of {', '.join(STATES)}, not {state!r}")


def _find_search(session: Session, name: str, *, lock: bool = False) -> SearchRow:
    wanted = select(SearchRow).where(SearchRow.name == name)
    row = session.scalar(wanted.with_for_update() if lock else wanted)
    if row is not None:
        return row
    names = list(session.scalars(select(SearchRow.name).order_by(SearchRow.id.desc()).limit(_LISTED + 1)))
    listed = ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")
    raise NotFoundError(
        f"no search named {name!r}; there are: {listed}"
        if names
        else f"no search named {name!r}: the database has none yet; start one with `leanfront search`"
    )


def _candidates() -> Select[CandidateRow]:
    """Candidates with all that a record needs."""
    return select(CandidateRow).options(
        selectinload(CandidateRow.measurements),
        selectinload(CandidateRow.membership),
    )


def _by_digest(session: Session, search: int, digest: str) -> CandidateRow | None:
    return session.scalar(
        _candidates().where(CandidateRow.search_id == search, CandidateRow.configuration_digest == digest)
    )


def _load(session: Session, identifiers: Iterable[int]) -> dict[int, Candidate]:
    rows = session.execute(
        _candidates()
        .add_columns(SearchRow.name)
        .join(SearchRow, SearchRow.id == CandidateRow.search_id)
        .where(CandidateRow.id.in_(list(identifiers)))
    )
    return {row.id: candidate_record(row, name) for row, name in rows}


def _get(session: Session, identifier: int) -> Candidate:
    found = _load(session, [identifier])
    if identifier not in found:
        raise _no_candidate(identifier)
    return found[identifier]


def _no_candidate(identifier: int) -> NotFoundError:
    return NotFoundError(f"no candidate {identifier}: see `leanfront frontier NAME` for those of a search")


def _insert(session: Session, owner: SearchRow, candidate: Candidate, correct: bytes | None) -> CandidateRow:
    """Store a new candidate and let it enter the frontier."""
    if candidate.parent is not None and session.get(CandidateRow, candidate.parent) is None:
        raise _no_candidate(candidate.parent)
    row = candidate_row(candidate, owner.id)
    values = None
    objectives = objectives_of(owner)
    if candidate.state != "failed":
        values, reason = objective_values(objectives, candidate.measurements)
        if values is None:
            row.state, row.reason = "failed", reason
        else:
            row.objective_values = list(values)
    session.add(row)
    session.flush()
    if values is not None and candidate.state == "complete":
        frontier.enter(session, owner.id, row.id, objectives, values, correct)
    return row


def _require_measured(session: Session, owner: SearchRow, budget: Budget) -> None:
    known = {objective.measurement for objective in objectives_of(owner)}
    complete = select(CandidateRow.id).where(
        CandidateRow.search_id == owner.id, CandidateRow.state == "complete"
    )
    if session.scalar(complete.limit(1)) is None:
        # Nothing is measured yet; what the dense model has measured, the candidates will have.
        known |= {str(each["name"]) for each in owner.dense}
    selection.require_measured(session, owner.id, budget, known)


def _cheapest_first(candidate: Candidate) -> tuple[float, ...]:
    accuracy, memory, macs, number = preference(candidate)
    return memory, macs, accuracy, number
