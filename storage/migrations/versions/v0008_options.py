"""Store the options of a search once, in one flat form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

SPACE = ("bits", "activation_bits", "sparsity", "criterion", "method", "activation_range", "seed", "bounds")
OWN = (
    "trials",
    "minutes",
    "sampler",
    "samples",
    "population",
    "false_elimination",
    "recover",
    "recover_minutes",
)
LATENCY = ("backend", "threads", "batch")


def upgrade() -> None:
    """Before, a request held the options, and beside it most of them stood again once a runner had begun."""
    _rewrite(_flat)


def downgrade() -> None:
    """Write both forms again."""
    _rewrite(_nested)


def _rewrite(change: Callable[[dict[str, Any], list[str], int], dict[str, Any]]) -> None:
    searches = sa.table(
        "leanfront_searches",
        *map(sa.column, ("id", "seed")),
        sa.column("settings", sa.JSON),
        sa.column("objectives", sa.JSON),
    )
    for row in op.get_bind().execute(sa.select(searches)).all():
        changed = change(dict(row.settings), [each["name"] for each in row.objectives], row.seed)
        op.execute(searches.update().where(searches.c.id == row.id).values(settings=changed))


def _flat(settings: dict[str, Any], objectives: list[str], seed: int) -> dict[str, Any]:
    request = settings.pop("request", None) or {}
    described = "sampler" in settings
    own = {name: settings.pop(name) for name in OWN if name in settings}
    space = settings.pop("space", None) or request.get("space") or {}
    metrics = settings.pop("wanted_metrics", None) or request.get("metrics") or []
    # Searches that older releases began have no races, and round; queued ones began under none.
    older: dict[str, Any] = {"false_elimination": 0.0, "method": "rounding"} if described else {}
    options = {
        **older,
        **{name: request[name] for name in OWN if name in request},
        **own,
        **{name: value for name, value in space.items() if name in SPACE},
        **{f"latency_{name}": value for name, value in (request.get("latency") or {}).items()},
        "objectives": objectives,
        "metrics": metrics,
        "seed": seed,
    }
    return {**settings, "version": 2, "options": options}


def _nested(settings: dict[str, Any], objectives: list[str], seed: int) -> dict[str, Any]:
    options = settings.pop("options", None)
    if options is None:
        return settings
    own = {name: options[name] for name in OWN if name in options}
    space = {name: options[name] for name in SPACE if name in options}
    if not space.get("bounds"):
        space.pop("bounds", None)
    latency = {name: options.get(f"latency_{name}") for name in LATENCY}
    given = {name: value for name, value in latency.items() if value is not None}
    request = {
        **own,
        "objectives": objectives,
        "space": space,
        "seed": seed,
        "metrics": options["metrics"],
        "latency": {"backend": "onnxruntime", "threads": 1, "batch": 1, **given} if given else None,
    }
    found: dict[str, Any] = {"version": 1, "request": request, "trials": options["trials"], **settings}
    if "parameters" in settings:
        found |= {
            **{name: own[name] for name in own if name != "minutes"},
            "space": space,
            "wanted_metrics": options["metrics"],
        }
    return found | {"version": 1}
