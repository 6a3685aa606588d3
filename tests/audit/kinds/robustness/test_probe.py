"""What a probe refuses, and how it runs modules."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from leanfront.core.audit.kinds.robustness.probe import Probe
from leanfront.core.targets import Pixels, Target
from leanfront.errors import EvaluationError, UsageError

PIXELS = Pixels((0.45,), (0.2,))
"""With which the tiny target's inputs are images."""


class Returns(nn.Module):
    """Answers one thing, made of its input."""

    def __init__(self, answer: object) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, x: Tensor) -> object:
        return self.answer(x) if callable(self.answer) else self.answer


class Undone(torch.autograd.Function):
    """Has no way back."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        raise RuntimeError("no way back")


def first(logits: Tensor) -> Tensor:
    return logits[:, 0]


def two(x: Tensor) -> Tensor:
    return x.flatten(1)[:, :2]


def test_logits_are_the_modules_on_the_same_inputs(tiny: Target) -> None:
    assert tiny.test is not None
    inputs, _ = tiny.test.tensors()
    probe = Probe.of(inputs, PIXELS, size=50)
    with torch.no_grad():
        expected = tiny.model(inputs)
    torch.testing.assert_close(probe.logits(tiny.model), expected, rtol=1e-4, atol=1e-4)
    assert [len(part) for part in probe.parts()] == [50, 50, 20]
    assert [part.seeds[0] for part in probe.parts()] == [0, 50, 100]


def test_gradient_is_by_pixels_and_leaves_no_trace(tiny: Target) -> None:
    assert tiny.test is not None
    inputs = tiny.test.tensors()[0][:9]
    probe = Probe.of(inputs, PIXELS, size=4)
    module = tiny.model
    module.linear.weight.requires_grad_(False)
    flags = [each.requires_grad for each in module.parameters()]
    try:
        found = probe.gradient(module, first)
        with torch.inference_mode():
            within = Probe.of(inputs.clone(), PIXELS, size=4).gradient(module, first)
        assert [each.requires_grad for each in module.parameters()] == flags
    finally:
        module.linear.weight.requires_grad_(True)
    assert all(each.grad is None for each in module.parameters())
    assert torch.equal(found, within)
    leaf = inputs.clone().requires_grad_()
    (by_input,) = torch.autograd.grad(module(leaf)[:, 0].sum(), leaf)
    torch.testing.assert_close(found, by_input / 0.2, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    "module",
    [
        Returns(lambda x: two(x).round()),
        Returns(lambda x: two(x).detach()),
        Returns(lambda x: torch.eye(2)[torch.zeros(len(x), dtype=torch.int64)].requires_grad_()),
        Returns(torch.no_grad()(two)),
    ],
    ids=["rounds", "detaches", "ignores", "no_grad"],
)
def test_a_module_that_lets_no_gradient_through_has_none(module: nn.Module) -> None:
    probe = Probe(torch.rand(3, 1, 2, 2), Pixels(), (0, 1, 2), 2, torch.device("cpu"))
    assert torch.equal(probe.gradient(module.eval(), first), torch.zeros(3, 1, 2, 2))


def test_modules_that_cannot_be_probed_are_refused() -> None:
    probe = Probe(torch.rand(3, 1, 2, 2), Pixels(), (0, 1, 2), 2, torch.device("cpu"))
    for answer, what in (
        (lambda x: x.flatten(1)[:, :1], "classes of 2 or more"),
        (lambda x: x, r"not \(2, 1, 2, 2\)"),
        ("text", "not str"),
        (lambda x: two(x) / 0, "NaN or infinite"),
    ):
        with pytest.raises(EvaluationError, match=what):
            probe.logits(Returns(answer).eval())
    with pytest.raises(EvaluationError, match=r"cannot be differentiated .*no way back.*transferred"):
        probe.gradient(Returns(lambda x: Undone.apply(two(x))).eval(), first)
    with pytest.raises(EvaluationError, match="gradient by its input is NaN"):
        # The root of 0 has an infinite slope.
        probe.gradient(Returns(lambda x: (two(x) - two(x).detach()).sqrt()).eval(), first)
    with pytest.raises(UsageError, match="the Returns is in training mode"):
        probe.logits(Returns(two))


def test_images_that_are_none_are_refused() -> None:
    good = torch.rand(2, 3, 4, 4)
    for inputs, pixels, more, what in (
        (good[0], Pixels(), {}, r"\(n, c, h, w\)"),
        (good.int(), Pixels(), {}, "int32"),
        (good[:0], Pixels(), {}, "at least one"),
        (good, Pixels((0.5, 0.5), (1, 1)), {}, "2 channels, the images have 3"),
        (3 * good, Pixels(), {}, "mean and std"),
        (good * torch.nan, Pixels(), {}, "from nan to nan"),
        (good, Pixels(), {"seeds": [1]}, "2 images need as many seeds"),
        (good, Pixels(), {"seeds": [1, -1]}, "0 or more"),
        (good, Pixels(), {"size": 0}, "at least 1 sample"),
    ):
        with pytest.raises(UsageError, match=what):
            Probe.of(inputs, pixels, **more)
    # Rounding of a mean and deviation is no other scale.
    assert float(Probe.of(good + 1e-4, Pixels()).images.max()) <= 1
