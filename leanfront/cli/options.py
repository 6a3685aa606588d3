"""Command-line options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click

from leanfront.core.search.candidate import STAGES
from leanfront.errors import UsageError

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

database_option: Decorator = click.option(
    "--database",
    metavar="URL",
    envvar="LEANFRONT_DATABASE",
    show_envvar=True,
    help="Database URL [default: sqlite:///leanfront.db].",
)
json_option: Decorator = click.option(
    "--json", "as_json", is_flag=True, help="Print only JSON on standard output."
)
stage_option: Decorator = click.option(
    "--stage",
    type=click.Choice(STAGES),
    default="after",
    show_default=True,
    help="Among the candidates before recovery, or after: recovered ones too.",
)


def limit_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The limits of a budget."""
    for option in reversed(
        (
            click.option(
                "--max-memory", metavar="SIZE", help="Largest parameter memory: 64KB, 64KiB, bytes."
            ),
            click.option("--max-macs", metavar="COUNT", help="Most multiply-adds: 20M."),
            click.option("--min-accuracy", metavar="SHARE", help="Least top-1 accuracy on validation: 0.9."),
            click.option(
                "--max", "maximum", metavar="METRIC=VALUE", multiple=True, help="Cap any other measurement."
            ),
            click.option(
                "--min", "minimum", metavar="METRIC=VALUE", multiple=True, help="Floor of any other."
            ),
        )
    ):
        function = option(function)
    return function


def place_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Where evaluations run."""
    for option in reversed(
        (
            click.option("--workers", default=1, show_default=True, help="Processes that evaluate."),
            click.option(
                "--cluster",
                metavar="tcp://HOST:PORT",
                help="A Dask scheduler whose workers evaluate instead.",
            ),
            click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."),
        )
    ):
        function = option(function)
    return function


def limits(options: Mapping[str, Any]) -> dict[str, Any]:
    """What `limit_options` parsed, as keyword arguments of `Budget.of`."""
    return {
        "max_memory": options["max_memory"],
        "max_macs": options["max_macs"],
        "min_accuracy": options["min_accuracy"],
        "maximum": assignments(options["maximum"], "--max"),
        "minimum": assignments(options["minimum"], "--min"),
    }


def assignments(texts: tuple[str, ...], option: str) -> dict[str, str]:
    """``("ece=0.05",)`` -> ``{"ece": "0.05"}``.

    Raises:
        UsageError: no equals sign, or a name twice.
    """
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise UsageError(f"{option} takes METRIC=VALUE, such as {option} ece=0.05, not '{text}'")
        if name.strip() in pairs:
            raise UsageError(f"{option} names '{name.strip()}' twice")
        pairs[name.strip()] = value.strip()
    return pairs
