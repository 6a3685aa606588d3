"""Measuring candidates, comparing them, and selecting one within a budget.

Metrics with intervals (`measure`), objectives (`resolve`), dominance and hypervolume, budgets, and strategies that
select one candidate (`select`). Costs are in `cost_models`.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
