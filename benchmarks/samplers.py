"""Compare samplers without evaluations: ResNet-20's space and costs, with a synthetic accuracy.

    python benchmarks/samplers.py --seeds 5 --trials 200

The costs are those of the real model. The accuracy is dense - 0.78 (1 - exp(-(c L)^0.8)), where L sums the true
losses of all choices, with interactions between neighbouring layers, and is measured on 5,000 synthetic images.
Samplers get predicted losses: each layer's prediction is wrong by its own factor (log-normal, sigma 0.7), and all are
wrong by a common factor. Every run draws another model. Hypervolumes are of (accuracy, log2 memory ratio, log2 MAC
ratio) against (dense accuracy - 0.42, 0, 0).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray

from leanfront.core.compressors import Configuration, Structure
from leanfront.core.compressors.refit.sensitivity import Sensitivities
from leanfront.core.compressors.structure.derivation import derive
from leanfront.core.cost_models import Costs, Profile
from leanfront.core.objectives import hypervolume, resolve
from leanfront.core.search.context import SamplerContext, predicted_losses
from leanfront.core.search.seeds import seeds, uniform_seeds
from leanfront.core.search.space import Space, derive_space
from leanfront.core.search.space_options import SpaceOptions
from leanfront.core.search.study import SearchStudy
from leanfront.core.targets import resolve as resolve_target

ROOT = Path(__file__).resolve().parents[2] / "shared" / "data"
DENSE, CHANCE, DROP, IMAGES = 0.88, 0.1, 0.42, 5000
OBJECTIVES = resolve("accuracy,memory,macs")
CHECKPOINTS = (1, 3, 5, 10, 20, 50, 100, 200, 400)
SIGMA = 0.7
EXPONENT = 0.8
RIVALS = {
    "auto": ("auto", "none", True),
    "auto, seeded": ("auto", "predicted", True),
    "NSGA-II, seeded": ("nsga2", "predicted", True),
    "TPE, seeded": ("tpe", "predicted", True),
    "random, seeded": ("random", "predicted", True),
    "auto, nothing measured": ("auto", "none", False),
    "auto, nothing measured, uniform seeds": ("auto", "uniform", False),
    "NSGA-II, uniform seeds": ("nsga2", "uniform", False),
    "TPE, uniform seeds": ("tpe", "uniform", False),
}
"""Name -> sampler, seeds, and whether the sampler gets the predicted losses."""


@dataclass(frozen=True)
class World:
    """A synthetic model with its true and predicted losses.

    Args:
        context: sampler context with the predicted sensitivities.
        true: (parameters, values) true losses in nats.
        pairs: (parameters, parameters) strengths of interactions.
        seed: seed of the images.
    """

    context: SamplerContext
    true: NDArray[np.float64]
    pairs: NDArray[np.float64]
    seed: int

    def values(self, choices: dict[str, int]) -> tuple[float, float, float]:
        """Return the accuracy, bytes and MACs of a trial; deterministic in its choices."""
        space, costs = self.context.space, self.context.costs
        assert costs is not None
        point = np.asarray([choices[name] for name in space.parameters])
        losses = self.true[np.arange(len(point)), point]
        roots = np.sqrt(losses)
        total = losses.sum() + roots @ self.pairs @ roots
        accuracy = DENSE - (DENSE - CHANCE) * (1 - np.exp(-(total**EXPONENT)))
        images = np.random.default_rng([self.seed, *point.tolist()])
        found = costs.of(space.configuration(choices))
        return images.binomial(IMAGES, accuracy) / IMAGES, found["memory_bytes"], found["macs"]


def make_world(structure: Structure, space: Space, costs: Costs, seed: int) -> World:
    """Draw a model whose losses grow fourfold with every bit removed, and steeply with the channels removed.

    The magnitudes are chosen so that uniform bits and shares lose as much as on the real model.
    """
    random = np.random.default_rng(seed)
    channels, weights = {}, {}
    for name, group in structure.groups.items():
        gone = 1 - np.arange(1, group.units + 1) / group.units
        height, power = random.lognormal(np.log(0.014), 0.8), random.uniform(1.5, 2.5)
        # Each further channel costs more than the one before.
        channels[name] = tuple(float(x) for x in height * gone**power / (1.05 - gone))
    for layer in structure.layers:
        height = random.lognormal(np.log(0.033), 0.9)
        weights[layer] = {
            b: float(height * 4.0**-b) if b < 16 else 0.0 for b in (2, 3, 4, 5, 6, 7, 8, 16, 32)
        }
    true = predicted_losses(space, Sensitivities(channels, weights, {}, {}))
    count = len(true)
    scale = random.lognormal(0.0, 1.0)
    sensitivities = Sensitivities(
        {name: tuple(scale * x for x in losses) for name, losses in channels.items()},
        {name: {b: scale * x for b, x in losses.items()} for name, losses in weights.items()},
        {},
        {},
    )
    dense = costs.of(Configuration())
    context = SamplerContext(
        space,
        OBJECTIVES,
        population=33,
        costs=costs,
        sensitivities=sensitivities,
        reference={"accuracy": CHANCE, "memory": dense["memory_bytes"], "macs": dense["macs"]},
        dense={"accuracy": DENSE, "memory": dense["memory_bytes"], "macs": dense["macs"]},
    )
    wrong = random.lognormal(0.0, SIGMA, (count, 1))
    # Within a parameter the prediction is wrong too, more or less so with each step.
    bent = np.exp(random.normal(0.0, 0.08, (count, 1)) * np.arange(true.shape[1]))
    true = np.where(np.isfinite(true), true, 0.0) * wrong * bent
    pairs = np.zeros((count, count))
    subjects = [parameter.subject for parameter in space.parameters.values()]
    order = sorted(range(count), key=lambda row: list(structure.parts).index(subjects[row]))
    for left, right in pairwise(order):
        pairs[left, right] = random.normal(0.15, 0.25)
    return World(context, true, np.clip(pairs, -0.4, 1.0), seed)


def run(world: World, sampler: str, seeding: str, informed: bool, trials: int) -> tuple[list[float], float]:
    """Run one sampler; return the hypervolume after every trial and the mean milliseconds of an ask."""
    context = world.context if informed else replace(world.context, sensitivities=None)
    first = {
        "predicted": lambda: seeds(context),
        "uniform": lambda: uniform_seeds(context.space),
        "none": list,
    }[seeding]()
    study = SearchStudy(context, sampler_name=sampler, seed=world.seed, seeds=first)
    dense = context.dense
    front: list[tuple[float, float, float]] = []
    volumes, asking = [], 0.0
    for _ in range(trials):
        begin = time.perf_counter()
        trial, choices = study.ask()
        asking += time.perf_counter() - begin
        accuracy, memory, macs = world.values(choices)
        study.tell(trial, (accuracy, memory, macs))
        gains = (accuracy - DENSE + DROP, np.log2(dense["memory"] / memory), np.log2(dense["macs"] / macs))
        front.append(gains)
        volumes.append(float(hypervolume(-np.asarray(front), np.zeros(3))))
    return volumes, 1000 * asking / trials


@click.command()
@click.option("--seeds", "count", default=5, show_default=True, help="Number of synthetic models.")
@click.option("--trials", default=200, show_default=True)
@click.option("--only", default="", help="Run only samplers whose name contains this.")
def main(count: int, trials: int, only: str) -> None:
    """Print a table of mean hypervolumes by number of trials."""
    torch.set_num_threads(1)
    target = resolve_target(
        f"cifar10-resnet20?data={ROOT}/cifar10_jpeg.zip&weights={ROOT}/resnet20_cifar10_jpeg.safetensors"
    )
    structure = derive(target.model, target.example_input)
    costs = Costs(Profile(target.model, target.example_input, structure))
    space = derive_space(structure, SpaceOptions())
    worlds = [make_world(structure, space, costs, seed) for seed in range(count)]
    points = [point for point in CHECKPOINTS if point <= trials]
    click.echo("| sampler | " + " | ".join(map(str, points)) + " | ms an ask |")
    click.echo("|---|" + "---|" * (len(points) + 1))
    for name, rival in RIVALS.items():
        if only not in name:
            continue
        runs = [run(world, *rival, trials) for world in worlds]
        means = np.mean([[volumes[point - 1] for point in points] for volumes, _ in runs], axis=0)
        asking = np.mean([each for _, each in runs])
        click.echo(f"| {name} | " + " | ".join(f"{mean:.3f}" for mean in means) + f" | {asking:.0f} |")


if __name__ == "__main__":
    main()
