"""What a queued search stores of how to search, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from leanfront.core.compressors import Recovery
from leanfront.core.cost_models import LatencyOptions
from leanfront.core.search import SearchOptions, SpaceOptions
from leanfront.errors import UsageError


def test_written_and_read_again() -> None:
    for options in (
        SearchOptions(),
        SearchOptions(recover=3),
        SearchOptions(
            trials=7,
            minutes=2.5,
            space=SpaceOptions((2, 4), sparsity="2:4"),
            seed=5,
            latency=LatencyOptions(threads=2),
            recover=4,
            recover_minutes=1.5,
        ),
    ):
        assert SearchOptions.from_json(options.to_json()) == options
    # Searches that were queued before there was recovery.
    old = {key: value for key, value in SearchOptions().to_json().items() if not key.startswith("recover")}
    assert SearchOptions.from_json(old) == SearchOptions()
    # Where it runs is not the search's.
    elsewhere = SearchOptions.from_json(SearchOptions(recover=2).to_json(), workers=2, device="cpu")
    assert elsewhere == replace(SearchOptions(recover=2), workers=2, device="cpu")


def test_a_search_trains_with_its_own_seed() -> None:
    assert SearchOptions().recovery is None
    assert SearchOptions(recover=3, seed=7).recovery == Recovery(epochs=3, seed=7)
    assert SearchOptions(recover=3, seed=2**31 + 7).recovery == Recovery(epochs=3, seed=7)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"recover": 0}, "epochs of recovery must be at least 1, not 0"),
        ({"recover": -1}, "epochs of recovery"),
        ({"recover_minutes": 2.0}, "say how many"),
        ({"recover": 1, "recover_minutes": 0.0}, "must be positive"),
        ({"recover": 1, "recover_minutes": float("nan")}, "must be positive"),
        ({"recover": 1, "recover_minutes": float("inf")}, "must be positive"),
    ],
)
def test_what_cannot_be(wanted: dict[str, float], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        SearchOptions(**wanted)  # type: ignore[arg-type]
