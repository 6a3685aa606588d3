"""Views of a split: whose images, how many, and always the same."""

from __future__ import annotations

import pytest
import torch

from leanfront.core.objectives import view_images, views
from leanfront.core.objectives.corruptions import MAIN, corrupt
from leanfront.core.objectives.views import CORRUPTED, NOISY, SEVERITIES, SIGMA, VIEWS
from leanfront.core.targets import Pixels, Split

PIXELS = Pixels((0.4,), (0.5,))


def split(count: int, classes: int = 4, side: int = 8) -> Split:
    generator = torch.Generator().manual_seed(0)
    grey = torch.randint(0, 256, (count, 1, side, side), generator=generator).float() / 255
    return Split.of("validation", (PIXELS.inputs(grey), torch.arange(count) % classes))


def test_the_corrupted_view_has_every_corruption() -> None:
    data = split(500)
    view = VIEWS[CORRUPTED](data, PIXELS)
    assert list(view.ways) == [f"{name}/{severity}" for name in MAIN for severity in SEVERITIES]
    assert len(view.ways) == 45
    assert len(view.positions) == len(view.labels) == 200
    assert view.labels.bincount().tolist() == [50] * 4
    assert torch.equal(data.labels[view.positions], view.labels)
    inputs, _ = data.tensors()
    clean = (PIXELS.of(inputs[view.positions]) * 255).round() / 255
    for way in ("gaussian_noise/5", "contrast/1", "glass_blur/3"):
        name, _, severity = way.rpartition("/")
        expected = corrupt(name, clean, int(severity), view.positions.tolist())
        made = view.ways[way].images.float() / 255
        assert (made - expected.clamp(0, 1)).abs().max() <= 0.5 / 255 + 1e-6
    again = VIEWS[CORRUPTED](data, PIXELS)
    assert all(torch.equal(again.ways[way].images, view.ways[way].images) for way in view.ways)


def test_the_noisy_view_is_of_that_deviation() -> None:
    view = VIEWS[NOISY](split(1500), PIXELS)
    (pictures,) = view.ways.values()
    assert len(view.labels) == 1000
    inputs, _ = split(1500).tensors()
    clean = PIXELS.of(inputs[view.positions])
    made = pictures.images.float() / 255
    middle = (clean > 0.4) & (clean < 0.6)
    assert float((made - clean)[middle].std()) == pytest.approx(SIGMA, rel=0.03)
    again = VIEWS[NOISY](split(1500), PIXELS)
    assert torch.equal(again.ways["gaussian"].images, pictures.images)


def test_of_few_samples_all(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(VIEWS[CORRUPTED](split(30), PIXELS).labels) == 30
    # Of large images there are fewer, though never less than some.
    monkeypatch.setattr(view_images, "BYTES", 45 * 64 * 50)
    assert len(VIEWS[CORRUPTED](split(300), PIXELS).labels) == 50
    monkeypatch.setattr(view_images, "BYTES", 1)
    assert len(VIEWS[CORRUPTED](split(300), PIXELS).labels) == views.FEWEST_SAMPLES
