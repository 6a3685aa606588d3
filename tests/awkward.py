"""Small models of the kinds that users bring and tools trip over. Inputs are (n, 3, 8, 8) unless said otherwise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import maxvit, shufflenetv2, swin_transformer


class Reused(nn.Module):
    """One convolution three times, and one norm for two of them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.again = nn.Conv2d(8, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.hidden = nn.Linear(8, 6)
        self.linear = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for _ in range(2):
            x = torch.relu(self.norm(self.again(x)))
        x = self.again(x).mean((2, 3))
        return self.linear(torch.relu(self.hidden(x)))


class Functional(nn.Module):
    """A convolution that is no module."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(0.2 * torch.randn(8, 3, 3, 3))
        self.conv = nn.Conv2d(8, 6, 3, padding=1)
        self.linear = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(functional.conv2d(x, self.kernel, padding=1))
        return self.linear(torch.relu(self.conv(x)).mean((2, 3)))


class TiedEnds(nn.Module):
    """An autoencoder's weights used forwards and, transposed by hand, backwards."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Linear(192, 16, bias=False)
        self.same = nn.Linear(192, 16, bias=False)
        self.same.weight = self.encode.weight
        self.hidden = nn.Linear(192, 8)
        self.linear = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        x = torch.relu(self.encode(x) + self.same(x.flip(1))) @ self.encode.weight
        return self.linear(torch.relu(self.hidden(x)))


class Listed(nn.Module):
    """Weights in a parameter list, biases in a parameter dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.mixes = nn.ParameterList([0.3 * torch.randn(8, 8) for _ in range(2)])
        self.shifts = nn.ParameterDict({"first": torch.randn(8), "second": torch.randn(8)})
        self.hidden = nn.Linear(8, 6)
        self.linear = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.conv(x)).mean((2, 3))
        for mix, shift in zip(self.mixes, self.shifts.values(), strict=True):
            x = torch.relu(x @ mix + shift)
        return self.linear(torch.relu(self.hidden(x)))


class Dictionary(nn.Module):
    """Gives its logits beside its features."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.linear = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Any:
        features = torch.relu(self.conv(x)).mean((2, 3))
        return {"features": features, "logits": self.linear(features)}


@dataclass
class Output:
    """As the models of some libraries return."""

    logits: Tensor
    features: Tensor | None = None


class Structured(Dictionary):
    """Gives an object with its logits."""

    def forward(self, x: Tensor) -> Any:
        return Output(**super().forward(x))


class Pair(Dictionary):
    """Gives a pair, which does not say what is what."""

    def forward(self, x: Tensor) -> Any:
        return tuple(super().forward(x).values())


class Branching(nn.Module):
    """Goes another way for every batch."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.bright = nn.Conv2d(8, 8, 3, padding=1)
        self.dark = nn.Conv2d(8, 8, 3, padding=1)
        self.linear = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        way = self.bright if float(x.detach().mean()) > 0 else self.dark
        return self.linear(torch.relu(way(torch.relu(self.conv(x)))).mean((2, 3)))


class Plain(nn.Module):
    """Neither norms nor biases."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(8, 8, 3, stride=2, bias=False)
        self.linear = nn.Linear(8, 4, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(torch.relu(self.conv2(torch.relu(self.conv1(x)))).mean((2, 3)))


class InnerHalf(nn.Module):
    """Turns its input to half precision itself."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3).half()
        self.linear = nn.Linear(8, 4).half()

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.conv(x.half()).mean((2, 3))).float()


class Signal(nn.Module):
    """One-dimensional convolutions over (n, 3, 64)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(3, 8, 5, padding=2)
        self.norm = nn.BatchNorm1d(8)
        self.conv2 = nn.Conv1d(8, 12, 5, stride=2, groups=2)
        self.linear = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.conv1(x)))
        return self.linear(torch.relu(self.conv2(x)).mean(2))


class Words(nn.Module):
    """A bag of embedded words: (n, 12) integers below 20."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(20, 16)
        self.hidden = nn.Linear(16, 12)
        self.linear = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(torch.relu(self.hidden(self.words(x).mean(1))))


class Recurrent(nn.Module):
    """Embedded words through an LSTM of two directions and a GRU: (n, 12) integers below 20."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(20, 8)
        self.lstm = nn.LSTM(8, 6, batch_first=True, bidirectional=True)
        self.gru = nn.GRU(12, 10, batch_first=True)
        self.hidden = nn.Linear(10, 12)
        self.linear = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        x, _ = self.gru(self.lstm(self.words(x))[0])
        return self.linear(torch.relu(self.hidden(x[:, -1])))


class Transformer(nn.Module):
    """torch's encoder over patches, with a class token."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, 16))
        layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.linear = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.token.expand(x.shape[0], -1, -1), x), 1)
        return self.linear(self.encoder(x)[:, 0])


class Asking(nn.Module):
    """One learned query attends to the patches."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 2, 2)
        self.query = nn.Parameter(torch.randn(1, 1, 16))
        self.attention = nn.MultiheadAttention(16, 4)
        self.hidden = nn.Linear(16, 8)
        self.linear = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).permute(2, 0, 1)
        x, _ = self.attention(self.query.expand(1, x.shape[1], -1), x, x)
        return self.linear(torch.relu(self.hidden(x[0])))


@dataclass(frozen=True)
class Awkward:
    """A model, and what must be found in it.

    Args:
        make: with random weights.
        groups: its channel groups.
        layers: its quantisable layers; None for every convolution and linear map.
        reasons: part -> what the report must say of it.
        activations: whether every layer's inputs can be quantised.
        inputs: of shape (n, ...).
    """

    make: Callable[[], nn.Module]
    groups: set[str]
    layers: set[str] | None
    reasons: dict[str, str]
    activations: bool = True
    inputs: Callable[[int, torch.Generator], Tensor] = lambda n, g: torch.randn(n, 3, 8, 8, generator=g)


def _words(count: int, generator: torch.Generator) -> Tensor:
    return torch.randint(0, 20, (count, 12), generator=generator)


def _images(count: int, generator: torch.Generator) -> Tensor:
    return torch.randn(count, 3, 32, 32, generator=generator)


def _swin() -> nn.Module:
    return swin_transformer.SwinTransformer(
        [2, 2], 8, [2, 1], [2, 2], [2, 2], num_classes=4, stochastic_depth_prob=0.0
    )


def _swin_v2() -> nn.Module:
    return swin_transformer.SwinTransformer(
        [2, 2],
        8,
        [2],
        [2],
        [2, 2],
        num_classes=4,
        stochastic_depth_prob=0.0,
        block=swin_transformer.SwinTransformerBlockV2,
    )


def _maxvit() -> nn.Module:
    return maxvit.MaxVit((8, 8), 8, 2, [8], [1], 4, 0.0, num_classes=4)


def _shufflenet() -> nn.Module:
    return shufflenetv2.ShuffleNetV2([2, 1, 1], [8, 16, 16, 16, 24], num_classes=4)


def _signal(count: int, generator: torch.Generator) -> Tensor:
    return torch.randn(count, 3, 64, generator=generator)


NO_RULE = "no rule for this module: its tensors keep their type"
UNHEARD = "reads its channels without being called with them, so nothing can be proven"
UNCALLED = "never called as a module: its parent reads its weights"
ENCODER = [f"encoder.layers.{number}" for number in range(2)]

MODELS: dict[str, Awkward] = {
    "reused": Awkward(Reused, {"stem", "hidden"}, {"stem", "again", "hidden", "linear"}, {}),
    "functional": Awkward(Functional, {"conv"}, {"conv", "linear"}, {"": NO_RULE}),
    "tied": Awkward(
        TiedEnds,
        {"hidden"},
        {"hidden", "linear"},
        {"encode": "shares a tensor with same.weight", "same": "shares a tensor with encode.weight"},
    ),
    "listed": Awkward(
        Listed, {"hidden"}, {"conv", "hidden", "linear"}, {"mixes": NO_RULE, "shifts": NO_RULE}
    ),
    "dictionary": Awkward(Dictionary, {"conv"}, {"conv", "linear"}, {}),
    "structured": Awkward(Structured, {"conv"}, {"conv", "linear"}, {}),
    "branching": Awkward(
        Branching,
        set(),
        {"conv", "bright", "dark", "linear"},
        {"model": "it may call other modules for other inputs, so nothing can be proven; bits still work"},
        activations=False,
    ),
    "plain": Awkward(Plain, {"conv1", "conv2"}, {"conv1", "conv2", "linear"}, {}),
    "half": Awkward(lambda: Plain().half(), {"conv1", "conv2"}, {"conv1", "conv2", "linear"}, {}),
    "bfloat16": Awkward(lambda: Plain().bfloat16(), {"conv1", "conv2"}, {"conv1", "conv2", "linear"}, {}),
    "signal": Awkward(Signal, {"conv1", "conv2"}, {"conv1", "conv2", "linear"}, {}, inputs=_signal),
    "words": Awkward(Words, {"hidden"}, {"hidden", "linear"}, {"words": NO_RULE}, inputs=_words),
    "recurrent": Awkward(
        Recurrent,
        {"hidden"},
        {"hidden", "linear"},
        {"words": NO_RULE, "lstm": NO_RULE, "gru": NO_RULE},
        inputs=_words,
    ),
    "transformer": Awkward(
        Transformer,
        {*(f"{layer}.self_attn.in_proj" for layer in ENCODER), *(f"{layer}.linear1" for layer in ENCODER)},
        {
            "patches",
            "linear",
            *(
                f"{layer}.{name}"
                for layer in ENCODER
                for name in ("self_attn.in_proj", "self_attn.out_proj", "linear1", "linear2")
            ),
        },
        {},
    ),
    "asking": Awkward(
        Asking,
        {"attention.in_proj", "attention.out_proj", "hidden"},
        {"patches", "attention.in_proj", "attention.out_proj", "hidden", "linear"},
        {
            "attention.in_proj": UNCALLED,
            "patches": f"attention.in_proj {UNHEARD}",
        },
    ),
    "swin": Awkward(
        _swin,
        {f"features.{block}.{inner}" for block in ("1.0", "1.1", "3.0") for inner in ("attn.qkv", "mlp.0")},
        None,
        {},
    ),
    "swin-v2": Awkward(
        _swin_v2,
        {f"features.1.{block}.{inner}" for block in (0, 1) for inner in ("attn.qkv", "mlp.0")},
        None,
        {},
    ),
    "maxvit": Awkward(
        _maxvit,
        {
            "stem.0.0",
            "stem.1.0",
            "classifier.3",
            *(
                f"blocks.0.layers.0.layers.{inner}"
                for inner in (
                    "MBconv.layers.conv_a.0",
                    "MBconv.layers.squeeze_excitation.fc1",
                    "window_attention.attn_layer.1.to_qkv",
                    "window_attention.mlp_layer.1",
                    "grid_attention.attn_layer.1.to_qkv",
                    "grid_attention.mlp_layer.1",
                )
            ),
        },
        None,
        {},
    ),
    "shufflenet": Awkward(
        _shufflenet,
        {"conv1.0", "conv5.0", *(f"stage{block}.branch2.0" for block in ("2.0", "2.1", "3.0", "4.0"))},
        None,
        {},
        inputs=_images,
    ),
}
