"""Effective dimension: the number of directions that training determined, N_eff = sum lambda / (lambda + alpha)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.linalg import eigh_tridiagonal
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
from torch import Tensor, nn
from torch.nn import functional

from leanfront.core.compressors import Structure
from leanfront.core.compressors.quantisation.activations import NAME, detach
from leanfront.core.compressors.structure.modules import weight_of
from leanfront.errors import EvaluationError

EXACT = 64
"""Largest size at which the whole matrix is made."""
LEADING = 16
"""Number of largest eigenvalues that are computed one by one."""
PROBES = 4
"""Number of random vectors, with `STEPS` of Lanczos each, for all other eigenvalues together."""
STEPS = 12
TOLERANCE = 1e-2
RESTARTS = 12
WIDTHS = (0.1, 1.0, 10.0)
"""Multiples of alpha at which the dimension is computed."""

Vector = npt.NDArray[np.float64]
Product = Callable[[Vector], Vector]


@dataclass(frozen=True)
class EffectiveDimension:
    """The effective dimension of a model.

    Args:
        curvature: ``ggn`` (the Gauss-Newton matrix of the cross-entropy, which is the Fisher matrix) or ``hessian``.
        parameters: P, the number of weights and biases of layers that are not 0.
        samples: number of samples in the mean curvature.
        alpha: alpha of the prior, in units of the curvature of the mean loss.
        value: N_eff; eigenvalues below 0 (of a Hessian away from its minimum) count as 0.
        error: standard error by the random vectors; 0 if exact.
        at: multiple of alpha -> N_eff there.
        leading: largest eigenvalues, descending.
        exact: whether all eigenvalues were computed.
        trace: trace of the curvature.
    """

    curvature: str
    parameters: int
    samples: int
    alpha: float
    value: float
    error: float
    at: dict[str, float]
    leading: tuple[float, ...]
    exact: bool
    trace: float


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues of a symmetric matrix: some one by one, the others by their density.

    Args:
        leading: largest eigenvalues, descending.
        nodes: (probes, steps) eigenvalues that represent the others.
        weights: (probes, steps) number of eigenvalues that each node represents.
    """

    leading: Vector
    nodes: Vector
    weights: Vector

    def trace(self, function: Callable[[Vector], Vector]) -> tuple[float, float]:
        """Sum a function over all eigenvalues, and return the sum and its standard error."""
        own = float(function(self.leading).sum())
        if not self.nodes.size:
            return own, 0.0
        probes = (function(self.nodes) * self.weights).sum(axis=1)
        error = float(probes.std(ddof=1) / np.sqrt(len(probes))) if len(probes) > 1 else float("nan")
        return own + float(probes.mean()), error


def learned(alpha: float) -> Callable[[Vector], Vector]:
    """Return the function lambda / (lambda + alpha), which is 0 below 0."""
    return lambda values: np.maximum(values, 0) / (np.maximum(values, 0) + alpha)


def spectrum(
    product: Product,
    size: int,
    *,
    leading: int = LEADING,
    probes: int = PROBES,
    steps: int = STEPS,
    seed: int = 0,
) -> Spectrum:
    """Compute the eigenvalues of a symmetric matrix that is given by its products with vectors.

    The largest are found by implicitly restarted Lanczos (ARPACK), the others by stochastic Lanczos quadrature in the
    subspace orthogonal to their vectors.

    Args:
        product: product with a vector (size,).
        size: size of the matrix; up to `EXACT` the whole matrix is made.
        leading: number of eigenvalues computed one by one.
        probes: number of random vectors.
        steps: Lanczos steps from each random vector.
        seed: seed of the random vectors.

    Source: Ubaru, Chen and Saad, Fast estimation of tr(f(A)) via stochastic Lanczos quadrature, 2017.
    """
    if size <= EXACT:
        whole = np.stack([product(row) for row in np.eye(size)]) if size else np.zeros((0, 0))
        values: Vector = np.linalg.eigvalsh((whole + whole.T) / 2)[::-1].astype(np.float64)
        return Spectrum(values, np.zeros((0, 0)), np.zeros((0, 0)))
    rng = np.random.default_rng(seed)
    operator = LinearOperator((size, size), matvec=product, dtype=np.float64)
    count = min(leading, size // 3)
    try:
        values, basis = eigsh(
            operator, count, which="LA", tol=TOLERANCE, maxiter=RESTARTS, v0=rng.standard_normal(size)
        )
    except ArpackNoConvergence as stopped:
        values, basis = stopped.eigenvalues, stopped.eigenvectors
    basis = np.linalg.qr(basis)[0] if basis.size else np.zeros((size, 0))
    rest = size - basis.shape[1]
    nodes, weights = [], []
    for _ in range(probes):
        start = rng.standard_normal(size)
        found, shares = quadrature(product, start, min(steps, rest), basis)
        nodes.append(np.pad(found, (0, steps - len(found))))
        weights.append(np.pad(shares, (0, steps - len(found))) * rest)
    return Spectrum(np.sort(values)[::-1], np.stack(nodes), np.stack(weights))


def quadrature(product: Product, start: Vector, steps: int, outside: Vector) -> tuple[Vector, Vector]:
    """Run Lanczos from a vector with full reorthogonalisation, and return Gauss nodes and weights, which sum to 1.

    Args:
        product: product with a vector (size,).
        start: (size,) start vector.
        steps: largest number of steps.
        outside: (size, k) orthonormal vectors, whose subspace is left out.
    """
    vector = start - outside @ (outside.T @ start)
    known = [vector / np.linalg.norm(vector)]
    diagonal: list[float] = []
    beside: list[float] = []
    for _ in range(steps):
        image = product(known[-1])
        diagonal.append(float(known[-1] @ image))
        basis = np.stack([*known, *outside.T], axis=1)
        for _ in range(2):  # twice, against rounding
            image = image - basis @ (basis.T @ image)
        length = float(np.linalg.norm(image))
        if length <= 1e-10 * max(1e-300, np.abs(diagonal).max()) or len(diagonal) == steps:
            break
        beside.append(length)
        known.append(image / length)
    values, vectors = eigh_tridiagonal(np.array(diagonal), np.array(beside))
    return values, vectors[0] ** 2


class Curvature:
    """Products with the mean curvature of a model over some samples, by the nonzero weights of its layers.

    Pruned weights stay zero. Activations are not rounded, since rounding has no curvature. The graph of all samples
    is kept in memory. A Gauss-Newton matrix A^T A is used as A A^T, by samples and classes, which has the same
    nonzero eigenvalues and far fewer zeros, so that quadrature need not separate small eigenvalues from zeros.

    Args:
        model: model in eval mode; it is copied.
        structure: structure of the dense model.
        inputs: (n, ...) on the model's device.
        labels: (n,) on the same device.
        curvature: ``ggn`` or ``hessian``.

    Raises:
        EvaluationError: the model cannot be differentiated twice.
    """

    def __init__(
        self, model: nn.Module, structure: Structure, inputs: Tensor, labels: Tensor, curvature: str = "ggn"
    ) -> None:
        model = copy.deepcopy(model).requires_grad_(False)
        modules = dict(model.named_modules())
        parameters: list[Tensor] = []
        for layer in structure.layers:
            if hasattr(modules[layer], NAME):
                detach(modules[layer])
            bias = modules[layer].bias
            parameters += [weight_of(modules[layer]), *([bias] if isinstance(bias, Tensor) else [])]
        chosen = [parameter.detach() != 0 for parameter in parameters]
        self.parameters = sum(int(each.sum()) for each in chosen)
        """P, the number of weights that are not 0."""
        self._device = inputs.device
        try:
            with torch.inference_mode(False), torch.enable_grad():
                for parameter in parameters:
                    parameter.requires_grad_()
                logits = model(inputs.clone()).float()
                self.size, self._product = PRODUCTS[curvature](logits, labels.clone(), parameters, chosen)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise EvaluationError(
                f"the model cannot be differentiated twice ({error}): its effective dimension is not known"
            ) from error

    def __call__(self, vector: Vector) -> Vector:
        """Compute the product with a vector (size,).

        Raises:
            EvaluationError: the product is not finite.
        """
        flat = torch.from_numpy(np.ascontiguousarray(vector).reshape(-1)).float().to(self._device)
        with torch.inference_mode(False), torch.enable_grad():
            image = self._product(flat.clone())
        found: Vector = image.detach().double().cpu().numpy()
        if not np.isfinite(found).all():
            raise EvaluationError("the model's curvature is NaN or infinite")
        return found


Flat = Callable[[Tensor], Tensor]


def _gauss_newton(
    logits: Tensor, labels: Tensor, parameters: list[Tensor], chosen: list[Tensor]
) -> tuple[int, Flat]:
    """Return B^T J J^T B / n, B B^T = diag(p) - p p^T; forward products come from differentiating backward ones."""
    shares = logits.detach().softmax(1)
    roots = shares.sqrt()
    outer = torch.zeros_like(logits, requires_grad=True)
    backward = torch.autograd.grad(logits, parameters, outer, create_graph=True, allow_unused=True)
    rows = [(image, own) for image, own in zip(backward, chosen, strict=True) if image is not None]

    def product(flat: Tensor) -> Tensor:
        vector = flat.view(logits.shape)
        moved = roots * vector - shares * (roots * vector).sum(1, keepdim=True)
        images = torch.autograd.grad(logits, parameters, moved, retain_graph=True, allow_unused=True)
        masked = [image * own for image, own in zip(images, chosen, strict=True) if image is not None]
        (back,) = torch.autograd.grad([row for row, _ in rows], outer, masked, retain_graph=True)
        return (roots * (back - (shares * back).sum(1, keepdim=True)) / len(logits)).reshape(-1)

    return logits.numel(), product


def _hessian(
    logits: Tensor, labels: Tensor, parameters: list[Tensor], chosen: list[Tensor]
) -> tuple[int, Flat]:
    """Return the Hessian of the mean cross-entropy, by the gradient of its gradient."""
    loss = functional.cross_entropy(logits, labels)
    first = torch.autograd.grad(loss, parameters, create_graph=True, materialize_grads=True)
    used = [place for place, image in enumerate(first) if image.requires_grad]
    sizes = [int(each.sum()) for each in chosen]

    def product(flat: Tensor) -> Tensor:
        vectors = [torch.zeros(each.shape, device=flat.device) for each in chosen]
        for vector, own, part in zip(vectors, chosen, torch.split(flat, sizes), strict=True):
            vector[own] = part
        images = torch.autograd.grad(
            [first[place] for place in used],
            parameters,
            [vectors[place] for place in used],
            retain_graph=True,
            materialize_grads=True,
        )
        return torch.cat([image[own] for image, own in zip(images, chosen, strict=True)])

    return sum(sizes), product


PRODUCTS: dict[str, Callable[[Tensor, Tensor, list[Tensor], list[Tensor]], tuple[int, Flat]]] = {
    "ggn": _gauss_newton,
    "hessian": _hessian,
}
"""Curvatures of the mean cross-entropy by name: functions that return the size of the matrix and its product."""


def prior_alpha(model: nn.Module, structure: Structure, samples: int) -> float:
    """Compute the default alpha, P / (N sum w^2): a Gaussian prior as wide as the dense weights, for N samples.

    Args:
        model: dense model.
        structure: structure of the model.
        samples: N, the number of samples that the model was trained on.
    """
    modules = dict(model.named_modules())
    weights = [weight_of(modules[layer]).detach().double() for layer in structure.layers]
    count = sum(weight.numel() for weight in weights)
    return count / (samples * float(sum(weight.square().sum() for weight in weights)))


def effective_dimension(
    model: nn.Module,
    structure: Structure,
    inputs: Tensor,
    labels: Tensor,
    alpha: float,
    *,
    curvature: str = "ggn",
    seed: int = 0,
    **effort: Any,
) -> EffectiveDimension:
    """Compute N_eff of a model.

    Args:
        model: model in eval mode.
        structure: structure of the dense model.
        inputs: (n, ...) on the model's device.
        labels: (n,) on the same device.
        alpha: positive, in units of the curvature of the mean loss.
        curvature: ``ggn`` or ``hessian``.
        seed: seed of the random vectors.
        effort: further arguments of `spectrum`. A Hessian has eigenvalues on both sides of 0, where the function
            bends, so its quadrature needs many more steps: on a network of 203 weights, 12 steps give a seventh too
            much, 120 are right.

    Raises:
        EvaluationError: the model cannot be differentiated.

    Source: Maddox, Benton and Wilson, Rethinking parameter counting in deep models, 2020.
    """
    matrix = Curvature(model, structure, inputs, labels, curvature)
    try:
        found = spectrum(matrix, matrix.size, seed=seed, **effort)
    except RuntimeError as error:
        raise EvaluationError(
            f"the model cannot be differentiated twice ({error}): its effective dimension is not known"
        ) from error
    value, error_of_it = found.trace(learned(alpha))
    return EffectiveDimension(
        curvature=curvature,
        parameters=matrix.parameters,
        samples=len(inputs),
        alpha=alpha,
        value=value,
        error=error_of_it,
        at={f"{width:g}": found.trace(learned(width * alpha))[0] for width in WIDTHS},
        leading=tuple(found.leading[:LEADING].tolist()),
        exact=not found.nodes.size,
        trace=found.trace(lambda values: values)[0],
    )
