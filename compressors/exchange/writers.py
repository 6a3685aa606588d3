"""The functions of `formats.FORMATS`, which write the file of a candidate."""

from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path

import torch
from torch import Tensor

from leanfront.core.compressors.artifact.packed_file import write
from leanfront.core.compressors.compressor import Compressed
from leanfront.core.compressors.exchange.batch_check import SIZES, check_batches
from leanfront.core.compressors.exchange.export_program import captured
from leanfront.core.compressors.statistics.calibration import Calibration
from leanfront.core.compressors.structure.structure import Structure
from leanfront.core.targets import Target
from leanfront.core.targets.architectures import architecture_name
from leanfront.errors import CompressionError

RANGE_SAMPLES, RANGE_BATCH = 256, 32
"""Number of calibration samples that give the ranges of layers' outputs, and size of their batches."""


def packed(compressed: Compressed, structure: Structure, target: Target) -> bytes:
    """Return the packed artifact, which `leanfront.load` reads; its length is the candidate's ``file_bytes``."""
    return write(compressed, structure, architecture_name(target))


def program(compressed: Compressed, structure: Structure, target: Target) -> bytes:
    """Return a `torch.export` program with a free batch size and float32 weights, which runs without leanfront.

    Raises:
        CompressionError: the model cannot be traced.
    """
    module = compressed.module
    for tensor in (*module.parameters(), *module.buffers()):
        # A slice would be saved with its whole storage, and channels innermost in memory cause a warning.
        tensor.data = tensor.data.clone(memory_format=torch.contiguous_format)
    exported = captured(module, target.example_input)
    check_batches(exported.module(), module, _samples(target), "torch.export program", exact=True)
    try:
        file = io.BytesIO()
        torch.export.save(exported, file)
    except Exception as error:  # any error of the tracer
        reason = str(error).strip().partition("\n")[0]
        raise CompressionError(f"torch.export cannot trace this model: {reason}") from error
    return file.getvalue()


def onnx_file(compressed: Compressed, structure: Structure, target: Target) -> bytes:
    """Return an ONNX model with a free batch size, integer weights, and integer arithmetic for quantised inputs.

    Raises:
        CompressionError: the model cannot be traced, or is too large for one file.
    """
    # It takes a second to import.
    from leanfront.core.compressors.exchange.onnx_file import onnx_model
    from leanfront.core.compressors.exchange.onnx_outputs import onnx_runner

    calibration = Calibration(target, samples=RANGE_SAMPLES)
    content = onnx_model(
        compressed,
        structure,
        target.example_input,
        target=architecture_name(target),
        calibration=(part for inputs in calibration.batches for part in torch.split(inputs, RANGE_BATCH)),
    )
    exact = not compressed.configuration.activation_bits
    check_batches(onnx_runner(content), compressed.module, _samples(target), "ONNX file", exact=exact)
    return content


def _samples(target: Target) -> Tensor:
    """Return the first calibration samples."""
    return next(target.calibration.batches(max(SIZES)))[0]


def onnx_notes(path: Path) -> list[str]:
    """Return notes on an ONNX file: its wider tensors, and the layers that run in integers and dequantised."""
    import onnx

    said = {each.key: each.value for each in onnx.load(path).metadata_props}
    wider, integer, dequantised = (
        json.loads(said[f"leanfront.{key}"]) for key in ("wider", "integer", "dequantised")
    )
    found = [f"{count} tensors of {kind}" for kind, count in sorted(Counter(wider.values()).items())]
    if integer:
        found.append(f"{len(integer)} layers multiply integers")
    if dequantised:
        found.append(f"{len(dequantised)} layers with quantised weights run dequantised, in float32")
    return found
