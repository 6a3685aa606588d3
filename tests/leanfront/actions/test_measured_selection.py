"""Budget queries on what is not measured yet: it is measured, best first and no further than the answer needs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import text

import leanfront
from leanfront.actions.measured_selection import MOST_MEASURED
from leanfront.actions.measurer import Measurer
from leanfront.cli import main
from leanfront.core.search import Candidate
from leanfront.core.targets import Target, resolve
from leanfront.errors import InfeasibleError, UsageError
from leanfront.locations import open_shelf, open_store
from leanfront.reports.text import unmeasured_text

TRIALS = 14


@pytest.fixture(scope="module")
def pictured(tiny_file: Path) -> Target:
    return resolve(f"{tiny_file}:pictured")


@pytest.fixture(scope="module")
def searched(pictured: Target, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the search `mine`, without any metric that needs images of its own."""
    folder = tmp_path_factory.mktemp("searched")
    url = f"sqlite:///{folder}/leanfront.db"
    # Without races every candidate is complete.
    leanfront.search(
        pictured,
        name="mine",
        trials=TRIALS,
        sampler="random",
        method="rounding",
        false_elimination=0,
        database=url,
    )
    return folder


@pytest.fixture(scope="module")
def values(pictured: Target, searched: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, float]:
    """The corruption error of every candidate, measured in a copy."""
    result = opened(searched, tmp_path_factory.mktemp("measured") / "own", pictured)
    measurer = Measurer(result.store, result.verifier().files)
    found = {}
    for candidate in result.candidates():
        value = measurer.measure(candidate, ("mce",)).value("mce")
        assert candidate.id is not None
        assert value is not None
        found[candidate.id] = value
    assert len(set(found.values())) > TRIALS / 2
    return found


def opened(searched: Path, place: Path, target: Target | None) -> leanfront.SearchResult:
    url = f"sqlite:///{shutil.copytree(searched, place)}/leanfront.db"
    return leanfront.open_search("mine", database=url, target=target)


@pytest.fixture
def own(searched: Path, pictured: Target, tmp_path: Path) -> leanfront.SearchResult:
    return opened(searched, tmp_path / "own", pictured)


def ranked(result: leanfront.SearchResult) -> list[int]:
    """Ids, most accurate first."""
    ordered = sorted(result.candidates(), key=lambda each: (-(each.accuracy or 0), each.id))
    return [each.id for each in ordered if each.id is not None]


def limit_of(values: dict[int, float], order: list[int], place: int) -> float:
    """A limit that the candidate at that place is the first to hold, or the next one that can be."""
    lowest = [min(values[each] for each in order[: stop + 1]) for stop in range(len(order))]
    while place and lowest[place] == lowest[place - 1]:
        place -= 1
    return lowest[place]


@pytest.mark.parametrize("place", [0, 4, 9])
def test_best_first_and_no_more_than_needed(
    own: leanfront.SearchResult, values: dict[int, float], place: int
) -> None:
    order = ranked(own)
    limit = limit_of(values, order, place)
    first = next(at for at, each in enumerate(order) if values[each] <= limit)
    told: list[tuple[int, tuple[str, ...]]] = []
    answer = own.selection(maximum={"mce": limit}, told=lambda *said: told.append(said))
    assert told == [(each, ("mce",)) for each in order[: first + 1]]
    assert answer.feasible
    assert answer.candidate is not None
    # Of equal accuracy another may come first in a tie of what decides: it was measured, then.
    assert answer.candidate.id == order[first]
    assert (answer.unmeasured, answer.note) == ((), None)
    # It is stored, and not measured again.
    told.clear()
    assert (
        own.selection(maximum={"mce": limit}, told=lambda *said: told.append(said)).candidate
        == answer.candidate
    )
    assert told == []
    for each in order[: first + 1]:
        assert own.candidate(each).value("mce") == values[each]
    assert all(own.candidate(each).value("mce") is None for each in order[first + 1 :])


@pytest.mark.parametrize("strategy", ["accuracy", "knee", "lexicographic", "chebyshev"])
def test_the_answer_is_as_if_all_were_measured(
    own: leanfront.SearchResult, values: dict[int, float], strategy: str
) -> None:
    limit = sorted(values.values())[len(values) // 2]
    asked = {"strategy": strategy, "maximum": {"mce": limit}, "measure": TRIALS}
    answer = own.selection(**asked)  # type: ignore[arg-type]
    measurer = Measurer(own.store, own.verifier().files)
    for candidate in own.candidates():
        measurer.measure(candidate, ("mce",))
    whole = own.selection(**asked)  # type: ignore[arg-type]
    assert answer.candidate is not None
    assert whole.candidate is not None
    assert answer.candidate.id == whole.candidate.id
    assert answer.unmeasured == whole.unmeasured == ()


def test_candidates_that_break_another_limit_are_not_measured(
    own: leanfront.SearchResult, values: dict[int, float]
) -> None:
    sizes = {each.id: each.memory_bytes or 0 for each in own.candidates()}
    limit = sorted(sizes.values())[3]
    told: list[int] = []
    own.selection(
        max_memory=limit, maximum={"mce": min(values.values())}, told=lambda each, _: told.append(each)
    )
    assert told
    assert all(sizes[each] <= limit for each in told)


def test_it_stops_at_most(own: leanfront.SearchResult, values: dict[int, float]) -> None:
    told: list[int] = []
    hopeless = min(values.values()) / 2
    answer = own.selection(maximum={"mce": hopeless}, measure=3, told=lambda each, _: told.append(each))
    order = ranked(own)
    assert told == order[:3]
    assert not answer.feasible
    assert answer.unmeasured == tuple(order[3:])
    assert "mce is not measured on candidates" in unmeasured_text(answer)
    told.clear()
    own.selection(maximum={"mce": hopeless}, measure=0, told=lambda each, _: told.append(each))
    assert told == []
    with pytest.raises(
        InfeasibleError, match=r"no candidate is within the budget.*mce is not measured on candidates"
    ):
        own.select(maximum={"mce": hopeless}, measure=1)
    # By default it goes on for a while.
    answer = own.selection(maximum={"mce": hopeless})
    assert TRIALS - 4 < MOST_MEASURED
    assert (answer.feasible, answer.unmeasured) == (False, ())


def test_several_metrics_in_one_evaluation(own: leanfront.SearchResult) -> None:
    told: list[tuple[int, tuple[str, ...]]] = []
    answer = own.selection(
        maximum={"mce": 99, "flip_rate": 1, "pie_rate": 1}, told=lambda *said: told.append(said)
    )
    assert told == [(ranked(own)[0], ("flip_rate", "mce"))]
    assert answer.candidate is not None
    assert answer.candidate.measurement("flip_rate", "validation") is not None


def test_without_the_target_the_answer_stays_and_says_so(searched: Path, tmp_path: Path) -> None:
    result = opened(searched, tmp_path / "own", None)
    with result.store.database.writing() as session:
        session.execute(text("UPDATE leanfront_searches SET target = '/nowhere.py:target'"))
    result = leanfront.open_search("mine", database=str(result.store.url))
    told: list[int] = []
    answer = result.selection(maximum={"mce": 2.0}, told=lambda each, _: told.append(each))
    assert len(told) == 1
    assert not answer.feasible
    assert len(answer.unmeasured) == TRIALS
    assert "no candidate has mce measured; not everything could be measured: " in (answer.note or "")
    assert "nowhere.py" in (answer.note or "")


def test_a_target_without_pixels_says_what_to_give(finished: str, tiny: Target, tmp_path: Path) -> None:
    folder = shutil.copytree(Path(finished.removeprefix("sqlite:///")).parent, tmp_path / "own")
    result = leanfront.open_search("done", database=f"sqlite:///{folder}/leanfront.db", target=tiny)
    answer = result.selection(maximum={"flip_rate": 0.5})
    assert not answer.feasible
    assert "Target(pixels=leanfront.Pixels(mean, std))" in (answer.note or "")


def test_a_damaged_file_keeps_nobody_else_from_being_measured(own: leanfront.SearchResult) -> None:
    best, second, *_ = ranked(own)
    # On the frontier, of which files are kept.
    shelf = open_shelf(open_store(str(own.store.url)))
    kept = shelf.find(best, "safetensors")
    assert kept is not None
    shelf.folder.path(kept.digest).write_bytes(b"something else")
    told: list[int] = []
    answer = own.selection(maximum={"mce": 99}, told=lambda each, _: told.append(each))
    assert told == [best, second]
    assert answer.candidate is not None
    assert answer.candidate.id == second
    assert answer.unmeasured == (best,)
    assert "is damaged" in (answer.note or "")


def test_measuring_by_hand(own: leanfront.SearchResult) -> None:
    measurer = Measurer(own.store, own.verifier().files)
    best = own.candidate(ranked(own)[0])
    found = measurer.measure(best, ("ece", "flip_rate"))
    # What it had is not measured anew.
    assert found.measurement("ece", "validation") == best.measurement("ece", "validation")
    assert found.measurement("flip_rate", "validation") is not None
    assert measurer.measure(found, ("flip_rate",)) is found
    with pytest.raises(UsageError, match="unknown metric: beauty; known: accuracy"):
        measurer.measure(best, ("beauty",))
    stopped = Candidate("mine", 0, leanfront.Configuration(), state="stopped", id=3)
    with pytest.raises(UsageError, match="candidate 3 is stopped: only complete ones are measured"):
        measurer.measure(stopped, ("mce",))


def test_on_the_command_line(own: leanfront.SearchResult, values: dict[int, float]) -> None:
    order = ranked(own)
    limit = limit_of(values, order, 5)
    first = next(each for each in order if values[each] <= limit)
    asked = ["select", "mine", "--max", f"mce={limit!r}", "--database", str(own.store.url)]
    found = CliRunner().invoke(main, [*asked, "--json"])
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["candidate"]["id"] == first
    assert f"measuring mce of candidate {order[0]}" in found.stderr
    again = CliRunner().invoke(main, [*asked, "--json"])
    assert json.loads(again.stdout)["candidate"]["id"] == first
    assert "measuring" not in again.stderr
    less = CliRunner().invoke(main, [*asked[:2], "--max", "flip_rate=0", "--measure", "1", *asked[4:]])
    assert "flip_rate is not measured on candidates" in less.stderr


def test_verifying_finds_them_again(pictured: Target) -> None:
    result = leanfront.search(pictured, name="all", trials=5, sampler="random", metrics=("mce", "flip_rate"))
    found = result.verify(all=True)
    assert all(each.ok for each in found), [each.broken for each in found]
    names = {"ece", "worst_class_drop", "pie_rate", "mce", "flip_rate"}
    for each in found:
        assert {claim.name for claim in each.claims if claim.split == "validation"} >= names
        assert not names & {name.partition(" ")[0] for name in each.unchecked}
    on_front = {each.id for each in result.frontier()}
    for each in found:
        if each.candidate in on_front:
            assert {claim.name for claim in each.claims if claim.split == "test"} >= names
