"""Batch norms: their form for inference, and whether a norm with a forward of its own has one."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

BATCH_NORMS = (nn.modules.batchnorm._BatchNorm,)
PLAIN = (nn.modules.batchnorm._BatchNorm.forward, nn.SyncBatchNorm.forward)
TOLERANCE = 1e-4
"""Largest difference of a rewritten norm's outputs, as a share of the largest output."""
_known: dict[tuple[Any, ...], tuple[bool, bool]] = {}


def inference_form(norm: nn.modules.batchnorm._BatchNorm) -> tuple[Tensor, Tensor]:
    """Return scale and shift of a norm with running statistics, (channels,) each: y = scale x + shift."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = (norm.running_var + norm.eps).rsqrt()
    if norm.affine:
        scale = scale * norm.weight
    shift = -norm.running_mean * scale
    return (scale, shift + norm.bias) if norm.affine else (scale, shift)


def put_inference_form(norm: nn.modules.batchnorm._BatchNorm, scale: Tensor, shift: Tensor) -> None:
    """Set a norm to y = scale x + shift, with mean 0 and variance 1, in place."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.zero_()
    norm.running_var.fill_(1)
    norm.eps = 0.0  # already part of the scale
    norm.affine = True
    norm.weight = nn.Parameter(scale, requires_grad=False)
    norm.bias = nn.Parameter(shift, requires_grad=False)


def keeps_function(norm: nn.Module) -> bool:
    """Whether a norm computes the same after its statistics have become part of its scale and shift.

    Norms of other libraries that only add an activation do. Subclasses that read their scale in another way do not,
    and are stored with their statistics. Norms with a forward of their own are tried with random values.
    """
    return _tried(norm)[0]


def is_affine(norm: nn.Module) -> bool:
    """Whether a norm computes y = scale x + shift, so that it may be folded into the layer before it."""
    return _tried(norm)[1]


def _tried(norm: nn.Module) -> tuple[bool, bool]:
    if type(norm).forward in PLAIN and "forward" not in vars(norm):
        return True, True
    assert isinstance(norm, BATCH_NORMS)
    if norm.running_mean is None:
        return False, False
    settings = [
        (k, v) for k, v in vars(norm).items() if isinstance(v, int | float | str) and k not in _VARYING
    ]
    key = (type(norm), norm.affine, *sorted(settings), *(repr(each) for each in norm.children()))
    if "forward" in vars(norm):
        return _trial(norm)
    if key not in _known:
        _known[key] = _trial(norm)
    return _known[key]


_VARYING = ("num_features", "training")


@torch.no_grad()
def _trial(norm: nn.modules.batchnorm._BatchNorm) -> tuple[bool, bool]:
    trial = copy.deepcopy(norm).cpu().float().eval()
    generator = torch.Generator().manual_seed(0)
    for tensor in (*trial.parameters(), *trial.buffers()):
        if tensor.is_floating_point():
            # Scales of both signs, and positive variances.
            tensor.copy_(torch.randn(tensor.shape, generator=generator))
    assert trial.running_var is not None
    trial.running_var.square_().add_(0.5)
    sides = {nn.BatchNorm1d: 0, nn.BatchNorm3d: 3}
    dimensions = next((count for kind, count in sides.items() if isinstance(trial, kind)), 2)
    x = torch.randn((4, trial.num_features, *[3] * dimensions), generator=generator)
    try:
        before = trial(x)
        scale, shift = inference_form(trial)
        put_inference_form(trial, scale, shift)
        after = trial(x)
    except Exception:
        return False, False
    shape = (1, -1, *[1] * dimensions)
    affine = x * scale.view(shape) + shift.view(shape)
    return _equal(before, after), _equal(before, affine)


def _equal(ours: Any, theirs: Tensor) -> bool:
    same = isinstance(ours, Tensor) and ours.shape == theirs.shape
    return same and torch.allclose(ours, theirs, 0.0, TOLERANCE * float(theirs.abs().max()))
