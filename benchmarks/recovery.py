"""Accuracy recovered by fine-tuning: ResNet-20 at three configurations, epoch by epoch.

    python benchmarks/recovery.py table
    python benchmarks/recovery.py settings        # other optimisers, rates and batches for the first configuration

Accuracy is on the 5,000 validation images; the recovered module is also measured on the test images. Prints Markdown.
"""

from __future__ import annotations

import time
from pathlib import Path

import click
import torch

import leanfront  # isort: split  # sets threads up before torch starts them
from leanfront.core.compressors import Configuration, Recovered, Recovery, Structure, recover
from leanfront.core.compressors.structure.derivation import derive
from leanfront.core.cost_models import Profile
from leanfront.core.cost_models.macs import MacModel
from leanfront.core.search.evaluation import Evaluator
from leanfront.core.targets import Target, resolve

DATA = Path(__file__).resolve().parents[1] / ".." / "shared" / "data"
KEPT = {"layer1": (8, 6, 6), "layer2": (20, 12, 12), "layer3": (56, 48, 24)}
HALF = {f"{stage}.{block}.conv1": kept for stage, row in KEPT.items() for block, kept in enumerate(row)}
"""Kept channels of the nine groups inside residual blocks: the configuration of half the multiply-adds with the least
predicted loss in which each group keeps at least three eighths of its channels."""
CONFIGURATIONS: dict[str, tuple[float | dict[str, int], int]] = {
    "half the multiply-adds, 4 bits": (HALF, 4),
    "inner channels x 0.75, 4 bits": (0.75, 4),
    "inner channels x 0.375, 3 bits": (0.375, 3),
}
SETTINGS: tuple[dict[str, object], ...] = (
    {},
    {"features": 0.0},
    {"features": 20.0},
    {"batch_size": 128},
    {"learning_rate": 1e-3},
    {"temperature": 2.0},
    {"distillation": 1.0},
    {"optimiser": "sgd"},
)


def configuration(structure: Structure, kept: float | dict[str, int], bits: int) -> Configuration:
    """Return a configuration that prunes channels inside residual blocks, with the same bits everywhere.

    Args:
        structure: structure of the model.
        kept: share of the channels to keep, or the number of channels of each group.
        bits: bits of every weight.
    """
    inner = [
        group
        for group in structure.groups.values()
        if sum(structure.parts[name].is_layer for name in group.producers) == 1
    ]
    channels = kept if isinstance(kept, dict) else {g.name: max(1, round(g.units * kept)) for g in inner}
    return Configuration(
        channels=channels,
        weight_bits=dict.fromkeys(structure.layers, bits),
        criterion="reconstruction",
        method="sequential",
    )


class Bench:
    """The target with its evaluator."""

    def __init__(self) -> None:
        images, weights = DATA / "cifar10_jpeg.zip", DATA / "resnet20_cifar10_jpeg.safetensors"
        self.target: Target = resolve(f"cifar10-resnet20?data={images}&weights={weights}")
        self.structure = derive(self.target.model, self.target.example_input)
        self.evaluator = Evaluator(self.target, self.structure, metrics=("accuracy",))
        self.macs = MacModel(Profile(self.target.model, self.target.example_input, self.structure))

    def run(self, name: str, settings: Recovery) -> tuple[Recovered, str, float]:
        """Recover one of `CONFIGURATIONS`; return the result, its test accuracy and the processor seconds."""
        compressor = self.evaluator.compressor
        compressed = compressor.materialise(configuration(self.structure, *CONFIGURATIONS[name]))
        processor = time.process_time()
        made = recover(compressor, compressed, settings)
        processor = time.process_time() - processor
        (test,) = self.evaluator.measure(made.compressed.module, "test")
        return made, short(test.value), processor


def short(value: float) -> str:
    """Format an accuracy, such as ``.8818``."""
    return f"{value:.4f}"[1:]


@click.group()
def main() -> None:
    """Benchmark recovery on ResNet-20."""
    click.echo(f"leanfront {leanfront.__version__}, torch {torch.__version__}", err=True)


@main.command()
@click.option("--epochs", default=3)
@click.option("--only", type=click.Choice(list(CONFIGURATIONS)), multiple=True)
def table(epochs: int, only: tuple[str, ...]) -> None:
    """Recover every configuration with the default settings."""
    bench = Bench()
    dense = bench.macs(Configuration())
    after = " | ".join(f"epoch {epoch}" for epoch in range(1, epochs + 1))
    click.echo(f"| configuration | MACs | before | {after} | best, test | s | processor s |")
    click.echo("|---" * (epochs + 6) + "|")
    for name in only or CONFIGURATIONS:
        macs = dense / bench.macs(configuration(bench.structure, *CONFIGURATIONS[name]))
        made, test, processor = bench.run(name, Recovery(epochs=epochs))
        cells = [f"{macs:.2f}x fewer", short(made.before)]
        cells += [short(epoch.accuracy) for epoch in made.history]
        cells += [test, f"{sum(epoch.seconds for epoch in made.history):.0f}", f"{processor:.0f}"]
        click.echo(f"| {name} | " + " | ".join(cells) + " |")


@main.command("settings")
@click.option("--epochs", default=3)
def other_settings(epochs: int) -> None:
    """Recover the first configuration with other settings."""
    bench = Bench()
    after = " | ".join(f"epoch {epoch}" for epoch in range(1, epochs + 1))
    click.echo(f"| settings | {after} | processor s |")
    click.echo("|---" * (epochs + 2) + "|")
    for changes in SETTINGS:
        settings = Recovery.from_json({**Recovery(epochs=epochs).to_json(), **changes})
        made, _, processor = bench.run(next(iter(CONFIGURATIONS)), settings)
        said = ", ".join(f"{key} {value}" for key, value in changes.items()) or "default"
        cells = [short(epoch.accuracy) for epoch in made.history]
        click.echo(f"| {said} | " + " | ".join(cells) + f" | {processor:.0f} |")


if __name__ == "__main__":
    torch.set_num_threads(2)
    main()
