"""Built-in targets ``transformers:<model>``: image and sequence classifiers with their own preprocessing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import torch
from PIL import Image
from torch import Tensor, nn

from leanfront.core.targets.builtin import TORCHVISION_EPOCHS, TRANSFORMERS_OPTIONS
from leanfront.core.targets.cifar_resnet import tree_splits
from leanfront.core.targets.image_file import MAX_PIXELS
from leanfront.core.targets.image_target import image_target, usual_recipe
from leanfront.core.targets.images import ImageArchive
from leanfront.core.targets.label_names import in_models_order
from leanfront.core.targets.option_values import whole
from leanfront.core.targets.pixels import Pixels
from leanfront.core.targets.target import Target
from leanfront.core.targets.text_table import Columns, Texts, read_tables
from leanfront.errors import TargetError, UsageError

CALIBRATION_SAMPLES = 512
LENGTH = 128
"""Default number of tokens of a text."""
IMAGES, TEXTS = "ForImageClassification", "ForSequenceClassification"
"""Ends of the names of the architectures that can be used."""


def build(model: str, options: Mapping[str, str]) -> Target:
    """Build the target ``transformers:<model>``.

    Weights are read from safetensors files alone, and code of the model's folder is never run. A folder is read
    without network.

    Args:
        model: folder written by ``save_pretrained``, with the model's preprocessing, or a name on the Hugging Face
            hub; percent-encoded.
        options: see `builtin.TRANSFORMERS_OPTIONS`.

    Raises:
        UsageError: transformers is not installed, or an invalid option.
        TargetError: no data, no such model, a model of another kind, or classes that do not fit.
    """
    transformers, place = _transformers(), unquote(model)
    reference = f"transformers:{place}"
    if not options.get("data"):
        raise TargetError(
            f"{reference} needs data: write '{reference}?data=FOLDER' ({TRANSFORMERS_OPTIONS['data']})"
        )
    config = _loaded(transformers.AutoConfig, place)
    kinds = [
        kind for kind in (IMAGES, TEXTS) if any(str(n).endswith(kind) for n in config.architectures or ())
    ]
    if not kinds:
        raise TargetError(
            f"{reference} is {', '.join(config.architectures or ['of no architecture'])}; image and sequence "
            "classifiers can be used: fine-tune one, and save it with save_pretrained"
        )
    network = _loaded(
        getattr(transformers, f"AutoModel{kinds[0]}"), place, use_safetensors=True, dtype=torch.float32
    )
    network.eval()
    make = _of_images if kinds[0] == IMAGES else _of_texts
    return make(Pretrained(place, network, config), options)


@dataclass(frozen=True)
class Pretrained:
    """A model as transformers has loaded it.

    Args:
        place: its folder or name.
        network: model in eval mode.
        config: its configuration.
    """

    place: str
    network: nn.Module
    config: Any

    @property
    def reference(self) -> str:
        """Reference of the target without options."""
        return f"transformers:{self.place}"

    @property
    def labels(self) -> list[str]:
        """Names of the classes in the order of the outputs."""
        return [str(self.config.id2label[number]) for number in range(self.config.num_labels)]


def _of_images(model: Pretrained, options: Mapping[str, str]) -> Target:
    reference, network = model.reference, model.network
    archive = ImageArchive(options["data"], whole(reference, options, "max_pixels", 1) or MAX_PIXELS)
    archive = archive.numbered(in_models_order(reference, archive.classes, model.labels))
    transform = Processed(_loaded(_transformers().AutoImageProcessor, model.place))
    data = tree_splits(archive, transform, CALIBRATION_SAMPLES)
    fresh = partial(untrained, model.config.to_json_string(), IMAGES)
    recipe = usual_recipe(network, TORCHVISION_EPOCHS)
    return image_target(reference, network, data, transform.pixels, fresh, recipe, "")


def untrained(config: str, kind: str) -> nn.Module:
    """Return a model with random weights from torch's global generator.

    Args:
        config: its configuration as JSON.
        kind: `IMAGES` or `TEXTS`.
    """
    transformers = _transformers()
    read = json.loads(config)
    own = transformers.AutoConfig.for_model(read.pop("model_type"), **read)
    model: nn.Module = getattr(transformers, f"AutoModel{kind}").from_config(own)
    return model


class Processed:
    """Transform from a PIL image to float32 (c, h, w): the image processor of a model.

    Args:
        processor: image processor of transformers.

    Attributes:
        pixels: normalisation of the images, or None if the processor has none of the usual form.
    """

    def __init__(self, processor: Any) -> None:
        self._processor = processor
        usual = (
            processor.do_normalize and processor.do_rescale and abs(255 * processor.rescale_factor - 1) < 1e-6
        )
        self.pixels = Pixels(tuple(processor.image_mean), tuple(processor.image_std)) if usual else None

    def __call__(self, image: Image.Image) -> Tensor:
        made: Tensor = self._processor(images=image, return_tensors="pt")["pixel_values"][0]
        return made

    def __repr__(self) -> str:
        return f"Processed({self._processor.to_json_string()})"


class WithoutPadding(nn.Module):
    """Sequence classifier of padded texts: int64 tokens (n, t) to scores (n, C), with padding masked out.

    Args:
        model: classifier of transformers.
        padding: token with which texts are padded.
    """

    def __init__(self, model: nn.Module, padding: int) -> None:
        super().__init__()
        self.model, self.padding = model, padding

    def forward(self, tokens: Tensor) -> Tensor:
        """Run the model, which gets the mask of the tokens that are no padding."""
        logits: Tensor = self.model(input_ids=tokens, attention_mask=(tokens != self.padding).long()).logits
        return logits


def _of_texts(model: Pretrained, options: Mapping[str, str]) -> Target:
    reference, labels = model.reference, model.labels
    columns = Columns(options.get("text", "text"), options.get("label", "label"), options.get("pair"))
    length = whole(reference, options, "length", 1) or LENGTH
    tables = read_tables(options["data"], columns)
    tokeniser = _loaded(_transformers().AutoTokenizer, model.place)
    if tokeniser.pad_token_id is None:
        raise TargetError(
            f"{reference}: its tokenizer has no padding token; set one and its number in the model's configuration "
            "(tokenizer.pad_token, config.pad_token_id), and save both again"
        )
    numbers = _numbers(reference, labels, [label for table in tables.values() for label in table.labels])
    splits = {name: _encoded(tokeniser, table, length, numbers) for name, table in tables.items()}
    return Target(
        model=WithoutPadding(model.network, tokeniser.pad_token_id),
        example_input=splits["validation"][0][:1],
        classes=labels,
        name=reference,
        validation=splits["validation"],
        calibration=splits.get("calibration"),
        test=splits.get("test"),
        train=splits.get("train"),
    )


def _numbers(reference: str, labels: Sequence[str], written: Sequence[str]) -> dict[str, int]:
    """Return the number of each label as it is written in the data: numbers, or names of the model's classes."""
    found = sorted(set(written))
    if all(label.isdecimal() for label in found):
        return {label: int(label) for label in found}
    known = {label.lower(): number for number, label in enumerate(labels)}
    unknown = [label for label in found if label.lower() not in known]
    if not unknown:
        return {label: known[label.lower()] for label in found}
    order = in_models_order(reference, found, labels)
    return {label: number for number, label in enumerate(order)}


def _encoded(tokeniser: Any, table: Texts, length: int, numbers: Mapping[str, int]) -> tuple[Tensor, Tensor]:
    """Return tokens int64 (n, length) and labels int64 (n,)."""
    pairs = None if table.pairs is None else list(table.pairs)
    tokens: Tensor = tokeniser(
        list(table.texts),
        pairs,
        padding="max_length",
        truncation=True,
        max_length=length,
        return_tensors="pt",
    )["input_ids"]
    return tokens, torch.tensor([numbers[label] for label in table.labels])


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise UsageError(
            "transformers:<model> needs transformers: pip install 'leanfront[transformers]'"
        ) from error
    return transformers


def _loaded(kind: Any, place: str, **options: Any) -> Any:
    """Load a part of a pretrained model, from a folder without network."""
    local = Path(place).is_dir()
    try:
        with torch.random.fork_rng(devices=[]):
            return kind.from_pretrained(place, trust_remote_code=False, local_files_only=local, **options)
    except Exception as error:  # of the files, of the hub, and of its client
        text = str(error).strip().partition("\n")[0]
        raise TargetError(
            f"transformers:{place}: {kind.__name__} cannot load it: {type(error).__name__}: {text}; give a folder "
            "written by save_pretrained (weights as safetensors, with the image processor or tokenizer), or a name "
            "on the Hugging Face hub where there is a network"
        ) from error
