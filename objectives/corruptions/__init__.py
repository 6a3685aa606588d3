"""C-like corruptions of images at five severities: those of CIFAR-10-C and ImageNet-C, built anew.

Definitions and parameters are those of hendrycks/robustness; each `Corruption.source` names what differs, so
figures on them are comparable among models, but not with published figures on the original files.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
