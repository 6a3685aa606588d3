"""Backends that run compressed models for latency measurements, and the options of these measurements."""

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
    """Prepares configurations of one model for runs."""

    def run(self, compressed: Compressed) -> Callable[[], object]:
        """Return a function that runs the model once.

        Raises:
            CompressionError: the backend cannot run the model.
        """
        ...


@dataclass(frozen=True)
class Backend:
    """A runtime of compressed models.

    Args:
        name: name in options, and of the distribution whose release is reported.
        integers: whether bit-widths change the computation; otherwise quantisation is only simulated.
        make: function of the dense model's profile and the options that returns a `RunMaker`.
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
    """Options of latency measurements."""

    backend: str = option("onnxruntime", "Runtime in which latency is measured.", known=BACKENDS)
    threads: int = option(1, "Number of threads.", least=1, most=1024)
    batch: int = option(1, "Number of inputs per run.", least=1, most=4096)
