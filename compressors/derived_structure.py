"""Structure of a target, derived once and kept in the user's cache."""

from __future__ import annotations

import copy
from contextlib import suppress

import numpy as np
import torch
from torch import Tensor, nn

from leanfront.core.compressors.statistics.cache import BankCache, content_key
from leanfront.core.compressors.structure.code import code_of
from leanfront.core.compressors.structure.derivation import derive, skeleton
from leanfront.core.compressors.structure.document import from_json, to_json
from leanfront.core.compressors.structure.probes import FOLLOWED
from leanfront.core.compressors.structure.structure import Structure
from leanfront.core.targets import Target
from leanfront.core.targets.weights_cache import weights_of

VERSION = 1
"""Version of the stored documents: others are not read."""
FOLDER = "structures"


def structure_of(target: Target, *, seed: int = 0, cache: BankCache | None = None) -> Structure:
    """Return the structure of a target's model, from the cache or derived on its calibration samples.

    It is found by the weights, the samples, the code of the modules (see `structure/code.py`) and the outputs.

    Args:
        target: the target; not changed.
        seed: seed of the proofs.
        cache: cache of the layer bank on disk; by default in the user's cache folder.

    Raises:
        TargetError: the model does not run on its example input or its samples.
    """
    samples, _ = next(target.calibration.batches(FOLLOWED))
    model, outputs = copy.deepcopy(target.model), None
    with suppress(Exception), torch.inference_mode():  # deriving will report an error
        outputs = model(samples)
    weights = weights_of(target.model)
    key = content_key(
        VERSION,
        seed,
        code_of(target.model),
        tuple(sorted(weights)),
        tuple(weights[name] for name in sorted(weights)),
        target.example_input,
        samples,
        outputs.clone() if isinstance(outputs, Tensor) else None,
    )
    own = _folder(cache)
    found = _read(own, key)
    if found is None:
        found = derive(target.model, target.example_input, samples=samples, seed=seed)
        _write(own, key, found)
    return found


def skeleton_of(model: nn.Module, example_input: Tensor, cache: BankCache | None = None) -> Structure:
    """Return `skeleton` of a model, from the cache or derived.

    Args:
        model: the dense architecture with any weights; not changed.
        example_input: a batch that the model accepts.
        cache: cache of the layer bank on disk; by default in the user's cache folder.

    Raises:
        TargetError: the model does not run on the example input.
    """
    key = content_key(VERSION, "skeleton", code_of(model), example_input)
    own = _folder(cache)
    found = _read(own, key)
    if found is None:
        found = skeleton(model, example_input)
        _write(own, key, found)
    return found


def _folder(cache: BankCache | None) -> BankCache:
    bank = cache or BankCache()
    return BankCache(bank.folder / FOLDER, bank.limit)


def _read(cache: BankCache, key: str) -> Structure | None:
    stored = cache.get(key)
    if stored is None or "structure" not in stored:
        return None
    with suppress(ValueError):
        return from_json(stored["structure"].numpy().tobytes())
    return None


def _write(cache: BankCache, key: str, structure: Structure) -> None:
    content = np.frombuffer(to_json(structure), dtype=np.uint8).copy()
    cache.put(key, {"structure": torch.from_numpy(content)})
