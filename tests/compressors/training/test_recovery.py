"""Recovery learns, ends when it should, goes on where it stopped, and never gives back less than it was given."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from leanfront.core.compressors import Compressed, Compressor, Configuration, Recovery, compressed_of, recover
from leanfront.core.compressors.artifact.layout import layout
from leanfront.core.compressors.artifact.packed_file import read, write
from leanfront.core.compressors.statistics.outputs import correct, outputs
from leanfront.core.compressors.training.loop import Progress, distillation_loss
from leanfront.core.compressors.training.optimisers import OPTIMISERS, schedule
from leanfront.core.targets import Target, resolve
from leanfront.errors import CompressionError, UsageError

QUICK = Recovery(epochs=2, batch_size=32, learning_rate=5e-3)


@pytest.fixture(scope="module")
def target(tiny_file: Path) -> Target:
    return resolve(f"{tiny_file}:recoverable")


@pytest.fixture(scope="module")
def compressor(target: Target) -> Compressor:
    return Compressor(target)


@pytest.fixture(scope="module")
def harmed(compressor: Compressor) -> Compressed:
    """Half the channels, two bits, some weights gone, eight bits between layers: well below the dense model."""
    structure = compressor.structure
    return compressor.materialise(
        Configuration(
            channels={name: group.units // 2 for name, group in structure.groups.items()},
            weight_bits=dict.fromkeys(structure.layers, 2),
            sparsity={"conv3": 0.3},
            activation_bits={"conv2": 8, "linear": 8},
        )
    )


def content(compressor: Compressor, compressed: Compressed) -> bytes:
    return write(compressed, compressor.structure, "tiny")


def accuracy(target: Target, module: nn.Module) -> float:
    logits, labels = outputs(module, target.validation, 50, torch.device("cpu"))
    return float(correct(logits, labels).double().mean())


def test_what_was_lost_is_recovered(compressor: Compressor, harmed: Compressed, target: Target) -> None:
    given = content(compressor, harmed)
    before = torch.get_rng_state()
    told: list[Progress] = []
    made = recover(compressor, harmed, replace(QUICK, epochs=4), report=told.append)
    assert torch.equal(torch.get_rng_state(), before)
    assert content(compressor, harmed) == given
    assert made.after > made.before + 0.1
    assert made.before == accuracy(target, harmed.module)
    assert made.after == accuracy(target, made.compressed.module)
    assert made.ended == "epochs"
    assert [epoch.number for epoch in made.history] == [1, 2, 3, 4]
    assert made.after == max(epoch.accuracy for epoch in made.history)
    assert made.history[made.best_epoch - 1].accuracy == made.after
    assert made.history[-1].loss < made.history[0].loss
    assert [each.step for each in told] == list(range(1, 41))
    assert told[-1].accuracy == made.after
    # It is stored like any other, in as many bytes, and is what it says.
    written = content(compressor, made.compressed)
    placed = layout(compressor.structure, made.compressed.configuration, "tiny")
    assert len(written) == placed.file_bytes
    assert placed.memory_bytes == layout(compressor.structure, harmed.configuration, "tiny").memory_bytes
    assert made.compressed.kept == harmed.kept
    restored = compressed_of(read(written), compressor.structure, target.model)
    assert accuracy(target, restored.module) == pytest.approx(made.after, abs=0.006)
    # And can be recovered further from its file alone.
    again = recover(compressor, restored, QUICK)
    assert again.after >= again.before
    trained = [replace(QUICK, epochs=4).to_json(), QUICK.to_json()]
    assert again.best_epoch == 0 or list(again.compressed.configuration.recovery) == trained


def test_the_same_seed_gives_the_same_bytes(compressor: Compressor, harmed: Compressed) -> None:
    first = recover(compressor, harmed, QUICK)
    torch.rand(7)
    second = recover(compressor, harmed, QUICK)
    other = recover(compressor, harmed, replace(QUICK, seed=1))
    assert first.improved
    assert content(compressor, first.compressed) == content(compressor, second.compressed)
    assert content(compressor, first.compressed) != content(compressor, other.compressed)


@pytest.mark.parametrize("stop_at", [1, 10, 13])
@pytest.mark.parametrize(
    "settings",
    [QUICK, replace(QUICK, optimiser="sgd", learning_rate=0.05, ema=0.0)],
    ids=lambda settings: settings.optimiser,
)
def test_goes_on_where_it_was_stopped(
    compressor: Compressor, harmed: Compressed, tmp_path: Path, settings: Recovery, stop_at: int
) -> None:
    path = tmp_path / "folder" / "training.safetensors"
    whole = recover(compressor, harmed, settings)
    asked = iter(range(1, 100))
    part = recover(compressor, harmed, settings, checkpoint=path, stop=lambda: next(asked) == stop_at)
    assert part.ended == "stopped"
    assert len(part.history) == stop_at // 10
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    told: list[Progress] = []
    rest = recover(compressor, harmed, settings, checkpoint=path, report=told.append)
    assert [each.step for each in told] == list(range(stop_at + 1, 21))
    assert content(compressor, rest.compressed) == content(compressor, whole.compressed)
    assert [replace(e, seconds=0) for e in rest.history] == [replace(e, seconds=0) for e in whole.history]
    assert (rest.before, rest.after, rest.best_epoch) == (whole.before, whole.after, whole.best_epoch)
    # Nothing is left to do.
    again = recover(compressor, harmed, settings, checkpoint=path, report=told.append)
    assert len(told) == 20 - stop_at
    assert content(compressor, again.compressed) == content(compressor, whole.compressed)


@pytest.mark.parametrize("where", [3, 200, -1])
def test_a_damaged_checkpoint_is_not_gone_on_from(
    compressor: Compressor, harmed: Compressed, tmp_path: Path, where: int
) -> None:
    path = tmp_path / "training"
    whole = recover(compressor, harmed, QUICK, checkpoint=path)
    raw = bytearray(path.read_bytes())
    raw[where] ^= 1
    path.write_bytes(raw)
    with pytest.warns(RuntimeWarning, match="starts over"):
        again = recover(compressor, harmed, QUICK, checkpoint=path)
    assert content(compressor, again.compressed) == content(compressor, whole.compressed)


def test_a_foreign_checkpoint_is_not_gone_on_from(
    compressor: Compressor, harmed: Compressed, tmp_path: Path
) -> None:
    path = tmp_path / "training"
    recover(compressor, harmed, replace(QUICK, seed=3), checkpoint=path)
    with pytest.warns(RuntimeWarning, match="another target, configuration or settings"):
        found = recover(compressor, harmed, QUICK, checkpoint=path)
    assert len(found.history) == 2
    blocked = path / "below a file"
    with pytest.warns(RuntimeWarning, match="checkpoint"):
        recover(compressor, harmed, replace(QUICK, epochs=1), checkpoint=blocked)


def test_ends_when_time_is_up_and_says_how_to_have_the_same(
    compressor: Compressor, harmed: Compressed
) -> None:
    long = replace(QUICK, epochs=100_000)
    none = recover(compressor, harmed, long, seconds=1e-9)
    assert none.ended == "time"
    assert none.compressed is harmed
    assert (none.best_epoch, none.history) == (0, ())
    some = recover(compressor, harmed, long, seconds=1.0)
    assert some.ended == "time"
    assert some.improved
    (trained,) = some.compressed.configuration.recovery
    assert trained == replace(long, steps=some.history[-1].steps).to_json()
    same = recover(compressor, harmed, Recovery.from_json(trained))
    assert same.ended == "steps"
    assert content(compressor, same.compressed) == content(compressor, some.compressed)


def test_gives_back_what_it_was_given_where_nothing_is_better(
    compressor: Compressor, harmed: Compressed
) -> None:
    settings = replace(QUICK, epochs=3, optimiser="sgd", learning_rate=50.0, patience=1)
    made = recover(compressor, harmed, settings)
    assert made.compressed is harmed
    assert made.after == made.before
    assert made.best_epoch == 0
    assert made.ended == "patience"
    assert len(made.history) == 1


def test_what_cannot_be_recovered(compressor: Compressor, harmed: Compressed, tiny: Target) -> None:
    with pytest.raises(CompressionError, match="no train split"):
        recover(Compressor(tiny), harmed, QUICK)
    with pytest.raises(CompressionError, match="nothing to recover"):
        recover(compressor, compressor.materialise(Configuration()), QUICK)
    with pytest.raises(UsageError, match="unknown optimiser 'lion'; known: adamw, sgd"):
        recover(compressor, harmed, replace(QUICK, optimiser="lion"))
    with pytest.raises(UsageError, match="seconds must be positive"):
        recover(compressor, harmed, QUICK, seconds=0)


def with_augment(target: Target, augment: Callable[[Tensor], Tensor] | None) -> Target:
    splits = {name: target.splits[name] for name in ("calibration", "validation", "test", "train")}
    return Target(model=target.model, example_input=target.example_input, augment=augment, **splits)


def test_augments_training_batches_alone(target: Target, harmed: Compressed) -> None:
    seen: list[Tensor] = []

    def augment(images: Tensor) -> Tensor:
        seen.append(images)
        return images + 0.1 * torch.randn(images.shape)

    changed = with_augment(target, augment)
    assert changed.fingerprint == with_augment(target, None).fingerprint
    seen.clear()  # of the check at the door
    compressor = Compressor(changed)
    first = recover(compressor, harmed, QUICK)
    assert len(seen) == 20
    assert sum(map(len, seen[:10])) == len(target.train or ())
    # Every sample once an epoch, in another order.
    epochs = [torch.cat(seen[start : start + 10]) for start in (0, 10)]
    assert not torch.equal(*epochs)
    assert torch.equal(*(epoch.flatten(1).sum(1).sort().values for epoch in epochs))
    second = recover(compressor, harmed, QUICK)
    plain = recover(Compressor(with_augment(target, None)), harmed, QUICK)
    assert content(compressor, first.compressed) == content(compressor, second.compressed)
    assert content(compressor, first.compressed) != content(compressor, plain.compressed)


def test_an_augmentation_that_goes_wrong_later(target: Target, harmed: Compressed) -> None:
    def narrows(images: Tensor) -> Tensor:
        return images if len(images) == 2 else images[:, :, 1:]

    def raises(images: Tensor) -> Tensor:
        return images if len(images) == 2 else images[0, 0, 0, 99]

    def spoils(images: Tensor) -> Tensor:
        return images if len(images) == 2 else images * math.nan

    with pytest.raises(CompressionError, match="the loss is nan in epoch 1, step 1; lower the learning rate"):
        recover(Compressor(with_augment(target, spoils)), harmed, QUICK)
    with pytest.raises(CompressionError, match="must keep their shape"):
        recover(Compressor(with_augment(target, narrows)), harmed, QUICK)
    with pytest.raises(CompressionError, match=r"epoch 1, step 1 failed \(IndexError"):
        recover(Compressor(with_augment(target, raises)), harmed, QUICK)


class Talkative(nn.Module):
    """Returns more while it is trained, as models with auxiliary classifiers do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.linear = nn.Conv2d(3, 8, 3), nn.Linear(8, 4)

    def features(self, x: Tensor) -> Tensor:
        return torch.relu(self.conv(x)).mean((2, 3))

    def forward(self, x: Tensor) -> Any:
        x = self.features(x)
        scores = self.linear(x)
        return (x, scores) if self.training else scores


class Mapped(Talkative):
    def forward(self, x: Tensor) -> Any:
        scores = super().forward(x)
        return {"aux": 2 * scores[1], "logits": scores[1]} if self.training else scores


class Assisted(Talkative):
    """With a head that only training calls, and that reads channels which are cut."""

    def __init__(self) -> None:
        super().__init__()
        self.auxiliary = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 4))

    def forward(self, x: Tensor) -> Any:
        x = self.features(x)
        return (self.linear(x), self.auxiliary(x)) if self.training else self.linear(x)


class Losing(Talkative):
    """Returns a loss while it is trained."""

    def forward(self, x: Tensor) -> Any:
        scores = self.linear(self.features(x))
        return scores.logsumexp(1).mean() if self.training else scores


def of_two_minds(kind: type[Talkative]) -> tuple[Compressor, Compressed]:
    generator = torch.Generator().manual_seed(5)
    images, labels = torch.randn(60, 3, 8, 8, generator=generator), torch.arange(60) % 4
    target = Target(
        model=kind().eval(),
        example_input=images[:1],
        validation=(images[:20], labels[:20]),
        calibration=(images[20:40], labels[20:40]),
        train=(images[40:], labels[40:]),
    )
    compressor = Compressor(target)
    return compressor, compressor.materialise(Configuration(channels={"conv": 4}, weight_bits={"linear": 2}))


@pytest.mark.parametrize("kind", [Talkative, Mapped, Assisted])
def test_a_model_that_returns_more_in_training_is_trained(kind: type[Talkative]) -> None:
    compressor, harmed = of_two_minds(kind)
    found = recover(compressor, harmed, QUICK)
    assert len(found.history) == QUICK.epochs
    assert found.history[-1].loss < found.history[0].loss


def test_a_model_without_scores_in_training_is_refused() -> None:
    compressor, harmed = of_two_minds(Losing)
    with pytest.raises(CompressionError, match="in training mode the model returns no class scores"):
        recover(compressor, harmed, QUICK)


def test_the_loss_by_hand() -> None:
    generator = torch.Generator().manual_seed(0)
    scores, wanted = (torch.randn(5, 3, generator=generator) for _ in range(2))
    labels = torch.tensor([0, 2, 1, 1, 0])
    heat, share = 3.0, 0.7
    total = 0.0
    for row in range(5):

        def probabilities(logits: list[float], heat: float) -> list[float]:
            powers = [math.exp(value / heat) for value in logits]
            return [power / sum(powers) for power in powers]

        p = probabilities(wanted[row].tolist(), heat)
        q = probabilities(scores[row].tolist(), heat)
        total += share * heat**2 * sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
        total -= (1 - share) * math.log(probabilities(scores[row].tolist(), 1.0)[int(labels[row])])
    assert float(distillation_loss(scores, wanted, labels, heat, share)) == pytest.approx(total / 5, rel=1e-5)
    assert float(distillation_loss(scores, scores, labels, heat, 1.0)) == pytest.approx(0, abs=1e-6)


def test_the_schedule_rises_and_falls() -> None:
    shares = [schedule(step, 100, 0.1) for step in range(100)]
    assert shares[:10] == pytest.approx([(step + 1) / 11 for step in range(10)])
    assert shares[10] == 1
    assert all(later < earlier for earlier, later in pairwise(shares[10:]))
    assert shares[55] == pytest.approx(0.5)
    assert 0 < shares[-1] < 0.001
    assert schedule(0, 1, 0.9) > 0
    assert schedule(0, 5, 0.0) == 1


def test_own_optimisers(compressor: Compressor, harmed: Compressed, monkeypatch: pytest.MonkeyPatch) -> None:
    decays: list[float] = []

    def make(groups: Any, learning_rate: float) -> torch.optim.Optimizer:
        decays.extend(group["weight_decay"] for group in groups)
        assert all(p.dim() > 1 for p in groups[0]["params"])
        assert all(p.dim() <= 1 for p in groups[1]["params"])
        return torch.optim.RMSprop(groups, lr=learning_rate)

    monkeypatch.setitem(OPTIMISERS, "rmsprop", replace(OPTIMISERS["sgd"], name="rmsprop", make=make))
    settings = replace(QUICK, optimiser="rmsprop", learning_rate=1e-3, weight_decay=0.01, epochs=1)
    made = recover(compressor, harmed, settings)
    assert decays == [0.01, 0.0]
    assert made.history[-1].learning_rate < 1e-3


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_on_a_gpu(target: Target, harmed: Compressed) -> None:
    compressor = Compressor(target, device="cuda")
    made = recover(compressor, harmed, replace(QUICK, epochs=4))
    assert made.after > made.before + 0.1
    assert len(content(compressor, made.compressed)) > 0
