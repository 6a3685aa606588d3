"""What is compressed: a trained classifier with its data."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from leanfront.core.targets.attributes import Attributes, checked_attributes, chosen_attributes
from leanfront.core.targets.cuts import cut_calibration
from leanfront.core.targets.forward import class_scores, logits_alone
from leanfront.core.targets.model_copy import private_copy
from leanfront.core.targets.overlap import check_disjoint
from leanfront.core.targets.pixels import Pixels, check_pixels
from leanfront.core.targets.retraining import Step, check_retrain, retrained
from leanfront.core.targets.samples import as_float32
from leanfront.core.targets.split import Split
from leanfront.core.targets.weights_cache import raw_bytes, unfit, weights_of
from leanfront.errors import TargetError

TASKS = ("classification",)
PROBE_BATCH = 64
"""Calibration samples on which a new target's model is tried."""


@dataclass(frozen=True, init=False, eq=False)
class Target:
    """A trained classifier, an example input and disjoint data splits. Immutable.

    Attributes:
        model: a private copy in eval mode on the CPU, floating parameters as float32, attention with heads that
            can be cut (`targets/attention.py`). The caller's model is never touched; whoever changes this one must
            copy it first.
        example_input: (1, ...) one input, on the CPU.
        calibration: statistics are estimated on it.
        validation: searched and chosen on.
        test: reported only, or None.
        train: for recovery, or None.
        classes: C names, in the order of the model's outputs.
        task: ``classification``.
        name: for people.
        reference: what resolves to this target again (``digits``, ``file.py:function``), or None.
        augment: changes a batch of training inputs at random while a candidate is recovered, or None.
        cuts: sentences that say which split was cut from which.
        pixels: how inputs are made of images in [0, 1], or None: corruptions and attacks need it.
        retrain: trains the architecture anew, or None: see `retrained`.
        attributes: split name -> attribute name -> one value a sample, as text.
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
    _memo: dict[str, str] = field(init=False, repr=False)

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
    ) -> None:
        """Check everything that can be checked at the door.

        Args:
            model: maps a batch (n, ...) to float class scores (n, C), alone or under the name `logits`.
            example_input: a batch of at least one input the model takes; the first is kept.
            validation: a dataset or loader of (input, label), or a pair of tensors: see `Split.of`. The same
                goes for the other splits.
            calibration: without it, up to 512 samples are cut from `train`, or else from `validation`.
            test: held out from every decision.
            train: read anew every time, so that it may be augmented.
            classes: the classes' names; without them ``0`` to ``C-1``.
            task: ``classification`` is the only one for now.
            name: for people; the model's class name without it.
            reference: set by `resolve`.
            augment: a function of a batch (n, ...) of training inputs that gives one of the same shape, called on
                the training device with random numbers from torch's global generator. It is no part of the
                fingerprint.
            cuts: sentences on cuts that were made before, which `Target.cuts` opens with.
            pixels: the mean and deviation with which images in [0, 1] became inputs (n, c, h, w). It is no part of
                the fingerprint.
            retrain: a function of a seed that trains the architecture anew from scratch, on what the model was
                trained on, and returns it. One that also takes a parameter named ``step`` calls
                ``step(model, progress)`` after every optimiser step, with the part of all steps that are done, in
                (0, 1]: it lets pruning into the training. Its str attribute ``recipe``, if it has one, says what
                decides the weights beside the seed. It is no part of the fingerprint.
            attributes: split name -> attribute name -> one str, int or bool a sample, in the split's order: the
                subgroups that reports tell apart. No part of the fingerprint.

        Raises:
            TargetError: what cannot be used and what to do about it: no module, another task, a model that
                fails or returns something else than finite class scores, empty, unlabelled or overlapping
                splits, labels that are no class index, inputs shaped otherwise than the example, pixels that the
                inputs are not made of, attributes of another number than the samples.
        """
        if not isinstance(model, nn.Module):
            raise TargetError(
                f"model is a {_kind(model)}, not a torch.nn.Module"
                + ("; load a state dict into its module first" if isinstance(model, dict) else "")
            )
        if task not in TASKS:
            raise TargetError(f"task '{task}' is not supported; only classification is, for now")
        model = private_copy(model)
        example_input = _example(example_input)
        splits = {
            key: Split.of(key, source, cache=key != "train")
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
        _check_labels(splits, len(names), classes is not None)
        check_disjoint(list(splits.values()))
        said = list(cuts)
        if "calibration" not in splits:
            source = "train" if "train" in splits else "validation"
            splits["calibration"], splits[source], sentence = cut_calibration(splits[source])
            said.append(sentence)
        inputs, _ = next(splits["calibration"].batches(PROBE_BATCH))
        class_scores(model, inputs, f"the first {len(inputs)} calibration samples")
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
        """The splits there are, by name."""
        found = (self.calibration, self.validation, self.test, self.train)
        return {split.name: split for split in found if split is not None}

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of what is compressed and judged, the same in every process.

        Over the modules' types, the weights (names, shapes, dtypes, bytes; buffers outside the state dict
        too), the classes, the task, and the splits' digests. Of `train` only the labels enter: its inputs may
        be augmented anew on every reading.
        """
        if "fingerprint" not in self._memo:
            digest = hashlib.sha256()

            def say(*words: object) -> None:
                digest.update("\0".join(str(word) for word in words).encode() + b"\n")

            say("leanfront target 1", self.task, *self.classes)
            say("example_input", self.example_input.dtype, tuple(self.example_input.shape))
            for name, module in self.model.named_modules():
                say("module", name, type(module).__qualname__)
            tensors: dict[str, Tensor] = dict(self.model.named_parameters(remove_duplicate=False))
            tensors.update(self.model.named_buffers(remove_duplicate=False))
            for name, tensor in sorted(tensors.items()):
                say("tensor", name, tensor.dtype, tuple(tensor.shape))
                digest.update(raw_bytes(tensor))
            for name, split in sorted(self.splits.items()):
                if name == "train":
                    say("split", name, len(split), hashlib.sha256(raw_bytes(split.labels)).hexdigest())
                else:
                    say("split", name, len(split), split.digest)
            self._memo["fingerprint"] = digest.hexdigest()
        return self._memo["fingerprint"]

    @property
    def dense_state(self) -> dict[str, Tensor]:
        """A copy of the model's state dict."""
        return {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}

    def referred(self, reference: str, name: str | None = None) -> Target:
        """The same target under the reference that resolves to it, and a name if it is given.

        Args:
            reference: as typed.
            name: for people; unchanged without it.
        """
        other = copy.copy(self)
        object.__setattr__(other, "reference", reference)
        if name is not None:
            object.__setattr__(other, "name", name)
        return other

    def retrained(self, seed: int, step: Step | None = None, key: str | None = None) -> nn.Module:
        """The architecture trained anew from scratch by `Target.retrain`.

        Its weights are kept in the cache folder under the target's fingerprint, the seed, the key and what the
        training is (the function's attribute ``recipe``, or the content of its file; functions with a closure but
        without ``recipe`` are not kept), and not trained again as long as they are there.

        Args:
            seed: from 0; another one gives an independent model.
            step: called after every optimiser step with (model, progress in (0, 1]); it is not called where the
                weights are in the cache.
            key: what the step does, so that its weights can be kept; None to train anew each time.

        Returns:
            A private copy in eval mode on the CPU, in the form of `model`.

        Raises:
            TargetError: there is no `retrain`, it takes no step but one is given, it fails, or what it returns is
                not this architecture with finite weights and outputs.
            UsageError: a seed that is none, or a key without a step.
        """
        return retrained(self, seed, step, key)

    def recalibrated(self, indices: Sequence[int] | Tensor, model: nn.Module | None = None) -> Target:
        """The same target with other calibration samples: one of a population of re-calibrations.

        Args:
            indices: positions in the calibration split; one may come twice, as in a bootstrap.
            model: of the same architecture, instead of the target's; it is copied.

        Returns:
            A target with a fingerprint of its own.

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
            if not isinstance(model, nn.Module):
                raise TargetError(f"recalibrated: model is a {_kind(model)}, not a torch.nn.Module")
            own = logits_alone(private_copy(model), self.example_input)
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
            f"example_input is a {_kind(example_input)}, not a tensor; models of one input tensor are supported"
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
