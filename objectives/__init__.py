"""What is measured on one candidate, what is better, and what is within a budget.

Metrics with intervals (`measure`), objectives (`resolve`), dominance and hypervolume, budgets, and the rules
that choose one candidate (`select`). Costs come from `cost_models`, whose import fills their registry.
"""

from __future__ import annotations

from compressors.outputs import correct
from objectives import compared as compared
from objectives.budget import Budget, parse_count, parse_size
from objectives.dominance import (
    dominates,
    hypervolume,
    nondominated,
    normalised_hypervolume,
    strictly_better,
)
from objectives.measurement import SEARCHED_SPLITS, SPLITS, Measurement
from objectives.metrics import METRICS, Metric, measure, wilson
from objectives.objective import (
    Objective,
    known_objectives,
    lookup,
    measurement_name,
    minimisation,
    objective_values,
    reference,
    resolve,
)
from objectives.point import Point
from objectives.selection import Selection, select
from objectives.strategies import STRATEGIES, Strategy

__all__ = [
    "METRICS",
    "SEARCHED_SPLITS",
    "SPLITS",
    "STRATEGIES",
    "Budget",
    "Measurement",
    "Metric",
    "Objective",
    "Point",
    "Selection",
    "Strategy",
    "correct",
    "dominates",
    "hypervolume",
    "known_objectives",
    "lookup",
    "measure",
    "measurement_name",
    "minimisation",
    "nondominated",
    "normalised_hypervolume",
    "objective_values",
    "parse_count",
    "parse_size",
    "reference",
    "resolve",
    "select",
    "strictly_better",
    "wilson",
]
