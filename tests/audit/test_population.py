"""Populations: K models that differ, the same ones every time, answered once however they are run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from leanfront.core.audit import Answers, Configured, Dense, Version
from leanfront.core.audit.member import Member
from leanfront.core.audit.population import Population, Votes
from leanfront.core.compressors import Configuration, Structure
from leanfront.core.targets import Target, resolve
from leanfront.core.targets.digits import retrain
from leanfront.errors import EvaluationError, TargetError

WEAK = Configured("weak", Configuration(weight_bits=dict.fromkeys(("conv1", "conv2", "conv3"), 2)))
HALF = Configured("half", Configuration(channels={"conv1": 3, "conv3": 4}))
VERSIONS: tuple[Version, ...] = (Dense(), WEAK, HALF)


def population(
    target: Target, structure: Structure, models: int = 3, kind: str = "recalibrated", **more: object
) -> Population:
    made = Population(target, structure, kind, models, 0, "test", 64, "cpu")
    return replace(made, **more)  # type: ignore[arg-type]


def voted(found: dict[str, Votes] | None) -> dict[str, list[list[int]]]:
    assert found is not None
    return {name: votes.predictions.tolist() for name, votes in found.items()}


@dataclass(frozen=True)
class Counted:
    """A version that says for which members it was made."""

    inner: Version
    made: list[tuple[str, int | None]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def candidate(self) -> int | None:
        return self.inner.candidate

    @property
    def key(self) -> str:
        return self.inner.key

    def module(self, member: Member) -> nn.Module:
        self.made.append((self.name, member.index))
        return self.inner.module(member)


def counted(versions: Sequence[Version] = VERSIONS) -> tuple[list[Version], list[tuple[str, int | None]]]:
    made: list[tuple[str, int | None]] = []
    return [Counted(each, made) for each in versions], made


def test_votes_are_what_the_models_answer(tiny: Target, structure: Structure, answers: Answers) -> None:
    own = population(tiny, structure)
    found = own.votes(VERSIONS, answers)
    assert found is not None
    assert tiny.test is not None
    inputs, _ = tiny.test.tensors()
    for version in VERSIONS:
        votes = found[version.name]
        assert votes.predictions.shape == votes.top5.shape == (3, 120)
        for index in range(3):
            with torch.no_grad():
                logits = version.module(own.member(index))(inputs)
            # One sample at most: batches may round otherwise.
            assert (logits.argmax(1).numpy() == votes.predictions[index]).mean() > 0.99
    # Of four classes every one is among the first five.
    assert found["dense"].top5.all()


def test_top_five_of_more_classes(digits: Target, digits_structure: Structure, answers: Answers) -> None:
    own = population(digits, digits_structure, 2)
    sparsity = dict.fromkeys(digits_structure.layers, 0.95)
    level = Configured("poor", Configuration(sparsity=sparsity, criterion="l1"))
    found = own.votes([level], answers)
    assert found is not None
    kept = answers.get(*own.key(1, level))
    assert kept is not None
    assert digits.test is not None
    labels = digits.test.labels.numpy()
    best = np.argsort(-kept.numpy(), axis=1, kind="stable")[:, :5]
    expected = np.array([label in row for label, row in zip(labels, best, strict=True)])
    assert np.array_equal(found["poor"].top5[1], expected)
    assert 0 < expected.mean() < 1
    assert (found["poor"].predictions[1] == labels).mean() < expected.mean()


def test_members_differ_dense_ones_too(tiny: Target, structure: Structure, answers: Answers) -> None:
    own = population(tiny, structure, 4)
    own.votes(VERSIONS, answers)
    for version in VERSIONS:
        logits = [answers.get(*own.key(index, version)) for index in range(4)]
        for i, one in enumerate(logits):
            for other in logits[:i]:
                assert one is not None
                assert other is not None
                assert not torch.equal(one, other), version.name
    # Models differ, but they are models of the same thing.
    found = own.votes(VERSIONS, answers)
    assert found is not None
    assert tiny.test is not None
    assert ((found["dense"].predictions == tiny.test.labels.numpy()).mean(axis=1) > 0.9).all()


def test_the_same_seed_gives_the_same_votes(tiny: Target, structure: Structure, tmp_path: Path) -> None:
    def run(name: str, seed: int = 0) -> tuple[dict[str, list[list[int]]], torch.Tensor]:
        answers = Answers(tmp_path / name)
        own = population(tiny, structure, seed=seed)
        votes = voted(own.votes(VERSIONS, answers))
        logits = answers.get(*own.key(0, WEAK))
        assert logits is not None
        return votes, logits

    first, again, other = run("one"), run("two"), run("three", seed=1)
    assert first[0] == again[0]
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[1], other[1])


def test_a_larger_population_has_the_smaller_one_in_it(
    tiny: Target, structure: Structure, answers: Answers
) -> None:
    few = voted(population(tiny, structure, 2).votes(VERSIONS, answers))
    versions, made = counted()
    more = voted(population(tiny, structure, 4).votes(versions, answers))
    assert {name: votes[:2] for name, votes in more.items()} == few
    assert sorted({index for _, index in made}) == [2, 3]  # type: ignore[type-var]


@pytest.mark.parametrize("after", [0, 1, 3, 4, 8, 9])
def test_what_is_stopped_goes_on_where_it_was(
    tiny: Target, structure: Structure, answers: Answers, after: int
) -> None:
    own = population(tiny, structure)
    versions, made = counted()
    told: list[tuple[int, int]] = []

    def report(done: int, of: int) -> None:
        told.append((done, of))

    found = own.votes(versions, answers, report=report, stop=lambda: len(made) >= after)
    assert len(made) == after
    assert told == [(done, 9) for done in range(after + 1)]
    assert (found is None) == (after < 9)
    first = list(made)
    made.clear()
    told.clear()
    whole = own.votes(versions, answers, report=report)
    assert len(made) == 9 - after
    assert not set(made) & set(first)
    assert told[0] == (after, 9)
    assert told[-1] == (9, 9)
    made.clear()
    assert voted(own.votes(versions, answers)) == voted(whole)
    assert made == []


def test_a_version_more_is_all_that_is_computed(tiny: Target, structure: Structure, answers: Answers) -> None:
    own = population(tiny, structure)
    own.votes(VERSIONS[:2], answers)
    versions, made = counted()
    own.votes(versions, answers)
    assert made == [("half", index) for index in range(3)]


@pytest.mark.parametrize(
    "change",
    [{"seed": 1}, {"samples": 32}, {"split": "validation"}],
    ids=lambda change: next(iter(change)),
)
def test_other_populations_have_answers_of_their_own(
    tiny: Target, structure: Structure, answers: Answers, change: dict[str, object]
) -> None:
    population(tiny, structure, 2).votes(VERSIONS, answers)
    versions, made = counted()
    population(tiny, structure, 2, **change).votes(versions, answers)
    assert len(made) == 6


def test_a_cache_that_cannot_be_written_is_none(
    tiny: Target, structure: Structure, answers: Answers, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    own = population(tiny, structure, 2)
    with pytest.warns(RuntimeWarning, match="cannot write to the cache"):
        found = own.votes(VERSIONS, Answers(tmp_path / "file" / "answers"))
    assert voted(found) == voted(own.votes(VERSIONS, answers))


def test_outputs_that_are_no_numbers_are_refused(
    tiny_file: Path, structure: Structure, answers: Answers
) -> None:
    target = resolve(f"{tiny_file}:breaks")
    own = population(target, structure, 2)
    broken = Configured("broken", Configuration(channels={"conv3": 14}))
    with pytest.raises(EvaluationError, match="'broken' of model 0 of the population gives NaN"):
        own.votes([Dense(), broken], answers)
    assert answers.get(*own.key(0, Dense())) is not None
    assert answers.get(*own.key(0, broken)) is None


@pytest.mark.slow
def test_workers_answer_as_one_process_does(tiny: Target, structure: Structure, tmp_path: Path) -> None:
    alone, together = Answers(tmp_path / "alone"), Answers(tmp_path / "together")
    own = population(tiny, structure, 3)
    told: list[tuple[int, int]] = []
    found = own.votes(VERSIONS, together, workers=2, report=lambda done, of: told.append((done, of)))
    assert voted(found) == voted(own.votes(VERSIONS, alone))
    assert told == [(done, 9) for done in range(10)]
    for index in range(3):
        for version in VERSIONS:
            key = own.key(index, version)
            assert torch.equal(together.get(*key), alone.get(*key))  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_killed_worker_is_said_and_what_was_answered_is_kept(
    tiny_file: Path, structure: Structure, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process ends within the forward pass of a thin module, as if out of memory."""
    monkeypatch.setenv("TINY_DRIVER", str(os.getpid()))
    target = resolve(f"{tiny_file}:dies")
    own = population(target, structure, 2)
    with pytest.raises(
        EvaluationError, match=r"was killed.*the answers so far are kept: run it again with fewer"
    ):
        own.votes(VERSIONS, answers, workers=2)
    kept = [
        (index, version.name)
        for index in range(2)
        for version in VERSIONS
        if answers.get(*own.key(index, version)) is not None
    ]
    assert kept
    assert not [each for each in kept if each[1] == "half"]
    versions, made = counted()
    assert voted(own.votes(versions, answers)).keys() == {"dense", "weak", "half"}
    assert len(made) == 6 - len(kept)


@pytest.mark.slow
def test_a_trained_population_is_trained(
    digits: Target, digits_structure: Structure, answers: Answers
) -> None:
    own = population(digits, digits_structure, 2, "trained")
    pruned = Configured(
        "pruned", Configuration(sparsity=dict.fromkeys(digits_structure.layers, 0.5), criterion="l1")
    )
    found = own.votes([Dense(), pruned], answers)
    assert found is not None
    assert digits.test is not None
    inputs, labels = digits.test.tensors()
    for seed in range(2):
        # Trained with seeds 0 and 1 and nothing else: their batch norms are those of the training.
        with torch.no_grad():
            expected = retrain(seed)(inputs).argmax(1).numpy()
        assert (found["dense"].predictions[seed] == expected).mean() > 0.995
    right = (found["dense"].predictions == labels.numpy()).mean(axis=1)
    assert (right > 0.95).all()
    assert not np.array_equal(*found["dense"].predictions)
    assert ((found["pruned"].predictions == labels.numpy()).mean(axis=1) < right).all()


def test_what_cannot_be_trained_is_refused(tiny: Target, structure: Structure, answers: Answers) -> None:
    with pytest.raises(TargetError, match="cannot be trained anew"):
        population(tiny, structure, 2, "trained").votes(VERSIONS, answers)


def test_of_a_split_that_is_not_there(tiny: Target, structure: Structure, answers: Answers) -> None:
    splits = {name: getattr(tiny, name) for name in ("calibration", "validation")}
    bare = Target(model=tiny.model, example_input=tiny.example_input, **splits)
    with pytest.raises(EvaluationError, match="no 'test' split"):
        population(bare, structure, 2).votes(VERSIONS, answers)
