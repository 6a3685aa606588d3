"""What is measured on one candidate, what is better, and what is within a budget.

Metrics with intervals (`measure`), objectives (`resolve`), dominance and hypervolume, budgets, and the rules
that choose one candidate (`select`). Costs come from `cost_models`, whose import fills their registry.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
