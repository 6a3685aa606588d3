"""Searches of tiny models are faster on one thread."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from leanfront.core.compressors import Configuration, Sensitivities
from leanfront.core.compressors.structure.derivation import derive
from leanfront.core.cost_models import Costs, Profile
from leanfront.core.objectives import resolve
from leanfront.core.search.context import SamplerContext
from leanfront.core.search.space import derive_space
from leanfront.core.search.space_options import SpaceOptions
from leanfront.core.targets import Target

MakeContext = Callable[..., SamplerContext]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def wide(tiny: Target) -> Target:
    """`tiny` with a validation split large enough to race on."""
    inputs, labels = tiny.validation.tensors()
    noise = 0.2 * torch.randn(2000, *inputs.shape[1:], generator=torch.Generator().manual_seed(5))
    return Target(
        model=tiny.model,
        example_input=tiny.example_input,
        calibration=tiny.calibration,
        validation=(inputs.repeat(10, 1, 1, 1) + noise, labels.repeat(10)),
        test=tiny.test,
        classes=tiny.classes,
        name="wide",
    )


@pytest.fixture(scope="session")
def make_context(tiny: Target) -> MakeContext:
    """(objectives, space options, predicted) -> what samplers know of a search of `tiny`."""
    structure = derive(tiny.model, tiny.example_input)
    costs = Costs(Profile(tiny.model, tiny.example_input, structure))
    dense = costs.of(Configuration())
    shares, widths = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.25), (4, 5, 6, 7, 8)
    predicted = Sensitivities(
        channels={
            name: tuple(0.5 * (1 - kept / group.units) ** 2 for kept in range(1, group.units + 1))
            for name, group in structure.groups.items()
        },
        weights={
            layer: {bits: (1 + place) * 4.0**-bits for bits in (2, 3, 4, 5, 6, 8)}
            for place, layer in enumerate(structure.layers)
        },
        sparsity={layer: {share: 0.1 * share**4 for share in shares} for layer in structure.layers},
        activations={layer: {bits: 4.0**-bits for bits in widths} for layer in structure.layers},
    )

    def make(
        objectives: str = "accuracy,memory,macs",
        options: SpaceOptions | None = None,
        sensitivities: Sensitivities | None = predicted,
    ) -> SamplerContext:
        found = resolve(objectives)
        values = {"accuracy": 0.25, "cross_entropy": 1.386, **dense}
        return SamplerContext(
            derive_space(structure, options or SpaceOptions()),
            found,
            population=10,
            costs=costs,
            sensitivities=sensitivities,
            reference={o.name: values[o.measurement] for o in found},
            dense={o.name: {**values, "accuracy": 0.95, "cross_entropy": 0.1}[o.measurement] for o in found},
        )

    return make


@pytest.fixture(scope="session")
def known(make_context: MakeContext) -> SamplerContext:
    """A search of accuracy against costs, with everything predicted."""
    return make_context()
