from .budget import Budget, parse_count, parse_size
from .dominance import dominates, hypervolume, nondominated, normalised_hypervolume, strictly_better
from .measurement import SPLITS, Measurement
from .metrics import METRICS, Metric, measure, wilson
from .objective import (
    Objective,
    known_objectives,
    lookup,
    measurement_name,
    minimisation,
    objective_values,
    reference,
    resolve,
)
from .selection import Selection, select
from .strategies import STRATEGIES, Strategy

__all__ = [
    "METRICS",
    "SPLITS",
    "STRATEGIES",
    "Budget",
    "Measurement",
    "Metric",
    "Objective",
    "Selection",
    "Strategy",
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
