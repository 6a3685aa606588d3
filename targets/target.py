"""Target: a trained classifier with its data."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from leanfront.core.targets.attributes import Attributes, checked_attributes, chosen_attributes
from leanfront.core.targets.class_numbers import check_same_classes
from leanfront.core.targets.cuts import cut_calibration
from leanfront.core.targets.differences import Digests
from leanfront.core.targets.digests import digests_of, tensors_of
from leanfront.core.targets.forward import class_scores, logits_alone
from leanfront.core.targets.memory_format import SAMPLES, allows_innermost
from leanfront.core.targets.model_copy import private_copy
from leanfront.core.targets.overlap import check_disjoint
from leanfront.core.targets.pixels import Pixels, check_pixels
from leanfront.core.targets.retraining import Step, check_retrain, retrained
from leanfront.core.targets.sample_pairs import Keys
from leanfront.core.targets.samples import as_float32
from leanfront.core.targets.split import Split
from leanfront.core.targets.steadiness import check_steady
from leanfront.core.targets.weights_cache import raw_bytes, unfit, weights_of
from leanfront.errors import TargetError

TASKS = ("classification",)
PROBE_BATCH = 64
"""Number of calibration samples on which the model of a new target is tried."""


@dataclass(frozen=True, init=False, eq=False)
class Target:
    """A trained classifier, an example input and disjoint data splits. Immutable.

    Attributes:
        model: private copy of the model in eval mode on the CPU, with floating parameters as float32 and attention
            with heads that can be cut (`targets/attention.py`). The caller's model is never changed. Copy this one
            before you change it.
        example_input: (1, ...) one input, on the CPU.
        calibration: split for estimating statistics.
        validation: split that a search measures and chooses on.
        test: split that is only reported on, or None.
        train: split for recovery, or None.
        classes: C names, in the order of the model's outputs.
        task: ``classification``.
        name: name for display.
        reference: reference that resolves to this target (``digits``, ``file.py:function``), or None.
        augment: function that randomly changes a batch of training inputs during recovery, or None.
        cuts: sentences that say which split was cut from which.
        pixels: normalisation of images in [0, 1] to inputs, or None; corruptions and attacks need it.
        retrain: function that trains the architecture from scratch, or None; see `retrained`.
        attributes: split name -> attribute name -> one value per sample, as text.
    """

    model: nn.Module
    example_input: Tensor
    validation: Split
    calibration: Split
    test: Split | None
    train: Split | None
    classes: tuple[str, ...]
    task: str
    name: str | None
    reference: str | None
    augment: Callable[[Tensor], Tensor] | None
    cuts: tuple[str, ...]
    pixels: Pixels | None
    retrain: Callable[..., nn.Module] | None
    attributes: Attributes
    _memo: dict[str, Any] = field(init=False, repr=False)

    def __init__(
        self,
        *,
        model: nn.Module,
        example_input: Tensor,
        validation: Any,
        calibration: Any = None,
        test: Any = None,
        train: Any = None,
        classes: Sequence[str] | None = None,
        task: str = "classification",
        name: str | None = None,
        reference: str | None = None,
        augment: Callable[[Tensor], Tensor] | None = None,
        cuts: Sequence[str] = (),
        pixels: Pixels | None = None,
        retrain: Callable[..., nn.Module] | None = None,
        attributes: Mapping[str, Mapping[str, Sequence[Any]]] | None = None,
        inputs_key: str | int | None = None,
        labels_key: str | int | None = None,
    ) -> None:
        """Create a target and validate its arguments.

        Args:
            model: module that maps a batch (n, ...) to float class scores (n, C), returned alone or as `logits`.
            example_input: batch of at least one input; the first input is kept.
            validation: dataset or loader of (input, label), or a pair of tensors; see `Split.of`. The other splits
                accept the same.
            calibration: calibration split; by default up to 512 samples are cut from `train`, or else from
                `validation`.
            test: split that is kept out of all decisions.
            train: training split, read again on every pass, so that it may be augmented.
            classes: names of the classes; by default ``0`` to ``C-1``.
            task: ``classification``, the only task so far.
            name: name for display; by default the model's class name.
            reference: set by `resolve`.
            augment: function from a batch (n, ...) of training inputs to a batch of the same shape. It is called on
                the training device and draws random numbers from torch's global generator. Not part of the
                fingerprint.
            cuts: sentences about earlier cuts, with which `Target.cuts` begins.
            pixels: mean and standard deviation that normalise images in [0, 1] to inputs (n, c, h, w). Not part of
                the fingerprint.
            retrain: function that takes a seed, trains the architecture from scratch on the model's training data,
                and returns it. If it has a parameter named ``step``, it must call ``step(model, progress)`` after
                every optimiser step, with the fraction of completed steps in (0, 1]; this allows pruning during
                training. Its optional str attribute ``recipe`` describes what determines the weights besides the
                seed. Not part of the fingerprint.
            attributes: split name -> attribute name -> one str, int or bool per sample, in the split's order. Reports
                distinguish these subgroups. Not part of the fingerprint.
            inputs_key: key of the input in samples that are mappings (``pixel_values``), or its position in tuples of
                more than two; found without it if a mapping has one tensor and one integer.
            labels_key: the same for the label.

        Raises:
            TargetError: an argument cannot be used; the message says what to do. Causes are: no module, an unknown
                task, a model that fails, does not return finite class scores, or whose scores for a sample change
                from run to run or with the rest of the batch, empty, unlabelled or overlapping
                splits, splits that number their classes differently, labels outside the classes, inputs that are NaN
                or of another shape than the example, `pixels` that do not fit the inputs, attributes that do not
                match the samples in number.
        """
        if task not in TASKS:
            raise TargetError(f"task '{task}' is not supported; only classification is, for now")
        example_input = _example(example_input)
        keys = Keys(inputs_key, labels_key)
        model = private_copy(model, example_input)
        splits = {
            key: Split.of(key, source, cache=key != "train", keys=keys)
            for key, source in (
                ("calibration", calibration),
                ("validation", validation),
                ("test", test),
                ("train", train),
            )
            if source is not None
        }
        if "validation" not in splits:
            raise TargetError("validation is None; a target needs a validation split to search on")
        _check_shapes(splits, example_input)
        outputs = class_scores(logits_alone(model, example_input), example_input, "example_input")
        names = _class_names(classes, outputs.shape[1])
        check_same_classes({name: split.numbering for name, split in splits.items()}, classes)
        _check_labels(splits, len(names), classes is not None)
        check_disjoint(list(splits.values()))
        said = list(cuts)
        if "calibration" not in splits:
            source = "train" if "train" in splits else "validation"
            splits["calibration"], splits[source], sentence = cut_calibration(splits[source])
            said.append(sentence)
        inputs, _ = next(splits["calibration"].batches(PROBE_BATCH))
        check_steady(
            model, inputs, class_scores(model, inputs, f"the first {len(inputs)} calibration samples")
        )
        if augment is not None:
            _check_augment(augment, inputs[:2])
        if pixels is not None:
            check_pixels(pixels, example_input, inputs)
        if retrain is not None:
            check_retrain(retrain)
        values = {
            "model": model,
            "example_input": example_input,
            "calibration": splits["calibration"],
            "validation": splits["validation"],
            "test": splits.get("test"),
            "train": splits.get("train"),
            "classes": names,
            "task": task,
            "name": name or type(model).__name__,
            "reference": reference,
            "augment": augment,
            "cuts": tuple(said),
            "pixels": pixels,
            "retrain": retrain,
            "attributes": {} if attributes is None else checked_attributes(attributes, splits, said),
            "_memo": {},
        }
        for key, value in values.items():
            object.__setattr__(self, key, value)

    @property
    def splits(self) -> dict[str, Split]:
        """The available splits by name."""
        found = (self.calibration, self.validation, self.test, self.train)
        return {split.name: split for split in found if split is not None}

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the model and its data, the same in every process.

        It covers the types of the modules, the weights (names, shapes, dtypes, bytes, including non-persistent
        buffers), the classes, the task, and the digests of the splits. For `train` only the labels count, since its
        inputs may be augmented differently on every pass.
        """
        if "fingerprint" not in self._memo:
            digest = hashlib.sha256()

            def say(*words: object) -> None:
                digest.update("\0".join(str(word) for word in words).encode() + b"\n")

            say("leanfront target 1", self.task, *self.classes)
            say("example_input", self.example_input.dtype, tuple(self.example_input.shape))
            for name, module in self.model.named_modules():
                say("module", name, type(module).__qualname__)
            for name, tensor in sorted(tensors_of(self.model).items()):
                say("tensor", name, tensor.dtype, tuple(tensor.shape))
                digest.update(raw_bytes(tensor))
            for name, split in sorted(self.splits.items()):
                if name == "train":
                    say("split", name, len(split), hashlib.sha256(raw_bytes(split.labels)).hexdigest())
                else:
                    say("split", name, len(split), split.digest)
            self._memo["fingerprint"] = digest.hexdigest()
        return str(self._memo["fingerprint"])

    @property
    def digests(self) -> Digests:
        """Digests of the parts that the fingerprint covers, by name; see `digests.Digests`."""
        if "digests" not in self._memo:
            self._memo["digests"] = digests_of(self)
        return dict(self._memo["digests"])

    @property
    def channels_last(self) -> bool:
        """Whether the model computes the same with channels innermost in memory, tried on calibration samples."""
        if "channels_last" not in self._memo:
            inputs, _ = next(self.calibration.batches(SAMPLES))
            self._memo["channels_last"] = allows_innermost(self.model, inputs)
        return bool(self._memo["channels_last"])

    @property
    def dense_state(self) -> dict[str, Tensor]:
        """Copy of the model's state dict."""
        return {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}

    def referred(self, reference: str, name: str | None = None) -> Target:
        """Return a copy of the target with another reference, and another name if given.

        Args:
            reference: reference that resolves to the target, as typed.
            name: name for display; by default unchanged.
        """
        other = copy.copy(self)
        object.__setattr__(other, "reference", reference)
        if name is not None:
            object.__setattr__(other, "name", name)
        return other

    def retrained(self, seed: int, step: Step | None = None, key: str | None = None) -> nn.Module:
        """Train the architecture from scratch with `Target.retrain`, or load its cached weights.

        Weights are cached by the target's fingerprint, the seed, the key and the recipe of the training: the
        function's attribute ``recipe``, or the content of its file. Weights from a function with a closure but
        without ``recipe`` are not cached.

        Args:
            seed: non-negative seed; another seed gives an independent model.
            step: called after every optimiser step with (model, progress in (0, 1]); not called if the weights come
                from the cache.
            key: description of the step, under which its weights are cached; None to train every time.

        Returns:
            A private copy in eval mode on the CPU, in the form of `model`.

        Raises:
            TargetError: there is no `retrain`, it does not accept `step`, it fails, or it does not return this
                architecture with finite weights and outputs.
            UsageError: an invalid seed, or a key without a step.
        """
        return retrained(self, seed, step, key)

    def recalibrated(self, indices: Sequence[int] | Tensor, model: nn.Module | None = None) -> Target:
        """Return the target with other calibration samples, as used in a population of re-calibrations.

        Args:
            indices: positions in the calibration split; they may repeat, as in a bootstrap.
            model: model of the same architecture to use instead; it is copied.

        Returns:
            A target with a different fingerprint.

        Raises:
            TargetError: no indices, or a model of another architecture.
            UsageError: an index outside the split.
        """
        if isinstance(indices, Tensor):
            indices = indices.tolist()
        if not len(indices):
            raise TargetError("recalibrated: no indices; give at least one position in the calibration split")
        other = copy.copy(self)
        changed: dict[str, Any] = {"calibration": self.calibration.subset(indices), "_memo": {}}
        if "calibration" in self.attributes:
            chosen = chosen_attributes(self.attributes["calibration"], indices)
            changed["attributes"] = {**self.attributes, "calibration": chosen}
        if model is not None:
            own = logits_alone(private_copy(model, self.example_input), self.example_input)
            wrong = unfit(self.model, weights_of(own))
            if wrong:
                raise TargetError(
                    f"recalibrated: the model is of another architecture than the target's: {wrong[0]} differs in "
                    f"name, shape or type, one of {len(wrong)}"
                )
            class_scores(own, self.example_input, "example_input")
            changed["model"] = own
        for key, value in changed.items():
            object.__setattr__(other, key, value)
        return other


def _example(example_input: Any) -> Tensor:
    if not isinstance(example_input, Tensor):
        raise TargetError(
            f"example_input is a {_kind(example_input)}, not a tensor; only models with one input "
            "tensor are supported"
        )
    if example_input.ndim == 0 or example_input.numel() == 0:
        raise TargetError(
            f"example_input has shape {tuple(example_input.shape)}; it must be a batch (n, ...) of at least one input"
        )
    return as_float32(example_input[:1].detach().cpu().clone())


def _check_shapes(splits: dict[str, Split], example_input: Tensor) -> None:
    expected = tuple(example_input.shape[1:])
    for split in splits.values():
        found = split.sample_shape
        if found == expected:
            continue
        hint = f"; {split.name} must give inputs as the example's, or the example be taken from it"
        if found[1:] == expected:
            hint = "; the example lacks the batch dimension: pass example_input.unsqueeze(0)"
        raise TargetError(
            f"{split.name}: inputs have shape {found}, but example_input holds inputs of shape {expected}{hint}"
        )


def _check_augment(augment: Any, inputs: Tensor) -> None:
    if not callable(augment):
        raise TargetError(
            f"augment is a {_kind(augment)}; give a function of a batch of inputs, or leave it out"
        )
    try:
        with torch.random.fork_rng(devices=[]):
            made = augment(inputs.clone())
    except Exception as error:
        raise TargetError(
            f"augment fails on inputs of shape {tuple(inputs.shape)}, {inputs.dtype}: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(made, Tensor) or made.shape != inputs.shape or made.dtype != inputs.dtype:
        found = (
            f"{made.dtype} of shape {tuple(made.shape)}" if isinstance(made, Tensor) else f"a {_kind(made)}"
        )
        raise TargetError(
            f"augment makes {found} of {inputs.dtype} of shape {tuple(inputs.shape)}; it must keep both"
        )


def _class_names(classes: Sequence[str] | None, width: int) -> tuple[str, ...]:
    if classes is None:
        return tuple(str(index) for index in range(width))
    if isinstance(classes, str) or not isinstance(classes, Sequence):
        raise TargetError(f"classes is {classes!r}; give a list of {width} names, or leave it out")
    if len(classes) != width:
        raise TargetError(
            f"classes has {len(classes)} name(s), but the model returns {width} scores; give one name an output"
        )
    return tuple(str(name) for name in classes)


def _check_labels(splits: dict[str, Split], classes: int, named: bool) -> None:
    for split in splits.values():
        bad = ((split.labels < 0) | (split.labels >= classes)).nonzero().flatten()
        if not len(bad):
            continue
        label = int(split.labels[bad[0]])
        hint = "; is the split unlabelled?" if bool((split.labels == -1).all()) else ""
        if label == classes and int(split.labels.min()) == 1:
            hint = "; labels seem to count from 1: subtract 1"
        what = "names" if named else "outputs"
        raise TargetError(
            f"{split.name}: the label of sample {int(bad[0])} is {label}, outside 0..{classes - 1} (the model "
            f"has {classes} class {what}); {len(bad)} label(s) are{hint}"
        )


def _kind(value: object) -> str:
    return type(value).__name__
