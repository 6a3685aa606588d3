"""Latency of configurations: measured for some of them, predicted for the others."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from leanfront.core.compressors import BankCache, Configuration, Structure
from leanfront.core.compressors.configuration import DEFAULT_RANGE, FLOAT_BITS
from leanfront.core.compressors.statistics.cache import KeyPart, content_key
from leanfront.core.cost_models.backends import place
from leanfront.core.cost_models.latency_options import BACKENDS, LatencyOptions
from leanfront.core.cost_models.latency_table import (
    VERSION,
    LatencyCost,
    LatencyFeatures,
    LatencyTable,
    Timed,
    fitted,
)
from leanfront.core.cost_models.profile import Profile
from leanfront.core.cost_models.stand_in import stand_in
from leanfront.core.cost_models.timing import Run, Timing, in_turn, torch_threads
from leanfront.errors import EvaluationError, LeanfrontError, StorageError

FOLDER = "latency"
SECONDS, EACH = 45.0, 0.3
"""Seconds for a whole table, about, and for timing one configuration together with the dense model."""
MEASURED = 0.5
"""Seconds for timing one configuration whose measured latency is reported."""
FEWEST_TIMED, MOST_TIMED = 16, 56
"""Smallest and largest number of timed configurations, however long it takes."""
STEPS = 8
"""Kept channels are eighths of their group, as in the search."""


@dataclass(frozen=True)
class LatencyPlan:
    """Settings that a latency table is measured for.

    Args:
        options: backend, threads and batch size.
        weight_bits: weight widths that may occur; 32 is float.
        activation_bits: activation widths that may occur; 32 is float.
        activation_range: rule for activation ranges; only dynamic ranges change the run time.
        seed: seed of the choice of timed configurations.
    """

    options: LatencyOptions = field(default_factory=LatencyOptions)
    weight_bits: tuple[int, ...] = (4, 8, FLOAT_BITS)
    activation_bits: tuple[int, ...] = (8, FLOAT_BITS)
    activation_range: str = DEFAULT_RANGE
    seed: int = 0

    @property
    def key(self) -> KeyPart:
        """Settings that a stored table must match."""
        dynamic = self.activation_range == "dynamic"
        return (self.weight_bits, self.activation_bits, dynamic, self.seed)


def latency(
    profile: Profile,
    plan: LatencyPlan | None = None,
    table: LatencyTable | None = None,
    *,
    cache: BankCache | None = None,
) -> LatencyCost:
    """Build the predicted latency of one run, in milliseconds.

    Args:
        profile: profile of the dense model.
        plan: settings; by default ONNX Runtime with one thread and one input.
        table: a table measured before; by default it is read from the cache, or measured and cached.
        cache: cache of tables on disk; by default the user's own.

    Raises:
        LeanfrontError: the backend cannot run the model, or its multiply-adds do not follow its channels.
    """
    plan = plan or LatencyPlan()
    backend = plan.options.backend if table is None else table.place["backend"]
    features = LatencyFeatures(profile, integers=BACKENDS[backend].integers)
    if table is not None:
        return LatencyCost(features, table)
    bank = cache or BankCache()
    shelf = BankCache(bank.folder / FOLDER, bank.limit)
    key = content_key(
        VERSION, _architecture(profile), json.dumps(place(plan.options), sort_keys=True), plan.key
    )
    table = _read(shelf, key)
    if table is None:
        table = measured_table(profile, features, plan)
        content = json.dumps(table.to_json()).encode()
        shelf.put(key, {"table": torch.frombuffer(bytearray(content), dtype=torch.uint8)})
    return LatencyCost(features, table)


def measured_table(
    profile: Profile,
    features: LatencyFeatures,
    plan: LatencyPlan,
    *,
    time_in_turn: Callable[[Sequence[Run], float], list[Timing]] = in_turn,
) -> LatencyTable:
    """Time configurations one after another, each in turn with the dense model, and fit the table to them.

    Two models are in memory at a time. Other load on the machine slows both alike.

    Args:
        profile: profile of the dense model.
        features: latency features of the model.
        plan: settings.
        time_in_turn: function that times runs.

    Raises:
        LeanfrontError: the backend cannot run the dense model, or fails on too many compressed ones.
    """
    backend = BACKENDS[plan.options.backend].make(profile, plan.options)
    structure = profile.structure
    done: list[Configuration] = [Configuration()]
    ratios, repeats = [1.0], [(1.0, 1.0)]
    threads = plan.options.threads
    dense_runs: list[Timing] = []
    failed: list[LeanfrontError] = []
    begin = time.monotonic()
    with torch_threads(threads):
        dense = backend.run(stand_in(profile, Configuration()))
        for configuration in drawn(structure, plan, MOST_TIMED - 1):
            if len(done) >= FEWEST_TIMED and time.monotonic() - begin >= SECONDS:
                break
            if configuration in done:
                continue
            try:
                run = backend.run(stand_in(profile, configuration))
            except LeanfrontError as error:
                failed.append(error)
                if len(failed) > FEWEST_TIMED:
                    raise
                continue
            reference, own = time_in_turn([dense, run], EACH)
            dense_runs.append(reference)
            done.append(configuration)
            ratios.append(own.undisturbed(threads) / reference.undisturbed(threads))
            first, second = (
                mine.undisturbed(threads) / theirs.undisturbed(threads)
                for mine, theirs in zip(own.halves, reference.halves, strict=True)
            )
            repeats.append((first, second))
    if len(done) == 1:
        raise (
            failed[0]
            if failed
            else EvaluationError("no configuration of this model changes its latency: leave latency out")
        )
    timed = Timed(tuple(done), tuple(ratios), tuple(repeats))
    runs = Timing(
        tuple(each for timing in dense_runs for each in timing.seconds),
        tuple(each for timing in dense_runs for each in timing.own),
    )
    return fitted(features, timed, place(plan.options), runs)


def drawn(structure: Structure, plan: LatencyPlan, count: int) -> list[Configuration]:
    """Draw the configurations to time: the cheapest, all channels at the lowest widths, then random ones.

    Half of the random ones have channels and widths that differ little from layer to layer, as good candidates
    have. Quantised inputs follow a few patterns, because the model is traced once for each of them.
    """
    random = np.random.default_rng(plan.seed)
    widths = sorted(set(plan.activation_bits))
    patterns = [dict.fromkeys(structure.layers, bits) for bits in widths]
    if len(widths) > 1:
        for _ in range(2):
            patterns.append({layer: int(random.choice(widths)) for layer in structure.layers})
    lowest = dict.fromkeys(structure.layers, min(plan.weight_bits))
    least = {group.name: max(1, round(group.units / STEPS)) for group in structure.groups.values()}
    found = [_canonical(structure, plan, channels, lowest, patterns[0]) for channels in (least, {})]
    for number in range(count - len(found)):
        share, spread = random.uniform(1 / STEPS, 1.0), random.choice([0.0, 0.15, 0.3, 1.0])
        shares = np.clip(share + spread * random.standard_normal(len(structure.groups)), 1 / STEPS, 1.0)
        channels = {
            group.name: max(1, round(group.units * round(each * STEPS) / STEPS))
            for group, each in zip(structure.groups.values(), shares, strict=True)
        }
        bits = random.choice(plan.weight_bits, len(structure.layers))
        if random.random() < 0.5:
            bits[:] = bits[0]
        weights = {layer: int(width) for layer, width in zip(structure.layers, bits, strict=True)}
        found.append(_canonical(structure, plan, channels, weights, patterns[number % len(patterns)]))
    return found


def _canonical(
    structure: Structure,
    plan: LatencyPlan,
    channels: dict[str, int],
    weights: dict[str, int],
    activations: dict[str, int],
) -> Configuration:
    return structure.canonical(
        Configuration(channels, weights, activations, activation_range=plan.activation_range)
    )


def measured(
    profile: Profile,
    options: LatencyOptions,
    configurations: Sequence[Configuration],
    *,
    time_in_turn: Callable[[Sequence[Run], float], list[Timing]] = in_turn,
) -> list[Timing]:
    """Measure the latencies of configurations, timed in turn; all of them are in memory together.

    The timed modules have the shapes and types of the candidates' own modules: see `stand_in`.

    Raises:
        LeanfrontError: the backend cannot run one of them.
    """
    backend = BACKENDS[options.backend].make(profile, options)
    with torch_threads(options.threads):
        runs = [backend.run(stand_in(profile, configuration)) for configuration in configurations]
        return time_in_turn(runs, MEASURED * len(runs))


def _architecture(profile: Profile) -> str:
    """Return a key of everything that decides the latency of the model; its weights do not."""
    structure = profile.structure
    return content_key(
        repr(tuple(profile.example_input.shape)),
        repr(sorted(structure.parts.items())),
        repr(sorted(structure.groups.items())),
        repr(sorted(profile.operations.items())),
        repr(sorted(profile.leaf_inputs.items())),
        str(profile.model),
    )


def _read(shelf: BankCache, key: str) -> LatencyTable | None:
    found = shelf.get(key)
    if found is None:
        return None
    try:
        return LatencyTable.from_json(json.loads(found["table"].numpy().tobytes()))
    except (LookupError, ValueError, TypeError, StorageError):
        return None
