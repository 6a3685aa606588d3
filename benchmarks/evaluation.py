"""Time of one evaluation by batch size, memory format and OpenMP waiting policy: ratios within one run.

    python benchmarks/evaluation.py

A CIFAR ResNet-20 with random weights classifies random images (accuracy does not matter here). The second
table runs each setting in its own process, because OpenMP reads its waiting policy when it is loaded, and beside no,
one, and as many busy processes as there are cores.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from typing import Any

IMAGES = 2048


def _model() -> Any:
    import torch

    from leanfront.core.targets.cifar_resnet import CifarResNet

    torch.manual_seed(0)
    return CifarResNet(20).eval().to(memory_format=torch.channels_last)


def _seconds(batch: int, *, channels_last: bool = True, repeats: int = 3) -> float:
    """Return the seconds of the fastest of `repeats` passes over the images."""
    import torch

    layout = torch.channels_last if channels_last else torch.contiguous_format
    model = _model().to(memory_format=layout)
    images = torch.randn(IMAGES, 3, 32, 32).contiguous(memory_format=layout)
    best = float("inf")
    with torch.inference_mode():
        model(images[:batch])
        for _ in range(repeats):
            begin = time.perf_counter()
            for start in range(0, IMAGES, batch):
                model(images[start : start + batch])
            best = min(best, time.perf_counter() - begin)
    return best


def _spin(stop: Any) -> None:
    while not stop.is_set():
        sum(range(10_000))


def _contended(policy: str | None) -> float:
    """Return the seconds of a pass in its own process with an OpenMP waiting policy (None: OpenMP's default)."""
    code = "import benchmarks.evaluation as b; print(b._seconds(128, repeats=2))"
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment["PYTHONPATH"] = os.getcwd()
    if policy is not None:
        environment["OMP_WAIT_POLICY"] = policy
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def main() -> None:
    """Measure and print both tables."""
    import torch

    cores = os.cpu_count() or 1
    print(f"{cores} cores, {torch.get_num_threads()} threads, torch {torch.__version__}; {IMAGES} images\n")
    print("batch  memory format   seconds  against batch 128, channels last")
    base = _seconds(128)
    for batch in (32, 64, 128, 256, 512):
        for last in (True, False):
            seconds = _seconds(batch, channels_last=last)
            form = "channels last" if last else "contiguous"
            print(f"{batch:5d}  {form:14s} {seconds:8.2f}  {seconds / base:5.2f}x")
    print("\nbusy processes  idle threads     seconds  against sleeping")
    for count in (0, 1, cores):
        stop = multiprocessing.Event()
        busy = [multiprocessing.Process(target=_spin, args=(stop,), daemon=True) for _ in range(count)]
        for process in busy:
            process.start()
        try:
            passive, default = _contended("PASSIVE"), _contended(None)
        finally:
            stop.set()
            for process in busy:
                process.join()
        print(f"{count:14d}  sleep            {passive:7.2f}  1.00x")
        print(f"{count:14d}  OpenMP's default {default:7.2f}  {default / passive:.2f}x")


if __name__ == "__main__":
    main()
