"""What a configuration does to a model."""

from leanfront.core.compressors.artifact.layout import Layout, layout
from leanfront.core.compressors.artifact.rebuild import compressed_of
from leanfront.core.compressors.compressor import Compressed, Compressor, compress
from leanfront.core.compressors.configuration import Configuration
from leanfront.core.compressors.coverage_report import Coverage, coverage
from leanfront.core.compressors.presets import PRESETS, preset
from leanfront.core.compressors.pruning.criteria import CRITERIA, Criterion, Saliency
from leanfront.core.compressors.quantisation.quantisers import ActivationQuantiser, Quantised, quantise_weight
from leanfront.core.compressors.recovery_settings import Recovery
from leanfront.core.compressors.refit.bank import Bank
from leanfront.core.compressors.refit.sensitivity import Sensitivities, sensitivities
from leanfront.core.compressors.statistics.cache import BankCache
from leanfront.core.compressors.structure.derivation import derive
from leanfront.core.compressors.structure.structure import ChannelGroup, Member, Part, Shape, Structure
from leanfront.core.compressors.training.loop import Epoch, Progress
from leanfront.core.compressors.training.optimisers import OPTIMISERS, Optimiser
from leanfront.core.compressors.training.recovery import Recovered, recover

__all__ = [
    "CRITERIA",
    "OPTIMISERS",
    "PRESETS",
    "ActivationQuantiser",
    "Bank",
    "BankCache",
    "ChannelGroup",
    "Compressed",
    "Compressor",
    "Configuration",
    "Coverage",
    "Criterion",
    "Epoch",
    "Layout",
    "Member",
    "Optimiser",
    "Part",
    "Progress",
    "Quantised",
    "Recovered",
    "Recovery",
    "Saliency",
    "Sensitivities",
    "Shape",
    "Structure",
    "compress",
    "compressed_of",
    "coverage",
    "derive",
    "layout",
    "preset",
    "quantise_weight",
    "recover",
    "sensitivities",
]
