"""What is derived of a dense model at some expense and used by every process that compresses it: made once.

The driver of a search makes it; pool processes, later runs and other runners on the machine read it. Machines of
a cluster that have no cache folder in common make it once each. Two processes that start at once may both make
it: nobody waits for another that may be stopped, and either file will do.
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
"""Of what the calibration passes give: files of another version are not read."""
FOLDER = "statistics"
"""Beside the bank's entries, so that many of these do not evict one that took a minute to make."""
PROBED = 4
"""Samples whose outputs must be those of the model that the file was made of."""
TOLERANCE = 1e-3
"""Of these outputs, as a share of the largest: processes with other numbers of threads differ in the last bits."""


class DerivedStatistics:
    """Named tensors derived of one target's dense model, in the user's cache under their content.

    Whatever the weights and the calibration samples determine is found under their hash. Code is not hashed;
    the model's outputs for a few samples stand in for it.

    Args:
        target: the dense model; never changed.
        calibration: samples that are derived on.
        cache: of the layer bank on disk; the user's own by default.
    """

    def __init__(self, target: Target, calibration: Calibration, cache: BankCache | None = None) -> None:
        bank = cache or BankCache()
        self._cache = BankCache(bank.folder / FOLDER, bank.limit)
        self._target = target
        self._calibration = calibration

    def recall(
        self, what: str, parts: tuple[KeyPart, ...], make: Callable[[], Mapping[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Tensors on the CPU, read where they were made before, else made; damaged files are made again.

        Args:
            what: a name for them, the same in every release.
            parts: what they depend on beside the weights and the calibration samples.
            make: derives them.
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
