"""Command-line options that several commands share."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import click

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


def options_from(*sources: type[Options]) -> Decorator:
    """Add a command-line option for every option of some classes.

    Lists are separated by commas, or given by repeating the option. Options that are not given are not passed on, so
    that the default is defined once.
    """
    every = list(shown(*sources).values())

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for each in reversed(every):
            function = click.option(
                each.typed,
                each.name,
                cls=_Made,
                type=each.kind if each.kind in (int, float) and not each.many else str,
                multiple=each.many or each.pairs,
                metavar=each.metavar or ("LIST" if each.many else None),
                help=_help(each),
                shown_default=_default(each),
            )(function)
        return function

    return decorate


def given(options: dict[str, Any], *sources: type[Options]) -> tuple[Any, ...]:
    """Pop the options that `options_from` parsed from a command's arguments, and return an object per class.

    Raises:
        UsageError: a value is invalid.
    """
    return divided(taken(options, *sources), *sources)


def taken(options: dict[str, Any], *sources: type[Options]) -> dict[str, Any]:
    """Pop the options that `options_from` parsed from a command's arguments; return those that the user gave."""
    known = shown(*sources)
    found = {name: options.pop(name) for name in known if name in options}
    return {name: _value(known[name], value) for name, value in found.items() if value not in (None, ())}


def _value(each: Option, value: Any) -> Any:
    if each.pairs:
        return assignments(value, each.typed)
    return ",".join(value) if each.many else value


class _Made(click.Option):
    """Click option that is not passed on if it is not given, so that click needs no default."""

    def __init__(self, *arguments: Any, shown_default: str, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.shown_default = shown_default

    def get_help_extra(self, context: click.Context) -> Any:
        extra = super().get_help_extra(context)
        return {**extra, "default": self.shown_default} if self.shown_default else extra


def _help(each: Option) -> str:
    # Other options are named as on the command line.
    text = re.sub(r"`([a-z_]+)`", lambda match: "--" + match[1].replace("_", "-"), each.help)
    return text if each.choices is None else f"{text} Choices: {', '.join(map(str, each.choices))}."


def _default(each: Option) -> str:
    if each.default is None or each.pairs:
        return ""
    return ", ".join(map(str, each.default)) if each.many else str(each.default)


def assignments(texts: tuple[str, ...], option: str) -> dict[str, str]:
    """Parse assignments: ``("ece=0.05",)`` -> ``{"ece": "0.05"}``.

    Raises:
        UsageError: an equals sign is missing, or a name is given twice.
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
