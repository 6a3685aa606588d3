"""What is selected is what is shipped: the file, byte for byte, and the module that it gives back."""

from __future__ import annotations

import json
import re
from pathlib import Path

import onnxruntime
import pytest
import torch
from click.testing import CliRunner

import leanfront
from leanfront.cli import main
from leanfront.core.targets import Target
from leanfront.errors import NotFoundError, StorageError, TargetError, UsageError


def accuracy(module: torch.nn.Module, target: Target) -> float:
    right = 0
    with torch.inference_mode():
        for inputs, labels in target.validation.batches(50, "cpu"):
            right += int((module(inputs).argmax(1) == labels).sum())
    return right / len(target.validation)


def test_every_frontier_file_is_as_long_as_promised_and_as_accurate(
    finished: str, tiny: Target, tmp_path: Path
) -> None:
    frontier = leanfront.open_search("done", database=finished, target=tiny).frontier()
    for candidate in [frontier[0], frontier[len(frontier) // 2], frontier[-1]]:
        path = candidate.export(tmp_path / "model.safetensors")
        assert path.stat().st_size == candidate.file_bytes
        # Weights of the architecture given do not matter.
        blank = torch.nn.Module.__new__(type(tiny.model))
        blank.__init__()  # type: ignore[misc]
        module = leanfront.load(path, blank, example_input=tiny.example_input)
        # One of 200 images may lie on the edge of another batch's rounding.
        assert accuracy(module, tiny) == pytest.approx(candidate.accuracy, abs=1.5 / 200)
    assert [each.name for each in tmp_path.iterdir()] == ["model.safetensors"]


def test_an_exported_program_needs_no_leanfront(finished: str, tiny: Target, tmp_path: Path) -> None:
    candidate = leanfront.open_search("done", database=finished, target=tiny).select(max_memory="2KB")
    path = candidate.export(tmp_path / "model.pt2")
    program = torch.export.load(path).module()
    assert accuracy(program, tiny) == pytest.approx(candidate.accuracy, abs=1.5 / 200)
    for count in (1, 3):
        assert program(tiny.example_input.expand(count, -1, -1, -1)).shape == (count, 4)


def test_an_onnx_file_runs_in_onnx_runtime(finished: str, tiny: Target, tmp_path: Path) -> None:
    candidate = leanfront.open_search("done", database=finished, target=tiny).select(max_memory="2KB")
    path = candidate.export(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    module, same = candidate.module(), 0
    for inputs, _ in tiny.validation.batches(50, "cpu"):
        (logits,) = session.run(None, {"input": inputs.contiguous().numpy()})
        with torch.no_grad():
            same += int((torch.from_numpy(logits).argmax(1) == module(inputs).argmax(1)).sum())
    assert same >= 0.995 * len(tiny.validation)
    for count in (1, 3):
        inputs = tiny.example_input.expand(count, -1, -1, -1).contiguous().numpy()
        assert session.run(None, {"input": inputs})[0].shape == (count, 4)
    notes = session.get_modelmeta().custom_metadata_map
    assert json.loads(notes["leanfront.configuration"]) == candidate.configuration.to_json()


def test_the_command_writes_a_file_and_says_its_size(
    finished: str, tiny: Target, tiny_file: Path, tmp_path: Path
) -> None:
    best = leanfront.open_search("done", database=finished, target=tiny).select(max_memory="2KB")
    command = ["export", str(best.id), "-o", str(tmp_path / "a.safetensors"), "--database", finished]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "a.safetensors").stat().st_size == best.file_bytes
    assert re.search(r"wrote .*a\.safetensors, [\d.]+ K?B", result.stderr)
    command[3] = str(tmp_path / "a.onnx")
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    assert "layers with quantised weights run dequantised, in float32" in result.stderr
    moved = CliRunner().invoke(main, [*command, "--target", f"{tiny_file}:breaks"])
    assert moved.exit_code == 1
    assert "not the one" in moved.stderr
    assert (
        "the structure of the model (its modules, or names and shapes of its weights) differs" in moved.stderr
    )


@pytest.mark.parametrize("name", ["model", "model.zip", "model.safetensors.bak"])
def test_other_formats_are_refused_at_the_door(
    finished: str, tiny: Target, tmp_path: Path, name: str
) -> None:
    candidate = leanfront.open_search("done", database=finished, target=tiny).frontier()[0]
    with pytest.raises(UsageError, match=r"\.safetensors, \.onnx or \.pt2"):
        candidate.export(tmp_path / name)
    result = CliRunner().invoke(main, ["export", "1", "-o", str(tmp_path / name), "--database", finished])
    assert result.exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_leaves_nothing(finished: str, tiny: Target, tmp_path: Path) -> None:
    result = leanfront.open_search("done", database=finished, target=tiny)
    candidate = result.frontier()[0]
    with pytest.raises(StorageError, match="cannot write"):
        candidate.export(tmp_path / "nowhere" / "model.safetensors")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(NotFoundError, match="no candidate 999"):
        result.candidate(999)
    with pytest.raises(TargetError, match="target="):
        leanfront.Candidate("done", 0, candidate.configuration).export(tmp_path / "model.safetensors")
