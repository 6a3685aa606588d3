"""C-like corruptions of images at five severities: a new implementation of those of CIFAR-10-C and ImageNet-C.

Definitions and parameters follow hendrycks/robustness; each `Corruption.source` names the differences. Figures are
therefore comparable between models, but not with published figures on the original files.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
