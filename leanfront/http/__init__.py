"""The HTTP API over a store: `create_app` makes it, `Server` runs it."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
