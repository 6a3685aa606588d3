"""Storage of searches: tables, migrations, the store with its frontier, and files named by content."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
