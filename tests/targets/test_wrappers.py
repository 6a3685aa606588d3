"""Wrappers are taken off at the door, and modules without float layers are refused."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from leanfront.core.targets import Target
from leanfront.core.targets.model_copy import private_copy
from leanfront.core.targets.unsupported import check_supported
from leanfront.errors import TargetError

PROBE = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def network() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 3)).eval()


def target(model: Any) -> Target:
    return Target(model=model, example_input=PROBE[:1], validation=(PROBE, torch.arange(6) % 3))


def compiled(model: nn.Module) -> Any:
    return torch.compile(model, backend="eager")


def compiled_in_place(model: nn.Module) -> nn.Module:
    model.compile(backend="eager")
    return model


def inside(model: nn.Sequential) -> nn.Module:
    model[0] = nn.DataParallel(compiled(model[0]))
    return model


def averaged_by_timm(kind: str) -> Callable[[nn.Module], Any]:
    def wrap(model: nn.Module) -> Any:
        utils = pytest.importorskip("timm.utils")
        return getattr(utils, kind)(model)

    return wrap


WRAPS: dict[str, Callable[[Any], Any]] = {
    "data parallel": nn.DataParallel,
    "compiled": compiled,
    "compiled in place": compiled_in_place,
    "averaged": torch.optim.swa_utils.AveragedModel,
    "averaged data parallel": lambda model: torch.optim.swa_utils.AveragedModel(nn.DataParallel(model)),
    "compiled data parallel": lambda model: compiled(nn.DataParallel(model)),
    "wrapped layer": inside,
    "timm": averaged_by_timm("ModelEma"),
    "timm 2": averaged_by_timm("ModelEmaV2"),
    "timm 3": averaged_by_timm("ModelEmaV3"),
}


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
def test_a_wrapped_model_is_the_model(wrap: Callable[[Any], Any]) -> None:
    wrapped = wrap(network())
    kinds = [type(each) for each in wrapped.modules()] if isinstance(wrapped, nn.Module) else []
    found = target(wrapped)
    assert found.fingerprint == target(network()).fingerprint
    assert not kinds or [type(each) for each in wrapped.modules()] == kinds


class Held(nn.Module):
    """Calls its model, and holds what cannot be copied."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.loss, self.lock = model, nn.CrossEntropyLoss(), threading.Lock()

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.model(x)
        return output


class Scaled(Held):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


class Shifted(Held):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + 1)


def test_a_module_that_only_calls_its_model_and_cannot_be_copied_is_taken_off() -> None:
    assert target(Held(network())).fingerprint == target(network()).fingerprint


@pytest.mark.parametrize("kind", [Scaled, Shifted])
def test_a_module_that_does_more_than_call_its_model_is_not_taken_off(kind: type[Held]) -> None:
    with pytest.raises(TargetError, match="cannot be copied"):
        target(kind(network()))


def test_a_module_around_a_model_that_can_be_copied_stays() -> None:
    held = Held(network())
    del held.lock
    assert "model.0.weight" in target(held).dense_state


def with_scripted_layer() -> nn.Module:
    model = network()
    model[0] = torch.jit.script(model[0])
    return model


def static() -> nn.Module:
    model: Any = network()
    model.qconfig = torch.ao.quantization.get_default_qconfig("fbgemm")
    prepared = torch.ao.quantization.prepare(model)
    prepared(PROBE)
    return torch.ao.quantization.convert(prepared)


def prepared() -> nn.Module:
    model: Any = network()
    model.qconfig = torch.ao.quantization.get_default_qconfig("fbgemm")
    return torch.ao.quantization.prepare(model)


def on_meta() -> nn.Module:
    with torch.device("meta"):
        return network()


class Packed(Tensor):
    """A tensor of a library that quantises weights."""


Packed.__module__ = "torchao.quantization"


def packed_tensor() -> nn.Module:
    model = network()
    model[3].weight = nn.Parameter(model[3].weight.detach().as_subclass(Packed), requires_grad=False)
    return model


def in_float8() -> nn.Module:
    model = network()
    model[3].weight.data = model[3].weight.data.to(torch.float8_e4m3fn)
    return model


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "script": (lambda: torch.jit.script(network()), r"the model is TorchScript .* pass the nn.Module"),
    "trace": (lambda: torch.jit.trace(network(), PROBE), "the model is TorchScript"),
    "scripted layer": (with_scripted_layer, "the model's '0' is TorchScript"),
    "program": (lambda: torch.export.export(network(), (PROBE,)), r"torch.export .* that was exported"),
    "its module": (lambda: torch.export.export(network(), (PROBE,)).module(), "is a program of torch.export"),
    "dynamic": (
        lambda: torch.ao.quantization.quantize_dynamic(network(), {nn.Linear}),
        r"the model's '3' is already quantised, .* pass the float module",
    ),
    "static": (static, "the model's '0' is already quantised"),
    "prepared": (prepared, "already quantised, or prepared for it"),
    "tensor": (packed_tensor, r"the model's '3.weight' is already quantised"),
    "float8": (in_float8, r"the model's '3.weight' is already quantised, or prepared for it \(float8"),
    "meta": (on_meta, "the model's '0.weight' has no values"),
    "lazy": (lambda: nn.Sequential(nn.Flatten(), nn.LazyLinear(3)), "'1.weight' is not initialised"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_what_holds_no_float_layers_is_refused_with_what_to_pass(make: Any, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        check_supported(make())


def test_graphs_that_call_layers_are_models() -> None:
    traced = torch.fx.symbolic_trace(network())
    assert torch.equal(private_copy(traced)(PROBE), network()(PROBE))
