"""Export of a search as an Optuna study, for optuna-dashboard and scripts that read studies."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import optuna
from optuna.distributions import IntDistribution
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from leanfront.core.objectives import resolve
from leanfront.core.search.candidate import Candidate, SearchRecord, TrialRecord
from leanfront.core.search.store_protocol import Store
from leanfront.errors import NameTakenError, StorageError, UsageError

STATES = {"complete": TrialState.COMPLETE, "failed": TrialState.FAIL, "stopped": TrialState.PRUNED}
"""Candidate state -> trial state. Optuna keeps no values of pruned trials, so estimates become attributes."""


def export_study(store: Store, name: str, storage: str, study_name: str | None = None) -> optuna.Study:
    """Write a search into an Optuna storage as a new study.

    Parameters are those of the search: an index on each grid, cheapest first. Each trial has the id and measurements
    of its candidate as user attributes. A trial that was running when its driver died is exported as failed.

    Args:
        store: store of the search.
        name: name of the search.
        storage: URL of an Optuna storage (``sqlite:///optuna.db``), created if it does not exist.
        study_name: name of the study; the search's name by default.

    Raises:
        NotFoundError: the search does not exist.
        NameTakenError: the storage already has a study of that name.
        StorageError: the storage cannot be opened or written.
    """
    record = store.search(name)
    if not record.prepared:
        raise UsageError(f"search '{name}' has not begun: there is nothing to export yet")
    objectives = resolve(record.objectives)
    try:
        study = optuna.create_study(
            storage=storage,
            study_name=study_name or name,
            directions=["maximize" if objective.maximise else "minimize" for objective in objectives],
        )
        with _experimental():
            study.set_metric_names([objective.name for objective in objectives])
        for key, value in (("target", record.target), ("fingerprint", record.fingerprint)):
            study.set_user_attr(key, value)
        study.add_trials(list(_trials(store, record)))
    except optuna.exceptions.DuplicatedStudyError:
        raise NameTakenError(
            f"the storage {storage} has a study named '{study_name or name}': give another --study-name"
        ) from None
    except (optuna.exceptions.OptunaError, SQLAlchemyError, ImportError, ValueError, OSError) as error:
        raise StorageError(f"cannot write to the Optuna storage {storage}: {error}") from None
    return study


@contextmanager
def _experimental() -> Iterator[None]:
    """Ignore the warning about names of objectives, an experimental feature of Optuna shown by its dashboard."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


def _trials(store: Store, record: SearchRecord) -> Iterator[FrozenTrial]:
    distributions = {
        name: IntDistribution(0, max(0, size - 1)) for name, size in record.settings["parameters"]
    }
    candidates = {each.id: each for each in store.candidates(record.name, failed=True)}
    by_number = {trial.number: trial for trial in store.trials(record.name)}
    for number in range(max(by_number, default=-1) + 1):
        trial = by_number.get(number)
        if trial is None:
            yield optuna.create_trial(state=TrialState.FAIL)
        else:
            yield _trial(trial, candidates[trial.candidate], distributions)


def _trial(
    trial: TrialRecord, candidate: Candidate, distributions: dict[str, IntDistribution]
) -> FrozenTrial:
    state = STATES[candidate.state]
    return optuna.create_trial(
        state=state,
        values=list(trial.values or ()) if state == TrialState.COMPLETE else None,
        params=dict(trial.parameters),
        distributions={name: distributions[name] for name in trial.parameters},
        user_attrs=_attributes(trial, candidate),
    )


def _attributes(trial: TrialRecord, candidate: Candidate) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "candidate": candidate.id,
        "duplicate": trial.duplicate,
        "on_frontier": candidate.on_frontier,
        "exported": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    if candidate.reason is not None:
        attributes["reason"] = candidate.reason
    for measurement in candidate.measurements:
        split = f"{measurement.split}_" if measurement.split else ""
        attributes[split + measurement.name] = measurement.to_json()["value"]
    return attributes
