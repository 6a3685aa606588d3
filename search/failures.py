"""Failed candidates of a search: which channel groups are to blame, and what is said of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from leanfront.core.compressors import ChannelGroup, Configuration
from leanfront.core.compressors.structure.proofs import largest
from leanfront.core.search.candidate import Candidate
from leanfront.core.search.space import Space

if TYPE_CHECKING:
    from collections.abc import Iterable

FIRST = 3
"""Number of candidates of a group that must fail, and none work, before the group is tried alone."""
SHOWN = 300
"""Characters of a reason in a message."""


class Failures:
    """Count of the candidates that were and were not evaluated, and the groups that are left alone.

    Args:
        space: space of the search.
        candidates: candidates of earlier runs, including failed ones.
    """

    def __init__(self, space: Space, candidates: Iterable[Candidate] = ()) -> None:
        self._space = space
        self._reasons: Counter[str] = Counter()
        self._evaluated = 0
        self._cut_and_failed: Counter[str] = Counter()
        self._worked: set[str] = set()
        self._tried: set[str] = set()
        self.left_alone: tuple[str, ...] = ()
        for candidate in candidates:
            self.add(candidate)

    def add(self, candidate: Candidate) -> None:
        """Count a candidate."""
        cut = candidate.configuration.channels
        if candidate.state == "failed":
            self._reasons[candidate.reason or "unknown"] += 1
            self._cut_and_failed.update(list(cut))  # names, not their numbers of units
        else:
            self._evaluated += 1
            self._worked.update(cut)

    @property
    def _suspects(self) -> list[ChannelGroup]:
        """Groups whose first candidates all failed and that were not tried alone."""
        return [
            group
            for name, group in self._space.structure.groups.items()
            if self._cut_and_failed[name] >= FIRST and name not in self._worked | self._tried
        ]

    @property
    def due(self) -> bool:
        """Whether there are groups to try."""
        return bool(self._suspects)

    def blame(self, works: Callable[[Configuration], bool]) -> None:
        """Try the groups whose first candidates all failed, and leave alone those under which nothing works.

        Args:
            works: function that tells whether a configuration can be evaluated.
        """
        suspects = self._suspects
        self._tried.update(group.name for group in suspects)

        def right(chosen: Sequence[ChannelGroup]) -> bool:
            names = {group.name for group in chosen}
            return all(works(each) for each in self._only(names))

        if right(()):
            kept = {group.name for group in largest([], suspects, right)}
            self.left_alone += tuple(group.name for group in suspects if group.name not in kept)

    def allowed(self, choices: Mapping[str, int]) -> dict[str, int]:
        """Return choices that leave alone the groups to blame."""
        if not self.left_alone:
            return dict(choices)
        whole = {f"channels/{name}" for name in self.left_alone}
        dearest = self._space.dearest
        return {name: dearest[name] if name in whole else index for name, index in choices.items()}

    def _only(self, groups: set[str]) -> list[Configuration]:
        """Return configurations that cut these groups and nothing else: half way, and as far as the space goes."""
        cut = {f"channels/{name}" for name in groups}
        whole = self._space.dearest
        half = {name: index // 2 if name in cut else index for name, index in whole.items()}
        least = {name: 0 if name in cut else index for name, index in whole.items()}
        return [self._space.configuration(choices) for choices in (half, least)]

    @property
    def fruitless(self) -> bool:
        """Whether candidates were tried and none could be evaluated."""
        return not self._evaluated and bool(self._reasons)

    @property
    def message(self) -> str | None:
        """What to say of the failures, or None if there are none worth a word."""
        if self.fruitless:
            reason, count = self._reasons.most_common(1)[0]
            return (
                f"none of the {self._reasons.total()} candidates could be evaluated; the reason for {count} of them: "
                f"{reason[:SHOWN]}. See what can be compressed with leanfront inspect, and leave the rest alone with "
                "bounds"
            )
        if self.left_alone:
            names = ", ".join(f"'{name}'" for name in self.left_alone)
            return f"channel groups left alone, since every candidate that cut them failed: {names}"
        return None
