"""What runs a compressed model when its latency is measured, by name; and where and how it is measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from leanfront.deferred import Deferred
from leanfront.options import Options, option

if TYPE_CHECKING:
    from leanfront.core.compressors.compressor import Compressed
    from leanfront.core.cost_models.profile import Profile


class RunMaker(Protocol):
    """Makes runs of configurations of one model."""

    def run(self, compressed: Compressed) -> Callable[[], object]:
        """A function that runs the model once.

        Raises:
            CompressionError: the backend cannot run it.
        """
        ...


@dataclass(frozen=True)
class Backend:
    """What runs compressed models.

    Args:
        name: what a user types; the distribution whose release is told is of the same name.
        integers: whether widths change what is computed; else quantisation is only simulated.
        make: (profile of the dense model, options) -> what makes runs of its configurations.
    """

    name: str
    integers: bool
    make: Callable[[Profile, LatencyOptions], RunMaker]


BACKENDS: dict[str, Backend] = {
    backend.name: backend
    for backend in (
        Backend("onnxruntime", True, Deferred("leanfront.core.cost_models.backends:OnnxRuntime")),
        Backend("torch", False, Deferred("leanfront.core.cost_models.backends:Torch")),
    )
}
"""Backends by name. To add one, write a class and an entry here."""


@dataclass(frozen=True, kw_only=True)
class LatencyOptions(Options):
    """Where and how latency is measured: a backend, and the threads and inputs of one run."""

    backend: str = option("onnxruntime", "Runtime in which latency is measured.", known=BACKENDS)
    threads: int = option(1, "Threads of one run.", least=1, most=1024)
    batch: int = option(1, "Inputs of one run.", least=1, most=4096)
