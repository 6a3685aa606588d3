"""The study: every sampler goes on after a rebuild as if it had never stopped."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from leanfront.core.objectives import resolve
from leanfront.core.search.candidate import TrialRecord
from leanfront.core.search.context import SamplerContext
from leanfront.core.search.samplers import SAMPLERS, derived_seed, sampler
from leanfront.core.search.seeds import uniform_seeds
from leanfront.core.search.space import Space
from leanfront.core.search.study import SearchStudy
from leanfront.errors import UsageError

OBJECTIVES = resolve("accuracy,memory,macs")


@pytest.fixture(scope="module")
def space(known: SamplerContext) -> Space:
    return known.space


@pytest.fixture(scope="module")
def known_study(known: SamplerContext) -> Callable[[], SearchStudy]:
    """The study of a search whose costs are known."""
    return lambda: SearchStudy(known, sampler_name="auto", seed=5)


def _value(choices: dict[str, int]) -> tuple[float, float, float]:
    cost = float(sum(choices.values()))
    bits = float(sum(v for name, v in choices.items() if name.startswith("weight")))
    return 1 - 1 / (1 + cost + (hash(tuple(choices.values())) % 7) / 10), 1 + cost, 1 + bits


def _study(space: Space, name: str) -> SearchStudy:
    seeds = uniform_seeds(space) if name == "auto" else ()
    return SearchStudy(SamplerContext(space, OBJECTIVES, 10), sampler_name=name, seed=5, seeds=seeds)


def _run(study: SearchStudy, trials: int) -> list[TrialRecord]:
    records = []
    for _ in range(trials):
        trial, choices = study.ask()
        # Every seventh fails, as evaluations may.
        values = None if trial.number % 7 == 3 else _value(choices)
        records.append(TrialRecord(trial.number, choices, study.attributes(trial), values=values))
        study.tell(trial, values)
    return records


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("stop", [1, 9, 47])
def test_rebuilt_study_goes_on_alike(space: Space, name: str, stop: int) -> None:
    whole = _run(_study(space, name), stop + 20)
    again = _study(space, name)
    again.rebuild(whole[:stop])
    assert again.asked == stop
    assert _run(again, 20) == whole[stop:]


@pytest.mark.parametrize("stop", [1, 9, 27])
def test_rebuilt_study_of_known_costs_goes_on_alike(
    known_study: Callable[[], SearchStudy], stop: int
) -> None:
    whole = _run(known_study(), stop + 10)
    again = known_study()
    again.rebuild(whole[:stop])
    assert _run(again, 10) == whole[stop:]


def test_same_seed_same_trials(space: Space) -> None:
    assert _run(_study(space, "auto"), 30) == _run(_study(space, "auto"), 30)


@pytest.mark.parametrize("name", SAMPLERS)
def test_missing_numbers_are_asked_again(space: Space, name: str) -> None:
    """They were running when their driver died: seeds among them must not be lost, nor numbers left out."""
    whole = _run(_study(space, name), 32)
    again = _study(space, name)
    again.rebuild([record for record in whole if record.number not in (1, 4, 30)])
    assert again.asked == 32
    found = _run(again, 5)
    assert [record.number for record in found] == [1, 4, 30, 32, 33]
    assert again.asked == 34
    if name in ("auto", "random"):
        # Seeds, and what depends on the number alone, are what they would have been.
        assert [record.parameters for record in found[:2]] == [whole[1].parameters, whole[4].parameters]


def test_long_rebuild_does_not_recurse(space: Space) -> None:
    """One generation's parents come from the one before: 400 generations would exhaust a recursive search."""
    choices = [{name: i % len(p.values) for name, p in space.parameters.items()} for i in range(4000)]
    records = [
        TrialRecord(i, choices[i], {"NSGAIISampler:generation": i // 10}, values=_value(choices[i]))
        for i in range(4000)
    ]
    study = _study(space, "nsga2")
    study.rebuild(records)
    trial, _ = study.ask()
    assert study.attributes(trial) == {"NSGAIISampler:generation": 400}


def test_seeds_come_first_and_enter_the_population(space: Space) -> None:
    study = _study(space, "auto")
    seeds = uniform_seeds(space)
    assert len(seeds) > 10
    records = _run(study, len(seeds) + 1)
    assert [dict(r.parameters) for r in records[: len(seeds)]] == seeds
    assert all(r.attributes for r in records[:10])


def test_unknown_sampler(space: Space) -> None:
    with pytest.raises(UsageError, match="unknown sampler 'magic'; choose from auto"):
        sampler("magic", 0, SamplerContext(space, OBJECTIVES))


def test_derived_seeds_differ() -> None:
    assert len({derived_seed(seed, number) for seed in range(50) for number in range(50)}) == 2500
