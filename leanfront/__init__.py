"""leanfront: which compressed version of my model should I ship?"""

import lazy_loader as _lazy

# Before anything imports torch.
from leanfront import threads as _threads  # noqa: F401

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
