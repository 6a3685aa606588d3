"""The search: space, samplers, evaluation, and the driver of the Optuna study."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
