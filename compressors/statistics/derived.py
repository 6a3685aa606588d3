"""Cache of a dense model's expensive statistics, shared by all processes that compress it.

The driver of a search computes them; pool processes, later runs and other runners on the machine read them. Machines
of a cluster without a common cache folder compute them once each. Two processes that start at the same time may both
compute them: neither waits for the other, which may be stopped, and either file will do.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import cached_property

import torch
from torch import Tensor

from leanfront.core.compressors.statistics.cache import BankCache, KeyPart, content_key
from leanfront.core.compressors.statistics.calibration import Calibration
from leanfront.core.targets import Target

VERSION = 1
"""Version of the calibration passes: files of another version are not read."""
FOLDER = "statistics"
"""Separate from the bank's entries, so that these do not evict statistics that take a minute to compute."""
PROBED = 4
"""Number of samples on which the model must have the outputs stored in the file."""
TOLERANCE = 1e-3
"""Largest difference of these outputs, as a share of the largest: their last bits depend on the number of threads."""


class DerivedStatistics:
    """Named tensors computed from one target's dense model, kept in the user's cache.

    They are found by a hash of the weights and the calibration samples. Code is not hashed; instead the model's
    outputs on a few samples are compared.

    Args:
        target: the dense model; never changed.
        calibration: the calibration samples.
        cache: cache of the layer bank on disk; by default in the user's cache folder.
    """

    def __init__(self, target: Target, calibration: Calibration, cache: BankCache | None = None) -> None:
        bank = cache or BankCache()
        self._cache = BankCache(bank.folder / FOLDER, bank.limit)
        self._target = target
        self._calibration = calibration

    def recall(
        self, what: str, parts: tuple[KeyPart, ...], make: Callable[[], Mapping[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Return tensors on the CPU, read from the cache or else computed and stored there.

        Args:
            what: name of the tensors, the same in every release.
            parts: values that they depend on besides the weights and the calibration samples.
            make: function that computes them.
        """
        key = content_key(self._content, what, parts)
        found = self._cache.get(key)
        if found is not None and self._fits(found.pop("probe", None)):
            return found
        made = {name: tensor.detach().cpu().contiguous() for name, tensor in make().items()}
        self._cache.put(key, {**made, "probe": self._probe})
        return made

    @cached_property
    def _content(self) -> str:
        model = self._target.model
        tensors: dict[str, Tensor] = dict(model.named_parameters(remove_duplicate=False))
        tensors.update(model.named_buffers(remove_duplicate=False))
        return content_key(
            VERSION,
            torch.__version__,
            self._calibration.device.type,
            tuple(sorted(tensors)),
            tuple(tensors[name] for name in sorted(tensors)),
            tuple(self._calibration.batches),
        )

    @cached_property
    def _probe(self) -> Tensor:
        model = copy.deepcopy(self._target.model)
        with torch.inference_mode():
            outputs: Tensor = model(self._calibration.batches[0][:PROBED].cpu())
        return outputs.float().clone()

    def _fits(self, probe: Tensor | None) -> bool:
        if probe is None or probe.shape != self._probe.shape:
            return False
        bound = TOLERANCE * float(self._probe.abs().max())
        return torch.allclose(probe, self._probe, rtol=0.0, atol=bound, equal_nan=True)
