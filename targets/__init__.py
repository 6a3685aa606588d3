"""What is compressed: targets, their data splits, and what a reference on the command line means."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
