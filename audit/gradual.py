"""Magnitude pruning as in the audited literature: gradually while a network is trained, or after it.

Zhu and Gupta, arXiv 1710.01878, in the form of the code that accompanies Hooker et al., arXiv 1911.05248
(google-research/pruning_identified_exemplars).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from leanfront.core.targets.layer_types import LAYERS
from leanfront.errors import UsageError

SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Sparsities of Hooker et al."""
BEGIN, END = 5000 / 32000, 8000 / 32000
"""Default parts of the training between which sparsity rises: steps 5,000 to 8,000 of 32,000, as in their code."""
EVERY = 500 / 32000
"""Default part of the training between two updates of the masks: 500 steps of 32,000."""
ATTENTION = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
"""Weights that `nn.MultiheadAttention` holds itself."""
VERSION = 1
"""Raised whenever the same settings give other masks."""


def schedule(
    progress: float, final: float, initial: float = 0.0, begin: float = BEGIN, end: float = END
) -> float:
    """Return the sparsity at a point of the training: final + (initial - final) (1 - p)^3.

    Here p = clip((progress - begin) / (end - begin), 0, 1).

    Args:
        progress: share of all steps that are done, in [0, 1].
        final: sparsity from `end` on.
        initial: sparsity up to `begin`.
        begin, end: shares of the training, begin < end.
    """
    p = min(1.0, max(0.0, (progress - begin) / (end - begin)))
    return final + (initial - final) * (1 - p) ** 3


def kept_by_magnitude(weight: Tensor, sparsity: float) -> Tensor:
    """Return which weights stay: those whose |w| is at least the k-th largest, k = round(n (1 - sparsity)).

    Weights equal to the k-th largest stay too, so more than k may stay. At least one weight stays.

    Args:
        weight: any shape, n weights.
        sparsity: in [0, 1].

    Returns:
        Bool of that shape.
    """
    size = weight.detach().abs().flatten()
    k = max(1, round(len(size) * (1 - sparsity)))
    threshold = size.kthvalue(len(size) - k + 1).values
    return (size >= threshold).view(weight.shape)


def prunable(model: nn.Module, skip: Sequence[str] = (), classifier: bool = False) -> dict[str, nn.Parameter]:
    """Return the weight tensors to prune: those of convolutions, linear layers and attention projections.

    As in the audited code, biases, norms and the classifier (the last linear layer) stay dense; the first convolution
    and those of shortcuts are pruned. A tensor shared by several layers is listed once.

    Args:
        model: the network.
        skip: names of modules that stay dense with everything in them.
        classifier: whether the last linear layer is pruned, too.

    Returns:
        Name -> parameter, in the order of the modules.

    Raises:
        UsageError: a name in `skip` is no module, or nothing is left to prune.
    """
    modules = dict(model.named_modules())
    unknown = [name for name in skip if name not in modules]
    if unknown:
        raise UsageError(
            f"skip: the model has no module '{unknown[0]}'; it has {', '.join(list(modules)[1:9])}, ..."
        )
    linear = [name for name, module in modules.items() if isinstance(module, nn.Linear)]
    stays = {*skip, *(linear[-1:] if not classifier else ())}
    # A tied tensor that stays dense in one place stays dense everywhere.
    seen = {
        id(parameter)
        for name, parameter in model.named_parameters(remove_duplicate=False)
        if any(_inside(name, module) for module in stays)
    }
    found: dict[str, nn.Parameter] = {}
    for name, parameter in _weights(modules):
        if id(parameter) not in seen:
            seen.add(id(parameter))
            found[name] = parameter
    if not found:
        raise UsageError(
            "the model has no convolution or linear layer to prune besides those that stay dense"
        )
    return found


class GradualPruning:
    """Gradual pruning of one network during training; a `step` of `leanfront.core.targets.Target.retrained`.

    It is called after every optimiser step. Masks are updated at the first step from `begin` on, then after every
    `every` of the training, and for the last time at the first step from `end` on; then every tensor has its final
    sparsity. Masks are applied at every step, so pruned weights stay zero, as in the audited code, where they get no
    gradient.

    Args:
        final: sparsity of every prunable tensor at the end, in (0, 1).
        initial: sparsity at `begin`, in [0, final].
        begin, end: shares of the training, 0 <= begin < end <= 1.
        every: share of the training between two updates, above 0.
        skip, classifier: tensors that stay dense: see `prunable`.

    Raises:
        UsageError: a value is out of range.
    """

    def __init__(
        self,
        final: float,
        initial: float = 0.0,
        begin: float = BEGIN,
        end: float = END,
        every: float = EVERY,
        skip: Sequence[str] = (),
        classifier: bool = False,
    ) -> None:
        if not 0 < final < 1 or not 0 <= initial <= final:
            raise UsageError(
                f"gradual pruning: final is {final!r} and initial {initial!r}; give 0 <= initial <= final < 1, "
                "with final above 0"
            )
        if not 0 <= begin < end <= 1 or not 0 < every <= 1:
            raise UsageError(
                f"gradual pruning: begin is {begin!r}, end {end!r} and every {every!r}; they are parts of the "
                "training: give 0 <= begin < end <= 1 and 0 < every <= 1"
            )
        self.final, self.initial, self.begin, self.end, self.every = final, initial, begin, end, every
        self.skip, self.classifier = tuple(skip), classifier
        self.updates: list[tuple[float, float]] = []
        """(progress, requested sparsity) of every update of the masks so far."""
        self._masks: dict[str, Tensor] = {}
        self._progress = 0.0

    @property
    def key(self) -> str:
        """Everything that decides the masks, for the weights cache."""
        settings = (self.final, self.initial, self.begin, self.end, self.every, self.skip, self.classifier)
        return f"gradual-{self.final:g} {VERSION} {settings!r}"

    @torch.no_grad()
    def __call__(self, model: nn.Module, progress: float) -> None:
        """Update the masks if an update is due, and apply them.

        Args:
            model: the model in training; its weights change in place.
            progress: share of all steps that are done, in (0, 1], larger than at the last call.

        Raises:
            UsageError: progress did not grow: one object prunes one training.
        """
        if not self._progress < progress <= 1 + 1e-9:
            raise UsageError(
                f"gradual pruning was called at progress {progress} after {self._progress}; progress must grow up to "
                "1: make a new GradualPruning for each training"
            )
        self._progress = progress
        if self._is_due(progress):
            # Masked first, so that pruned weights stay the smallest.
            self._apply(model)
            sparsity = schedule(progress, self.final, self.initial, self.begin, self.end)
            for name, weight in prunable(model, self.skip, self.classifier).items():
                mask = kept_by_magnitude(weight, sparsity)
                before = self._masks.get(name)
                self._masks[name] = mask if before is None else mask & before
            self.updates.append((progress, sparsity))
        self._apply(model)

    def _is_due(self, progress: float) -> bool:
        if progress < self.begin:
            return False
        last = self.updates[-1][0] if self.updates else None
        if last is None:
            return True
        # A step that falls short of the interval only by rounding counts.
        return last < self.end and (progress >= self.end or progress - last >= self.every - 1e-9)

    def _apply(self, model: nn.Module) -> None:
        for name, mask in self._masks.items():
            # A product would keep minus zero and NaN.
            model.get_parameter(name).masked_fill_(~mask, 0.0)


def _weights(modules: Mapping[str, nn.Module]) -> Iterator[tuple[str, nn.Parameter]]:
    for name, module in modules.items():
        wanted: tuple[str, ...] = ("weight",) if isinstance(module, LAYERS) else ()
        if isinstance(module, nn.MultiheadAttention):
            wanted = ATTENTION
        for own in wanted:
            parameter = getattr(module, own)
            if isinstance(parameter, nn.Parameter):
                yield f"{name}.{own}" if name else own, parameter


def _inside(parameter: str, module: str) -> bool:
    return not module or parameter.startswith(f"{module}.")
