"""A `Store` in memory, as a user could write it: everything is computed anew from the candidates."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from leanfront.core.objectives import (
    Budget,
    Measurement,
    Selection,
    minimisation,
    objective_values,
    resolve,
    select,
)
from leanfront.core.search.candidate import CANDIDATE_STATES, STATES, Candidate, SearchRecord, TrialRecord
from leanfront.errors import NameTakenError, NotFoundError, UsageError
from leanfront.testing.stores import fronts


class MemoryStore:
    """Searches, trials and candidates in dictionaries; nothing is fast and nothing is kept."""

    def __init__(self) -> None:
        self._searches: dict[str, SearchRecord] = {}
        self._trials: dict[str, dict[int, TrialRecord]] = {}
        self._candidates: dict[int, Candidate] = {}
        self._correct: dict[int, bytes] = {}

    def create_search(self, record: SearchRecord) -> SearchRecord:
        if record.name in self._searches:
            raise NameTakenError(f"a search named {record.name!r} exists already")
        made = replace(record, id=len(self._searches) + 1, created=datetime.now(UTC).isoformat())
        self._searches[record.name], self._trials[record.name] = made, {}
        return made

    def prepare_search(self, record: SearchRecord) -> SearchRecord:
        old = self.search(record.name)
        if old.trials:
            raise UsageError(f"search {record.name!r} has trials already")
        fields = ("fingerprint", "reference", "settings", "dense", "coverage", "artifact", "objectives")
        return self._change(record.name, **{field: getattr(record, field) for field in fields})

    def search(self, name: str) -> SearchRecord:
        if name not in self._searches:
            raise NotFoundError(f"no search named {name!r}; there are: {', '.join(self._searches)}")
        return self._searches[name]

    def searches(self, *, after: int = 0, limit: int | None = None) -> list[SearchRecord]:
        return [each for each in self._searches.values() if (each.id or 0) > after][:limit]

    def set_state(self, name: str, state: str, message: str | None = None) -> None:
        if state not in STATES:
            raise UsageError(f"unknown state {state!r}")
        self._change(name, state=state, message=message)

    def record(
        self, search: str, trial: TrialRecord, candidate: Candidate, correct: bytes | None = None
    ) -> Candidate:
        owner = self.search(search)
        if candidate.state not in CANDIDATE_STATES:
            raise UsageError(f"unknown state {candidate.state!r}")
        if trial.number in self._trials[search]:
            raise UsageError(f"trial {trial.number} is stored already")
        if candidate.parent is not None:
            self.candidate(candidate.parent)
        made = self.find(search, candidate.configuration.digest)
        duplicate = made is not None
        if made is None:
            made = self._judged(replace(candidate, search=search, id=len(self._candidates) + 1))
            self._keep(made, correct)
        values, _ = objective_values(resolve(owner.objectives), made.measurements)
        self._trials[search][trial.number] = replace(
            trial,
            candidate=made.id,
            values=None if made.state == "failed" else values,
            duplicate=duplicate,
            stopped=made.state == "stopped",
        )
        self._change(
            search,
            trials=len(self._trials[search]),
            frontier_size=len(self._fronts(search, "after")[0]),
            frontier_version=owner.frontier_version + 1,
        )
        return self.candidate(made.id or 0)

    def _keep(self, made: Candidate, correct: bytes | None) -> None:
        assert made.id is not None
        self._candidates[made.id] = made
        if correct is not None:
            self._correct[made.id] = correct

    def _judged(self, candidate: Candidate) -> Candidate:
        objectives = resolve(self.search(candidate.search).objectives)
        values, reason = objective_values(objectives, candidate.measurements)
        if candidate.state == "failed" or values is not None:
            return candidate
        return replace(candidate, state="failed", reason=reason)

    def _fronts(self, search: str, stage: str) -> tuple[set[int], set[int]]:
        """Ids of the strict and of the weak front."""
        objectives = resolve(self.search(search).objectives)
        vectors = {}
        for identifier, each in self._candidates.items():
            if (
                each.search != search
                or each.state != "complete"
                or (stage == "before" and each.parent is not None)
            ):
                continue
            values, _ = objective_values(objectives, each.measurements)
            assert values is not None
            vectors[identifier] = minimisation(objectives, values)
        return fronts(vectors)

    def recovered(self, search: str, parent: int | None = None) -> list[Candidate]:
        self.search(search)
        everything = self.candidates(search, failed=True)
        return [e for e in everything if e.parent is not None and parent in (None, e.parent)]

    def find(self, search: str, digest: str) -> Candidate | None:
        for each in self.candidates(search, failed=True):
            if each.configuration.digest == digest:
                return each
        return None

    def trials(self, search: str) -> list[TrialRecord]:
        self.search(search)
        return [trial for _, trial in sorted(self._trials[search].items())]

    def candidate(self, identifier: int) -> Candidate:
        if identifier not in self._candidates:
            raise NotFoundError(f"no candidate {identifier}")
        found = self._candidates[identifier]
        return replace(found, on_frontier=identifier in self._fronts(found.search, "after")[0])

    def candidates(self, search: str, *, failed: bool = False) -> Iterator[Candidate]:
        self.search(search)
        for identifier, each in sorted(self._candidates.items()):
            if each.search == search and (failed or each.state == "complete"):
                yield self.candidate(identifier)

    def correctness(self, search: str) -> Mapping[int, bytes]:
        strict, _ = self._fronts(search, "before")
        return {identifier: packed for identifier, packed in self._correct.items() if identifier in strict}

    def add_measurements(self, identifier: int, measurements: Sequence[Measurement]) -> Candidate:
        candidate = self.candidate(identifier)
        owner = self.search(candidate.search)
        fixed = {objective.measurement for objective in resolve(owner.objectives)}
        kept = {(each.name, each.split): each for each in candidate.measurements}
        for each in measurements:
            if each.name in fixed and each.split in ("", "validation"):
                raise UsageError(f"{each.name} is an objective")
            kept[each.name, each.split] = each
        self._candidates[identifier] = replace(candidate, measurements=tuple(kept.values()))
        self._change(candidate.search, frontier_version=owner.frontier_version + 1)
        return self.candidate(identifier)

    def frontier(
        self, search: str, budget: Budget | None = None, *, weak: bool = False, stage: str = "after"
    ) -> list[Candidate]:
        limits = budget or Budget()
        self._require_measured(search, limits)
        found = [self.candidate(identifier) for identifier in self._fronts(search, stage)[weak]]
        inside = [each for each in found if limits.holds({name: each.value(name) for name in limits.names})]
        return sorted(
            inside, key=lambda each: (each.memory_bytes or 0, each.macs or 0, -(each.accuracy or 0))
        )

    def _require_measured(self, search: str, budget: Budget) -> None:
        known = {objective.measurement for objective in resolve(self.search(search).objectives)}
        for each in self.candidates(search, failed=True):
            known |= {one.name for one in each.measurements if one.split in ("", "validation")}
        for name in budget.names:
            if name not in known:
                raise UsageError(f"cannot limit {name}: measured are {', '.join(sorted(known))}")

    def select(
        self,
        search: str,
        budget: Budget | None = None,
        *,
        strategy: str = "accuracy",
        stage: str = "after",
        **options: Any,
    ) -> Selection[Candidate]:
        self._require_measured(search, budget or Budget())
        among = [each for each in self.candidates(search) if stage == "after" or each.parent is None]
        return select(among, budget, resolve(self.search(search).objectives), strategy=strategy, **options)

    def set_hypervolume(self, name: str, hypervolume: float, hypervolume_log2: float) -> None:
        if not math.isfinite(hypervolume + hypervolume_log2):
            raise UsageError("a hypervolume must be finite")
        self._change(name, hypervolume=hypervolume, hypervolume_log2=hypervolume_log2)

    def _change(self, name: str, **fields: Any) -> SearchRecord:
        self._searches[name] = replace(self.search(name), **fields)
        return self._searches[name]
