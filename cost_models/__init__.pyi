from .costs import Costs, CostTable
from .flops import analyse, count_macs, unsupported
from .latency_options import BACKENDS, LatencyOptions
from .latency_table import LatencyTable
from .profile import Profile
from .registry import COST_MODELS, Cost, CostModel, register

__all__ = [
    "BACKENDS",
    "COST_MODELS",
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
