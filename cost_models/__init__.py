"""What a configuration costs, known and cheap before it is evaluated."""

# Importing a module registers its cost models.
from cost_models import latency as _latency
from cost_models import macs as _macs
from cost_models import memory as _memory
from cost_models.backends import BACKENDS, LatencyOptions
from cost_models.batch import Batch, BatchedCost
from cost_models.costs import Costs, CostTable
from cost_models.flops import analyse, unsupported
from cost_models.flops import macs as count_macs
from cost_models.latency_table import LatencyTable
from cost_models.profile import Profile
from cost_models.registry import COST_MODELS, Cost, CostModel, register

__all__ = [
    "BACKENDS",
    "COST_MODELS",
    "Batch",
    "BatchedCost",
    "Cost",
    "CostModel",
    "CostTable",
    "Costs",
    "LatencyOptions",
    "LatencyTable",
    "Profile",
    "analyse",
    "count_macs",
    "register",
    "unsupported",
]

del _latency, _macs, _memory
