"""A stored search with its target: the starting point of every action on its candidates."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from leanfront.core.search import SearchRecord
from leanfront.core.storage import FrontierStore
from leanfront.core.targets import resolve
from leanfront.core.targets.differences import require_same
from leanfront.errors import TargetError
from leanfront.locations import open_shelf

if TYPE_CHECKING:
    from leanfront.actions.candidate_files import CandidateFiles
    from leanfront.actions.verifier import Verifier
    from leanfront.core.search import Recoverer
    from leanfront.core.targets import Target


class StoredSearch:
    """A stored search with its target and the objects derived from it, each created once when needed.

    Args:
        store: store of the search.
        name: name of the search.
        target: the target or a function that returns it; None loads the stored reference when needed.
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
        """The search as it is stored now."""
        return self.store.search(self.name)

    def target(self) -> Target:
        """Target of the search.

        Raises:
            TargetError: the target cannot be loaded, or differs from the search's.
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
        record = self.record
        require_same(
            self._target,
            record.fingerprint,
            record.digests,
            lambda what: (
                f"the target at hand is not the one search '{self.name}' was made on{what and f': {what}'}"
            ),
        )
        return self._target

    @property
    def samples(self) -> int:
        """Number of calibration samples that its candidates were made with."""
        return self.record.options.samples

    def files(self, device: str = "auto") -> CandidateFiles:
        """Return the files of the search's candidates, made and evaluated on `device`; one object per device.

        Raises:
            TargetError: the target cannot be loaded, or differs from the search's.
        """
        # Imported here: answers from the store need nothing that computes.
        from leanfront.actions.candidate_files import CandidateFiles

        if device not in self._files:
            shelf = open_shelf(self.store)
            self._files[device] = CandidateFiles(shelf, self.target(), self.samples, device)
        return self._files[device]

    def verifier(self, device: str = "auto") -> Verifier:
        """Return the verifier of the search's candidates. Raises as `files`."""
        from leanfront.actions.verifier import Verifier

        return Verifier(self.store, self.files(device))

    def recoverer(self, device: str = "auto") -> Recoverer:
        """Return the recoverer of the search's candidates. Raises as `files`."""
        from leanfront.actions.shelved_files import ShelvedFiles
        from leanfront.core.search import Recoverer

        files = ShelvedFiles(self.store, open_shelf(self.store))
        return Recoverer(self.store, self.name, self.files(device).evaluator, files)
