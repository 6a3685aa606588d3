"""The Optuna study of a search: in memory, used by one driver, rebuilt from stored trials."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Mapping, Sequence

import optuna
from optuna.samplers._ga import BaseGASampler
from optuna.trial import FrozenTrial, Trial, TrialState

from leanfront.core.search.candidate import TrialRecord
from leanfront.core.search.context import SamplerContext
from leanfront.core.search.samplers import derived_seed, sampler

GENERATION = ":generation"
"""Suffix of the attribute under which genetic samplers store a trial's generation."""


class SearchStudy:
    """Optuna study that is asked for choices and told their values.

    Every ask uses a new sampler, seeded by the search's seed and the trial's number. So a trial's choices depend only
    on these and the trials before it, and a rebuilt study continues as the old one would have.

    Args:
        context: context of the search: its space, its objectives, and what samplers may know.
        sampler_name: one of `SAMPLERS`.
        seed: seed of the search.
        seeds: choices of the first trials.
    """

    def __init__(
        self,
        context: SamplerContext,
        *,
        sampler_name: str,
        seed: int,
        seeds: Sequence[Mapping[str, int]] = (),
    ) -> None:
        self._context = context
        self._sampler_name = sampler_name
        self._seed = seed
        self._seeds = list(seeds)
        self._distributions = {name: p.distribution for name, p in context.space.parameters.items()}
        self._study = optuna.create_study(
            directions=["maximize" if objective.maximise else "minimize" for objective in context.objectives],
            sampler=sampler(sampler_name, seed, context),
        )
        self._number = 0
        self._missing: deque[int] = deque()

    @property
    def asked(self) -> int:
        """Number of trials asked or rebuilt, including missing ones: the number of the next new trial."""
        return self._number

    def ask(self) -> tuple[Trial, dict[str, int]]:
        """Return the next trial and its choices, an index per parameter; trials missed by `rebuild` come first."""
        again = bool(self._missing)
        number = self._missing.popleft() if again else self._number
        self._study.sampler = sampler(self._sampler_name, derived_seed(self._seed, number), self._context)
        if not again and number < len(self._seeds):
            self._study.enqueue_trial(dict(self._seeds[number]))
        trial = self._study.ask()
        assert trial.number == number
        # Without this, a fully enqueued trial does not join a genetic sampler's population.
        _ = trial.relative_params
        choices = {name: trial.suggest_int(name, d.low, d.high) for name, d in self._distributions.items()}
        self._number += not again
        return trial, choices

    def tell(self, trial: Trial, values: Sequence[float] | None) -> None:
        """Tell the study the objective values in natural units, or None for a failed candidate."""
        if values is None:
            self._study.tell(trial, state=TrialState.FAIL)
        else:
            self._study.tell(trial, list(values))

    def attributes(self, trial: Trial) -> dict[str, int]:
        """Return the sampler's attributes of a trial that a rebuilt study needs."""
        stored = self._study._storage.get_trial(trial._trial_id).system_attrs
        return {name: int(value) for name, value in stored.items() if name.endswith(GENERATION)}

    def rebuild(self, records: Sequence[TrialRecord]) -> None:
        """Tell all stored trials again, by number.

        A missing number was running when its driver died; it is asked again, so that no seed is lost.
        """
        by_number = {record.number: record for record in records}
        self._number = max(by_number, default=-1) + 1
        for number in range(self._number):
            if number in by_number:
                self._study.add_trial(self._frozen(by_number[number]))
            elif number < len(self._seeds):
                self._study.enqueue_trial(dict(self._seeds[number]))
            else:
                self._study.add_trial(optuna.create_trial(state=TrialState.WAITING))
        self._missing = deque(number for number in range(self._number) if number not in by_number)
        self._restore_parents(records)

    def _frozen(self, record: TrialRecord) -> FrozenTrial:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Optuna marks system attributes as internal
            return optuna.create_trial(
                state=TrialState.FAIL if record.values is None else TrialState.COMPLETE,
                values=None if record.values is None else list(record.values),
                params=dict(record.parameters),
                distributions=dict(self._distributions),
                system_attrs=dict(record.attributes),
            )

    def _restore_parents(self, records: Sequence[TrialRecord]) -> None:
        """Select the parents of every generation again, oldest first.

        A genetic sampler derives a generation's parents from those of the previous one, recursively; in this order
        each step finds the previous result in its cache. The parents were selected by the sampler of the generation's
        first trial.
        """
        first: dict[int, int] = {}
        for record in sorted(records, key=lambda record: record.number):
            for name, generation in record.attributes.items():
                if name.endswith(GENERATION):
                    first.setdefault(int(generation), record.number)
        for generation in sorted(first.keys() - {0}):
            seed = derived_seed(self._seed, first[generation])
            maker = sampler(self._sampler_name, seed, self._context)
            if isinstance(maker, BaseGASampler):
                maker.get_parent_population(self._study, generation)
