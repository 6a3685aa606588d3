from .cost_models import CostModelConformance
from .criteria import CriterionConformance
from .stores import StoreConformance

__all__ = ["CostModelConformance", "CriterionConformance", "StoreConformance"]
