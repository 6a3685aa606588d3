"""Compressed versions of the models of a population."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from leanfront.core.audit import LEVELS, Configured, Dense, of_candidate
from leanfront.core.audit.gradual import prunable
from leanfront.core.audit.levels import of_levels
from leanfront.core.audit.member import Member
from leanfront.core.audit.versions import Gradual
from leanfront.core.compressors import Compressed, Compressor, Configuration, Recovery, Structure, recover
from leanfront.core.compressors.artifact.packed_file import write
from leanfront.core.search import Candidate
from leanfront.core.targets import Target, resolve
from leanfront.core.targets.weights_cache import weights_of
from leanfront.errors import UsageError

SAMPLES = 64
HALF = Configuration(channels={"conv1": 4}, weight_bits={"conv2": 4})


def own(target: Target, structure: Structure, **more: object) -> Member:
    return Member(target, structure, samples=SAMPLES, **more)  # type: ignore[arg-type]


def test_the_levels_are_the_papers(digits_structure: Structure) -> None:
    assert set(LEVELS) == {"pruning", "gradual", "quantisation"}
    found = of_levels(("quantisation", "pruning", "quantisation"), digits_structure)
    names = [each.name for each in found]
    assert names == [
        "float16",
        "dynamic-int8",
        "fixed-int8",
        *(f"magnitude-{s}" for s in (0.1, 0.3, 0.5, 0.7, 0.9)),
    ]
    assert [each.name for each in of_levels(("gradual",), digits_structure)][-1] == "gradual-0.9"
    assert {each.candidate for each in found} == {None}
    assert len({each.key for each in found}) == len(found)
    with pytest.raises(UsageError, match="unknown levels: binary; known: pruning, gradual, quantisation"):
        of_levels(("pruning", "binary"), digits_structure)


def test_magnitude_pruning_is_by_magnitude(digits: Target, digits_structure: Structure) -> None:
    (level,) = [each for each in of_levels(("pruning",), digits_structure) if each.name == "magnitude-0.7"]
    module = level.module(own(digits, digits_structure))
    for layer in digits_structure.layers:
        dense = digits.model.get_submodule(layer).weight  # type: ignore[union-attr]
        found = module.get_submodule(layer).weight  # type: ignore[union-attr]
        gone = found == 0
        assert float(gone.float().mean()) == pytest.approx(0.7, abs=0.002), layer
        assert dense[gone].abs().max() <= dense[~gone].abs().min(), layer


def test_the_dense_version_is_the_model(tiny: Target, structure: Structure) -> None:
    inputs, _ = tiny.validation.tensors()
    module = Dense().module(own(tiny, structure))
    assert torch.allclose(module(inputs), tiny.model(inputs), atol=1e-5)
    assert module is not tiny.model
    assert not module.training


def test_of_the_own_model_a_candidate_is_its_file(tiny: Target, structure: Structure) -> None:
    """And not what its configuration gives now: that may be rounded otherwise."""
    compressor = Compressor(tiny, structure=structure, samples=SAMPLES)
    compressed = compressor.materialise(HALF)
    with torch.no_grad():
        compressed.module.linear.bias[2] += 100.0  # type: ignore[union-attr, index, operator]
    content = write(compressed, structure, "tiny")
    version = of_candidate(Candidate("mine", 0, HALF, id=7), content)
    assert (version.name, version.candidate) == ("candidate 7", 7)
    inputs, _ = tiny.validation.tensors()
    module = version.module(own(tiny, structure))
    assert bool((module(inputs).argmax(1) == 2).all())
    # Other models of a population have no file: theirs is made as the candidate was.
    member = own(tiny, structure, population="recalibrated", index=0)
    made = version.module(member)(inputs)
    assert torch.equal(made, member.compressor.materialise(HALF).module(inputs))
    assert not bool((made.argmax(1) == 2).all())
    # Without a file it is made anew.
    plain = of_candidate(Candidate("mine", 0, HALF, id=7), None).module(own(tiny, structure))
    assert torch.equal(plain(inputs), compressor.materialise(HALF).module(inputs))


def test_what_is_kept_depends_on_configuration_and_file() -> None:
    versions = [
        Dense(),
        Configured("a", HALF),
        Configured("a", Configuration(channels={"conv1": 5})),
        Configured("a", HALF, 1, b"one"),
        Configured("a", HALF, 1, b"two"),
        Gradual(0.5),
        Gradual(0.9),
    ]
    assert len({each.key for each in versions}) == len(versions)
    # The name and the number do not matter.
    assert Configured("b", HALF, 3, b"one").key == versions[3].key


@pytest.fixture(scope="module")
def recovered(tiny_file: object) -> tuple[Target, Compressed, bytes]:
    """A candidate that was trained after it was compressed, and its file."""
    target = resolve(f"{tiny_file}:recoverable")
    compressor = Compressor(target, samples=SAMPLES)
    harmed = compressor.materialise(
        Configuration(channels={"conv1": 3}, weight_bits=dict.fromkeys(compressor.structure.layers, 2))
    )
    settings = Recovery(epochs=1, batch_size=32, learning_rate=5e-3)
    trained = recover(compressor, harmed, settings).compressed
    assert trained.configuration.recovery
    return target, trained, write(trained, compressor.structure, "tiny")


def test_a_recovered_candidate_with_its_file(
    recovered: tuple[Target, Compressed, bytes], structure: Structure
) -> None:
    target, trained, content = recovered
    version = Configured("candidate 3", trained.configuration, 3, content)
    inputs, labels = target.validation.tensors()
    file = trained.module(inputs)
    assert torch.allclose(version.module(own(target, structure))(inputs), file, atol=1e-4)
    members = [own(target, structure, population="recalibrated", index=index) for index in range(2)]
    modules = [version.module(each) for each in members]
    for module in modules:
        # The trained weights, with norms of the member's own samples that do almost the same.
        for layer in ("conv1", "conv2", "conv3", "linear"):
            weights = (each.get_submodule(layer).weight for each in (module, trained.module))
            assert torch.equal(*weights), layer  # type: ignore[arg-type]
        logits = module(inputs)
        assert not torch.equal(logits, file)
        assert (logits - file).square().mean() < 0.05 * file.var()
        assert float((logits.argmax(1) == labels).float().mean()) > 0.5
    assert not torch.equal(modules[0](inputs), modules[1](inputs))


def test_a_recovered_candidate_where_there_is_nothing_to_do_with_it(
    recovered: tuple[Target, Compressed, bytes], structure: Structure
) -> None:
    target, trained, content = recovered
    said = r"candidate 3 was trained after it was compressed: audit it with the population 'recalibrated'"
    of_training = own(target, structure, population="trained", index=0)
    with pytest.raises(UsageError, match=said):
        Configured("candidate 3", trained.configuration, 3, content).module(of_training)
    for member in (own(target, structure), own(target, structure, population="recalibrated", index=1)):
        with pytest.raises(UsageError, match=said):
            Configured("candidate 3", trained.configuration, 3).module(member)


def quick(tiny: Target) -> Target:
    """`tiny`, trained anew in 30 steps."""

    def retrain(seed: int, step=None):  # type: ignore[no-untyped-def]
        model = type(tiny.model)().train()
        inputs, labels = tiny.calibration.tensors()
        optimiser = torch.optim.Adam(model.parameters(), 0.01)
        for number in range(30):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(model(inputs), labels).backward()
            optimiser.step()
            if step is not None:
                step(model, (number + 1) / 30)
        return model.eval()

    splits = {name: getattr(tiny, name) for name in ("calibration", "validation", "test")}
    return Target(
        model=tiny.model, example_input=tiny.example_input, classes=tiny.classes, retrain=retrain, **splits
    )


def test_gradual_pruning_is_trained_in(tiny: Target, structure: Structure) -> None:
    target = quick(tiny)
    members = [own(target, structure, population="trained", index=index, first_seed=4) for index in (0, 1)]
    modules = [Gradual(0.7).module(member) for member in members]
    for module in modules:
        weights = torch.cat([weight.flatten() for weight in prunable(module).values()])
        assert float((weights == 0).double().mean()) == pytest.approx(0.7, abs=0.01)
    first, second = (weights_of(module)["conv2.weight"] for module in modules)
    assert not torch.equal(first, second)
    # Of the member's own seed: the same one trains the same.
    again = Gradual(0.7).module(replace(members[1], first_seed=5, index=0))
    assert torch.equal(weights_of(again)["conv2.weight"], second)
    with pytest.raises(UsageError, match="gradual pruning trains: audit it with the population 'trained'"):
        Gradual(0.7).module(own(target, structure, population="recalibrated", index=0))


def test_trained_members_have_weights_of_their_own(tiny: Target, structure: Structure) -> None:
    target = quick(tiny)
    made = [Dense().module(own(target, structure, population="trained", index=index)) for index in range(2)]
    assert not torch.equal(made[0].state_dict()["conv1.weight"], made[1].state_dict()["conv1.weight"])
    assert not torch.equal(made[0].state_dict()["conv1.weight"], tiny.model.state_dict()["conv1.weight"])
