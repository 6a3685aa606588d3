"""What compression did to a model, against the dense one: populations of models, suites of images, reports.

A kind of audit (`KINDS`) is a function of an `Auditor`, which knows the models and what they answer; its statistics
are pure functions of those answers. What a name needs is imported when the name is asked for.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
