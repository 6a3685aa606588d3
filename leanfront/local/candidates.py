"""Candidates of a stored search, as modules, files and tables.

Heavy imports are inside the methods that need them: reading from the store needs none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leanfront.actions.recovery_limit import RecoveryLimit
from leanfront.core import search as searching
from leanfront.core.compressors import Recovery
from leanfront.core.search import SearchRecord, Verification
from leanfront.errors import TargetError, UsageError
from leanfront.options import takes

if TYPE_CHECKING:
    from torch import nn

    from leanfront.actions.verifier import Verifier
    from leanfront.core.search import Recoverer
    from leanfront.core.targets import Target

_NO_TARGET = "this candidate does not know its target; open its search with target=..."


@dataclass(frozen=True, eq=False)
class Candidate(searching.Candidate):
    """A stored candidate with access to its target and search, so that it can build the compressed module."""

    target: Callable[[], Target] | None = field(default=None, repr=False)
    samples: Callable[[], int] | None = field(default=None, repr=False)
    verifier: Callable[[], Verifier] | None = field(default=None, repr=False)
    recoverer: Callable[[str], Recoverer] | None = field(default=None, repr=False)
    record: Callable[[], SearchRecord] | None = field(default=None, repr=False)

    def module(self, device: str = "cpu") -> nn.Module:
        """Return the compressed model in eval mode: from the kept file, or rebuilt from the target if none is kept.

        Raises:
            TargetError: the target of the search is not available.
            ArtifactError: the kept file is damaged.
        """
        kept = None if self.verifier is None else self.verifier().files.module(self, device)
        if kept is not None:
            return kept
        from leanfront.core.compressors import Compressor

        compressor = Compressor(self._dense(), device=device, samples=self._calibration())
        return compressor.materialise(self.configuration).module

    def export(self, path: str | Path) -> Path:
        """Write the candidate to a file whose suffix gives the format.

        ``.safetensors`` is the packed file, `file_bytes` long, for `leanfront.load`; ``.onnx`` has integer weights;
        ``.pt2`` is a `torch.export` program with float32 weights. The weights are those of the kept file; if none
        is kept, the file is made first. The candidate is verified before the file is written, and the verification
        is stored.

        Args:
            path: path of the file.

        Raises:
            TargetError: the target of the search is not available.
            UsageError: the suffix is unknown.
            ArtifactError: a claim about the candidate does not hold; nothing is written.
            LeanfrontError: the file cannot be written.
        """
        from leanfront.core.compressors.exchange.formats import format_of

        format_of(Path(path))
        return self._verifier().export(self, Path(path))

    def verify(self) -> Verification:
        """Check every claim about the candidate against its packed file alone, and store the result.

        Raises:
            TargetError: the target of the search is not available.
            UsageError: the candidate failed, so there are no claims to check.
        """
        return self._verifier().verify(self)

    @takes(Recovery, RecoveryLimit, omit=("epochs",))
    def recover(
        self, epochs: int = 3, *, device: str = "auto", progress: bool = False, **options: Any
    ) -> Candidate:
        """Train the candidate on the target's training split, with the dense model as its teacher.

        The result is stored with its file as a new candidate whose parent is this one. If a training with these
        settings is already stored, its result is returned. After an interruption, the same call continues the
        training.

        Args:
            epochs: passes over the training split.
            device: device that trains: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
            progress: show a progress bar on standard error.
            options: see `leanfront.core.compressors.Recovery`, and ``minutes``.

        Returns:
            The recovered candidate, or this one if nothing was gained.

        Raises:
            TargetError: the target of the search is not available.
            UsageError: the candidate cannot be recovered, or a value is invalid.
            CompressionError: the training failed.
        """
        from leanfront.actions.recovery import recover_one, settings_of
        from leanfront.reports.progress import trained

        if self.recoverer is None:
            raise TargetError(_NO_TARGET)
        limit = RecoveryLimit(minutes=options.pop("minutes", None))
        wanted = settings_of({"epochs": epochs, **options})
        with trained(shown=progress) as report:
            attempt = recover_one(self.recoverer(device), self, wanted, limit.minutes, report=report)
        return self if attempt.gained is None else self._own(attempt.gained)

    def layers(self) -> dict[str, Any]:
        """Return the remaining size, cost and predicted loss of each layer and channel group.

        This is the LAYERS object of the API (`GET /candidates/{id}/layers`).

        Raises:
            NotFoundError: the layers of the search are not known yet.
            UsageError: the candidate was not taken from a search.
        """
        if self.record is None:
            raise UsageError(
                "this candidate does not know its search; take it from leanfront.open_search(NAME)"
            )
        from leanfront.reports.layers import layers_json

        return layers_json(self, self.record())

    def _own(self, found: searching.Candidate) -> Candidate:
        """Wrap another candidate of the same search with the target and search of this one."""
        return replace(self, **{each.name: getattr(found, each.name) for each in fields(searching.Candidate)})

    def _verifier(self) -> Verifier:
        if self.verifier is None:
            raise TargetError(_NO_TARGET)
        return self.verifier()

    def _calibration(self) -> int:
        from leanfront.core.compressors.statistics.calibration import SAMPLES

        return SAMPLES if self.samples is None else self.samples()

    def _dense(self) -> Target:
        if self.target is None:
            raise TargetError(_NO_TARGET)
        return self.target()
