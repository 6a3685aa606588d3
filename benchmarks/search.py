"""Time to a frontier: leanfront against plain Optuna, with TPE and NSGA-II used as a user would.

    python benchmarks/search.py run tpe 0          # 200 trials
    python benchmarks/search.py run nsga2 0
    python benchmarks/search.py run leanfront 0 --minutes 10
    python benchmarks/search.py report

ResNet-20 on `../shared/data`, two threads, one process. All methods have the same grids, bits and cost models. The
rivals prune only channels inside blocks, which helps them: with all groups TPE ends at 0. The clock starts when the
model and the decoded images are in memory, so deriving the structure, calibration and all other preparation count.
Accuracies are of the whole validation split. The frontier of every method is evaluated again in the same way after
the clock has stopped. Hypervolumes are of (accuracy, log2 memory ratio, log2 MAC ratio) against
(dense accuracy - 0.42, 0, 0).

Each run is one file in `benchmarks/results` that names its machine. A finished run is not repeated.
"""

from __future__ import annotations

from pathlib import Path

import leanfront  # isort: split

import contextlib
import copy
import datetime
import json
import math
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from urllib.parse import quote

import click
import numpy as np
import optuna
import torch
from optuna.samplers import BaseSampler, NSGAIISampler, TPESampler
from torch import nn

from leanfront import Target, resolve
from leanfront.core import search as searching
from leanfront.core.compressors import Configuration, Saliency, quantise_weight
from leanfront.core.compressors.pruning.scores import channel_scores, kept_units
from leanfront.core.compressors.statistics.batch_norm import reestimate
from leanfront.core.compressors.statistics.calibration import channels_last
from leanfront.core.compressors.structure.derivation import derive
from leanfront.core.compressors.structure.slicing import cut
from leanfront.core.cost_models import Costs, Profile
from leanfront.core.objectives import hypervolume, nondominated
from leanfront.core.search import Evaluator, Progress, SearchOptions, SpaceOptions, derive_space, start
from leanfront.core.storage import FrontierStore

HERE = Path(__file__).resolve().parent
DROP = 0.42
"""Loss of accuracy at which a point no longer counts."""
THREADS = 2
BATCH = 128
CALIBRATION_SAMPLES, CALIBRATION_BATCH = 512, 256
JUDGED = 30
CHECKPOINT_TRIALS = 20
RIVALS: dict[str, Callable[[int], BaseSampler]] = {
    "tpe": lambda seed: TPESampler(seed=seed),
    "nsga2": lambda seed: NSGAIISampler(seed=seed),
}
METHODS = (*RIVALS, "leanfront")


@dataclass
class Point:
    """A configuration measured on the whole validation split.

    Args:
        seconds: time from the start of the clock until the point was measured.
        accuracy: accuracy measured by the method.
        memory_bytes, macs: costs by our cost models.
        on_frontier: whether no other point of the run dominates it.
        judged: accuracy in the final evaluation; only for points on the frontier.
        processor: processor time of all threads until then; comparable even if the machine was busy.
    """

    seconds: float
    accuracy: float
    memory_bytes: float
    macs: float
    processor: float = 0.0
    on_frontier: bool = False
    judged: float | None = None


@dataclass
class Run:
    """One run of a method, as stored in its file.

    Args:
        method, seed: name of the method, and its seed.
        goal, trials: trials requested and made; leanfront's stopped and failed trials are not points.
        dense: accuracy, memory_bytes and macs of the dense model.
        points: measured points in the order they were made.
        setup_seconds: time from the start of the clock to the first trial.
        seconds, cpu_seconds: wall-clock and processor time (all threads) of the run without the final evaluation.
        load_before, load_after: load averages over the last minute.
        largest_difference: largest difference between final and measured accuracies on the frontier.
        machine, date: the machine, and the date (ISO 8601, UTC).
    """

    method: str
    seed: int
    goal: int
    trials: int = 0
    dense: dict[str, float] = field(default_factory=dict)
    points: list[Point] = field(default_factory=list)
    setup_seconds: float = 0.0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    load_before: float = 0.0
    load_after: float = 0.0
    largest_difference: float = 0.0
    hypervolume: float = 0.0
    machine: dict[str, str | int] = field(default_factory=dict)
    date: str = ""

    @classmethod
    def read(cls, path: Path) -> Run:
        """Read a run from its file."""
        data = json.loads(path.read_text())
        return cls(**{**data, "points": [Point(**point) for point in data["points"]]})

    def write(self, path: Path) -> None:
        """Write the file atomically."""
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.{os.getpid()}")
        part.write_text(json.dumps(asdict(self), indent=1) + "\n")
        os.replace(part, path)

    def curve(self, clock: str = "seconds") -> list[tuple[float, float]]:
        """Return (time, hypervolume) at every point that enlarged it; `clock` is a time of `Point`."""
        steps: list[tuple[float, float]] = []
        front: list[tuple[float, float, float]] = []
        volume = 0.0
        for point in sorted(self.points, key=lambda point: point.seconds):
            accuracy = point.accuracy if point.judged is None else point.judged
            gains = (
                accuracy - (self.dense["accuracy"] - DROP),
                math.log2(self.dense["memory_bytes"] / point.memory_bytes),
                math.log2(self.dense["macs"] / point.macs),
            )
            larger = hypervolume(-np.asarray([*front, gains]), np.zeros(3))
            if larger > volume:
                front.append(gains)
                volume = larger
                steps.append((getattr(point, clock), volume))
        return steps

    def volume_at(self, seconds: float) -> float:
        """Return the hypervolume after the given seconds."""
        return max((volume for when, volume in self.curve() if when <= seconds), default=0.0)

    def time_to(self, volume: float, clock: str = "seconds") -> float:
        """Return the seconds until a hypervolume was reached; infinity if it never was."""
        return next((when for when, reached in self.curve(clock) if reached >= volume), math.inf)


class Plain:
    """Compression as a user would write it: L1 channels, rounding with MSE scales, batch-norm statistics.

    Args:
        target: the dense model with its splits.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self.structure = derive(target.model, target.example_input)
        space = derive_space(self.structure, SpaceOptions(criterion="l1"))
        # If residual groups are pruned too, 200 trials find nothing above the reference.
        own = {n: p for n, p in space.parameters.items() if p.kind != "channels" or self._inner(p.subject)}
        self.space = replace(space, parameters=own)
        self.costs = Costs(Profile(target.model, target.example_input, self.structure))
        saliency = Saliency(target, self.structure, torch.device("cpu"))
        groups = self.structure.groups.items()
        self._scores = {name: channel_scores(saliency, group, "l1") for name, group in groups}
        last = len(target.calibration) - 1
        chosen = target.calibration.subset(torch.linspace(0, last, CALIBRATION_SAMPLES).round().long())
        self._calibration = [channels_last(inputs) for inputs, _ in chosen.batches(CALIBRATION_BATCH)]
        self._validation = [channels_last(inputs) for inputs, _ in target.validation.batches(BATCH)]

    def module(self, configuration: Configuration) -> nn.Module:
        """Return the compressed model, in eval mode."""
        module = copy.deepcopy(self.target.model).to(memory_format=torch.channels_last).eval()
        groups = [self.structure.groups[name] for name in configuration.channels]
        gone = {}
        for group in groups:
            kept = kept_units(self._scores[group.name], configuration.channels[group.name])
            gone[group.name] = sorted(set(range(group.units)) - set(kept))
        cut(module, groups, gone)
        module.requires_grad_(False)
        layers = dict(module.named_modules())
        for name, bits in configuration.weight_bits.items():
            weight = layers[name].weight
            assert isinstance(weight, torch.Tensor)
            axis = 1 if self.structure.parts[name].transposed else 0
            weight.copy_(quantise_weight(weight, bits, axis=axis).dequantise())
        reestimate(module, self._calibration)
        return module

    def _inner(self, group: str) -> bool:
        """Whether a single layer produces a group's channels, as inside a residual block."""
        parts = self.structure.parts
        return sum(parts[name].is_layer for name in self.structure.groups[group].producers) == 1

    def accuracy(self, module: nn.Module) -> float:
        """Return the accuracy on the whole validation split."""
        with torch.inference_mode():
            predicted = torch.cat([module(inputs).argmax(1) for inputs in self._validation])
        return float((predicted == self.target.validation.labels).double().mean())


class Clock:
    """Wall-clock and processor time since its construction."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    @property
    def seconds(self) -> float:
        """Wall-clock time in seconds."""
        return time.perf_counter() - self._wall

    @property
    def processor(self) -> float:
        """Processor time of all threads in seconds."""
        return time.process_time() - self._cpu

    def stop(self, run: Run) -> None:
        """Store both times and the load in the run."""
        run.seconds, run.cpu_seconds = self.seconds, self.processor
        run.load_after = os.getloadavg()[0]


Judged = list[tuple[Point, Callable[[], nn.Module]]]
"""Points with functions that rebuild their modules."""


def run_rival(run: Run, target: Target, minutes: float | None, partial: Path) -> Judged:
    """Run plain Optuna: one sampler, one objective function, the whole validation split for every trial."""
    clock = Clock()
    plain = Plain(target)
    sampler = RIVALS[run.method](run.seed)
    study = optuna.create_study(directions=["maximize", "minimize", "minimize"], sampler=sampler)
    made: Judged = []

    def objective(trial: optuna.Trial) -> tuple[float, float, float]:
        choices = {
            name: trial.suggest_int(name, 0, len(parameter.values) - 1)
            for name, parameter in plain.space.parameters.items()
        }
        configuration = plain.space.configuration(choices)
        costs = plain.costs.of(configuration)
        accuracy = plain.accuracy(plain.module(configuration))
        point = Point(
            clock.seconds, accuracy, costs["memory_bytes"], costs["macs"], processor=clock.processor
        )
        run.points.append(point)
        made.append((point, lambda: plain.module(configuration)))
        return accuracy, costs["memory_bytes"], costs["macs"]

    def checkpoint(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        run.trials = len(run.points)
        if run.trials % CHECKPOINT_TRIALS == 0:
            clock.stop(run)
            run.write(partial)
            click.echo(f"{run.method} {run.seed}: {run.trials} trials, {run.seconds:.0f} s", err=True)

    run.setup_seconds = clock.seconds
    timeout = None if minutes is None else max(0.0, 60 * minutes - clock.seconds)
    study.optimize(objective, n_trials=run.goal, timeout=timeout, callbacks=[checkpoint])
    clock.stop(run)
    return made


def run_leanfront(run: Run, target: Target, minutes: float | None, folder: Path) -> Judged:
    """Run leanfront with its defaults, an empty database and an empty cache."""
    os.environ["LEANFRONT_CACHE"] = str(folder / "cache")
    when: dict[int, tuple[float, float]] = {}
    clock = Clock()

    def report(progress: Progress) -> None:
        when.setdefault(progress.trials, (clock.seconds, clock.processor))

    with FrontierStore(f"sqlite:///{folder / 'search.db'}") as store:
        options = SearchOptions(trials=run.goal, minutes=minutes, seed=run.seed)
        start(
            target,
            store,
            "benchmark",
            options,
            searching.Run(place=searching.Place(device="cpu"), report=report),
        )
        clock.stop(run)
        trials = sorted(store.trials("benchmark"), key=lambda trial: trial.number)
        complete = {candidate.id: candidate for candidate in store.candidates("benchmark")}
    run.trials = len(trials)
    first = complete.get(trials[0].candidate) if trials else None
    run.setup_seconds = when.get(1, (0.0, 0.0))[0] - (first.seconds if first else 0.0)
    evaluator = Evaluator(target, derive(target.model, target.example_input, seed=run.seed))

    def builder(configuration: Configuration) -> Callable[[], nn.Module]:
        return lambda: evaluator.compressor.materialise(configuration).module

    made: Judged = []
    for stored, trial in enumerate(trials, start=1):
        # Stopped candidates have seen only a part of the split.
        candidate = complete.get(trial.candidate)
        if trial.duplicate or candidate is None or candidate.state != "complete":
            continue
        accuracy, memory, macs = candidate.accuracy, candidate.memory_bytes, candidate.macs
        if accuracy is not None and memory is not None and macs is not None:
            seconds, processor = when[stored]
            point = Point(seconds, accuracy, memory, macs, processor=processor)
            run.points.append(point)
            made.append((point, builder(candidate.configuration)))
    return made


def dense_model(evaluator: Evaluator) -> dict[str, float]:
    """Return the accuracy and costs of the dense model."""
    target, structure = evaluator.target, evaluator.compressor.structure
    costs = Costs(Profile(target.model, target.example_input, structure)).of(Configuration())
    accuracy = evaluator.measure(evaluator.compressor.materialise(Configuration()).module, "validation")[0]
    return {"accuracy": accuracy.value, "memory_bytes": costs["memory_bytes"], "macs": costs["macs"]}


def judge(run: Run, evaluator: Evaluator, made: Judged) -> None:
    """Evaluate the frontier's modules again on the whole validation split, in the same way for all methods.

    If the frontier is larger than `JUDGED`, evaluate about that many members, spread evenly over the trials.
    """
    front = nondominated([(-point.accuracy, point.memory_bytes, point.macs) for point, _ in made])
    for (point, _), member in zip(made, front, strict=True):
        point.on_frontier = bool(member)
    worth = [pair for pair in made if pair[0].on_frontier and pair[0].accuracy > run.dense["accuracy"] - DROP]
    for point, build in worth[:: max(1, len(worth) // JUDGED)]:
        point.judged = evaluator.measure(build(), "validation")[0].value
        run.largest_difference = max(run.largest_difference, abs(point.judged - point.accuracy))
    run.hypervolume = run.volume_at(math.inf)


def machine() -> dict[str, str | int]:
    """Return the properties of the machine that affect a run, without its host name."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        named = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
        model = next(named, model)
    return {
        "cpu": model,
        "cores": os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
        "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY", ""),
        "leanfront": leanfront.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "optuna": optuna.__version__,
    }


def load_target(data: Path) -> Target:
    """Return ResNet-20 without its test split, which no method uses, and with the images decoded in memory."""
    archive = quote(str(data / "cifar10_jpeg.zip"))
    weights = quote(str(data / "resnet20_cifar10_jpeg.safetensors"))
    whole = resolve(f"cifar10-resnet20?data={archive}&weights={weights}")
    for split in (whole.calibration, whole.validation):
        split.tensors()
    return Target(
        model=whole.model,
        example_input=whole.example_input,
        calibration=whole.calibration,
        validation=whole.validation,
        train=whole.train,
        classes=whole.classes,
        name=whole.name,
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a Markdown table."""
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows))


def ratio(over: float, under: float) -> float:
    """Return over / under; 1 if both are 0, and infinity if only `under` is."""
    return over / under if under else math.inf if over else 1.0


def runs_table(runs: Sequence[Run]) -> str:
    """Return the table with one row for each run."""
    head = ["method", "seed", "trials", "points", "on frontier", "hypervolume", "wall-clock s", "set-up s"]
    head += ["judged differs by", "CPU s / wall s", "load"]
    rows = []
    for method in METHODS:
        for run in (run for run in runs if run.method == method):
            front = sum(point.on_frontier for point in run.points)
            rows.append([method, str(run.seed), str(run.trials), str(len(run.points)), str(front)])
            rows[-1] += [f"{run.hypervolume:.4f}", f"{run.seconds:.0f}", f"{run.setup_seconds:.1f}"]
            rows[-1] += [f"{run.largest_difference:.4f}", f"{ratio(run.cpu_seconds, run.seconds):.2f}"]
            rows[-1] += [f"{run.load_before:.1f} to {run.load_after:.1f}"]
    return table(head, rows)


def comparison_table(runs: Sequence[Run]) -> str:
    """Compare leanfront with the better rival of the same seed; a finished run keeps its hypervolume."""
    head = ["seed", "better rival", "its hypervolume", "its wall-clock s"]
    head += ["leanfront gets there in s", "sooner", "sooner by processor time"]
    head += ["leanfront's hypervolume by then", "ratio"]
    rows, ratios = [], []
    for own in (run for run in runs if run.method == "leanfront"):
        rivals = [run for run in runs if run.method in RIVALS and run.seed == own.seed]
        if not rivals:
            continue
        best = max(rivals, key=lambda run: run.hypervolume)
        reached = own.time_to(best.hypervolume)
        found = [ratio(best.seconds, reached)]
        found.append(ratio(best.cpu_seconds, own.time_to(best.hypervolume, "processor")))
        row = [str(own.seed), best.method, f"{best.hypervolume:.4f}", f"{best.seconds:.0f}"]
        row += [f"{reached:.0f}" if math.isfinite(reached) else "not reached"]
        row += [f"{found[0]:.1f}x", f"{found[1]:.1f}x"]
        found.append(ratio(own.volume_at(best.seconds), best.hypervolume))
        rows.append([*row, f"{own.volume_at(best.seconds):.4f}", f"{found[-1]:.2f}x"])
        ratios.append(found)
    if not rows:
        return "Nothing to compare: no seed was run with both leanfront and a rival."
    sooner, worked, late = (f"{statistics.median(column):.2f}x" for column in zip(*ratios, strict=True))
    return table(head, [*rows, ["median", "", "", "", "", sooner, worked, "", late]])


@click.group()
def main() -> None:
    """Search benchmark: run methods, then report."""


RESULTS = click.option("--results", type=click.Path(path_type=Path), default=HERE / "results")


@main.command("run")
@click.argument("method", type=click.Choice(METHODS))
@click.argument("seed", type=click.IntRange(min=0))
@click.option("--trials", type=click.IntRange(min=1), default=200, show_default=True)
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="Wall-clock limit.")
@click.option(
    "--data", type=click.Path(exists=True, path_type=Path), default=HERE.parent.parent / "shared" / "data"
)
@RESULTS
@click.option("--again", is_flag=True, help="Replace a finished run.")
def run_command(
    method: str, seed: int, trials: int, minutes: float | None, data: Path, results: Path, again: bool
) -> None:
    """Run METHOD with SEED and write its file."""
    path = results / f"{method}-{seed}.json"
    if path.exists() and not again:
        raise click.ClickException(f"{path.name} exists already; use --again to replace it")
    partial = path.with_name(f"{path.name}.partial")
    torch.set_num_threads(THREADS)
    date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    run = Run(method, seed, trials, load_before=os.getloadavg()[0], machine=machine(), date=date)
    target = load_target(data)
    with tempfile.TemporaryDirectory() as folder:
        # The final evaluation has its own cache, so that the search cannot use anything from it.
        os.environ["LEANFRONT_CACHE"] = str(Path(folder) / "judge")
        evaluator = Evaluator(target, derive(target.model, target.example_input), metrics=["accuracy"])
        run.dense = dense_model(evaluator)
        if method in RIVALS:
            made = run_rival(run, target, minutes, partial)
        else:
            made = run_leanfront(run, target, minutes, Path(folder))
        judge(run, evaluator, made)
    run.write(path)
    partial.unlink(missing_ok=True)
    click.echo(f"{path.name}: {run.trials} trials, {run.seconds:.0f} s, hypervolume {run.hypervolume:.4f}")


@main.command("report")
@RESULTS
def report_command(results: Path) -> None:
    """Print the results as Markdown tables."""
    runs = [Run.read(path) for path in sorted(results.glob("*.json"))]
    if not runs:
        raise click.ClickException(f"no results in {results}")
    runs.sort(key=lambda run: run.seed)
    click.echo(runs_table(runs) + "\n\n" + comparison_table(runs))
    machines = {json.dumps(run.machine) for run in runs}
    for text in sorted(machines):
        click.echo("\n" + ", ".join(f"{key} {value}" for key, value in json.loads(text).items()))
    if len(machines) > 1:
        click.echo("\n**These runs used different machines or versions: their times are not comparable.**")


if __name__ == "__main__":
    main()
