"""A stored search with its target: what every action on its candidates begins with."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from leanfront.core.search import SearchRecord
from leanfront.core.storage import FrontierStore
from leanfront.core.targets import resolve
from leanfront.errors import TargetError
from leanfront.locations import open_shelf

if TYPE_CHECKING:
    from leanfront.actions.candidate_files import CandidateFiles
    from leanfront.actions.verifier import Verifier
    from leanfront.core.search import Recoverer
    from leanfront.core.targets import Target


class StoredSearch:
    """A stored search and what is derived of its target, once and when it is asked for.

    Args:
        store: where the search is.
        name: of the search.
        target: the target or a function that gives it; None resolves the stored reference when it is needed.
    """

    def __init__(
        self, store: FrontierStore, name: str, target: Target | Callable[[], Target] | None = None
    ) -> None:
        self.store = store
        self.name = name
        self._target = target
        self._files: dict[str, CandidateFiles] = {}

    @property
    def record(self) -> SearchRecord:
        """The search as stored now."""
        return self.store.search(self.name)

    def target(self) -> Target:
        """The search's target.

        Raises:
            TargetError: it cannot be made again, or is another one by now.
        """
        if self._target is None:
            reference = self.record.target
            if reference.startswith("python:"):
                raise TargetError(
                    f"search '{self.name}' was made on a Python object; open it with target=..."
                )
            self._target = resolve(reference)
        if callable(self._target):
            self._target = self._target()
        if self._target.fingerprint != self.record.fingerprint:
            raise TargetError(f"the target at hand is not the one search '{self.name}' was made on")
        return self._target

    @property
    def samples(self) -> int:
        """Calibration samples that its candidates were made with."""
        from leanfront.core.compressors.statistics.calibration import SAMPLES

        return int(self.record.settings.get("samples", SAMPLES))

    def files(self, device: str = "auto") -> CandidateFiles:
        """The files of the search's candidates, and what makes and evaluates them, once a device.

        Raises:
            TargetError: the target cannot be made again, or is another one by now.
        """
        # To answer from what is stored takes none of what computes.
        from leanfront.actions.candidate_files import CandidateFiles

        if device not in self._files:
            shelf = open_shelf(self.store)
            self._files[device] = CandidateFiles(shelf, self.target(), self.samples, device)
        return self._files[device]

    def verifier(self, device: str = "auto") -> Verifier:
        """What verifies the search's candidates; errors as of `files`."""
        from leanfront.actions.verifier import Verifier

        return Verifier(self.store, self.files(device))

    def recoverer(self, device: str = "auto") -> Recoverer:
        """What recovers the search's candidates; errors as of `files`."""
        from leanfront.actions.shelved_files import ShelvedFiles
        from leanfront.core.search import Recoverer

        files = ShelvedFiles(self.store, open_shelf(self.store))
        return Recoverer(self.store, self.name, self.files(device).evaluator, files)
