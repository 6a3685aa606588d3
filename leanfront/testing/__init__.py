"""Conformance test suites for stores, cost models and pruning criteria; they need pytest."""

import lazy_loader as _lazy

try:
    import pytest
except ImportError:
    raise ImportError("leanfront.testing needs pytest: pip install 'leanfront[testing]'") from None

# With this, a failing `assert` of a suite shows the compared values, as in the user's own test files.
pytest.register_assert_rewrite(
    *(f"{__name__}.{_module}" for _module in ("stores", "cost_models", "criteria"))
)

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
