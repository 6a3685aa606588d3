"""What a configuration does to a model."""

from compressors.bank import Bank
from compressors.bank_cache import BankCache
from compressors.compress import Compressed, Compressor, compress
from compressors.configuration import Configuration
from compressors.coverage import Coverage, coverage
from compressors.criteria import CRITERIA, Criterion, Saliency
from compressors.derive import derive
from compressors.layout import Layout, layout
from compressors.optimisers import OPTIMISERS, Optimiser
from compressors.presets import PRESETS, preset
from compressors.quantisers import ActivationQuantiser, Quantised, quantise_weight
from compressors.rebuild import compressed_of
from compressors.recovery import Recovered, recover
from compressors.recovery_settings import Recovery
from compressors.sensitivity import Sensitivities, sensitivities
from compressors.structure import ChannelGroup, Member, Part, Shape, Structure
from compressors.training import Epoch, Progress

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
