"""Options of a search: what is stored, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from leanfront.core.compressors import Recovery
from leanfront.core.search import Place, SearchOptions
from leanfront.errors import UsageError


def test_written_and_read_again() -> None:
    for options in (
        SearchOptions(),
        SearchOptions(recover=3),
        SearchOptions(
            trials=7,
            minutes=2.5,
            bits=(2, 4),
            sparsity="2:4",
            seed=5,
            latency_threads=2,
            recover=4,
            recover_minutes=1.5,
            bounds={"a": {"bits": 4}},
        ),
    ):
        assert SearchOptions.read(options.to_json()) == options
    # Options that a later release adds have their default in searches that were stored before.
    old = {key: value for key, value in SearchOptions().to_json().items() if not key.startswith("recover")}
    assert SearchOptions.read(old) == SearchOptions()


def test_a_search_trains_with_its_own_seed() -> None:
    assert SearchOptions().recovery is None
    assert SearchOptions(recover=3, seed=7).recovery == Recovery(epochs=3, seed=7)
    assert SearchOptions(recover=3, seed=2**31 + 7).recovery == Recovery(epochs=3, seed=7)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"recover": 0}, "recover must be a whole number from 1 to 100,000, not 0"),
        ({"recover": 3_000_000_000}, "recover must be a whole number from 1 to 100,000, not 3000000000"),
        ({"recover_minutes": 2.0}, "say how many"),
        ({"recover": 1, "recover_minutes": 0.0}, "a finite number above 0 and at most 100,000, not 0.0"),
        ({"recover": 1, "recover_minutes": float("nan")}, "must be a finite number"),
        ({"recover": 1, "recover_minutes": float("inf")}, "must be a finite number"),
        ({"trials": True}, "trials must be a whole number"),
        ({"minutes": 10**400}, "minutes must be a finite number"),
        ({"trials": 10**400}, "trials must be a whole number"),
        ({"trials": 2.5}, "not 2.5"),
        ({"sampler": "magic"}, "unknown sampler 'magic'; choose from auto"),
        ({"bits": ()}, "bits must be a sequence of 1 to 9 values, not of 0"),
        ({"metrics": ("mce", "mce")}, "metrics names mce more than once"),
        ({"objectives": ("memory", "memory_bytes")}, "objectives names memory more than once"),
        ({"limits": ""}, "limits must be a text"),
        ({"false_elimination": 1}, "false_elimination must be"),
    ],
)
def test_what_cannot_be(wanted: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        SearchOptions(**wanted)


def test_names_that_are_no_options() -> None:
    with pytest.raises(UsageError, match=r"unknown option 'trails'; did you mean 'trials'\?"):
        SearchOptions.read({"trails": 3})
    with pytest.raises(UsageError, match=r"device 'cuda:77' is not here"):
        Place(device="cuda:77")


def test_texts_are_read_as_lists() -> None:
    assert SearchOptions(bits="8, 2,4").bits == (2, 4, 8)  # type: ignore[arg-type]
    assert SearchOptions(objectives="accuracy,memory_bytes").objectives == ("accuracy", "memory")  # type: ignore[arg-type]
