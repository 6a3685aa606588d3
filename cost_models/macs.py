"""Multiply-adds of a configuration, exact and without building the module."""

from __future__ import annotations

import numpy as np

from leanfront.core.compressors import Configuration, Shape
from leanfront.core.compressors.artifact.layer_costs import layer_macs
from leanfront.core.compressors.configuration import FLOAT_BITS
from leanfront.core.compressors.structure.structure import nonzeros, weight_count
from leanfront.core.cost_models.batch import Batch, Both, Floats
from leanfront.core.cost_models.profile import Profile, removed
from leanfront.core.cost_models.registry import Cost
from leanfront.errors import EvaluationError


class MacModel:
    """Multiply-adds of a configuration: fvcore's counts of the dense model, scaled by what is left of each operation.

    The count of a layer scales with its weights, that of a norm with its channels, and that of attention with its
    heads. Any other count is affine in the kept channels of the groups that reach the operation; the slopes are
    measured by cutting each group alone, and the sum is checked against fvcore's count of the model with all groups
    cut.

    Args:
        profile: profile of the dense model.

    Raises:
        EvaluationError: the model cannot be traced, or its counts do not follow its channels in this way.
    """

    def __init__(self, profile: Profile) -> None:
        self.structure = profile.structure
        self.dense = sum(profile.operations.values())
        self.layers: dict[str, int] = {}
        self.channelwise: dict[str, int] = {}
        self.fixed = 0
        self.slopes: dict[str, float] = {}
        for (path, operator), count in profile.operations.items():
            if (path, operator) in profile.other_operations:
                self.fixed += count
            elif self.structure.parts[path].is_layer:
                self.layers[path] = self.layers.get(path, 0) + count
            else:
                self.channelwise[path] = self.channelwise.get(path, 0) + count
        if self.fixed:
            self._measure_slopes(profile)
        if self.structure.groups:
            self._verify(profile)

    def _measure_slopes(self, profile: Profile) -> None:
        for name, lost in profile.lost_operations.items():
            self.slopes[name] = lost / removed(profile.structure.groups[name])

    def _verify(self, profile: Profile) -> None:
        joint = profile.joint
        predicted = self(joint.configuration)
        if predicted != joint.macs:
            raise EvaluationError(
                f"the model with every group cut by a quarter has {joint.macs} MACs by fvcore, not the "
                f"{predicted:.0f} predicted from its groups: its operations do not scale with its channel counts, so "
                "MACs cannot be known before a configuration is built"
            )

    def __call__(self, configuration: Configuration) -> float:
        shapes = self.structure.shapes(configuration)
        total = float(self.fixed)
        for path in self.layers:
            total += self.layer(path, shapes[path])
        for path, count in self.channelwise.items():
            total += count * shapes[path].outputs / self.structure.parts[path].outputs
        for group, kept in configuration.channels.items():
            if group in self.slopes:
                total -= self.slopes[group] * (self.structure.groups[group].units - kept)
        return float(round(total))

    def many(self, batch: Batch) -> Floats:
        """Compute the multiply-adds (n,) of a batch, each equal to the result for the configuration alone."""
        parts = batch.frame.parts
        total = self.fixed + self.layers_many(batch).sum(axis=1) + self.unnamed_many(batch)
        paths = [path for path in self.channelwise if self.channelwise[path]]
        counts = np.asarray([self.channelwise[path] for path in paths], dtype=np.int64)
        dense = np.asarray([self.structure.parts[path].outputs for path in paths], dtype=np.int64)
        total = total + (counts * batch.outputs[:, [parts[path] for path in paths]] / dense).sum(axis=1)
        for group in sorted(self.slopes):  # in the order of a configuration's groups, to round alike
            total = total - self.slopes[group] * batch.removed[:, batch.frame.groups[group]]
        return np.asarray(np.rint(total), dtype=np.float64)

    def layers_many(self, batch: Batch) -> Floats:
        """Compute the multiply-adds (n, layers) of the layers."""
        layers = batch.frame.structure.layers
        counts = np.asarray([self.layers.get(layer, 0) for layer in layers], dtype=np.int64)
        dense = np.asarray([self.structure.parts[layer].weights for layer in layers], dtype=np.int64)
        # The count of a layer is a whole number of positions per weight; whole numbers stay exact at any size.
        positions, rest = np.divmod(counts, np.maximum(dense, 1))
        return batch.weights * positions + batch.weights * rest / np.maximum(dense, 1)

    def unnamed_many(self, batch: Batch) -> Floats:
        """(n,) multiply-adds of the layers that configurations do not name."""
        total = np.zeros(len(batch))
        for path in batch.unnamed:
            total += self.layers.get(path, 0) * batch.weights_of(path) / self.structure.parts[path].weights
        return total

    def layer(self, path: str, shape: Shape) -> float:
        """Compute the multiply-adds of one layer cut to `shape`."""
        return layer_macs(self.layers[path], self.structure.parts[path], shape)


def bops(profile: Profile) -> Cost:
    """Build the cost in bit operations: multiply-adds x weight bits x activation bits, summed over the layers.

    Norms and other operators are left out, as in the literature; float counts 32 bits.
    """
    model = MacModel(profile)

    def cost(configuration: Configuration) -> float:
        shapes = profile.structure.shapes(configuration)
        total = 0.0
        for path in model.layers:
            weight_bits = configuration.weight_bits.get(path, FLOAT_BITS)
            activation_bits = configuration.activation_bits.get(path, FLOAT_BITS)
            total += model.layer(path, shapes[path]) * weight_bits * activation_bits
        return float(round(total))

    def many(batch: Batch) -> Floats:
        each = model.layers_many(batch) * batch.weight_bits * batch.activation_bits
        total = each.sum(axis=1) + model.unnamed_many(batch) * FLOAT_BITS * FLOAT_BITS
        return np.asarray(np.rint(total), dtype=np.float64)

    return Both(cost, many)


def sparse_macs(profile: Profile) -> Cost:
    """Build the cost in multiply-adds under the assumption that kernels skip every stored zero of a sparse layer."""
    model = MacModel(profile)

    def cost(configuration: Configuration) -> float:
        shapes = profile.structure.shapes(configuration)
        total = model(configuration)
        for path, sparsity in configuration.sparsity.items():
            if path not in model.layers:
                continue
            part, shape = profile.structure.parts[path], shapes[path]
            dense = weight_count(shape.inputs, shape.outputs, shape.groups, part.kernel)
            total -= model.layer(path, shape) * (dense - nonzeros(part, shape, sparsity)) / dense
        return float(round(total))

    def many(batch: Batch) -> Floats:
        layers = model.layers_many(batch)
        saved = layers * (batch.weights - batch.nonzeros) / np.maximum(batch.weights, 1)
        return np.asarray(np.rint(model.many(batch) - saved.sum(axis=1)), dtype=np.float64)

    return Both(cost, many)
