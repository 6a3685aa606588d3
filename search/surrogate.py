"""Surrogate of the search's metric: predicted losses, corrected by the trials.

The metric's lead over its reference falls with the loss of a point x, f = exp(-(e^t)^q), where the logarithm
of the loss is

    t(x) = log sum_p l_p(x_p) exp(theta_p(x_p)) + b + u(x).

l are the predicted losses of single choices, wrong by the unknown factors exp(theta), which are alike for
neighbouring values of one parameter and a little so for parameters of one kind; b is their common scale, and u a
smooth function of all parameters for what they do together. All unknowns are Gaussian, so t is a Gaussian
process once the sum is linearised, and the trials condition it by iterated linearisation (Gauss-Newton; an
iterated extended Kalman update in the form of kernels). Hyperparameters are those of largest evidence on a grid.

Source: Rasmussen & Williams, Gaussian Processes for Machine Learning, 2006, sections 2.7 and 3.4 for explicit
bases and Laplace's method.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

NOTHING = 1e-4
"""Nats of a point that changes nothing, so that its logarithm exists."""
STEEPEST = 1e-4
"""Smallest slope of the metric in t: where the metric is flat, a trial says little about the loss."""
ROUNDS = 5
SCALE, KIND = 1.0, 0.5
"""Standard deviations of the logarithms of the factors of all losses, and of the losses of one kind."""
OWN, NEAR = 0.6, 0.8
"""Share of a parameter's variance that is common to its values, and the correlation of neighbouring values in the
rest."""
LENGTH = 0.25
"""Length scale of u as a share of the range of all parameters."""


@dataclass(frozen=True)
class Hyperparameters:
    """Hyperparameters, chosen by the evidence.

    Args:
        exponent: q, the steepness of the metric's fall.
        noise: standard deviation of an observed share of the lead.
        factor: standard deviation of theta.
        together: standard deviation of u.
    """

    exponent: float = 0.8
    noise: float = 0.01
    factor: float = 0.7
    together: float = 0.2


GRID: dict[str, Sequence[float]] = {
    "exponent": (0.6, 0.8, 1.0, 1.3),
    "noise": (0.005, 0.01, 0.025),
    "factor": (0.4, 0.7, 1.0),
    "together": (0.1, 0.2, 0.4),
}


class Surrogate:
    """The Gaussian process conditioned on trials.

    Args:
        losses: (parameters, most values) predicted nats; infinite beyond a parameter's values.
        kinds: kinds of the parameters.
        sizes: (parameters,) number of values of each parameter.
        points: (n, parameters) trials; n may be 0.
        shares: (n,) observed shares of the lead.
        hyperparameters: hyperparameters of the process.
    """

    def __init__(
        self,
        losses: Floats,
        kinds: Sequence[str],
        sizes: Integers,
        points: Integers,
        shares: Floats,
        hyperparameters: Hyperparameters,
    ) -> None:
        self._rows = np.arange(len(sizes))
        self._losses = np.where(np.isfinite(losses), losses, 0.0)
        self._sizes = sizes
        known = sorted(set(kinds))
        self._members = np.asarray([[kind == each for each in known] for kind in kinds], dtype=np.float64)
        self.hyperparameters = hyperparameters
        steps = np.abs(np.arange(losses.shape[1])[:, None] - np.arange(losses.shape[1]))
        self._alike = hyperparameters.factor**2 * (OWN + (1 - OWN) * NEAR**steps)
        self._points = points
        self._theta = np.zeros_like(self._losses)
        self._scale = 0.0
        self._weights = np.zeros((len(points), len(sizes)))
        self._alpha = np.zeros(len(points))
        self._factor = np.zeros((len(points), len(points)))
        self.evidence = 0.0
        """Log density of the observed shares, by Laplace's method."""
        if len(points):
            self._condition(shares)

    @property
    def corrected(self) -> Floats:
        """Return (parameters, most values) nats of every choice, corrected by the trials."""
        return np.asarray(self._losses * np.exp(self._theta + self._scale), dtype=np.float64)

    def share(self, t: Floats) -> Floats:
        """Return the remaining share of the lead at a logarithm of the loss."""
        return np.asarray(np.exp(-np.exp(np.minimum(self.hyperparameters.exponent * t, 30.0))))

    def mean(self, points: Integers) -> Floats:
        """Return the (n,) means of t."""
        t, _ = self._log_loss(points)
        if len(self._points):
            t = t + self._scale + self._near(points, self._points) @ self._alpha
        return t

    def predict(self, points: Integers) -> tuple[Floats, Floats]:
        """Return the mean and standard deviation of t, each (n,)."""
        t, weights = self._log_loss(points)
        variance = self._own_variance(weights)
        if len(self._points):
            near = self._near(points, self._points)
            cross = self._kernel(points, weights, self._points, self._weights, near)
            t = t + self._scale + near @ self._alpha
            spread = solve_triangular(self._factor, cross.T, lower=True, check_finite=False)
            variance = variance - np.einsum("ij,ij->j", spread, spread)
        return t, np.sqrt(np.maximum(variance, 1e-6))

    def _condition(self, shares: Floats) -> None:
        points, h = self._points, self.hyperparameters
        near = self._near(points, points)
        t, _ = self._log_loss(points)
        for _ in range(ROUNDS):
            log_loss, weights = self._log_loss(points)
            prior = log_loss - np.einsum("np,np->n", weights, self._theta[self._rows, points])
            power = np.exp(np.minimum(h.exponent * t, 30.0))
            slope = -h.exponent * power * np.exp(-power)
            slope = np.minimum(slope, -STEEPEST)
            target = t + np.clip((shares - self.share(t)) / slope, -1.5, 1.5)
            kernel = self._kernel(points, weights, points, weights, near) + np.diag((h.noise / slope) ** 2)
            lower = cholesky(kernel, lower=True, check_finite=False)
            alpha = cho_solve((lower, True), target - prior, check_finite=False)
            self._weights, self._alpha, self._factor = weights, alpha, lower
            theta = self._correction(weights, alpha)
            self._scale = SCALE**2 * float(alpha.sum())
            self._theta = np.clip(theta, -4.0, 4.0)
            t = self._log_loss(points)[0] + self._scale + near @ alpha
        quadratic = float((target - prior) @ alpha)
        volume = 2 * float(np.log(np.diag(lower)).sum()) + 2 * float(np.log(-slope).sum())
        self.evidence = -0.5 * (quadratic + volume + len(points) * math.log(2 * math.pi))

    def _log_loss(self, points: Integers) -> tuple[Floats, Floats]:
        """Return the log of the corrected sum (n,), without its scale, and each parameter's part (n, parameters)."""
        each = self._losses[self._rows, points] * np.exp(self._theta[self._rows, points])
        total = each.sum(axis=1) + NOTHING
        return np.log(total), each / total[:, None]

    def _correction(self, weights: Floats, alpha: Floats) -> Floats:
        """Return theta: the covariance of every choice's factor with the trials, times alpha."""
        pulls = np.zeros_like(self._losses)
        for row in self._rows:
            np.add.at(pulls[row], self._points[:, row], weights[:, row] * alpha)
        own = pulls @ self._alike
        kinds = KIND**2 * self._members @ (self._members.T @ (weights.T @ alpha))
        return np.asarray(own + kinds[:, None], dtype=np.float64)

    def _kernel(self, a: Integers, weights_a: Floats, b: Integers, weights_b: Floats, near: Floats) -> Floats:
        """Return the (n, m) covariance of t between points with these parts of their losses."""
        levels = self._losses.shape[1]
        spread = np.zeros((len(b), len(self._sizes), levels))
        spread[np.arange(len(b))[:, None], self._rows, b] = weights_b
        alike = (weights_a[:, :, None] * self._alike[a]).reshape(len(a), -1)
        kernel = alike @ spread.reshape(len(b), -1).T
        kernel += KIND**2 * (weights_a @ self._members) @ (weights_b @ self._members).T
        kernel += SCALE**2 + near
        return np.asarray(kernel, dtype=np.float64)

    def _own_variance(self, weights: Floats) -> Floats:
        own = self._alike[0, 0] * np.einsum("np,np->n", weights, weights)
        kinds = weights @ self._members
        own += KIND**2 * np.einsum("nk,nk->n", kinds, kinds)
        return np.asarray(own + SCALE**2 + self.hyperparameters.together**2, dtype=np.float64)

    def _near(self, a: Integers, b: Integers) -> Floats:
        """Return the (n, m) covariance of u."""
        scale = np.maximum(self._sizes - 1, 1) * LENGTH * math.sqrt(len(self._sizes))
        left, right = a / scale, b / scale
        squared = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1) - 2 * left @ right.T
        return np.asarray(self.hyperparameters.together**2 * np.exp(-0.5 * np.maximum(squared, 0.0)))


def choose(
    losses: Floats, kinds: Sequence[str], sizes: Integers, points: Integers, shares: Floats
) -> Hyperparameters:
    """Choose the hyperparameters of largest evidence, one after another on `GRID`."""
    best = Hyperparameters()
    if len(points) < 4:
        return best

    def evidence(tried: Hyperparameters) -> float:
        return Surrogate(losses, kinds, sizes, points, shares, tried).evidence

    for name, values in GRID.items():
        best = max((replace(best, **{name: value}) for value in values), key=evidence)
    return best
