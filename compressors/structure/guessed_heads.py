"""Attention of libraries and users, recognised by its layers' names and its number of heads.

A guess says which rows, columns, tables and numbers belong to a head. Nothing is rewritten: the proofs decide whether
the module's own forward runs with fewer heads.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from torch import nn

from leanfront.core.targets.attention import HeadAttention

COUNTS = ("num_heads", "num_attention_heads", "n_heads", "n_head", "heads", "nhead")
"""Attributes that hold a number of heads, the most usual first."""
WIDTHS = ("head_dim", "attention_head_size", "head_size", "dim_head", "d_head", "d_kv", "dim_per_head")
"""Attributes that hold the number of features of a head."""
ALL_COUNTS = (*COUNTS, "num_kv_heads", "num_key_value_heads")
"""Attributes that follow the number of heads if they equal it."""
ALL_WIDTHS = (
    *(
        "attn_dim",
        "all_head_size",
        "all_head_dim",
        "inner_dim",
        "embed_dim",
        "hidden_size",
        "split_size",
        "dim",
    ),
    *("d_model", "embed_size"),
)
"""Attributes that follow the features of all heads if they equal their number."""
QUERY = re.compile(r"(to_)?(q|query|q_proj|q_lin|wq|query_proj|q_linear|linear_q)")
KEY = re.compile(r"(to_)?(k|key|k_proj|k_lin|wk|key_proj|k_linear|linear_k)")
VALUE = re.compile(r"(to_)?(v|value|v_proj|v_lin|wv|value_proj|v_linear|linear_v)")
FUSED = re.compile(r"(to_)?(qkv|in_proj|query_key_value|c_attn|wqkv|qkv_proj|in_proj_qkv)", re.IGNORECASE)
GATE = re.compile(r"gate|g_proj")
OUTPUT = re.compile(
    r"((to_)?(out|proj|o|out_proj|o_proj|out_lin|dense|wo|merge|projection|c_proj|out_linear|fc_out)(\.0)?"
    r"|attention\.output\.dense|output\.dense)"
)


@dataclass(frozen=True)
class GuessedHeads:
    """Layers and numbers of an attention module.

    Args:
        units: number of key and value heads; each is cut with the queries that read it.
        features: number of features of a head.
        queries: number of query heads for each unit.
        layers: path of a layer below the module -> blocks of heads that its outputs hold, each of `units` heads times
            this many query heads.
    """

    units: int
    features: int
    queries: int
    layers: tuple[tuple[str, tuple[int, ...]], ...]

    @property
    def width(self) -> int:
        """Number of features that leave the module's heads."""
        return self.units * self.queries * self.features


def guessed_heads(module: nn.Module) -> GuessedHeads | None:
    """Return the heads of a module, or None if it does not look like attention with several heads."""
    if isinstance(module, HeadAttention | nn.MultiheadAttention | nn.Linear):
        return None
    children = {name: child for name, child in module.named_children() if isinstance(child, nn.Linear)}
    fused = [name for name in children if FUSED.fullmatch(name)]
    apart = [[name for name in children if kind.fullmatch(name)] for kind in (QUERY, KEY, VALUE)]
    gates = [name for name in children if GATE.fullmatch(name)]
    if len(fused) == 1 and not any(apart):
        width, remainder = divmod(children[fused[0]].out_features, 3)
        heads, features = _counted(module, width)
        if remainder or heads < 1:
            return None
        layers = [(fused[0], (1, 1, 1)), *((name, (1,)) for name in gates)]
        return GuessedHeads(heads, features, 1, tuple(layers))
    if not fused and all(len(names) == 1 for names in apart):
        query, key, value = (names[0] for names in apart)
        heads, features = _counted(module, children[query].out_features)
        if heads < 1 or children[key].out_features != children[value].out_features:
            return None
        units, remainder = divmod(children[key].out_features, features)
        if remainder or units < 1 or heads % units:
            return None
        each = heads // units
        layers = [(query, (each,)), (key, (1,)), (value, (1,)), *((name, (each,)) for name in gates)]
        return GuessedHeads(units, features, each, tuple(layers))
    return None


def _counted(module: nn.Module, width: int) -> tuple[int, int]:
    """Return the numbers of heads and of features of a head; (0, 0) if the module does not tell them."""
    for name in WIDTHS:
        features = _number(module, name)
        if features and width % features == 0:
            return width // features, features
    for name in COUNTS:
        heads = _number(module, name)
        if heads and width % heads == 0:
            return heads, width // heads
    return 0, 0


def _number(module: nn.Module, name: str) -> int:
    value = vars(module).get(name)
    return value if type(value) is int and value > 0 else 0


def outgoing(model: nn.Module, path: str, guess: GuessedHeads) -> str | None:
    """Return the path of the layer that reads the outputs of a module's heads, below the module or beside it."""
    entering = {name for name, _ in guess.layers}
    places = [path] if not path else [path, path.rpartition(".")[0]]
    for place in places:
        root = model.get_submodule(place)
        for name, child in root.named_modules():
            fits = isinstance(child, nn.Linear) and child.in_features == guess.width
            if fits and OUTPUT.fullmatch(name) and name not in entering:
                return f"{place}.{name}" if place else name
    return None


def following(module: nn.Module, guess: GuessedHeads) -> dict[str, int]:
    """Return the module's numbers that follow its heads, with what each loses with a unit."""
    found = {}
    for name in ALL_COUNTS:
        if _number(module, name) == guess.units * guess.queries:
            found[name] = guess.queries
        elif _number(module, name) == guess.units:
            found[name] = 1
    for name in ALL_WIDTHS:
        if _number(module, name) == guess.width:
            found[name] = guess.queries * guess.features
    return found


def tables(module: nn.Module, guess: GuessedHeads) -> dict[str, int]:
    """Return the module's own tensors with entries of heads along the axis that is cut -> entries of each unit."""
    found = {}
    each = {guess.units: 1, guess.units * guess.queries: guess.queries}
    each[guess.width] = guess.queries * guess.features
    for name, tensor in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
        axis = cut_axis(tuple(tensor.shape))
        if axis is not None and tensor.shape[axis] in each and tensor.is_floating_point():
            found[name] = each[tensor.shape[axis]]
    return found


def cut_axis(shape: tuple[int, ...]) -> int | None:
    """Return the axis that cuts a bare parameter: the last with more than one entry, as in torch-pruning."""
    wide = [axis for axis, side in enumerate(shape) if side > 1]
    return wide[-1] if wide else None
