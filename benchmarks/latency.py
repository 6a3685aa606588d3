"""Latency of compressed models in torch and ONNX Runtime, measured and predicted by the latency table.

    python benchmarks/latency.py [MODEL...] [--threads 1] [--batch 1]

MODEL is ``resnet20``, ``resnet18`` or ``mobilenet_v2`` with random weights, which take as long as trained ones, or a
target such as ``cifar10-resnet20?data=DIR&weights=FILE``. All configurations of a model and backend are timed in turn
in one run, so that their ratios hold even on a busy machine. Milliseconds are those of an undisturbed run
(`Timing.undisturbed`); p50 and p95 are of the wall-clock times. The table is fitted to other configurations, drawn at
random.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from leanfront.core.compressors import Configuration, Structure
from leanfront.core.compressors.configuration import FLOAT_BITS
from leanfront.core.compressors.structure.derivation import derive
from leanfront.core.cost_models import BACKENDS, LatencyOptions, Profile
from leanfront.core.cost_models.backends import place
from leanfront.core.cost_models.latency import LatencyPlan, measured_table
from leanfront.core.cost_models.latency_table import LatencyCost, LatencyFeatures
from leanfront.core.cost_models.stand_in import stand_in
from leanfront.core.cost_models.timing import in_turn, torch_threads
from leanfront.core.targets import resolve
from leanfront.core.targets.cifar_resnet import CifarResNet

SECONDS = 2.0
"""Measuring time for each configuration."""
WEIGHTS = {FLOAT_BITS: (4, 8, FLOAT_BITS), 8: (8,)}
"""Activation bits -> weight bits of the configurations that the tables are fitted to."""


def _image(side: int) -> Tensor:
    return torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))


def _torchvision(name: str) -> tuple[nn.Module, Tensor]:
    from torchvision import models

    return models.get_model(name), _image(224)


MODELS: dict[str, Callable[[], tuple[nn.Module, Tensor]]] = {
    "resnet20": lambda: (CifarResNet(20), _image(32)),
    "resnet18": lambda: _torchvision("resnet18"),
    "mobilenet_v2": lambda: _torchvision("mobilenet_v2"),
}


def _profile(name: str) -> Profile:
    if name in MODELS:
        torch.manual_seed(0)
        model, example = MODELS[name]()
    else:
        target = resolve(name)
        model, example = target.model, target.example_input
    return Profile(model.eval(), example, derive(model, example))


def configurations(structure: Structure) -> dict[str, Configuration]:
    """Return the compared configurations by name."""
    layers = structure.layers
    half = {group.name: max(1, group.units // 2) for group in structure.groups.values()}
    eight = dict.fromkeys(layers, 8)
    found = {
        "float32": Configuration(),
        "4-bit weights": Configuration(weight_bits=dict.fromkeys(layers, 4)),
        "int8": Configuration(weight_bits=eight, activation_bits=eight),
        "half the channels": Configuration(half),
        "half the channels, int8": Configuration(half, eight, eight),
    }
    return {name: structure.canonical(each) for name, each in found.items()}


def rows(name: str, threads: int, batch: int) -> list[str]:
    """Return the table's rows for one model."""
    profile = _profile(name)
    compared = configurations(profile.structure)
    lines, first = [], None
    for backend in sorted(BACKENDS, reverse=True):
        options = LatencyOptions(backend=backend, threads=threads, batch=batch)
        # As in searches: one table for float inputs, one for 8-bit inputs.
        costs = {
            bits: _table(name, profile, LatencyPlan(options, WEIGHTS[bits], (bits,))) for bits in WEIGHTS
        }
        runner = BACKENDS[backend].make(profile, options)
        with torch_threads(threads):
            runs = [runner.run(stand_in(profile, each)) for each in compared.values()]
            timings = in_turn(runs, SECONDS * len(runs))
        measured = [1e3 * timing.undisturbed(threads) for timing in timings]
        first = first or measured[0]
        for (what, configuration), timing, own in zip(compared.items(), timings, measured, strict=True):
            cost = costs[8 if configuration.activation_bits else FLOAT_BITS]
            # The machine's speed may have changed since the table was measured, so compare ratios.
            predicted = cost(configuration) / cost.table.dense_ms * measured[0]
            lines.append(
                f"| {name.partition('?')[0]} | {backend} | {what} | {own:.2f} | {1e3 * timing.p50:.2f} | "
                f"{1e3 * timing.p95:.2f} | {measured[0] / own:.2f}x | {first / own:.2f}x | {predicted:.2f} | "
                f"{100 * (predicted / own - 1):+.0f}% |"
            )
    return lines


def _table(name: str, profile: Profile, plan: LatencyPlan) -> LatencyCost:
    features = LatencyFeatures(profile, integers=BACKENDS[plan.options.backend].integers)
    begin = time.monotonic()
    table = measured_table(profile, features, plan)
    errors = table.errors
    print(
        f"| {name.partition('?')[0]} | {plan.options.backend} | {plan.activation_bits[0]} | {table.configurations} | "
        f"{time.monotonic() - begin:.0f} | {errors['median']:.1%} | {errors['p95']:.1%} | {errors['worst']:.1%} | "
        f"{errors['noise']:.1%} |",
        flush=True,
    )
    return LatencyCost(features, table)


def main() -> None:
    """Measure and print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="*", default=list(MODELS), metavar="MODEL")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=1)
    arguments = parser.parse_args()
    print(
        "| model | backend | input bits | configurations | s | held-out error, median | p95 | worst | "
        "two measurements differ by |\n|---|---|---|---|---|---|---|---|---|"
    )
    lines = [line for name in arguments.models for line in rows(name, arguments.threads, arguments.batch)]
    print(
        "\n| model | backend | configuration | ms | p50 | p95 | faster than its float32 | than torch's | predicted | "
        "off by |\n|---|---|---|---|---|---|---|---|---|---|"
    )
    print("\n".join(lines))
    where = place(LatencyOptions(backend="torch", threads=arguments.threads, batch=arguments.batch))
    print(f"\n{where}; onnxruntime {place(LatencyOptions())['release']}; load {os.getloadavg()}")


if __name__ == "__main__":
    main()
