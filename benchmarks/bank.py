"""Ablations of the layer bank: accuracy of uniform configurations, without a search or a gradient step.

    python benchmarks/bank.py methods      # rounding, bank, sequential, and sequential without each refinement
    python benchmarks/bank.py criteria     # pruning criteria, under the sequential refit
    python benchmarks/bank.py time         # time of each part of a trial

ResNet-20 on `../shared/data`, the whole validation and test splits. Prints Markdown.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

import leanfront  # isort: split  # sets threads up before torch starts them
from leanfront.core.compressors import Compressor, Configuration, Structure
from leanfront.core.compressors.refit import sequential
from leanfront.core.compressors.refit.context import CompressionContext
from leanfront.core.compressors.refit.sequential import Recording
from leanfront.core.compressors.structure.derivation import derive
from leanfront.core.compressors.structure.folding import fold
from leanfront.core.compressors.structure.slicing import cut
from leanfront.core.search.evaluation import Evaluator
from leanfront.core.targets import Target, resolve

DATA = Path(__file__).resolve().parents[1] / ".." / "shared" / "data"
CONFIGURATIONS: dict[str, tuple[str, float, int | None]] = {
    "inner channels x 0.5": ("inner", 0.5, None),
    "all channels x 0.75": ("all", 0.75, None),
    "all channels x 0.5": ("all", 0.5, None),
    "2 bits": ("none", 1.0, 2),
    "3 bits": ("none", 1.0, 3),
    "4 bits": ("none", 1.0, 4),
    "all channels x 0.75, 3 bits": ("all", 0.75, 3),
}


def uniform(structure: Structure, groups: str, share: float, bits: int | None) -> Configuration:
    """Return a configuration that keeps one share of the channels of some groups, with the same bits everywhere."""
    channels = {}
    for group in structure.groups.values():
        layers = [name for name in group.producers if structure.parts[name].is_layer]
        if groups == "all" or (groups == "inner" and len(layers) == 1):
            channels[group.name] = max(1, round(group.units * share))
    widths = dict.fromkeys(structure.layers, bits) if bits is not None else {}
    return Configuration(channels=channels, weight_bits=widths, criterion="reconstruction")


@contextmanager
def pulled(value: float) -> Iterator[None]:
    """Use another ridge towards the bank's weights."""
    before, sequential.PULL = sequential.PULL, value
    try:
        yield
    finally:
        sequential.PULL = before


@contextmanager
def without_sums(context: CompressionContext) -> Iterator[None]:
    """Use targets that do not compensate for the error of a sum's other operand."""
    recording = context.sequential.recording
    fields = {k: v for k, v in vars(recording).items() if k not in ("sums", "others")}
    context.sequential.recording = Recording(**fields)
    try:
        yield
    finally:
        context.sequential.recording = recording


class Bench:
    """The target with its evaluator."""

    def __init__(self) -> None:
        images, weights = DATA / "cifar10_jpeg.zip", DATA / "resnet20_cifar10_jpeg.safetensors"
        self.target: Target = resolve(f"cifar10-resnet20?data={images}&weights={weights}")
        self.structure = derive(self.target.model, self.target.example_input)
        self.evaluator = Evaluator(self.target, self.structure)
        self.compressor: Compressor = self.evaluator.compressor

    def accuracies(self, module: nn.Module) -> str:
        """Return the accuracies as "validation / test"."""
        found = [self.evaluator.measure(module, split)[0].value for split in ("validation", "test")]
        return " / ".join(f"{value:.4f}"[1:] for value in found)

    def configuration(self, name: str, **fields: str) -> Configuration:
        """Return one of `CONFIGURATIONS` with changed fields."""
        return uniform(self.structure, *CONFIGURATIONS[name]).change(**fields)

    def table(self, columns: dict[str, Callable[[str], nn.Module]]) -> None:
        """Print a table with one row for each configuration."""
        click.echo("| configuration | " + " | ".join(columns) + " |")
        click.echo("|---" * (len(columns) + 1) + "|")
        for name in CONFIGURATIONS:
            cells = [self.accuracies(make(name)) for make in columns.values()]
            click.echo(f"| {name} | " + " | ".join(cells) + " |")


@click.group()
def main() -> None:
    """Ablations of the layer bank."""
    click.echo(f"leanfront {leanfront.__version__}, torch {torch.__version__}", err=True)


@main.command()
def methods() -> None:
    """Compare the methods that compute weights."""
    bench = Bench()
    context = bench.compressor.context

    def made(method: str) -> Callable[[str], nn.Module]:
        return lambda name: bench.compressor.materialise(bench.configuration(name, method=method)).module

    def plain_sums(name: str) -> nn.Module:
        with without_sums(context):
            return made("sequential")(name)

    def stretched(name: str) -> nn.Module:
        compressed = bench.compressor.materialise(bench.configuration(name, method="sequential"))
        groups = [bench.structure.groups[group] for group in compressed.kept]
        gone = {g.name: sorted(set(range(g.units)) - set(compressed.kept[g.name])) for g in groups}
        dense = context.dense()
        cut(dense, groups, gone)
        statistics = {k: v for k, v in dense.state_dict().items() if "running_" in k}
        compressed.module.load_state_dict(statistics, strict=False)
        context.reestimate(compressed.module, lambda copied: cut(copied, groups, gone))
        return compressed.module

    def unpulled(name: str) -> nn.Module:
        with pulled(1e-3):
            return made("sequential")(name)

    bench.table(
        {
            "rounding": made("rounding"),
            "bank": made("bank"),
            "sequential": made("sequential"),
            "without sums": plain_sums,
            "norms re-estimated": stretched,
            "without the pull": unpulled,
        }
    )


@main.command()
def criteria() -> None:
    """Compare the criteria, pruning channels only."""
    bench = Bench()
    names = [name for name, (_, share, bits) in CONFIGURATIONS.items() if share < 1 and bits is None]
    click.echo("| criterion | " + " | ".join(names) + " |\n" + "|---" * (len(names) + 1) + "|")
    for criterion in ("random", "l1", "l2", "bn_scale", "lamp", "taylor", "fisher", "reconstruction"):
        cells = []
        for name in names:
            configuration = bench.configuration(name, method="sequential", criterion=criterion)
            cells.append(bench.accuracies(bench.compressor.materialise(configuration).module))
        click.echo(f"| {criterion} | " + " | ".join(cells) + " |")


@main.command("time")
def where_time_goes() -> None:
    """Time the set-up and the parts of one trial."""
    bench = Bench()
    context = bench.compressor.context
    steps: dict[str, Callable[[], object]] = {
        "calibration images": lambda: context.calibration.batches,
        "norms, moments and Fisher (one pass)": lambda: context.bank,
        "order of channels": lambda: [
            context.saliency.removal(group) for group in bench.structure.groups.values()
        ],
        "recording of the dense model": lambda: context.sequential,
    }
    click.echo("| step | s |\n|---|---|")
    for name, step in steps.items():
        begin = time.perf_counter()
        step()
        click.echo(f"| {name} | {time.perf_counter() - begin:.2f} |")
    configuration = bench.configuration("all channels x 0.75, 3 bits", method="sequential")
    bench.compressor.materialise(configuration)
    begin = time.perf_counter()
    module = bench.compressor.materialise(configuration).module
    click.echo(f"| a trial: weights made | {time.perf_counter() - begin:.2f} |")
    begin = time.perf_counter()
    bench.evaluator.measure(module, "validation")
    plain = time.perf_counter() - begin
    fold(module, context.foldable)
    begin = time.perf_counter()
    bench.evaluator.measure(module, "validation")
    folded = time.perf_counter() - begin
    click.echo(f"| a trial: 5,000 images, norms apart | {plain:.2f} |")
    click.echo(f"| a trial: 5,000 images, norms folded | {folded:.2f} |")
    with profile(activities=[ProfilerActivity.CPU]) as record:
        module = bench.compressor.materialise(configuration).module
        fold(module, context.foldable)
        bench.evaluator.measure(module, "validation")
    found = sorted(record.key_averages(), key=lambda row: -row.self_cpu_time_total)
    total = sum(row.self_cpu_time_total for row in found)
    click.echo("\n| operator | share of a trial |\n|---|---|")
    for row in found[:10]:
        click.echo(f"| {row.key} | {row.self_cpu_time_total / total:.0%} |")


if __name__ == "__main__":
    torch.set_num_threads(2)
    main()
