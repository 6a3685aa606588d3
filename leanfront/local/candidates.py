"""A search's candidates in Python: what they hold, as modules, files and tables.

What only some of that needs is imported where it is: to read what is stored takes none of it.
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
    """A stored candidate that knows its target, so that it can give the compressed module."""

    target: Callable[[], Target] | None = field(default=None, repr=False)
    samples: Callable[[], int] | None = field(default=None, repr=False)
    verifier: Callable[[], Verifier] | None = field(default=None, repr=False)
    recoverer: Callable[[str], Recoverer] | None = field(default=None, repr=False)
    record: Callable[[], SearchRecord] | None = field(default=None, repr=False)

    def module(self, device: str = "cpu") -> nn.Module:
        """The compressed model in eval mode: of its kept file, or built anew from the target where none is kept.

        Raises:
            TargetError: the target this search was made on is not at hand.
            ArtifactError: the kept file is damaged.
        """
        kept = None if self.verifier is None else self.verifier().files.module(self, device)
        if kept is not None:
            return kept
        from leanfront.core.compressors import Compressor

        compressor = Compressor(self._dense(), device=device, samples=self._calibration())
        return compressor.materialise(self.configuration).module

    def export(self, path: str | Path) -> Path:
        """Write it to a file: ``.safetensors``, packed, `file_bytes` long, for `leanfront.load`; ``.onnx``,
        with integer weights; or ``.pt2``, a `torch.export` program that holds its weights as float32.

        What is written is verified before, and what came of that is stored. It holds the weights of the kept file,
        where one is kept, and else of one made anew.

        Raises:
            TargetError: the target this search was made on is not at hand.
            UsageError: another suffix.
            ArtifactError: what is claimed of the candidate does not hold.
            LeanfrontError: it cannot be written.
        """
        from leanfront.core.compressors.exchange.formats import format_of

        format_of(Path(path))
        return self._verifier().export(self, Path(path))

    def verify(self) -> Verification:
        """Find what is claimed of the candidate again, in its packed file alone, and store what came of it.

        Raises:
            TargetError: the target this search was made on is not at hand.
            UsageError: the candidate failed: nothing is claimed of it.
        """
        return self._verifier().verify(self)

    @takes(Recovery, RecoveryLimit, omit=("epochs",))
    def recover(
        self, epochs: int = 3, *, device: str = "auto", progress: bool = False, **options: Any
    ) -> Candidate:
        """Train the candidate on the target's training split, with the dense model as its teacher.

        The outcome is stored with its file as a new candidate whose parent is this one. A training that was stored
        before is found, not repeated. After an interruption, the same call continues.

        Args:
            epochs: passes over the training split.
            device: device that trains: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
            progress: show a progress bar on standard error.
            options: see `leanfront.core.compressors.Recovery`, and ``minutes``.

        Returns:
            The recovered candidate; this one, where nothing was gained.

        Raises:
            TargetError: the target this search was made on is not at hand.
            UsageError: it cannot be recovered, or a value cannot be used.
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
        """What is left of each layer and channel group, what it costs, and what that is predicted to lose.

        The LAYERS object of the API (`GET /candidates/{id}/layers`).

        Raises:
            NotFoundError: the search's layers are not known.
            UsageError: the candidate was not taken from a search.
        """
        if self.record is None:
            raise UsageError(
                "this candidate does not know its search; take it from leanfront.open_search(NAME)"
            )
        from leanfront.reports.layers import layers_json

        return layers_json(self, self.record())

    def _own(self, found: searching.Candidate) -> Candidate:
        """Another candidate of the same search, which knows what this one knows."""
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
