"""What runs a compressed model when its latency is measured, by name."""

from __future__ import annotations

import copy
import importlib.metadata
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from leanfront.core.compressors import ActivationQuantiser, Configuration, Quantised
from leanfront.core.compressors.compressor import Compressed
from leanfront.core.compressors.quantisation.activations import attach
from leanfront.core.compressors.quantisation.quantisers import levels
from leanfront.core.compressors.statistics.calibration import channels_last, innermost_channels
from leanfront.core.compressors.structure.modules import weight_of
from leanfront.core.compressors.structure.slicing import cut
from leanfront.core.cost_models.profile import Profile
from leanfront.core.cost_models.timing import Run
from leanfront.errors import CompressionError, UsageError

LARGEST_BATCH, MOST_THREADS = 4096, 1024


@dataclass(frozen=True)
class LatencyOptions:
    """Where and how latency is measured.

    Args:
        backend: one of `BACKENDS`.
        threads: that one run may use.
        batch: inputs of one run.

    Raises:
        UsageError: a value cannot be used.
    """

    backend: str = "onnxruntime"
    threads: int = 1
    batch: int = 1

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS:
            raise UsageError(f"unknown latency backend '{self.backend}'; choose from {', '.join(BACKENDS)}")
        for name, value, most in (
            ("threads", self.threads, MOST_THREADS),
            ("batch", self.batch, LARGEST_BATCH),
        ):
            if not 1 <= value <= most:
                raise UsageError(f"the latency {name} must be 1 to {most}, not {value}")

    @classmethod
    def of(cls, backend: str | None, threads: int | None, batch: int | None) -> LatencyOptions | None:
        """What a user said, defaults for the rest; None where nothing was said."""
        said = {"backend": backend, "threads": threads, "batch": batch}
        given: dict[str, Any] = {key: value for key, value in said.items() if value is not None}
        return cls(**given) if given else None

    def to_json(self) -> dict[str, Any]:
        """JSON-ready dictionary."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> LatencyOptions:
        """Read what `to_json` wrote."""
        return cls(**data)


def stand_in(profile: Profile, configuration: Configuration) -> Compressed:
    """A compressed module of the same shapes and types as the configuration's own, made in milliseconds.

    It takes as long to run: which channels were kept and what the weights are does not change that.

    Args:
        profile: of the dense model.
        configuration: canonical.
    """
    module = innermost_channels(copy.deepcopy(profile.model)).requires_grad_(False)
    structure = profile.structure
    groups = [structure.groups[name] for name in configuration.channels]
    kept = {group.name: tuple(range(configuration.channels[group.name])) for group in groups}
    cut(module, groups, {group.name: range(len(kept[group.name]), group.units) for group in groups})
    module = innermost_channels(module.requires_grad_(False))
    modules = dict(module.named_modules())
    codes = {}
    with torch.no_grad():
        for layer, bits in configuration.weight_bits.items():
            weight = weight_of(modules[layer])
            if bits < 16:
                codes[layer] = _rounded(weight, bits, 1 if structure.parts[layer].transposed else 0)
                weight.copy_(codes[layer].dequantise())
            else:
                weight.copy_(weight.half())
    for layer, bits in configuration.activation_bits.items():
        dynamic = configuration.activation_range == "dynamic"
        # ONNX Runtime lets a quantiser do the work of the ReLU before it only where 0 is its lowest level.
        zero_point = 0 if layer in profile.nonnegative_inputs else 2 ** (bits - 1)
        attach(modules[layer], ActivationQuantiser(bits, None if dynamic else 2.0 ** (2 - bits), zero_point))
    return Compressed(module, configuration, kept, codes)


def _rounded(weight: Tensor, bits: int, axis: int) -> Quantised:
    """To the nearest level of the largest weight's scale: quick, not good."""
    low, high = levels(bits)
    others = [dimension for dimension in range(weight.dim()) if dimension != axis]
    scale = (weight.abs().amax(others, keepdim=True) / high).clamp_min(2.0**-14).half().float()
    codes = (weight / scale).round().clamp(low, high).to(torch.int8).contiguous()
    return Quantised(codes, scale.flatten(), bits, axis)


class Backend(Protocol):
    """Makes runs of configurations of one model.

    Attributes:
        integers: whether widths change what is computed; else quantisation is only simulated.
    """

    integers: bool

    def __init__(self, profile: Profile, options: LatencyOptions) -> None: ...

    def run(self, compressed: Compressed) -> Run:
        """A function that runs the model once.

        Raises:
            CompressionError: the backend cannot run it.
        """
        ...


class Torch:
    """Modules as `candidate.module()` gives them, quantisers of activations simulated as there."""

    integers = False

    def __init__(self, profile: Profile, options: LatencyOptions) -> None:
        self._inputs = channels_last(batch_of(profile.example_input, options.batch))

    def run(self, compressed: Compressed) -> Run:
        """A forward pass without gradients."""
        module: nn.Module = compressed.module.eval()

        def once() -> object:
            with torch.inference_mode():
                return module(self._inputs)

        return once


class OnnxRuntime:
    """Files as `candidate.export("model.onnx")` writes them, on ONNX Runtime's CPU provider."""

    integers = True

    def __init__(self, profile: Profile, options: LatencyOptions) -> None:
        # Slow to import, and needed by no other command.
        from leanfront.core.cost_models.tracing import Tracer

        self._profile = profile
        self._threads = options.threads
        self._inputs = batch_of(profile.example_input, options.batch).numpy()
        self._tracer = Tracer(profile)

    def run(self, compressed: Compressed) -> Run:
        """A run of a session of its own."""
        from leanfront.core.compressors.exchange.onnx_file import onnx_session

        content = self._tracer.file(compressed)
        try:
            session = onnx_session(content, self._threads)
            inputs = {session.get_inputs()[0].name: self._inputs}
            session.run(None, inputs)
        except Exception as error:  # its errors have no base of their own
            raise CompressionError(f"ONNX Runtime cannot run this model: {error}") from error
        return lambda: session.run(None, inputs)


BACKENDS: dict[str, type[Backend]] = {"onnxruntime": OnnxRuntime, "torch": Torch}
"""Backends by name."""


def batch_of(example_input: Tensor, size: int) -> Tensor:
    """The example repeated to a batch, (size, ...), contiguous."""
    return example_input[:1].expand(size, *example_input.shape[1:]).contiguous()


def place(options: LatencyOptions) -> dict[str, Any]:
    """Where a latency was measured, in words and numbers: options, processor, releases of what ran."""
    release = importlib.metadata.version(options.backend)
    return {**options.to_json(), "processor": processor(), "release": release}


def processor() -> str:
    """The processor's name, as the system tells it."""
    listed = Path("/proc/cpuinfo")
    if listed.is_file():
        for line in listed.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name" and value.strip():
                return value.strip()
    return platform.processor() or platform.machine() or "unknown"
