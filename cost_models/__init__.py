"""What a configuration costs, exact and cheap before it is evaluated."""

# Importing a module registers its cost models.
from cost_models import macs as _macs
from cost_models import memory as _memory
from cost_models.batch import Batch, BatchedCost
from cost_models.costs import Costs, CostTable
from cost_models.flops import analyse, unsupported
from cost_models.flops import macs as count_macs
from cost_models.profile import Profile
from cost_models.registry import COST_MODELS, Cost, CostModel, register

__all__ = [
    "COST_MODELS",
    "Batch",
    "BatchedCost",
    "Cost",
    "CostModel",
    "CostTable",
    "Costs",
    "Profile",
    "analyse",
    "count_macs",
    "register",
    "unsupported",
]

del _macs, _memory
