"""Searches of tiny models are faster on one thread."""

from __future__ import annotations

import pytest
import torch

from targets import Target


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def wide(tiny: Target) -> Target:
    """`tiny` with a validation split large enough to race on."""
    inputs, labels = tiny.validation.tensors()
    noise = 0.2 * torch.randn(2000, *inputs.shape[1:], generator=torch.Generator().manual_seed(5))
    return Target(
        model=tiny.model,
        example_input=tiny.example_input,
        calibration=tiny.calibration,
        validation=(inputs.repeat(10, 1, 1, 1) + noise, labels.repeat(10)),
        test=tiny.test,
        classes=tiny.classes,
        name="wide",
    )
