"""Command-line options that several commands share."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import click

from leanfront.core.search.candidate import STAGES
from leanfront.errors import UsageError
from leanfront.options import Option, Options, divided, shown

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


def options_from(*sources: type[Options]) -> Decorator:
    """Add a command-line option for every option of some classes.

    Lists are separated by commas, or given by several options. What is not given is not passed on, so that the
    default is defined once.
    """
    every = [each for source in sources for each in shown(source).values()]

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for each in reversed(every):
            function = click.option(
                each.flag,
                each.name,
                cls=_Made,
                type=str if each.many else each.kind,
                multiple=each.many,
                metavar=each.metavar or ("LIST" if each.many else None),
                help=_help(each),
                shown_default=_default(each),
            )(function)
        return function

    return decorate


def given(options: dict[str, Any], *sources: type[Options]) -> tuple[Any, ...]:
    """Take the options that `options_from` parsed out of a command's arguments, and make the objects of them.

    Raises:
        UsageError: a value cannot be used.
    """
    return divided(taken(options, *sources), *sources)


def taken(options: dict[str, Any], *sources: type[Options]) -> dict[str, Any]:
    """Take the options that `options_from` parsed and a user gave out of a command's arguments."""
    known = {name: each for source in sources for name, each in shown(source).items()}
    found = {name: options.pop(name) for name in known if name in options}
    return {
        name: ",".join(value) if known[name].many else value
        for name, value in found.items()
        if value not in (None, ())
    }


class _Made(click.Option):
    """An option whose default is not click's: what is not given is not passed on."""

    def __init__(self, *arguments: Any, shown_default: str, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.shown_default = shown_default

    def get_help_extra(self, context: click.Context) -> Any:
        extra = super().get_help_extra(context)
        return {**extra, "default": self.shown_default} if self.shown_default else extra


def _help(each: Option) -> str:
    # Other options are named as they are typed here.
    text = re.sub(r"`([a-z_]+)`", lambda match: "--" + match[1].replace("_", "-"), each.help)
    return text if each.choices is None else f"{text} Choices: {', '.join(map(str, each.choices))}."


def _default(each: Option) -> str:
    if each.default is None:
        return ""
    return ", ".join(map(str, each.default)) if each.many else str(each.default)


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
