"""Effect of the refit and its bias correction without batch norms: a small vision transformer on digits.

    python benchmarks/transformer.py

Every layer has 2, 3 or 4 bits, and each block keeps all, three quarters or half of its heads and hidden units.
Accuracy is on the validation and test splits together. Trains for a minute, then prints Markdown.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from unittest import mock

import torch
from torch import Tensor, nn

import leanfront  # noqa: F401  # isort: split  # sets threads up before torch starts them
from leanfront.core.compressors import Bank, BankCache, Compressor, Configuration
from leanfront.core.compressors.configuration import METHODS
from leanfront.core.compressors.refit.sequential import _Pass
from leanfront.core.targets import Target, resolve

EPOCHS = 40
BATCH = 64
BITS = (2, 3, 4)
SHARES = (1.0, 0.75, 0.5)


class Transformer(nn.Module):
    """Vision transformer: patches of 2 x 2 pixels, three blocks of four heads, layer norms only."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, 32, 2, 2)
        self.position = nn.Parameter(0.02 * torch.randn(1, 16, 32))
        layer = nn.TransformerEncoderLayer(32, 4, 64, 0.0, "gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(32)
        self.linear = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2) + self.position
        logits: Tensor = self.linear(self.norm(self.encoder(x)).mean(1))
        return logits


def trained(inputs: Tensor, labels: Tensor) -> Transformer:
    """Train a network with seed 0."""
    torch.manual_seed(0)
    model = Transformer()
    optimiser = torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=0.05)
    steps = EPOCHS * len(range(0, len(inputs), BATCH))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
    for _ in range(EPOCHS):
        order = torch.randperm(len(inputs))
        for start in range(0, len(inputs), BATCH):
            batch = order[start : start + BATCH]
            optimiser.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[batch]), labels[batch])
            torch.autograd.backward(loss)
            optimiser.step()
            schedule.step()
    return model


def main() -> None:
    digits = resolve("digits")
    assert digits.train is not None
    assert digits.test is not None
    inputs, labels = digits.train.tensors()
    target = Target(
        model=trained(inputs, labels),
        example_input=inputs[:1],
        calibration=digits.calibration.tensors(),
        validation=digits.validation.tensors(),
    )
    splits = (digits.validation.tensors(), digits.test.tensors())
    inputs, labels = (torch.cat(tensors) for tensors in zip(*splits, strict=True))

    def accuracy(model: nn.Module) -> float:
        with torch.no_grad():
            return float((model(inputs).argmax(1) == labels).float().mean())

    compressor = Compressor(target, cache=BankCache(Path(tempfile.mkdtemp())))
    structure = compressor.structure

    def line(name: str, method: str) -> None:
        found = []
        for bits in BITS:
            for share in SHARES:
                kept = {name: round(share * group.units) for name, group in structure.groups.items()}
                wanted = Configuration(
                    channels=kept,
                    weight_bits=dict.fromkeys(structure.layers, bits),
                    criterion="l1",
                    method=METHODS[method],
                )
                found.append(accuracy(compressor.materialise(structure.canonical(wanted)).module))
        print(f"| {name} | " + " | ".join(f"{each:.3f}".lstrip("0") for each in found) + " |", flush=True)

    print(f"dense {accuracy(target.model):.3f}, {len(labels)} images\n")
    print("| | " + " | ".join(f"{bits} bits, x {share:g}" for bits in BITS for share in SHARES) + " |")
    print("|---" * (1 + len(BITS) * len(SHARES)) + "|")
    line("rounding", "rounding")
    with mock.patch.object(Bank, "shift", return_value=None):
        line("bank, biases unchanged", "bank")
    line("bank", "bank")
    with mock.patch.object(_Pass, "_shift", return_value=None):
        line("sequential, biases unchanged", "sequential")
    line("sequential", "sequential")


if __name__ == "__main__":
    main()
