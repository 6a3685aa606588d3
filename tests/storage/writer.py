"""Run as a process of its own by tests: stores candidates in a loop, and says so after each."""

from __future__ import annotations

import random
import sys

from leanfront.core.compressors.configuration import Configuration
from leanfront.core.objectives.measurement import Measurement
from leanfront.core.search.candidate import Candidate, TrialRecord
from leanfront.core.storage import FrontierStore


def main(url: str, search: str, first: int, count: int, keys: int) -> None:
    """Store trials `first` .. `first + count - 1`; their configurations are drawn from `keys` many."""
    draw = random.Random(first)
    parent: int | None = None
    with FrontierStore(url) as store:
        print("ready", flush=True)
        sys.stdin.readline()
        for number in range(first, first + count):
            key = draw.randrange(keys)
            # What a configuration measures depends on the configuration alone.
            values = random.Random(key)
            measurements = (
                Measurement("accuracy", values.randrange(20) / 20, "validation"),
                Measurement("memory_bytes", values.randrange(1, 20)),
                Measurement("macs", values.randrange(1, 20)),
            )
            candidate = Candidate(
                search,
                number,
                Configuration(channels={"group": key + 1}),
                measurements=measurements,
                # Every fifth as if it were recovered from one of this process's.
                parent=parent if number % 5 == 4 else None,
            )
            parent = store.record(search, TrialRecord(number, {"x": key}), candidate).id
            print(number, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *(int(argument) for argument in sys.argv[3:]))
