"""One model of a population: what makes it differ from the others, and what does not."""

from __future__ import annotations

from collections import Counter

import torch

from leanfront.core.audit.member import Member
from leanfront.core.compressors import Structure
from leanfront.core.targets import Target


def member(target: Target, structure: Structure, index: int | None, seed: int = 0) -> Member:
    kind = "" if index is None else "recalibrated"
    return Member(target, structure, kind, index, seed, samples=64)


def test_the_own_model_is_the_targets(tiny: Target, structure: Structure) -> None:
    own = member(tiny, structure, None)
    assert own.target is tiny
    assert own.compressor.target is tiny
    assert own.compressor is own.compressor


def test_a_recalibrated_member_has_other_norms_and_nothing_else(tiny: Target, structure: Structure) -> None:
    before = tiny.dense_state
    states = [member(tiny, structure, index).target.model.state_dict() for index in range(3)]
    assert all(torch.equal(before[name], tensor) for name, tensor in tiny.dense_state.items())
    for name in before:
        same = [torch.equal(before[name], state[name]) for state in states]
        # The tracked number of batches is one for all.
        norms = "running" in name
        assert same == [not norms] * 3 or "tracked" in name, name
        assert torch.equal(states[0][name], states[1][name]) == (not norms), name


def test_calibration_samples_are_a_bootstrap(tiny: Target, structure: Structure) -> None:
    inputs, _ = tiny.calibration.tensors()
    index = {image.numpy().tobytes(): place for place, image in enumerate(inputs)}
    assert len(index) == 128
    drawn = []
    for place in range(4):
        found = member(tiny, structure, place).target.calibration
        assert len(found) == 128
        images, _ = found.tensors()
        drawn.append(Counter(index[image.numpy().tobytes()] for image in images))
    distinct = [len(each) for each in drawn]
    # 1 - 1/e of 128 are 81; four standard deviations of 4.
    assert all(65 < each < 97 for each in distinct), distinct
    assert len({tuple(sorted(each.items())) for each in drawn}) == 4
    # What is chosen on, and reported, is everybody's.
    other = member(tiny, structure, 1).target
    assert (other.validation, other.test) == (tiny.validation, tiny.test)


def test_the_place_and_the_seed_say_which(tiny: Target, structure: Structure) -> None:
    def norm(index: int, seed: int) -> torch.Tensor:
        found = member(tiny, structure, index, seed).target.model.state_dict()["bn2.running_mean"]
        assert isinstance(found, torch.Tensor)
        return found

    assert torch.equal(norm(1, 0), norm(1, 0))
    different = [norm(0, 0), norm(1, 0), norm(0, 1), norm(1, 1)]
    assert all(not torch.equal(a, b) for i, a in enumerate(different) for b in different[:i])


def test_seeds_of_trainings_follow_one_another(tiny: Target, structure: Structure) -> None:
    found = [Member(tiny, structure, "trained", index, 10).seed for index in range(3)]
    assert found == [10, 11, 12]
