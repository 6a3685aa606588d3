"""What runs a compressed model when its latency is measured, by name; and where and how it is measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

from leanfront.deferred import Deferred
from leanfront.errors import UsageError

if TYPE_CHECKING:
    from leanfront.core.compressors.compressor import Compressed
    from leanfront.core.cost_models.profile import Profile

LARGEST_BATCH, LARGEST_THREADS = 4096, 1024


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
"""Backends by name. A new one is an entry here, and a class."""


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
            ("threads", self.threads, LARGEST_THREADS),
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
