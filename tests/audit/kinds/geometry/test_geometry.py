"""Angle, norm and margin against figures worked out by hand, and where features are read."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from leanfront.core.audit.kinds.geometry.geometry import features, geometry, head
from leanfront.core.compressors import Compressor, Configuration
from leanfront.core.targets import Target
from leanfront.errors import EvaluationError, UsageError

NAN = float("nan")
ROWS = torch.tensor([[1.0, 0.0], [0.0, 2.0], [-1.0, 0.0]])


def close(found: Tensor, expected: list[float]) -> None:
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), equal_nan=True)


def test_measures_of_hand_made_features() -> None:
    x = torch.tensor([[3.0, 4.0], [0.0, 2.0], [1.0, 0.0], [-2.0, 0.0]])
    found = geometry(x, ROWS, None, torch.tensor([0, 1, 2, 2]))
    # Logits: (3, 8, -3), (0, 4, 0), (1, 0, -1), (-2, 0, 2).
    close(found.angle, [math.degrees(math.acos(3 / 5)), 0.0, 180.0, 0.0])
    close(found.norm, [5.0, 2.0, 1.0, 2.0])
    # Distances of rows: 0-1 and 1-2 sqrt 5, 0-2 two.
    margins = [-5 / math.sqrt(5), 4 / math.sqrt(5), -1.0, 2 / math.sqrt(5)]
    close(found.margin, margins)
    close(found.relative_margin, [m / n for m, n in zip(margins, [5, 2, 1, 2], strict=True)])
    assert found.predicted.tolist() == [1, 1, 0, 2]
    torch.testing.assert_close(found.stacked(), torch.stack([found.angle, found.norm, found.margin]))


def test_the_margin_is_the_distance_to_the_nearest_boundary() -> None:
    generator = torch.Generator().manual_seed(0)
    x, rows = (torch.randn(n, 5, generator=generator) for n in (20, 4))
    bias = torch.randn(4, generator=generator)
    labels = (x @ rows.T + bias).argmax(1)
    found = geometry(x, rows, bias, labels)
    # Along the normal of the nearest boundary the answer changes just behind the margin, and nowhere before it.
    for place, label in enumerate(labels.tolist()):
        z = x[place].double() @ rows.double().T + bias.double()
        apart = (rows[label] - rows).double().norm(dim=1)
        other = int(torch.where(apart > 0, (z[label] - z) / apart, math.inf).argmin())
        normal = (rows[other] - rows[label]).double() / apart[other]
        for step, same in ((0.999, True), (1.001, False)):
            moved = x[place].double() + step * found.margin[place] * normal
            answer = int((moved @ rows.double().T + bias.double()).argmax())
            assert (answer == label) is same


def test_margins_are_negative_just_where_the_answer_is_wrong() -> None:
    generator = torch.Generator().manual_seed(1)
    x, rows, bias = (torch.randn(*shape, generator=generator) for shape in ((50, 3), (6, 3), (6,)))
    labels = torch.arange(50) % 6
    found = geometry(x, rows, bias, labels)
    assert torch.equal(found.margin > 0, found.predicted == labels)


def test_a_zero_feature_has_no_angle_and_a_zero_class_vector_gives_none() -> None:
    rows = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    found = geometry(
        torch.tensor([[0.0, 0.0], [2.0, 0.0]]), rows, torch.tensor([0.5, 0.0]), torch.tensor([0, 1])
    )
    close(found.angle, [NAN, NAN])
    close(found.norm, [0.0, 2.0])
    close(found.margin, [0.5, -2.5])
    close(found.relative_margin, [NAN, -1.25])


def test_classes_of_one_vector_are_skipped() -> None:
    rows = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    x = torch.tensor([[2.0, 1.0]])
    close(geometry(x, rows, None, torch.tensor([0])).margin, [1 / math.sqrt(2)])
    close(geometry(x, rows[:2], None, torch.tensor([0])).margin, [NAN])


def test_a_cosine_beyond_one_by_rounding_is_an_angle_of_zero() -> None:
    row = torch.tensor([[0.1, 0.7, 0.3], [0.0, 0.0, 1.0]])
    many = row[0] * torch.linspace(0.1, 9, 200)[:, None]
    angle = geometry(many, row, None, torch.zeros(200, dtype=torch.long)).angle
    assert bool(torch.isfinite(angle).all())
    assert float(angle.max()) < 1e-3


@pytest.mark.parametrize(
    ("x", "rows", "labels"),
    [((2, 3), (4, 2), 2), ((2, 3), (1, 3), 2), ((2, 3), (4, 3), 3), ((2, 3, 1), (4, 3), 2)],
)
def test_shapes_that_do_not_fit_are_refused(x: tuple[int, ...], rows: tuple[int, ...], labels: int) -> None:
    with pytest.raises(UsageError, match="geometry needs"):
        geometry(torch.ones(x), torch.ones(rows), None, torch.zeros(labels, dtype=torch.long))


class Ending(nn.Module):
    """Two linear layers, and something behind them."""

    def __init__(self, end: nn.Module, bias: bool = True) -> None:
        super().__init__()
        self.first = nn.Linear(4, 3)
        self.second = nn.Linear(3, 3, bias=bias)
        self.end = end

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.end(self.second(torch.relu(self.first(x.flatten(1)))[:, None]))
        return logits


class Doubled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * x.flatten(1)


def test_the_last_layer_is_found_through_dropout_and_flatten() -> None:
    model = Ending(nn.Sequential(nn.Dropout(0.5), nn.Flatten()), bias=False).eval()
    inputs = torch.randn(5, 4)
    found = head(model, inputs)
    assert found.name == "second"
    assert found.bias is None
    taken = features(model, found, inputs.split(2))
    torch.testing.assert_close(taken, torch.relu(model.first(inputs)).detach())
    assert not model.second._forward_hooks


def test_logits_that_are_changed_behind_it_are_refused() -> None:
    with pytest.raises(UsageError, match="last linear layer"):
        head(Ending(Doubled()).eval(), torch.randn(2, 4))
    convolution = nn.Sequential(nn.Conv2d(1, 3, 2), nn.Flatten()).eval()
    with pytest.raises(UsageError, match="0 linear layers"):
        head(convolution, torch.randn(1, 1, 2, 2))


def test_a_layer_that_reads_several_features_a_sample_is_refused() -> None:
    model = nn.Sequential(nn.Linear(4, 3)).eval()
    found = head(model, torch.randn(2, 4))
    with pytest.raises(EvaluationError, match="one feature of 4"):
        features(model, found, [torch.randn(2, 7, 4)])


def test_a_quantised_layer_is_seen_as_it_computes(tiny: Target) -> None:
    made = Compressor(tiny).materialise(
        Configuration(weight_bits={"linear": 3}, activation_bits={"linear": 4})
    )
    inputs, labels = tiny.validation.tensors()
    found = head(made.module, tiny.example_input)
    assert found.name == "linear"
    assert len(found.weight.unique()) <= 4 * 7  # levels of four rows
    x = features(made.module, found, inputs.split(64))
    assert len(x.unique()) <= 16
    with torch.no_grad():
        logits = made.module(inputs)
    torch.testing.assert_close(x @ found.weight.T + found.bias, logits, atol=1e-5, rtol=1e-5)
    assert torch.equal(geometry(x, found.weight, found.bias, labels).predicted, logits.argmax(1))
