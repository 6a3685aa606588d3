"""Training loop of a recovery: steps, measurements, checkpoints.

The loss is that of distillation (Hinton et al., arXiv 1503.02531): T^2 KL(dense || compressed) of outputs softened
by T, and cross-entropy with the labels.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from leanfront.core.compressors.compressor import Compressed, Compressor
from leanfront.core.compressors.quantisation.integer_biases import round_biases
from leanfront.core.compressors.recovery_settings import Recovery
from leanfront.core.compressors.statistics.batch_norm import reestimate
from leanfront.core.compressors.statistics.cache import content_key
from leanfront.core.compressors.statistics.outputs import batch_size, correct, outputs
from leanfront.core.compressors.structure.folding import fold
from leanfront.core.compressors.structure.norm_form import restate
from leanfront.core.compressors.structure.norms import BATCH_NORMS
from leanfront.core.compressors.training import training_mode
from leanfront.core.compressors.training.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from leanfront.core.compressors.training.feature_matching import Features
from leanfront.core.compressors.training.optimisers import OPTIMISERS, schedule
from leanfront.core.compressors.training.progress import Epoch, Progress
from leanfront.core.compressors.training.trainable import fill_state, settled, state, trainable
from leanfront.core.targets import Split
from leanfront.core.targets.memory_format import in_format
from leanfront.errors import CompressionError, LeanfrontError, UsageError

STATISTICS = 2048
"""Number of training samples that set the norms' statistics before a measurement."""


class Training:
    """State and steps of one recovery.

    Args:
        compressor: compressor of the target, on the training device.
        compressed: the model to train; not changed.
        settings: settings of the training.
        path: path of the checkpoint, or None.
    """

    def __init__(
        self, compressor: Compressor, compressed: Compressed, settings: Recovery, path: Path | None
    ) -> None:
        self._begin = time.perf_counter()
        self.compressor, self.settings, self.path = compressor, settings, path
        self.target, self.device = compressor.target, compressor.device
        self.given = compressed
        self.train = _training_split(compressor)
        if settings.optimiser not in OPTIMISERS:
            raise UsageError(f"unknown optimiser '{settings.optimiser}'; known: {', '.join(OPTIMISERS)}")
        kind = OPTIMISERS[settings.optimiser]
        self.rate = settings.learning_rate or kind.learning_rate
        self.start = self._restated(compressed)
        frozen = {name for name, p in self.target.model.named_parameters() if not p.requires_grad}
        if len(frozen) == len(list(self.target.model.named_parameters())):
            frozen = set()  # made for inference: all are frozen, none on purpose
        self.student = trainable(self.start, compressor.structure, frozenset(frozen))
        self.average = copy.deepcopy(self.student).requires_grad_(False)
        self.teacher = compressor.context.dense()
        fold(self.teacher, compressor.context.foldable)
        self.kept_in_eval = training_mode.kept_in_eval(self.start.module, next(self._plain_batches())[:2])
        self.features = self._watched() if settings.features else None
        learning = [p for p in self.student.parameters() if p.requires_grad]
        # No weight decay for norms, biases and scales.
        groups = [
            {"params": [p for p in learning if p.dim() > 1], "weight_decay": settings.weight_decay},
            {"params": [p for p in learning if p.dim() <= 1], "weight_decay": 0.0},
        ]
        self.optimiser = kind.make([group for group in groups if group["params"]], self.rate)
        self.autocast, self.scaler = precision(self.device)
        # Batches of nearly equal size, with at least two samples each, as norms need.
        samples = len(self.train)
        self.per_epoch = min(math.ceil(samples / settings.batch_size), samples // 2)
        self.planned = settings.epochs * self.per_epoch
        self.total = min(self.planned, settings.steps or self.planned)
        self.done = self.judged = self.best_epoch = 0
        self.losses: list[float] = []
        self.history: list[Epoch] = []
        self.spent = self.epoch_spent = 0.0
        begin = time.perf_counter()
        self.before = self.best = self._accuracy(compressed)
        # Estimated time to measure weights and average, with their norms' statistics.
        self.judging = 3 * (time.perf_counter() - begin)
        self.best_tensors: dict[str, Tensor] | None = None
        self._epoch_begin = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds since the beginning, earlier runs included."""
        return self.spent + time.perf_counter() - self._begin

    def run(
        self,
        report: Callable[[Progress], None] | None,
        stop: Callable[[], bool] | None,
        seconds: float | None,
    ) -> str:
        """Train, and return the reason why the training ended."""
        self._resume()
        limit = math.inf if seconds is None else self._begin + seconds - self.spent - self.judging
        order, epoch = torch.empty(0, dtype=torch.int64), -1
        while self.done < self.total:
            if self._exhausted():
                return "patience"
            if time.perf_counter() >= limit:
                return self._cut()
            if self.done // self.per_epoch != epoch:
                epoch = self.done // self.per_epoch
                order = self._order(epoch)
            loss = self._step(epoch, order)
            if self.done % self.per_epoch == 0 or self.done == self.total:
                self._judge()
                self._save()
            if report is not None:
                report(
                    Progress(
                        epoch + 1, self.settings.epochs, self.done, self.total, loss, self.best, self.seconds
                    )
                )
            if stop is not None and stop() and self.done < self.total:
                self._save()
                return "stopped"
        return "epochs" if self.total == self.planned else "steps"

    def best_compressed(self, ended: str) -> Compressed:
        """Return the best model in its stored form, or the given model if none was better.

        Args:
            ended: the reason that `run` returned.
        """
        if self.best_tensors is None:
            return self.given
        fill_state(self.average, self.best_tensors)
        made = self._settled(self.average)
        settings = self.settings
        if ended in ("time", "stopped"):
            settings = replace(settings, steps=self.judged)
        trained = (*self.given.configuration.recovery, settings.to_json())
        return replace(made, configuration=made.configuration.change(recovery=trained))

    def _settled(self, module: nn.Module) -> Compressed:
        """Return a trained module in the form in which it is stored and run."""
        made = settled(module, self.start, self.compressor.structure)
        round_biases(made.module, made.codes, self.compressor.context.foldable)
        return made

    def _restated(self, compressed: Compressed) -> Compressed:
        module = copy.deepcopy(compressed.module).to(self.device)
        eps = {
            name: norm.eps
            for name, norm in self.target.model.named_modules()
            if isinstance(norm, BATCH_NORMS)
        }
        restate(module, self.compressor.context.calibration.batches, eps)
        return replace(compressed, module=module)

    def _order(self, epoch: int) -> Tensor:
        generator = torch.Generator().manual_seed(_seed(self.settings.seed, epoch))
        return torch.randperm(len(self.train), generator=generator)

    def _step(self, epoch: int, order: Tensor) -> float:
        """Take one gradient step and return its loss."""
        step = self.done % self.per_epoch
        self._reseed(epoch, step)
        rate = self.rate * schedule(self.done, self.planned, self.settings.warmup)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        training_mode.train(self.student, self.kept_in_eval)
        self.optimiser.zero_grad(set_to_none=True)
        try:
            loss = self._loss(order.tensor_split(self.per_epoch)[step])
            value = float(loss.detach())
            if math.isfinite(value):
                torch.autograd.backward(self.scaler.scale(loss))
                self.scaler.step(self.optimiser)
                self.scaler.update()
        except LeanfrontError:
            raise
        except Exception as error:
            # This runs the user's code.
            raise CompressionError(
                f"recovery: epoch {epoch + 1}, step {step + 1} failed ({type(error).__name__}: {error})"
            ) from error
        if not math.isfinite(value):
            raise CompressionError(
                f"recovery: the loss is {value} in epoch {epoch + 1}, step {step + 1}; lower the learning rate, "
                f"which is {self.rate:g}, or lengthen the warm-up"
            )
        self.done += 1
        self._follow()
        self.losses.append(value)
        return value

    def _reseed(self, *parts: int) -> None:
        """Seed random numbers by the position in the training, independent of earlier draws."""
        seed = _seed(self.settings.seed, *parts)
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            with torch.cuda.device(self.device):
                torch.cuda.manual_seed(seed)

    def _loss(self, indices: Tensor) -> Tensor:
        settings = self.settings
        inputs, labels = next(self.train.subset(indices).batches(len(indices), self.device))
        augment = self.target.augment
        if augment is not None:
            shape = inputs.shape
            inputs = augment(inputs)
            if inputs.shape != shape:
                raise CompressionError(
                    f"the target's augment makes {tuple(inputs.shape)} of inputs of shape {tuple(shape)}; it must "
                    "keep their shape"
                )
        inputs = in_format(inputs, self.target.channels_last)
        if self.features is not None:
            self.features.forget()
        with self.autocast():
            with torch.no_grad():
                wanted = self.teacher(inputs)
            scores = training_mode.scores_of(self.student(inputs), wanted.shape)
        if scores is None:
            raise CompressionError(
                f"in training mode the model returns no class scores of shape {tuple(wanted.shape)}, as in eval mode"
            )
        loss = distillation_loss(
            scores.float(), wanted.float(), labels, settings.temperature, settings.distillation
        )
        apart = None if self.features is None else self.features.loss()
        return loss if apart is None else loss + settings.features * apart

    def _watched(self) -> Features:
        """Return the observer of the blocks of student and teacher, matched on one batch."""
        inputs = next(self._plain_batches())
        return Features(self.student, self.teacher, self.compressor.structure, inputs)

    def _plain_batches(self) -> Iterator[Tensor]:
        """Yield training inputs without augmentation, spread evenly over the split, in batches of equal size."""
        size = min(batch_size(self.target.example_input), len(self.train))
        count = max(1, min(STATISTICS, len(self.train)) // size) * size
        positions = torch.linspace(0, len(self.train) - 1, count).round().long()
        for inputs, _ in self.train.subset(positions).batches(size, self.device):
            yield in_format(inputs, self.target.channels_last)

    @torch.no_grad()
    def _follow(self) -> None:
        """Update the moving average of the weights, with a smaller decay in the first steps."""
        decay = min(self.settings.ema, (1 + self.done) / (10 + self.done))
        own = state(self.average)
        for name, tensor in state(self.student).items():
            if tensor.is_floating_point():
                own[name].lerp_(tensor, 1 - decay)
            else:
                own[name].copy_(tensor)

    def _judge(self) -> None:
        """Measure weights and average; keep the better one if it is the best so far."""
        self.judged = self.done
        number = math.ceil(self.done / self.per_epoch)
        made = {False: self.student} | ({True: self.average} if self.settings.ema else {})
        accuracies = {}
        for averaged, module in made.items():
            # The weights have changed since most batches of the running statistics.
            self._reseed(number, -1)
            reestimate(module.eval(), self._plain_batches())
            accuracies[averaged] = self._accuracy(self._settled(module))
        averaged = max(accuracies, key=lambda key: accuracies[key])
        if accuracies[averaged] > self.best:
            self.best, self.best_epoch = accuracies[averaged], number
            self.best_tensors = {name: t.detach().clone() for name, t in state(made[averaged]).items()}
        now = time.perf_counter()
        self.history.append(
            Epoch(
                number,
                self.done,
                math.fsum(self.losses) / len(self.losses),
                accuracies[averaged],
                averaged,
                self.optimiser.param_groups[0]["lr"],
                self.epoch_spent + now - self._epoch_begin,
            )
        )
        self.losses, self.epoch_spent, self._epoch_begin = [], 0.0, now

    def _cut(self) -> str:
        """Measure the steps since the last measurement, when the time is up."""
        if self.done > self.judged:
            self._save()
            self._judge()
        return "time"

    def _exhausted(self) -> bool:
        patience = self.settings.patience
        return patience is not None and len(self.history) - self.best_epoch >= patience

    def _accuracy(self, compressed: Compressed) -> float:
        """Measure the validation accuracy as a search does, with norms folded."""
        module = copy.deepcopy(compressed.module).to(self.device)
        fold(module, self.compressor.context.foldable)
        size = batch_size(self.target.example_input)
        logits, labels = outputs(module, self.target.validation, size, self.device)
        if not bool(logits.isfinite().all()):
            raise CompressionError(
                f"recovery: after {self.done} steps outputs on validation are NaN or infinite; lower the learning "
                f"rate, which is {self.rate:g}"
            )
        return float(correct(logits, labels).double().mean())

    def _key(self) -> str:
        settings = json.dumps(self.settings.to_json(), sort_keys=True)
        return content_key(self.target.fingerprint, self.given.configuration.canonical_text(), settings)

    def _save(self) -> None:
        if self.path is None:
            return
        tensors: dict[str, Tensor] = {}
        for part, module in (("student", self.student), ("average", self.average)):
            tensors |= {f"{part}/{name}": tensor for name, tensor in state(module).items()}
        for name, tensor in (self.best_tensors or {}).items():
            tensors[f"best/{name}"] = tensor
        numbers: dict[str, Any] = {}
        for index, values in self.optimiser.state_dict()["state"].items():
            for name, value in values.items():
                (tensors if isinstance(value, Tensor) else numbers)[f"optimiser/{index}/{name}"] = value
        facts = {
            "done": self.done,
            "judged": self.judged,
            "losses": self.losses,
            "before": self.before,
            "best": self.best,
            "best_epoch": self.best_epoch,
            "history": [asdict(epoch) for epoch in self.history],
            "seconds": self.seconds,
            "epoch_seconds": self.epoch_spent + time.perf_counter() - self._epoch_begin,
            "numbers": numbers,
            "scaler": self.scaler.state_dict(),
        }
        write_checkpoint(self.path, self._key(), Checkpoint(tensors, facts))

    def _resume(self) -> None:
        found = None if self.path is None else read_checkpoint(self.path, self._key())
        if found is None:
            return
        parts: dict[str, dict[str, Tensor]] = {}
        for path, tensor in found.tensors.items():
            part, _, name = path.partition("/")
            parts.setdefault(part, {})[name] = tensor.to(self.device)
        fill_state(self.student, parts["student"])
        fill_state(self.average, parts["average"])
        self.best_tensors = parts.get("best")
        facts = found.facts
        moments: dict[int, dict[str, Any]] = {}
        told = {name.removeprefix("optimiser/"): value for name, value in facts["numbers"].items()}
        for name, value in (parts.get("optimiser", {}) | told).items():
            index, _, key = name.partition("/")
            moments.setdefault(int(index), {})[key] = value
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": moments})
        self.scaler.load_state_dict(facts["scaler"])
        self.done, self.judged, self.losses = facts["done"], facts["judged"], facts["losses"]
        self.before, self.best, self.best_epoch = facts["before"], facts["best"], facts["best_epoch"]
        self.history = [Epoch(**each) for each in facts["history"]]
        self.spent, self.epoch_spent = facts["seconds"], facts["epoch_seconds"]


def distillation_loss(
    scores: Tensor, wanted: Tensor, labels: Tensor, temperature: float, share: float
) -> Tensor:
    """Return share T^2 KL(softmax(wanted / T) || softmax(scores / T)) + (1 - share) cross-entropy, mean over samples.

    Args:
        scores: outputs of the student, (n, C).
        wanted: outputs of the teacher, (n, C).
        labels: int64 (n,).
        temperature: T.
        share: weight of the teacher's outputs, in [0, 1].
    """
    softened = functional.kl_div(
        functional.log_softmax(scores / temperature, 1),
        functional.log_softmax(wanted / temperature, 1),
        reduction="batchmean",
        log_target=True,
    )
    return share * temperature**2 * softened + (1 - share) * functional.cross_entropy(scores, labels)


def precision(
    device: torch.device,
) -> tuple[Callable[[], AbstractContextManager[Any]], torch.amp.GradScaler]:
    """Choose the training precision of a device: on CUDA bfloat16, or float16 with a scaled loss; else float32.

    Returns:
        A context for the forward pass, and a scaler of the loss.
    """
    if device.type != "cuda":
        return nullcontext, torch.amp.GradScaler("cpu", enabled=False)
    wide = torch.cuda.is_bf16_supported()
    dtype = torch.bfloat16 if wide else torch.float16
    return lambda: torch.autocast("cuda", dtype), torch.amp.GradScaler("cuda", enabled=not wide)


def _training_split(compressor: Compressor) -> Split:
    train = compressor.target.train
    if train is None:
        raise CompressionError(
            "the target has no train split, which recovery needs: give Target(train=...), or data with train/"
        )
    if len(train) < 2:
        raise CompressionError(f"train has {len(train)} sample(s): recovery needs at least 2")
    return train


def _seed(*parts: int) -> int:
    text = "/".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=7).digest(), "big")
