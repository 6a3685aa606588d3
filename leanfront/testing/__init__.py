"""Test suites that an implementation of a store, a cost model or a pruning criterion must pass; needs pytest."""

import lazy_loader as _lazy

try:
    import pytest
except ImportError:
    raise ImportError("leanfront.testing needs pytest: pip install 'leanfront[testing]'") from None

# A failing `assert` of a suite shows the values that it compared, as one in the user's own file does.
pytest.register_assert_rewrite(
    *(f"{__name__}.{_module}" for _module in ("stores", "cost_models", "criteria"))
)

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
