"""What every kind of audit works on: the models, the samples, and what the models answer on them."""

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
"""Told what is being done, how much of it is done, and of how much."""
HELD = 4
"""Modules kept in memory: a suite goes through all of them for each of its images."""


class Auditor:
    """The models of an audit and what they answer.

    Args:
        target: what was compressed.
        structure: of its model.
        versions: what is compared with the dense model, candidates first.
        options: how.
        samples: calibration samples that candidates are made with.
        device: where models run.
        workers: processes that a population may use.
        answers: the cache of logits.
        report: told of progress.
        stop: asked now and then.

    Raises:
        UsageError: a version comes twice.
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
        """Whose samples are audited: ``test``, which nobody chose on, where there is one."""
        if self.options.split is not None:
            return self.options.split
        return "validation" if self.target.test is None else "test"

    @property
    def data(self) -> Split:
        """The samples."""
        return require_split(self.target, self.split)

    @property
    def every(self) -> tuple[Version, ...]:
        """The dense model and the versions of it."""
        return (Dense(), *self.versions)

    @cached_property
    def population(self) -> Population:
        """K models."""
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
        """What the populations answer, by version.

        Raises:
            StoppedError: before all was answered.
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
        """Makes compressed versions of the target's own model."""
        return self._own.compressor

    def module(self, version: Version) -> nn.Module:
        """The version of the target's own model."""
        if version.name not in self._modules:
            while len(self._modules) >= HELD:
                self._modules.pop(next(iter(self._modules)))
            self._modules[version.name] = version.module(self._own).requires_grad_(False)
        return self._modules[version.name]

    def logits(self, version: Version, split: str | None = None) -> tuple[Tensor, Tensor]:
        """What a version of the target's own model answers on a whole split: logits (N, C), labels (N,)."""
        name = split or self.split
        data = require_split(self.target, name)
        return self.on(version, lambda: data, "split", data.digest), data.labels

    def on(self, version: Version, data: Callable[[], Split | Pictures], *key: str | int) -> Tensor:
        """What a version of the target's own model answers on some images: logits (n, C).

        Args:
            version: which.
            data: gives the images, where they are needed.
            key: says which images they are.

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
