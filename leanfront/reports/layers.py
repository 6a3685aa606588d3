"""A candidate's layers and channel groups: remaining size, cost and predicted loss."""

from __future__ import annotations

from typing import Any

from leanfront.core import search as searching
from leanfront.core.compressors import Configuration, Sensitivities
from leanfront.core.compressors.artifact.layer_costs import LayerCost, layer_costs
from leanfront.core.search import SearchRecord
from leanfront.errors import NotFoundError

_UNKNOWN = Sensitivities({}, {}, {}, {})


def layers_json(candidate: searching.Candidate, record: SearchRecord) -> dict[str, Any]:
    """Return the LAYERS object of the API; unknown values are None.

    Args:
        candidate: a stored candidate.
        record: record of its search.

    Raises:
        NotFoundError: the search's target has not been loaded yet, so its layers are unknown.
    """
    coverage, configuration = record.coverage, candidate.configuration
    if not coverage:
        raise NotFoundError(f"the layers of search {record.name!r} are not known: it has no coverage report")
    costs = layer_costs(coverage, configuration)
    told = record.settings.get("sensitivities")
    losses = _UNKNOWN if told is None else Sensitivities.from_json(told)
    # A model whose operators cannot be traced has no counts.
    counted = bool(coverage["macs"])
    rows = [
        _layer(row, costs.get(row["name"]), configuration, losses, counted=counted)
        for row in coverage["layers"]
    ]
    return {
        "candidate": candidate.id,
        "search": record.name,
        "memory_bytes": _whole(candidate.memory_bytes),
        "macs": _whole(candidate.macs),
        "other_bytes": _rest(candidate.memory_bytes, [row["bytes"] for row in rows]),
        "other_macs": _rest(candidate.macs, [row["macs"] for row in rows]),
        "layers": rows,
        "groups": [_group(row, configuration, losses) for row in coverage["groups"]],
    }


def _layer(
    row: dict[str, Any],
    cost: LayerCost | None,
    configuration: Configuration,
    losses: Sensitivities,
    *,
    counted: bool,
) -> dict[str, Any]:
    name = row["name"]
    return {
        "name": name,
        "kind": row["kind"],
        "inputs": cost and cost.kept.inputs,
        "dense_inputs": cost and cost.dense.inputs,
        "outputs": cost and cost.kept.outputs,
        "dense_outputs": cost and cost.dense.outputs,
        "weight_bits": configuration.weight_bits.get(name),
        "activation_bits": configuration.activation_bits.get(name),
        "sparsity": configuration.sparsity.get(name),
        "bytes": cost and cost.bytes,
        "dense_bytes": cost and cost.dense_bytes,
        "macs": _whole(cost.macs) if cost and counted else None,
        "dense_macs": row["macs"] if counted else None,
        "loss": losses.of_layer(name, configuration),
    }


def _group(row: dict[str, Any], configuration: Configuration, losses: Sensitivities) -> dict[str, Any]:
    kept = configuration.channels.get(row["name"], row["units"])
    return {
        "name": row["name"],
        "units": row["units"],
        "kept": kept,
        "members": list(row["members"]),
        "loss": losses.of_group(row["name"], kept) if kept < row["units"] else 0.0,
    }


def _rest(whole: float | None, parts: list[float | None]) -> float | None:
    """Return a whole minus its parts; None if one of them is unknown."""
    known = [part for part in parts if part is not None]
    return None if whole is None or len(known) < len(parts) else _whole(whole - sum(known))


def _whole(value: float | None) -> float | None:
    """Return a count as an integer, so that it is printed without a decimal point."""
    return int(value) if value is not None and float(value).is_integer() else value
