"""A stored search: its frontier, budget queries, and actions on its candidates.

Heavy imports are inside the methods that need them: a budget query needs only the database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leanfront.actions.measured_selection import measured_selection
from leanfront.actions.recovery_limit import RecoveryLimit
from leanfront.actions.selection_options import FrontierOptions, SelectionOptions
from leanfront.actions.stored_search import StoredSearch
from leanfront.core import search as searching
from leanfront.core.audit import AuditOptions
from leanfront.core.compressors import Recovery
from leanfront.core.objectives import Budget, Selection
from leanfront.core.objectives.budget_options import BudgetOptions
from leanfront.core.search import Verification
from leanfront.core.storage import AuditRecord
from leanfront.errors import InfeasibleError, NotFoundError
from leanfront.local.candidates import Candidate
from leanfront.options import divided, options_of, takes
from leanfront.reports.rows import Candidates
from leanfront.reports.text import infeasible_text

if TYPE_CHECKING:
    from leanfront.actions.measurer import Measurer


class SearchResult(StoredSearch):
    """A stored search: its frontier and the answers to budget queries.

    Args:
        store: store of the search.
        name: name of the search.
        target: the target or a function that returns it; None loads the stored reference when needed.
    """

    @takes(FrontierOptions, BudgetOptions, omit=("stage",))
    def frontier(self, *, weak: bool = False, stage: str = "after", **limits: Any) -> Candidates[Candidate]:
        """Return nondominated candidates within limits, smallest memory first.

        Args:
            weak: also return weakly nondominated candidates.
            stage: ``before`` recovery, or ``after``, with recovered candidates.
            options: see `leanfront.Budget.of`.
        """
        return self._own(self.store.frontier(self.name, Budget.of(**limits), weak=weak, stage=stage))

    def candidate(self, identifier: int) -> Candidate:
        """Return the candidate with that id. Raises `NotFoundError` if this search has none."""
        found = self.store.candidate(identifier)
        if found.search != self.name:
            raise NotFoundError(
                f"candidate {identifier} is one of search '{found.search}', not of '{self.name}'"
            )
        return self._own([found])[0]

    def candidates(self) -> Candidates[Candidate]:
        """Return all complete candidates, by id."""
        return self._own(self.store.candidates(self.name))

    @takes(SelectionOptions, BudgetOptions)
    def selection(
        self,
        *,
        told: Callable[[int, tuple[str, ...]], None] = lambda candidate, metrics: None,
        **options: Any,
    ) -> Selection[Any]:
        """Return the whole answer to a budget query, also if no candidate is within the budget.

        `unmeasured` of the answer lists candidates that could be a better answer but still lack a limited metric.

        Args:
            told: called with the id of a candidate and the metrics before each measurement.
            options: see `leanfront.Budget.of` and `leanfront.actions.selection_options.SelectionOptions`. In Python,
                `tolerance` may also map objectives to differences.
        """
        # Each objective has a tolerance of its own.
        several = (
            {"tolerance": options.pop("tolerance")} if isinstance(options.get("tolerance"), Mapping) else {}
        )
        asked, limits = divided(options, SelectionOptions, BudgetOptions)
        budget = Budget.of(**{name: getattr(limits, name) for name in options_of(BudgetOptions)})
        chosen = {
            "order": asked.order,
            "tolerance": asked.tolerance,
            "weights": asked.weights or None,
            **several,
        }

        def ask() -> Selection[Any]:
            return self.store.select(self.name, budget, strategy=asked.strategy, stage=asked.stage, **chosen)

        def measurer() -> Measurer:
            from leanfront.actions.measurer import Measurer

            return Measurer(self.store, self.files())

        return measured_selection(ask, self.store, measurer, asked.measure, told)

    @takes(SelectionOptions, BudgetOptions)
    def select(self, **options: Any) -> Candidate:
        """Return the candidate to ship within a budget.

        Args:
            options: see `selection`.

        Raises:
            InfeasibleError: no candidate is within the budget; the message names the nearest one and the binding
                limit, and `.selection` is the whole answer.
        """
        answer = self.selection(**options)
        if not answer.feasible:
            raise InfeasibleError(infeasible_text(answer), answer)
        return self._own([answer.candidate])[0]

    def verify(
        self, *, all: bool = False, device: str = "auto", progress: bool = False
    ) -> list[Verification]:
        """Verify the members of the frontier, and store the results.

        Args:
            all: verify every complete candidate.
            device: device of the evaluation: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
            progress: show a progress bar on standard error.

        Raises:
            TargetError: the target cannot be loaded, or has changed.
        """
        from leanfront.reports.progress import counted

        wanted = self.candidates() if all else self.frontier()
        with counted(len(wanted), "candidate", shown=progress) as done:
            found = []
            for verification in self.verifier(device).each(wanted):
                found.append(verification)
                done()
        return found

    @takes(Recovery, RecoveryLimit)
    def recover(
        self, *, device: str = "auto", progress: bool = False, **options: Any
    ) -> Candidates[Candidate]:
        """Train members of the frontier, by expected gain of hypervolume per minute.

        Members that were trained with these settings before are skipped. Raises as `Candidate.recover`.

        Args:
            device: device that trains: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
            progress: show a progress bar on standard error.
            options: see `leanfront.core.compressors.Recovery`, and ``minutes``.

        Returns:
            The recovered candidates, without those whose training gained nothing.
        """
        from leanfront.actions.recovery import recover_many, settings_of
        from leanfront.core.search.options import MOST_RECOVERED
        from leanfront.reports.progress import trained

        limit = RecoveryLimit(minutes=options.pop("minutes", None))
        settings = settings_of(options)
        with trained(shown=progress) as report:
            attempts = recover_many(
                self.recoverer(device),
                self.store.frontier(self.name, stage="before"),
                settings,
                limit.minutes,
                all=False,
                most=MOST_RECOVERED if limit.minutes is None else None,
                report=report,
            )
        return self._own(each.gained for each in attempts if each.gained is not None)

    @takes(AuditOptions)
    def audit(
        self,
        *candidates: int,
        kinds: Sequence[str] | str | None = None,
        device: str = "auto",
        workers: int = 1,
        progress: bool = False,
        **options: Any,
    ) -> list[AuditRecord]:
        """Audit candidates against the dense model, and store the results.

        Args:
            candidates: ids; by default, if `levels` is not given either, members spread over the frontier.
            kinds: kinds of audit, listed by `leanfront audit --help`; by default classes, exemplars, calibration and,
                if the target says how its inputs are made of pixels, robustness.
            device: device of the models: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
            workers: number of processes that a population may use.
            progress: show a progress bar on standard error.
            options: see `leanfront.core.audit.AuditOptions`.

        Returns:
            The stored audits: for each kind, one record per candidate and one of the whole search.

        Raises:
            UsageError: a kind or option is unknown, or the candidates cannot be audited with these options.
            TargetError: the target cannot be loaded, has changed, or lacks what an audit needs.
        """
        from leanfront.actions.audit import audit
        from leanfront.actions.audit_request import choose, default_kinds
        from leanfront.reports.progress import staged

        wanted = AuditOptions.read(options)
        chosen = choose(self.store, self.name, candidates, wanted)
        if kinds is None:
            kinds = default_kinds(self.target())
        names = [kinds] if isinstance(kinds, str) else kinds
        with staged(progress) as report:
            return audit(self, chosen, names, wanted, device=device, workers=workers, report=report)

    def audits(self, candidate: int | None = None) -> list[AuditRecord]:
        """Return the stored audits of a candidate, or of the whole search."""
        return self.store.audits(self.name, candidate)

    def report(self, path: str | Path, candidate: int | None = None) -> None:
        """Write the stored audits as one self-contained HTML file.

        Args:
            path: path of an ``.html`` file in an existing folder; an existing file is replaced.
            candidate: candidate whose audits are written; by default those of the whole search, with the galleries
                of its candidates.

        Raises:
            UsageError: there are no audits, or the path does not end in ``.html``.
            StorageError: the file cannot be written.
        """
        from leanfront.reports.audit_report import report

        report(self.audited(candidate), path)

    def audited(self, candidate: int | None = None) -> list[AuditRecord]:
        """Return the audits that a report shows: of a candidate, or of the whole search and the candidates in it."""
        found = self.audits(candidate)
        if candidate is not None:
            return found
        kinds = {each.kind for each in found}
        versions = [version for each in found for version in each.document.get("versions", ())]
        known = sorted({int(v["candidate"]) for v in versions if v.get("candidate") is not None})
        return [*found, *(own for one in known for own in self.audits(one) if own.kind in kinds)]

    def bounds(self) -> dict[int, float]:
        """Return id -> smallest size in bytes of any order-0 code, for candidates in the latest audit of bounds."""
        try:
            found = self.store.audit(self.name, "bounds").document["versions"]
        except NotFoundError:
            return {}
        return {each["candidate"]: each["bound_bytes"] for each in found if each["candidate"] is not None}

    def _own(self, candidates: Iterable[Any]) -> Candidates[Candidate]:
        own: Candidates[Candidate] = Candidates()
        for candidate in candidates:
            values = {f.name: getattr(candidate, f.name) for f in fields(searching.Candidate)}
            own.append(
                Candidate(
                    **values,
                    target=self.target,
                    samples=lambda: self.samples,
                    verifier=self.verifier,
                    recoverer=self.recoverer,
                    record=lambda: self.record,
                )
            )
        return own
