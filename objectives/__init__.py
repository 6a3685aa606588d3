"""What is measured on one candidate, what is better, and what is within a budget.

Metrics with intervals (`measure`), objectives (`resolve`), dominance and hypervolume, budgets, and the rules
that choose one candidate (`select`). Costs come from `cost_models`, whose import fills their registry.
"""

from __future__ import annotations

from leanfront.core.compressors.statistics.outputs import correct
from leanfront.core.objectives import compared as compared
from leanfront.core.objectives.budget import Budget, parse_count, parse_size
from leanfront.core.objectives.dominance import (
    dominates,
    hypervolume,
    nondominated,
    normalised_hypervolume,
    strictly_better,
)
from leanfront.core.objectives.measurement import SEARCHED_SPLITS, SPLITS, Measurement
from leanfront.core.objectives.metrics import METRICS, Metric, measure, wilson
from leanfront.core.objectives.objective import (
    Objective,
    known_objectives,
    lookup,
    measurement_name,
    minimisation,
    objective_values,
    reference,
    resolve,
)
from leanfront.core.objectives.point import Point
from leanfront.core.objectives.selection import Selection, select
from leanfront.core.objectives.strategies import STRATEGIES, Strategy

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
