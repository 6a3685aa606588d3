"""Read access to searches, trials, candidates and frontiers in a database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from types import TracebackType
from typing import Self, cast

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from leanfront.core.objectives.budget import Budget
from leanfront.core.objectives.selection import Selection
from leanfront.core.search.candidate import Candidate, SearchRecord, TrialRecord
from leanfront.core.search.verification import Verification
from leanfront.core.storage import audits, candidates, columns, frontier, pages, selection, trials
from leanfront.core.storage.audits import AuditRecord
from leanfront.core.storage.columns import Columns
from leanfront.core.storage.database import Database
from leanfront.core.storage.growth import Growth, growth
from leanfront.core.storage.marks import Marks
from leanfront.core.storage.measured import require_measured
from leanfront.core.storage.memory import Known, Memory, Version
from leanfront.core.storage.pages import Neighbours, Page
from leanfront.core.storage.records import search_record, trial_record, verification_record
from leanfront.core.storage.searches import find_search
from leanfront.core.storage.selection import is_of_front
from leanfront.core.storage.tables import (
    ArtifactRow,
    CandidateRow,
    SearchRow,
    TrialRow,
    VerificationRow,
    table,
)
from leanfront.core.storage.trials import TrialEvent
from leanfront.core.storage.unmeasured import missing_metrics, unmeasured
from leanfront.core.storage.wide import WideFronts
from leanfront.errors import NotFoundError

_PAGE = 500
NAMED = 16
"""Largest number of unmeasured candidates that an answer lists."""
_SEARCHES = table(SearchRow).c
# Built once: building a statement takes longer than running it.
_VERSION = select(_SEARCHES.id, _SEARCHES.frontier_version).where(_SEARCHES.name == bindparam("name"))


@dataclass(frozen=True)
class ArtifactRecord:
    """A file in the artifact folder.

    Args:
        digest: SHA-256 of the content.
        kind: kind of file (``dense``, or an export format).
        bytes: length in bytes.
        created: when it was first stored, in UTC.
    """

    digest: str
    kind: str
    bytes: int
    created: datetime


class FrontierReader:
    """The read methods of a store; each call is one transaction that sees one state of the database.

    Args:
        database: an open database with this release's schema.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.marks = Marks(database)
        self._memory = Memory()
        self._wider = WideFronts()

    @property
    def url(self) -> str:
        """Address of the database, without its password."""
        return self.database.url

    def close(self) -> None:
        """Close the connections; they reopen at the next use."""
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def search(self, name: str) -> SearchRecord:
        """Return the search of that name. Raises `NotFoundError` that lists the searches."""
        with self.database.reading() as session:
            return search_record(find_search(session, name))

    def searches(self, *, after: int = 0, limit: int | None = None) -> list[SearchRecord]:
        """Return searches, oldest first.

        Args:
            after: id of the search before the first one to return.
            limit: largest number of searches; all by default.
        """
        wanted = select(SearchRow).where(SearchRow.id > after).order_by(SearchRow.id).limit(limit)
        with self.database.reading() as session:
            return [search_record(row) for row in session.scalars(wanted)]

    def find(self, search: str, digest: str) -> Candidate | None:
        """Return the candidate with a configuration digest, or None. Raises `NotFoundError` for an unknown search."""
        with self.database.reading() as session:
            found = candidates.known(session, find_search(session, search, counters=True).id, [digest])
            return candidates.get(session, found[digest]) if found else None

    def trials(self, search: str) -> list[TrialRecord]:
        """Return all trials of a search by number, with the objective values of their candidates."""
        with self.database.reading() as session:
            rows = session.execute(
                select(TrialRow, CandidateRow.objective_values, CandidateRow.state)
                .join(CandidateRow, CandidateRow.id == TrialRow.candidate_id)
                .where(TrialRow.search_id == find_search(session, search, counters=True).id)
                .order_by(TrialRow.number)
            )
            return [trial_record(row, values, state) for row, values, state in rows]

    def events(self, search: str, after: int = 0, limit: int = 500) -> list[TrialEvent]:
        """Return the trials stored after the one with that sequence number, in the order they were stored.

        Raises `NotFoundError` for an unknown search.
        """
        with self.database.reading() as session:
            return trials.since(session, find_search(session, search, counters=True).id, after, limit)

    def correctness(self, search: str) -> dict[int, bytes]:
        """Return the packed correctness of the frontier before recovery, by id; members without it are left out."""
        with self.database.reading() as session:
            return frontier.correctness(session, find_search(session, search, counters=True).id)

    def candidate(self, identifier: int) -> Candidate:
        """Return the candidate with that id. Raises `NotFoundError`."""
        with self.database.reading() as session:
            return candidates.get(session, identifier)

    def candidates(self, search: str, *, failed: bool = False) -> Iterator[Candidate]:
        """Iterate over the complete candidates of a search by id; with `failed`, over failed and stopped ones too.

        Candidates are read in pages, so memory stays bounded; those stored meanwhile may or may not be included.
        """
        with self.database.reading() as session:
            owner = find_search(session, search, counters=True).id
        return self._pages(owner, failed)

    def columns(self, search: str, *asked: str, after: int = 0, limit: int | None = None) -> Columns:
        """Return the candidates of a search as columns, by id, including failed and stopped ones.

        Args:
            search: name of the search.
            asked: columns, each a measurement's ``name`` (a cost, or a value on the validation split) or
                ``name:split``; the objectives if empty.
            after: id of the candidate before the first one to return.
            limit: largest number of candidates; all by default.

        Raises:
            NotFoundError: the search does not exist.
            UsageError: a column is measured neither on a candidate nor on the dense model.
        """
        with self.database.reading() as session:
            return columns.read(session, find_search(session, search, counters=True), asked, after, limit)

    def growth(self, search: str, points: int = 60) -> Growth:
        """Return how a search's frontier grew with its trials.

        Args:
            search: name of the search.
            points: largest number of places along the trials, at least 2.

        Raises:
            NotFoundError: the search does not exist.
        """
        with self.database.reading() as session:
            return growth(session, find_search(session, search), points)

    def recovered(self, search: str, parent: int | None = None) -> list[Candidate]:
        """Return the recovered candidates of a search, or those of one parent, by id, including failed ones.

        Raises `NotFoundError` for an unknown search.
        """
        with self.database.reading() as session:
            owner = find_search(session, search, counters=True).id
            of = CandidateRow.parent.is_not(None) if parent is None else CandidateRow.parent == parent
            wanted = candidates.wanted().where(CandidateRow.search_id == owner, of)
            # Sorted here: ORDER BY would make databases scan all candidates by id.
            found = sorted(session.execute(wanted), key=lambda row: int(row.id))
            return candidates.records(session, found)

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

    def frontier(
        self, search: str, budget: Budget | None = None, *, weak: bool = False, stage: str = "after"
    ) -> list[Candidate]:
        """Return the frontier members within a budget, smallest memory first; with `weak`, the whole weak front.

        Ties in memory are broken by fewer MACs, then higher accuracy, then id. The candidates may be shared with
        other callers: do not change the mappings in them.

        Args:
            search: name of the search.
            budget: limits; None for none.
            weak: also return weakly nondominated candidates.
            stage: ``before`` recovery (only candidates without a parent), or ``after``.

        Raises:
            NotFoundError: the search does not exist.
            UsageError: a limit is on a name that this search has not measured, or the stage is unknown.
        """
        asked = pages.Asked(budget or Budget(), weak, stage, "memory", None, None)
        with self.database.reading() as session:
            known = self._memory.known(session, search)
            return list(self._page(session, known, asked)[0])

    def frontier_page(
        self,
        search: str,
        budget: Budget | None = None,
        *,
        weak: bool = False,
        stage: str = "after",
        order_by: str = "memory",
        limit: int | None = None,
        after: Sequence[float] | None = None,
    ) -> Page:
        """Return one page of the frontier members within a budget.

        Args:
            search: name of the search.
            budget: limits; None for none.
            weak: also return weakly nondominated candidates.
            stage: ``before`` recovery, or ``after``.
            order_by: an objective or another measurement, best first; ties are broken by fewer bytes, fewer MACs,
                higher accuracy, and id.
            limit: largest number of candidates; all by default.
            after: position of the last candidate of the previous page, `Page.last`.

        Raises:
            NotFoundError: the search does not exist.
            UsageError: a limit or `order_by` is on a name that is not measured, the stage is unknown, or `after`
                belongs to another order.
        """
        asked = pages.Asked(budget or Budget(), weak, stage, order_by, limit, after)
        with self.database.reading() as session:
            row = find_search(session, search)
            shown, last = self._page(session, self._memory.of(row), asked)
            return Page(shown, last, search_record(row))

    def _page(
        self, session: Session, known: Known, asked: pages.Asked
    ) -> tuple[tuple[Candidate, ...], tuple[float, ...] | None]:
        require_measured(session, known, asked.budget)
        front = self._memory.front(session, known, asked.stage)
        ids, last = pages.page(session, known, front, asked)
        found = self._memory.members(session, known, ids)
        return tuple(found[identifier] for identifier in ids), last

    def neighbours(self, identifier: int, *, stage: str = "after") -> Neighbours:
        """Return the frontier members next to a candidate.

        For each cost among the objectives these are the most expensive member that costs less, and the cheapest
        member that is more accurate.

        Raises:
            NotFoundError: the candidate does not exist.
            UsageError: the stage is unknown.
        """
        with self.database.reading() as session:
            candidate = candidates.get(session, identifier)
            known = self._memory.known(session, candidate.search)
            front = self._memory.front(session, known, stage).strictly()
            found = pages.neighbours(candidate, front, known.objectives)
            ids = {each for pair in found.values() for each in pair if each is not None}
            return pages.between(
                candidate, found, self._memory.members(session, known, ids), known.objectives
            )

    def select(
        self,
        search: str,
        budget: Budget | None = None,
        *,
        strategy: str = "accuracy",
        stage: str = "after",
        **options: object,
    ) -> Selection[Candidate]:
        """Answer a budget query over all complete candidates.

        Only the frontier is read if dominated candidates cannot change the answer. `cheapest` of an infeasible answer
        is taken from the settings of the search.

        Args:
            search: name of the search.
            budget: limits; None for none.
            strategy: rule that chooses among the candidates within the budget.
            stage: ``before`` recovery (only candidates without a parent), or ``after``.
            options: options of the strategy.

        Raises:
            NotFoundError: the search does not exist.
            UsageError: a limit is on a name that this search has not measured and that is no metric, the strategy or
                the stage is unknown, or an option is invalid.
        """
        version = self._seen(search, budget, strategy, options)
        return self.select_at(version, search, budget, strategy, options, stage)

    def _seen(
        self, search: str, budget: Budget | None, strategy: str, options: Mapping[str, object]
    ) -> Version | None:
        """Return the current version of a search if the cache can answer the query at that version.

        Runs one statement without a transaction: on a server, this is most of the time an answer takes.
        """
        with self.database.single() as connection:
            row = connection.execute(_VERSION, {"name": search}).one_or_none()
        known = None if row is None else self._memory.at(*row)
        if known is None or not is_of_front(known.objectives, budget or Budget(), strategy, options):
            return None
        return Version(known.id, known.version)

    def select_at(
        self,
        version: Version | None,
        search: str,
        budget: Budget | None,
        strategy: str,
        options: Mapping[str, object],
        stage: str = "after",
    ) -> Selection[Candidate]:
        """Answer like `select`, for a version of the search just read and a query that its frontier decides.

        If that version is in the cache, nothing else is read.
        """
        with self.database.reading() as session:
            known = self._memory.known(session, search, version)
            limits = budget or Budget()
            lacking = missing_metrics(known, limits)
            require_measured(session, known, limits, measurable=lacking)
            front = self._memory.front(session, known, stage)
            picked = selection.choose(session, known, front, self._wider, limits, strategy, options, stage)
            ids = selection.chosen(picked)
            members = [each for each in ids if (front.ids == each).any()]
            found = self._memory.members(session, known, members)
            found |= candidates.load(session, (each for each in ids if each not in found))
            if version is None or all(each in found for each in ids):
                answer = selection.answer(picked, found)
                return answer if not lacking else self._hedged(session, known, limits, lacking, stage, answer)
        # The search has been deleted since.
        return self.select_at(None, search, budget, strategy, options, stage)

    @staticmethod
    def _hedged(
        session: Session,
        known: Known,
        budget: Budget,
        names: tuple[str, ...],
        stage: str,
        answer: Selection[Candidate],
    ) -> Selection[Candidate]:
        """Add to an answer the candidates that could be better if their missing measurements were known."""
        least = None
        if answer.candidate is not None and answer.strategy == "accuracy":
            accuracy = answer.candidate.measurement("accuracy", "validation")
            least = None if accuracy is None else accuracy.value
        found = unmeasured(session, known, budget, names, stage, NAMED, least)
        return replace(answer, unmeasured=tuple(found), unmeasured_metrics=names if found else ())

    def artifact(self, digest: str) -> ArtifactRecord:
        """Return the record of a file in the artifact folder. Raises `NotFoundError`."""
        with self.database.reading() as session:
            row = session.get(ArtifactRow, digest)
            if row is None:
                raise NotFoundError(f"no artifact {digest} is noted in {self.url}")
            return artifact_record(row)

    def verification(self, identifier: int) -> Verification:
        """Return the latest verification of a candidate. Raises `NotFoundError` if there is none."""
        with self.database.reading() as session:
            row = session.get(VerificationRow, identifier)
            if row is not None:
                return verification_record(row)
            candidates.get(session, identifier)
            raise NotFoundError(
                f"candidate {identifier} has not been verified yet: `leanfront verify {identifier}`"
            )

    def audit(self, search: str, kind: str, candidate: int | None = None) -> AuditRecord:
        """Return the latest audit of one kind, of a candidate or of the whole search.

        Raises:
            NotFoundError: the search or the audit does not exist.
        """
        with self.database.reading() as session:
            owner = find_search(session, search, counters=True)
            found = audits.find(session, owner.id, candidate, kind)
            if not found:
                what = f"search '{search}'" if candidate is None else f"candidate {candidate}"
                named = "" if candidate is None else f" {candidate}"
                raise NotFoundError(
                    f"{what} has no audit '{kind}' yet: `leanfront audit {search}{named} --kind {kind}`"
                )
            return audits.audit_record(found[0], search)

    def audits(
        self, search: str, candidate: int | None = None, *, documents: bool = True
    ) -> list[AuditRecord]:
        """Return the stored audits of a candidate or of the whole search, ordered by kind.

        Args:
            search: name of the search.
            candidate: id of the candidate; None for the whole search.
            documents: whether to include the documents, which may be large; otherwise they are empty.

        Raises:
            NotFoundError: the search does not exist.
        """
        with self.database.reading() as session:
            owner = find_search(session, search, counters=True)
            found = audits.find(session, owner.id, candidate, documents=documents)
            return [audits.audit_record(row, search, documents=documents) for row in found]


def artifact_record(row: ArtifactRow) -> ArtifactRecord:
    """Return the record of an artifact's row."""
    return ArtifactRecord(row.digest, row.kind, row.bytes, row.created)
