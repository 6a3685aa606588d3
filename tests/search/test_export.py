"""A search written into an Optuna storage, opened with Optuna."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from leanfront.core import search as searching
from leanfront.core.search import SearchOptions, export_study, start
from leanfront.core.storage import FrontierStore
from leanfront.core.targets import Target
from leanfront.errors import NameTakenError, StorageError, UsageError

OPTIONS = SearchOptions(trials=30, sampler="random", criterion="l1", method="rounding")


@pytest.fixture
def store(tmp_path: Path) -> FrontierStore:
    return FrontierStore(f"sqlite:///{tmp_path}/leanfront.db")


def test_optuna_opens_an_exported_study(tiny: Target, store: FrontierStore, tmp_path: Path) -> None:
    start(tiny, store, "mine", OPTIONS)
    url = f"sqlite:///{tmp_path}/optuna.db"
    export_study(store, "mine", url)
    study = optuna.load_study(study_name="mine", storage=url)
    assert [d.name for d in study.directions] == ["MAXIMIZE", "MINIMIZE", "MINIMIZE"]
    assert study.metric_names == ["accuracy", "memory", "macs"]
    records = store.trials("mine")
    trials = study.get_trials(deepcopy=False)
    assert len(trials) == len(records) == 30
    states = {"complete": TrialState.COMPLETE, "failed": TrialState.FAIL, "stopped": TrialState.PRUNED}
    for trial, record in zip(trials, records, strict=True):
        assert trial.params == dict(record.parameters)
        assert record.candidate is not None
        candidate = store.candidate(record.candidate)
        assert trial.state == states[candidate.state]
        assert trial.user_attrs["candidate"] == record.candidate
        assert trial.user_attrs["memory_bytes"] == candidate.memory_bytes
        if trial.state == TrialState.COMPLETE:
            assert tuple(trial.values) == record.values
    assert TrialState.PRUNED in {trial.state for trial in trials}
    best = {trial.user_attrs["candidate"] for trial in study.best_trials}
    # Optuna's own frontier is ours: equal vectors of different candidates included.
    assert best == {candidate.id for candidate in store.frontier("mine")}
    # Optuna can go on with it.
    trial = study.ask(trials[0].distributions)
    study.tell(trial, [0.5, 1.0, 1.0])


def test_a_number_that_was_running_is_a_failed_trial(
    tiny: Target, store: FrontierStore, tmp_path: Path
) -> None:
    start(tiny, store, "mine", OPTIONS)
    with store.database.writing() as session:
        session.connection().exec_driver_sql("DELETE FROM leanfront_trials WHERE number = 7")
    study = export_study(store, "mine", f"sqlite:///{tmp_path}/optuna.db", "other")
    trials = study.get_trials(deepcopy=False)
    assert study.study_name == "other"
    assert [trial.number for trial in trials] == list(np.arange(30))
    assert trials[7].state == TrialState.FAIL
    assert trials[7].params == {}


def test_what_cannot_be_exported_is_refused(tiny: Target, store: FrontierStore, tmp_path: Path) -> None:
    store.create_search(searching.queued("queued", "digits", OPTIONS))
    url = f"sqlite:///{tmp_path}/optuna.db"
    with pytest.raises(UsageError, match="has not begun"):
        export_study(store, "queued", url)
    start(tiny, store, "mine", SearchOptions(trials=2, sampler="random"))
    export_study(store, "mine", url)
    with pytest.raises(NameTakenError, match="study-name"):
        export_study(store, "mine", url)
    for bad in ("nonsense", f"sqlite:///{tmp_path}/no/folder.db"):
        with pytest.raises(StorageError, match="Optuna storage"):
            export_study(store, "mine", bad)
