"""The auditor: the models, the samples and the models' answers, on which every kind of audit works."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import torch
from torch import Tensor, nn

from leanfront.core.audit.answers import Answers
from leanfront.core.audit.levels import of_levels
from leanfront.core.audit.member import Member
from leanfront.core.audit.options import AuditOptions
from leanfront.core.audit.population import Population, Votes
from leanfront.core.audit.versions import Dense, Version
from leanfront.core.compressors import Compressor, Structure
from leanfront.core.compressors.statistics.outputs import batch_size, outputs
from leanfront.core.search.dense import require_split
from leanfront.core.targets import Split, Target
from leanfront.core.targets.pictures import Pictures
from leanfront.errors import StoppedError, UsageError

Report = Callable[[str, int, int], None]
"""Callback of a task's name, and the number of its steps done and in all."""
HELD = 4
"""Number of modules kept in memory, since a suite runs all modules on each of its image sets."""


class Auditor:
    """The models of an audit and their answers.

    Args:
        target: the compressed target.
        structure: structure of its model.
        versions: versions to compare with the dense model, candidates first.
        options: options of the audit.
        samples: number of calibration samples that candidates are made with.
        device: device that models run on.
        workers: number of processes for a population.
        answers: cache of logits.
        report: callback of progress.
        stop: whether to stop, asked from time to time.

    Raises:
        UsageError: a version occurs twice.
    """

    def __init__(
        self,
        target: Target,
        structure: Structure,
        versions: Sequence[Version],
        options: AuditOptions,
        *,
        samples: int,
        device: str = "cpu",
        workers: int = 1,
        answers: Answers | None = None,
        report: Report = lambda what, done, of: None,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self.target = target
        self.structure = structure
        self.options = options
        self.versions = (*versions, *of_levels(options.levels, structure))
        names = [version.name for version in self.versions]
        if len(set(names)) < len(names):
            raise UsageError(f"a version comes twice: {', '.join(names)}")
        self.device = device
        self.report = report
        self.stop = stop
        self.answers = answers or Answers()
        self._samples = samples
        self._workers = workers
        self._modules: dict[str, nn.Module] = {}
        self._own = Member(target, structure, samples=samples, device=device, first_seed=options.seed)

    @property
    def split(self) -> str:
        """Name of the audited split: by default ``test``, which the search never saw, if there is one."""
        if self.options.split is not None:
            return self.options.split
        return "validation" if self.target.test is None else "test"

    @property
    def data(self) -> Split:
        """The audited samples."""
        return require_split(self.target, self.split)

    @property
    def every(self) -> tuple[Version, ...]:
        """The dense model and its versions."""
        return (Dense(), *self.versions)

    @cached_property
    def population(self) -> Population:
        """The population of K models."""
        options = self.options
        return Population(
            self.target,
            self.structure,
            options.population,
            options.models,
            options.seed,
            self.split,
            self._samples,
            self.device,
        )

    @cached_property
    def votes(self) -> dict[str, Votes]:
        """Answers of the population, by version.

        Raises:
            StoppedError: the audit was asked to stop.
        """

        def told(done: int, of: int) -> None:
            self.report("population", done, of)

        found = self.population.votes(
            self.every, self.answers, workers=self._workers, report=told, stop=self.stop
        )
        if found is None:
            raise StoppedError
        return found

    @property
    def compressor(self) -> Compressor:
        """Compressor of the target's own model."""
        return self._own.compressor

    def module(self, version: Version) -> nn.Module:
        """Return the module of a version of the target's own model."""
        if version.name not in self._modules:
            while len(self._modules) >= HELD:
                self._modules.pop(next(iter(self._modules)))
            self._modules[version.name] = version.module(self._own).requires_grad_(False)
        return self._modules[version.name]

    def logits(self, version: Version, split: str | None = None) -> tuple[Tensor, Tensor]:
        """Return the logits (N, C) of a version of the target's own model on a whole split, and the labels (N,)."""
        name = split or self.split
        data = require_split(self.target, name)
        return self.on(version, lambda: data, "split", data.digest), data.labels

    def on(self, version: Version, data: Callable[[], Split | Pictures], *key: str | int) -> Tensor:
        """Return the logits (n, C) of a version of the target's own model on some images.

        Args:
            version: the version.
            data: function that returns the images, called if the logits are not cached.
            key: cache key of the images.

        Raises:
            StoppedError: the audit was asked to stop.
        """
        if self.stop():
            raise StoppedError
        where = torch.device(self.device).type
        own = (self.target.fingerprint, self._samples, version.key, where)

        def make() -> Tensor:
            size = batch_size(self.target.example_input)
            return outputs(self.module(version), data(), size, torch.device(self.device))[0]

        return self.answers.recall(make, "own", *own, *key)
