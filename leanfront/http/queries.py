"""Query parameters: refusal of unknown ones, and limits on any measurement."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, cast
from urllib.parse import urlencode

from fastapi import Depends, Query, Request

from leanfront.actions.selection_options import FrontierOptions, SelectionOptions
from leanfront.core.cost_models import COST_MODELS
from leanfront.core.objectives import METRICS, Budget, known_objectives
from leanfront.core.search import candidate
from leanfront.errors import UsageError
from leanfront.http.problems import Problem
from leanfront.options import options_of

Stage = Annotated[
    candidate.Stage,
    Query(description=options_of(FrontierOptions)["stage"].help),
]
MOST_LIMITS = 16
"""Largest number of limits, weights and tolerances: each needs a look-up in the database."""
_FAMILIES = ("max", "min", "weight", "tolerance")
_MEMBER = re.compile(rf"({'|'.join(_FAMILIES)})_(.{{1,100}})", re.DOTALL)
_SIZE = r"^\d{1,15}(\.\d{1,6})?([KMG]i?B)?$"
_COUNT = r"^\d{1,15}(\.\d{1,6})?[KMGT]?$"


@dataclass(frozen=True)
class Asked:
    """Query parameters other than those that a route declares.

    Args:
        budget: limits.
        weights: ``weight_<objective>`` -> number.
        tolerances: ``tolerance_<objective>`` -> number, in the objective's unit.
        canonical: all parameters except ``limit`` and ``cursor`` in a fixed order: what the answer depends on.
    """

    budget: Budget
    weights: Mapping[str, float] = field(default_factory=dict)
    tolerances: Mapping[str, float] = field(default_factory=dict)
    canonical: str = ""


def limit_parameters() -> list[dict[str, Any]]:
    """Return the OpenAPI parameters for limits on common measurements; others are accepted too."""
    found = []
    for name in (*COST_MODELS, *METRICS):
        cost = COST_MODELS.get(name)
        for side, word in (("max", "Largest"), ("min", "Smallest")):
            found.append(
                {
                    "name": f"{side}_{name}",
                    "in": "query",
                    "required": False,
                    "schema": _schema(name),
                    "description": f"{word} `{name}` allowed{_unit(name)}."
                    + (
                        " Units are powers of 1000 (KB) or 1024 (KiB)."
                        if cost and cost.unit == "byte"
                        else ""
                    ),
                }
            )
    return found


def strategy_parameters() -> list[dict[str, Any]]:
    """Return the OpenAPI parameters that two strategies take per objective."""
    return [
        {
            "name": f"{family}_{name}",
            "in": "query",
            "required": False,
            "schema": {"type": "number", "minimum": 0},
            "description": text,
        }
        for family, text in (
            ("weight", options_of(SelectionOptions)["weights"].help),
            ("tolerance", options_of(SelectionOptions)["tolerance"].help),
        )
        for name in known_objectives()
    ]


def _schema(name: str) -> dict[str, Any]:
    if name in COST_MODELS:
        size = name.endswith("_bytes")
        return {
            "type": "string",
            "pattern": _SIZE if size else _COUNT,
            "example": "64KB" if size else "20M",
        }
    share = {"minimum": 0, "maximum": 1} if name.endswith("accuracy") else {}
    return {"type": "number", **share}


def _unit(name: str) -> str:
    unit = COST_MODELS[name].unit if name in COST_MODELS else METRICS[name].unit
    words = {"byte": "bytes", "MAC": "multiply-adds", "ms": "milliseconds"}
    return "" if unit == "1" else f", in {words.get(unit, f'{unit}s')}"


async def documented(request: Request) -> None:
    """Refuse parameters that are unknown to the route or given more than once.

    Ignoring a misspelt limit would silently widen the budget.

    Raises:
        Problem: 422; it lists the known parameters.
    """
    given = [name for name, _ in request.query_params.multi_items()]
    if not given:
        return
    taken = request.app.state.parameters.get((request.method, request.scope["route"].path), frozenset())
    families = {name.partition("_")[0] for name in taken if "_" in name} & set(_FAMILIES)
    errors = []
    if "\0" in "".join(part for pair in request.query_params.multi_items() for part in pair):
        # Databases can neither search for NUL nor store it.
        raise Problem("invalid", "a parameter holds the character NUL")
    for name in dict.fromkeys(given):
        match = _MEMBER.fullmatch(name)
        if name not in taken and not (match and match[1] in families):
            others = sorted(each for each in taken if each.partition("_")[0] not in families)
            listed = ", ".join([*others, *(f"{family}_<name>" for family in _FAMILIES if family in families)])
            errors.append(
                _wrong(name, f"this address does not take it; it takes {listed or 'no parameters'}")
            )
        elif given.count(name) > 1:
            errors.append(_wrong(name, "it is given more than once"))
    if errors:
        raise Problem("invalid", "; ".join(f"{e['parameter']}: {e['detail']}" for e in errors)[:2000], errors)


async def asked(request: Request) -> Asked:
    """Parse the limits, weights and tolerances of a request.

    Raises:
        Problem: 422: a value cannot be read, or there are too many.
    """
    found: dict[str, dict[str, str]] = {family: {} for family in _FAMILIES}
    rest = []
    for name, value in sorted(request.query_params.multi_items()):
        match = _MEMBER.fullmatch(name)
        if match is not None:
            found[match[1]][match[2]] = value
        if name not in ("limit", "cursor"):
            rest.append((name, value))
    if sum(map(len, found.values())) > MOST_LIMITS:
        raise Problem("invalid", f"an address holds {MOST_LIMITS} limits, weights and tolerances at most")
    try:
        budget = Budget.of(
            maximum=found["max"], minimum=found["min"], measured=(*found["max"], *found["min"])
        )
    except UsageError as error:
        raise Problem("invalid", str(error)[:2000], [_culprit(found, error)]) from None
    return Asked(
        budget,
        {name: _number(f"weight_{name}", value) for name, value in found["weight"].items()},
        {name: _number(f"tolerance_{name}", value) for name, value in found["tolerance"].items()},
        urlencode(rest, errors="replace"),
    )


Limits = Annotated[Asked, Depends(asked)]


def _culprit(found: Mapping[str, Mapping[str, str]], error: UsageError) -> dict[str, str]:
    """Find the refused limit by trying each: the message names the measurement, not the parameter."""
    for side, keyword in (("max", "maximum"), ("min", "minimum")):
        for name, value in found[side].items():
            try:
                Budget.of(**cast("dict[str, Any]", {keyword: {name: value}}), measured=(name,))
            except UsageError as own:
                return _wrong(f"{side}_{name}", str(own)[:300])
    return {"detail": str(error)[:300]}


def _wrong(name: str, detail: str) -> dict[str, str]:
    return {"parameter": name[:100], "detail": detail}


def _number(parameter: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise Problem(
            "invalid",
            f"{parameter} must be a finite number of 0 or more",
            [_wrong(parameter, "not such a number")],
        )
    return value
