"""Audits: comparisons of compressed models with the dense model, on populations of models and suites of images.

A kind of audit (`KINDS`) is a function of an `Auditor`, which holds the models and their answers; its statistics
are pure functions of those answers. A name is imported when it is first used.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
