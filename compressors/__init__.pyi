from .artifact.rebuild import compressed_of
from .compressor import Compressed, Compressor, compress
from .configuration import Configuration
from .coverage_report import Coverage
from .presets import PRESETS, preset
from .pruning.criteria import CRITERIA, Criterion
from .pruning.saliency import Saliency
from .quantisation.quantisers import ActivationQuantiser, Quantised, quantise_weight
from .recovery_settings import Recovery
from .refit.bank import Bank
from .refit.sensitivity import sensitivities
from .statistics.cache import BankCache
from .statistics.sensitivities import Sensitivities
from .structure.derivation import derive
from .structure.structure import ChannelGroup, Member, Part, Shape, Structure
from .training.optimisers import OPTIMISERS, Optimiser
from .training.progress import Epoch
from .training.recovery import Recovered, recover

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
    "Member",
    "Optimiser",
    "Part",
    "Quantised",
    "Recovered",
    "Recovery",
    "Saliency",
    "Sensitivities",
    "Shape",
    "Structure",
    "compress",
    "compressed_of",
    "derive",
    "preset",
    "quantise_weight",
    "recover",
    "sensitivities",
]
