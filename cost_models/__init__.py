"""What a configuration costs, known and cheap before it is evaluated."""

# Importing a module registers its cost models.
from leanfront.core.cost_models import latency as _latency
from leanfront.core.cost_models import macs as _macs
from leanfront.core.cost_models import memory as _memory
from leanfront.core.cost_models.backends import BACKENDS, LatencyOptions
from leanfront.core.cost_models.batch import Batch, BatchedCost
from leanfront.core.cost_models.costs import Costs, CostTable
from leanfront.core.cost_models.flops import analyse, unsupported
from leanfront.core.cost_models.flops import macs as count_macs
from leanfront.core.cost_models.latency_table import LatencyTable
from leanfront.core.cost_models.profile import Profile
from leanfront.core.cost_models.registry import COST_MODELS, Cost, CostModel, register

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
