"""A target for tests that says how its inputs are made of pixels: the first four digits, and a small network."""

import importlib.util
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import nn

from leanfront.core.targets import Pixels, Target

_specification = importlib.util.spec_from_file_location("tiny", Path(__file__).parents[1] / "tiny.py")
assert _specification is not None
assert _specification.loader is not None
tiny = importlib.util.module_from_spec(_specification)
_specification.loader.exec_module(tiny)


def _data() -> tuple[torch.Tensor, torch.Tensor]:
    images, labels = load_digits(n_class=4, return_X_y=True)
    return torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16, torch.tensor(labels)


def target() -> Target:
    inputs, labels = _data()
    train, calibration, validation, test = (slice(0, 256), slice(256, 384), slice(384, 552), slice(552, 720))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(1, 12, 3, padding=1, bias=False),
            nn.BatchNorm2d(12),
            nn.ReLU(),
            nn.Conv2d(12, 16, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(64, 4),
        )
        step = tiny._adam(list(model.parameters()), 0.01)
        for _ in range(6):
            for batch in torch.arange(256).split(64):
                step(nn.functional.cross_entropy(model(inputs[train][batch]), labels[train][batch]))
    return Target(
        model=model,
        example_input=inputs[:1],
        calibration=(inputs[calibration], labels[calibration]),
        validation=(inputs[validation], labels[validation]),
        test=(inputs[test], labels[test]),
        pixels=Pixels((0.0,), (1.0,)),
        classes=["0", "1", "2", "3"],
        name="pictured",
    )
