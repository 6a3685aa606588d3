"""Reading searches, trials, candidates and frontiers from a database."""

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
"""How many candidates at most an answer names on which something is not measured."""
_SEARCHES = table(SearchRow).c
# Made once: putting a statement together costs more than running it.
_VERSION = select(_SEARCHES.id, _SEARCHES.frontier_version).where(_SEARCHES.name == bindparam("name"))


@dataclass(frozen=True)
class ArtifactRecord:
    """A file in the artifact folder.

    Args:
        digest: SHA-256 of its content.
        kind: what it is (``dense``, or a format).
        bytes: its length.
        created: when it was first recorded, in UTC.
    """

    digest: str
    kind: str
    bytes: int
    created: datetime


class FrontierReader:
    """What a store can tell, each call in one transaction that sees one state of the database.

    Args:
        database: an open one, of this release's schema.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.marks = Marks(database)
        self._memory = Memory()
        self._wider = WideFronts()

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

    def find(self, search: str, digest: str) -> Candidate | None:
        """The candidate with that configuration digest, or None. Raises `NotFoundError`: no such search."""
        with self.database.reading() as session:
            found = candidates.known(session, find_search(session, search, counters=True).id, [digest])
            return candidates.get(session, found[digest]) if found else None

    def trials(self, search: str) -> list[TrialRecord]:
        """All trials of a search, by number, with the candidates' objective values."""
        with self.database.reading() as session:
            rows = session.execute(
                select(TrialRow, CandidateRow.objective_values, CandidateRow.state)
                .join(CandidateRow, CandidateRow.id == TrialRow.candidate_id)
                .where(TrialRow.search_id == find_search(session, search, counters=True).id)
                .order_by(TrialRow.number)
            )
            return [trial_record(row, values, state) for row, values, state in rows]

    def events(self, search: str, after: int = 0, limit: int = 500) -> list[TrialEvent]:
        """Trials stored after the one with that sequence, in the order they were stored.

        Raises `NotFoundError`: no such search.
        """
        with self.database.reading() as session:
            return trials.since(session, find_search(session, search, counters=True).id, after, limit)

    def correctness(self, search: str) -> dict[int, bytes]:
        """Packed correctness of the frontier's members before recovery, by id; those stored without are left out."""
        with self.database.reading() as session:
            return frontier.correctness(session, find_search(session, search, counters=True).id)

    def candidate(self, identifier: int) -> Candidate:
        """The candidate with that id. Raises `NotFoundError`."""
        with self.database.reading() as session:
            return candidates.get(session, identifier)

    def candidates(self, search: str, *, failed: bool = False) -> Iterator[Candidate]:
        """All complete candidates of a search by id; with `failed` the failed and stopped ones too.

        They are read in pages, so that millions fit; what is stored meanwhile may or may not be seen.
        """
        with self.database.reading() as session:
            owner = find_search(session, search, counters=True).id
        return self._pages(owner, failed)

    def columns(self, search: str, *asked: str, after: int = 0, limit: int | None = None) -> Columns:
        """Candidates of a search in columns, by id, failed and stopped ones too.

        Args:
            search: name of the search.
            asked: columns, each a measurement's ``name`` (of the validation split, or a cost) or ``name:split``;
                without any, the objectives.
            after: id of the candidate before the first one wanted.
            limit: how many at most; all by default.

        Raises:
            NotFoundError: no such search.
            UsageError: a column that neither a candidate nor the dense model has measured.
        """
        with self.database.reading() as session:
            return columns.read(session, find_search(session, search, counters=True), asked, after, limit)

    def growth(self, search: str, points: int = 60) -> Growth:
        """How a search's frontier grew with its trials.

        Args:
            search: name of the search.
            points: places along the trials at most, two or more.

        Raises:
            NotFoundError: no such search.
        """
        with self.database.reading() as session:
            return growth(session, find_search(session, search), points)

    def recovered(self, search: str, parent: int | None = None) -> list[Candidate]:
        """Candidates that were recovered from others of the search, or from that one, by id; failed ones too.

        Raises `NotFoundError`: no such search.
        """
        with self.database.reading() as session:
            owner = find_search(session, search, counters=True).id
            of = CandidateRow.parent.is_not(None) if parent is None else CandidateRow.parent == parent
            wanted = candidates.wanted().where(CandidateRow.search_id == owner, of)
            # Sorted here: databases take an order for a reason to go through all candidates.
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
        """Frontier members within the budget, cheapest memory first; with `weak` the weakly nondominated.

        Ties in memory go by fewer MACs, then higher accuracy, then id. The candidates may be shared with other
        callers: nobody may change the mappings in them.

        Args:
            search: name of the search.
            budget: limits; None for none.
            weak: the weakly nondominated too.
            stage: ``before`` recovery (among the candidates without a parent), or ``after``.

        Raises:
            NotFoundError: no such search.
            UsageError: a limit on something that this search has not measured, or no such stage.
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
        """Frontier members within the budget, a page at a time.

        Args:
            search: name of the search.
            budget: limits; None for none.
            weak: the weakly nondominated too.
            stage: ``before`` recovery, or ``after``.
            order_by: an objective of the search, best first; ties go by fewer bytes, fewer MACs, higher
                accuracy, and then id.
            limit: how many at most; all by default.
            after: the place of the last one of the page before, as `Page.last` says.

        Raises:
            NotFoundError: no such search.
            UsageError: a limit on something that this search has not measured, an order by something that is
                not measured on its frontier, no such stage, or a place of another order.
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
        """The frontier members next to a candidate (methods.md section 1).

        Raises:
            NotFoundError: no such candidate.
            UsageError: no such stage.
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
        """Answer a budget query over all complete candidates (methods.md section 1).

        The frontier alone is looked at where that cannot change the answer. ``cheapest`` of an infeasible
        answer is what the search's settings hold under that name.

        Args:
            search: name of the search.
            budget: limits; None for none.
            strategy: chooses among those within the budget.
            stage: ``before`` recovery (the candidates without a parent alone), or ``after``.
            options: of the strategy.

        Raises:
            NotFoundError: no such search.
            UsageError: a limit on something that this search has not measured and that is no metric, an unknown
                strategy, an option that it does not take or cannot read, or no such stage.
        """
        version = self._seen(search, budget, strategy, options)
        return self.select_at(version, search, budget, strategy, options, stage)

    def _seen(
        self, search: str, budget: Budget | None, strategy: str, options: Mapping[str, object]
    ) -> Version | None:
        """The state of a search just now, where what is in memory of it answers a query.

        One statement without a transaction: that is most of what the answer takes on a server.
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
        """As `select`, of a state of the search that was just read and a query that its frontier decides.

        If that state is in memory, nothing else need be read.
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
        """An answer with the candidates that could be a better one, if what is not measured on them were known."""
        least = None
        if answer.candidate is not None and answer.strategy == "accuracy":
            accuracy = answer.candidate.measurement("accuracy", "validation")
            least = None if accuracy is None else accuracy.value
        found = unmeasured(session, known, budget, names, stage, NAMED, least)
        return replace(answer, unmeasured=tuple(found), unmeasured_metrics=names if found else ())

    def artifact(self, digest: str) -> ArtifactRecord:
        """What is known of a file in the artifact folder. Raises `NotFoundError`."""
        with self.database.reading() as session:
            row = session.get(ArtifactRow, digest)
            if row is None:
                raise NotFoundError(f"no artifact {digest} is noted in {self.url}")
            return artifact_record(row)

    def verification(self, identifier: int) -> Verification:
        """What came of verifying a candidate last. Raises `NotFoundError`: no such one, or it never was."""
        with self.database.reading() as session:
            row = session.get(VerificationRow, identifier)
            if row is not None:
                return verification_record(row)
            candidates.get(session, identifier)
            raise NotFoundError(
                f"candidate {identifier} has not been verified yet: `leanfront verify {identifier}`"
            )

    def audit(self, search: str, kind: str, candidate: int | None = None) -> AuditRecord:
        """What the last audit of a kind found: of a candidate, or of the search as a whole.

        Raises:
            NotFoundError: no such search, or it was never audited so.
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
        """All that was audited of a candidate, or of the search as a whole, by kind.

        Args:
            search: its name.
            candidate: its id; None for the search as a whole.
            documents: whether with what was found, which may be large, or with empty documents.

        Raises:
            NotFoundError: no such search.
        """
        with self.database.reading() as session:
            owner = find_search(session, search, counters=True)
            found = audits.find(session, owner.id, candidate, documents=documents)
            return [audits.audit_record(row, search, documents=documents) for row in found]


def artifact_record(row: ArtifactRow) -> ArtifactRecord:
    """The record of an artifact's row."""
    return ArtifactRecord(row.digest, row.kind, row.bytes, row.created)
