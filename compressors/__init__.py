"""What a configuration does to a model."""

from compressors.bank import Bank
from compressors.bank_cache import BankCache
from compressors.compress import Compressed, Compressor, compress
from compressors.configuration import Configuration
from compressors.coverage import Coverage, coverage
from compressors.criteria import CRITERIA, Criterion, Saliency
from compressors.derive import derive
from compressors.layout import Layout, layout
from compressors.presets import PRESETS, preset
from compressors.quantisers import ActivationQuantiser, Quantised, quantise_weight
from compressors.sensitivity import Sensitivities, sensitivities
from compressors.structure import ChannelGroup, Member, Part, Shape, Structure

__all__ = [
    "CRITERIA",
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
    "Layout",
    "Member",
    "Part",
    "Quantised",
    "Saliency",
    "Sensitivities",
    "Shape",
    "Structure",
    "compress",
    "coverage",
    "derive",
    "layout",
    "preset",
    "quantise_weight",
    "sensitivities",
]
