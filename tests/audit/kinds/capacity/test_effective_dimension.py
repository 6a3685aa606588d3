"""Lanczos and curvature products against dense matrices."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from leanfront.core.audit.kinds.capacity.effective_dimension import (
    Curvature,
    effective_dimension,
    learned,
    prior_alpha,
    quadrature,
    spectrum,
)
from leanfront.core.compressors import Compressor, Configuration, Structure, preset
from leanfront.core.compressors.structure.derivation import skeleton
from leanfront.core.targets import Target
from leanfront.errors import EvaluationError


def network(width: int) -> tuple[nn.Sequential, Structure, Tensor, Tensor]:
    torch.manual_seed(width)
    model = nn.Sequential(nn.Linear(6, width), nn.Tanh(), nn.Linear(width, 3)).eval()
    samples = 20 if width < 10 else 40
    inputs, labels = torch.randn(samples, 6), torch.arange(samples) % 3
    return model, skeleton(model, inputs[:1]), inputs, labels


def matrices(model: nn.Sequential, inputs: Tensor, labels: Tensor) -> dict[str, np.ndarray]:
    """Dense Hessian and Gauss-Newton matrix of the mean cross-entropy in float64, weights as the layers have them."""
    start = torch.cat([parameter.detach().double().flatten() for parameter in model.parameters()])
    sizes = [parameter.numel() for parameter in model.parameters()]

    def logits(flat: Tensor) -> Tensor:
        first, one, second, two = torch.split(flat, sizes)
        hidden = torch.tanh(inputs.double() @ first.view(-1, 6).T + one)
        return hidden @ second.view(3, -1).T + two

    def loss(flat: Tensor) -> Tensor:
        return nn.functional.cross_entropy(logits(flat), labels)

    jacobian = torch.autograd.functional.jacobian(logits, start)
    p = logits(start).softmax(1)
    outer = torch.diag_embed(p) - p[:, :, None] * p[:, None]
    gauss = torch.einsum("nip,nij,njq->pq", jacobian, outer, jacobian) / len(inputs)
    return {"ggn": gauss.numpy(), "hessian": torch.autograd.functional.hessian(loss, start).numpy()}


@pytest.mark.parametrize("curvature", ["ggn", "hessian"])
@pytest.mark.parametrize("width", [4, 20])
def test_against_the_dense_matrix(curvature: str, width: int) -> None:
    model, structure, inputs, labels = network(width)
    dense = matrices(model, inputs, labels)[curvature]
    product = Curvature(model, structure, inputs, labels, curvature)
    assert product.parameters == len(dense) == 10 * width + 3
    assert product.size == (3 * len(inputs) if curvature == "ggn" else len(dense))
    values = np.linalg.eigvalsh(dense)
    whole = np.stack([product(row) for row in np.eye(product.size)])
    own, both = np.linalg.eigvalsh(whole), min(len(whole), len(dense))
    if curvature == "hessian":
        assert whole == pytest.approx(dense, rel=1e-3, abs=1e-5)
    else:
        assert whole == pytest.approx(whole.T, abs=1e-5)
        assert own[::-1][:both] == pytest.approx(values[::-1][:both], rel=1e-3, abs=1e-5)
    found = effective_dimension(
        model,
        structure,
        inputs,
        labels,
        0.02,
        curvature=curvature,
        probes=60,
        steps=25 if curvature == "ggn" else 120,
    )
    expected = float(learned(0.02)(values).sum())
    assert found.exact == (product.size <= 64)
    assert found.value == pytest.approx(expected, rel=1e-3, abs=4 * found.error)
    assert found.error < 0.1 * expected
    assert found.leading[:3] == pytest.approx(values[::-1][:3], rel=0.01)
    assert found.at["0.1"] > found.value > found.at["10"]
    assert found.trace == pytest.approx(float(values.sum()), rel=0.1)


def test_a_spectrum_of_known_eigenvalues() -> None:
    rng = np.random.default_rng(1)
    values = 10.0 ** rng.uniform(-6, 2, 300)
    basis = np.linalg.qr(rng.standard_normal((300, 300)))[0]
    matrix = basis * values @ basis.T
    found = spectrum(lambda vector: matrix @ vector, 300, leading=8, probes=20, steps=20)
    assert found.leading == pytest.approx(np.sort(values)[::-1][:8], rel=0.01)
    assert found.weights.sum(axis=1) == pytest.approx(292)
    value, error = found.trace(learned(0.1))
    assert value == pytest.approx(learned(0.1)(values).sum(), abs=4 * error)
    # Each product counts: half of the weight would be half of the dimension.
    assert value == pytest.approx(learned(0.1)(values).sum(), rel=0.05)


def test_quadrature_is_exact_once_lanczos_has_gone_through_the_space() -> None:
    values = np.array([3.0, 2.0, 0.5, 0.0])
    start = np.array([1.0, 1.0, 1.0, 1.0])
    nodes, weights = quadrature(lambda vector: values * vector, start, 10, np.eye(4)[:, :1])
    assert np.sort(nodes) == pytest.approx([0, 0.5, 2], abs=1e-9)
    assert weights == pytest.approx([1 / 3] * 3)


def test_eigenvalues_below_zero_count_as_nothing() -> None:
    assert learned(1.0)(np.array([-5.0, 0.0, 1.0, 3.0])).tolist() == [0, 0, 0.5, 0.75]


def test_what_is_pruned_has_no_dimension(tiny: Target) -> None:
    compressor = Compressor(tiny, samples=64)
    structure = compressor.structure
    inputs, labels = (each[:24] for each in tiny.calibration.tensors())
    alpha = prior_alpha(tiny.model, structure, 100)
    weights = torch.cat(
        [tiny.model.get_submodule(name).weight.detach().flatten() for name in structure.layers]
    )
    assert alpha == pytest.approx(1 / (100 * float(weights.square().mean())), rel=1e-5)
    dense = compressor.materialise(Configuration()).module
    pruned = compressor.materialise(Configuration(sparsity=dict.fromkeys(structure.layers, 0.5))).module
    sizes = [Curvature(module, structure, inputs, labels).parameters for module in (dense, pruned)]
    assert sizes[1] == sizes[0] - int(
        (torch.cat([pruned.get_submodule(name).weight.flatten() for name in structure.layers]) == 0).sum()
    )
    # Rounded activations are looked past: they have no curvature, and the module keeps them.
    fixed = compressor.materialise(preset("fixed-int8", structure)).module
    before = fixed(inputs)
    found = effective_dimension(fixed, structure, inputs, labels, alpha)
    assert 0 < found.value < found.parameters
    assert torch.equal(fixed(inputs), before)


def test_a_model_without_second_derivatives() -> None:
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx: object, gradient: Tensor) -> Tensor:
            return gradient

    class Net(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return Once.apply(super().forward(x))

    model = Net(nn.Linear(40, 3)).eval()
    inputs = torch.randn(4, 40)
    with pytest.raises(EvaluationError, match="cannot be differentiated twice"):
        effective_dimension(model, skeleton(model, inputs[:1]), inputs, torch.zeros(4, dtype=torch.long), 0.1)
