"""Two ways to start pool processes: forked from a server that has loaded torch, or spawned. Measured in one run.

    python benchmarks/processes.py

For each row, a fresh process opens a pool on the digits and waits until every pool process has evaluated the dense
model. Then one process is killed, and all evaluate again. Memory is the proportional set size, which counts shared
pages once.
"""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
import time
from contextlib import suppress
from multiprocessing.context import BaseContext
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

METHODS = ("spawn", "forkserver")
WORKERS = (2, 4)
REPEATS = 3


def measured(method: str, workers: int) -> dict[str, float]:
    """Return the seconds until a pool works, the seconds after a process died, and the pool's memory in MB."""
    from leanfront.core.compressors import Configuration, derive
    from leanfront.core.search import processes
    from leanfront.core.search.evaluator_spec import EvaluatorLostError, spec_of
    from leanfront.core.search.pool import PoolEvaluators
    from leanfront.core.targets import resolve

    target = resolve("digits")
    spec = spec_of(target, derive(target.model, target.example_input), "cpu", 512, workers)
    own: BaseContext = processes.context() if method == "forkserver" else multiprocessing.get_context(method)
    with mock.patch.object(processes, "context", return_value=own):
        pool = PoolEvaluators(spec, workers)

        def work() -> float:
            begin = time.perf_counter()
            waiting = [pool.submit(Configuration(), "validation") for _ in range(workers)]
            for future in waiting:
                with suppress(EvaluatorLostError):
                    future.result()
            return time.perf_counter() - begin

        first = work()
        pool.processes[0].kill()
        time.sleep(0.5)
        again = work()
        held = sum(_kilobytes(process.pid) for process in pool.processes) / 1024
        pool.close()
    return {"first": first, "again": again, "held": held}


def _kilobytes(process: Any) -> int:
    told = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii")
    return int(next(line for line in told.splitlines() if line.startswith("Pss:")).split()[1])


def main() -> None:
    if len(sys.argv) == 3:
        print(json.dumps(measured(sys.argv[1], int(sys.argv[2]))))
        return
    print("| processes | started by | s until all work | s after a death | MB |\n|---|---|---|---|---|")
    for workers in WORKERS:
        found: dict[str, list[dict[str, float]]] = {method: [] for method in METHODS}
        for _ in range(REPEATS):
            for method in METHODS:
                command = [sys.executable, __file__, method, str(workers)]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                found[method].append(json.loads(done.stdout))
        for method, rows in found.items():
            first, again, held = (median(row[key] for row in rows) for key in ("first", "again", "held"))
            print(f"| {workers} | {method} | {first:.1f} | {again:.1f} | {held:.0f} |")


if __name__ == "__main__":
    main()
