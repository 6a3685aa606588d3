"""Options: one definition of each option (type, bounds, default, help) for all interfaces.

A class of options is a frozen dataclass that derives from `Options` and whose fields are made by `option`. Python
signatures (`takes`), click options (`leanfront/cli/options.py`), request schemas (`leanfront/http/schemas`, which the
dashboard's forms read) and docs/reference.md are made from `options_of`.
"""

from __future__ import annotations

import difflib
import inspect
import math
import textwrap
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from typing import Any, ClassVar, Self, TypeVar

from leanfront.errors import LeanfrontError, UsageError

F = TypeVar("F", bound=Callable[..., Any])
Known = Iterable[Any] | Callable[[], Iterable[Any]]
_WIDTH = 118
_KNOWN: dict[type[Options], Mapping[str, Option]] = {}
_JSON = {int: "integer", float: "number", str: "string", bool: "boolean"}


@dataclass(frozen=True)
class Option:
    """One option.

    Args:
        name: name in Python and HTTP; on the command line, ``--name`` with hyphens.
        kind: type of the value or of each element: int, float, str or bool; dict for anything else.
        many: whether the value is a sequence of elements.
        optional: whether the value may be None.
        default: default value.
        help: one or two sentences; other options are named in backticks.
        least, above, most, below: bounds of each number; `above` and `below` are excluded.
        known: values to choose from: a collection, which may grow, or a function that returns one.
        closed: whether values not in `known` are refused.
        canonical: function that converts an element before it is checked, or raises ValueError.
        fewest, longest: bounds of the length of a sequence or text.
        unique: whether elements must differ.
        title: label in forms; by default made from the name.
        flag: name on the command line; made from the name when empty.
        metavar: placeholder of the value in the help of a command.
        local: whether it names a file, a device or processes, so that it cannot be given over the network.
        hidden: whether it is set by code and shown by no interface.
        kinds: kinds of audit that use it; empty for all.
        examples: values to show in documentation.
    """

    name: str
    kind: type
    many: bool
    optional: bool
    default: Any
    help: str
    least: float | None = None
    above: float | None = None
    most: float | None = None
    below: float | None = None
    known: Known | None = None
    closed: bool = True
    canonical: Callable[[Any], Any] | None = None
    fewest: int | None = None
    longest: int | None = None
    unique: bool = True
    title: str | None = None
    flag: str = ""
    metavar: str | None = None
    local: bool = False
    hidden: bool = False
    kinds: tuple[str, ...] = ()
    examples: tuple[Any, ...] = ()

    @property
    def choices(self) -> tuple[Any, ...] | None:
        """Values to choose from; None if any value is allowed."""
        if self.known is None:
            return None
        return tuple(self.known() if callable(self.known) else self.known)

    @property
    def typed(self) -> str:
        """Name on the command line."""
        return self.flag or "--" + self.name.replace("_", "-")

    @property
    def pairs(self) -> bool:
        """Whether the value maps names to values: the command line takes ``NAME=VALUE``, several times."""
        return self.kind is dict and isinstance(self.default, Mapping)

    @property
    def description(self) -> str:
        """Description of valid values: ``a whole number from 1 to 100``."""
        if self.many:
            return f"a sequence of {self._length} values, each {self._element}"
        return self._element

    @property
    def _length(self) -> str:
        return f"{self.fewest or 0} to {self.longest}" if self.longest else f"{self.fewest or 0} or more"

    @property
    def _element(self) -> str:
        if self.choices is not None:
            return f"one of {', '.join(map(str, self.choices))}"
        if self.kind is str:
            longest = f" of at most {self.longest:,} characters" if self.longest and not self.many else ""
            return f"a text{longest}"
        what = {int: "a whole number", float: "a finite number", bool: "true or false"}.get(
            self.kind, "an object"
        )
        bounds = _between(self.least, self.above, self.most, self.below)
        return f"{what} {bounds}".rstrip()

    def read(self, value: Any, *, strict: bool = False) -> Any:
        """Check a value and return it converted: sequences become tuples, numbers get the option's type.

        Args:
            value: value given by a user.
            strict: whether to refuse a text with commas in place of a sequence.

        Raises:
            ValueError: the value is invalid; the message names the option and says what it must be.
        """
        if value is None and self.optional:
            return None
        if self.kind is dict:
            return value
        if not self.many:
            found = self._one(value)
            if self.kind is str and not (self.fewest or 0) <= len(found) <= (self.longest or math.inf):
                raise self._refusal(value)
            return found
        if isinstance(value, str) and not strict:
            value = [self._parsed(part.strip()) for part in value.split(",") if part.strip()]
        if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
            raise self._refusal(value)
        elements = tuple(self._one(each) for each in value)
        if not (self.fewest or 0) <= len(elements) <= (self.longest or math.inf):
            raise ValueError(
                f"{self.name} must be a sequence of {self._length} values, not of {len(elements)}"
            )
        if self.unique and len(set(elements)) < len(elements):
            twice = next(each for each in elements if elements.count(each) > 1)
            raise ValueError(f"{self.name} names {twice} more than once; name each once")
        return elements

    def _one(self, value: Any) -> Any:
        if self.kind is str:
            if not isinstance(value, str):
                raise self._refusal(value)
        elif self.kind is bool:
            if not isinstance(value, bool):
                raise self._refusal(value)
        else:
            value = self._number(value)
        if self.canonical is not None:
            value = self.canonical(value)
        if self.closed and self.choices is not None and value not in self.choices:
            raise ValueError(
                f"unknown {self.name.replace('_', ' ')} {value!r}; choose from {', '.join(map(str, self.choices))}"
            )
        return value

    def _parsed(self, text: str) -> Any:
        try:
            return self.kind(text)
        except ValueError:
            raise self._refusal(text) from None

    def _number(self, value: Any) -> Any:
        given = value
        if isinstance(value, bool) or not isinstance(value, Real):
            raise self._refusal(given)
        number: Any = value
        if self.kind is int and not isinstance(number, Integral) and not float(number).is_integer():
            raise self._refusal(given)
        try:
            value = self.kind(number)
        except OverflowError:
            raise self._refusal(given) from None
        if not (
            (self.kind is int or math.isfinite(value))
            and (self.least is None or value >= self.least)
            and (self.above is None or value > self.above)
            and (self.most is None or value <= self.most)
            and (self.below is None or value < self.below)
        ):
            raise self._refusal(given)
        return value

    def _refusal(self, value: Any) -> ValueError:
        return ValueError(f"{self.name} must be {self.description}, not {value!r:.100}")

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema of the option, with default and description."""
        element: dict[str, Any] = {"type": _JSON[self.kind]}
        bounds = {
            "minimum": self.least,
            "exclusiveMinimum": self.above,
            "maximum": self.most,
            "exclusiveMaximum": self.below,
        }
        element |= {key: value for key, value in bounds.items() if value is not None}
        if self.many:
            if self.choices is not None:
                element["enum"] = list(self.choices)
            own: dict[str, Any] = {"type": "array", "items": element, "uniqueItems": self.unique}
            own |= {"minItems": self.fewest} if self.fewest else {}
            own |= {"maxItems": self.longest} if self.longest else {}
        else:
            own = element
            own |= {"minLength": self.fewest} if self.fewest else {}
            own |= {"maxLength": self.longest} if self.longest else {}
        if self.optional:
            own = {"anyOf": [own, {"type": "null"}]}
        if self.choices is not None and not self.many:
            own["enum"] = [*self.choices, *([None] if self.optional else [])]
        default = list(self.default) if isinstance(self.default, tuple) else self.default
        own |= {"default": default, "description": self.help}
        own |= {"title": self.title} if self.title else {}
        own |= {"examples": list(self.examples)} if self.examples else {}
        # Not a keyword of JSON schema; the dashboard's forms read it.
        return own | ({"x-kinds": list(self.kinds)} if self.kinds else {})


def _between(least: float | None, above: float | None, most: float | None, below: float | None) -> str:
    """Format bounds as words: ``from 1 to 100``, ``of at least 1``, ``above 0 and below 1``."""
    if least is not None and most is not None and least == most:
        return f"{least:,}"
    if least is not None and most is not None:
        return f"from {_short(least)} to {_short(most)}"
    words = [
        f"{word} {_short(bound)}"
        for word, bound in (("at least", least), ("above", above), ("at most", most), ("below", below))
        if bound is not None
    ]
    return ("of " if words and words[0].startswith("at") else "") + " and ".join(words)


def _short(number: float) -> str:
    return f"{int(number):,}" if float(number).is_integer() else f"{number:g}"


def option(default: Any, help: str, **about: Any) -> Any:
    """Define a field of a class of options.

    Args:
        default: default value.
        help: one or two sentences; other options are named in backticks.
        about: further attributes of `Option`.
    """
    metadata = {"option": {"help": help, **about}}
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata=metadata, hash=False)
    return field(default=default, metadata=metadata)


def same(options: type[Options], name: str, **about: Any) -> Any:
    """Define a field like an option of another class; its default is None unless given."""
    metadata = next(each.metadata for each in fields(options) if each.name == name)
    said = {**metadata["option"], **about}
    return option(said.pop("default", None), **said)


def options_of(*sources: type[Options]) -> Mapping[str, Option]:
    """Return the options of some classes by name, those of a class before those it inherits."""
    for source in sources:
        if source not in _KNOWN:
            _KNOWN[source] = types.MappingProxyType(_options(source))
    if len(sources) == 1:
        return _KNOWN[sources[0]]
    return {name: each for source in sources for name, each in _KNOWN[source].items()}


def _options(source: type[Options]) -> dict[str, Option]:
    hints = typing.get_type_hints(source)
    inherited = {each.name for base in source.__bases__ if base is not Options for each in fields(base)}
    found = {}
    for each in sorted(fields(source), key=lambda each: each.name in inherited):
        if "option" not in each.metadata:
            continue
        kind, many, optional = _kind(hints[each.name])
        default = {} if callable(each.default_factory) else each.default
        found[each.name] = Option(each.name, kind, many, optional, default, **each.metadata["option"])
    return found


def shown(*sources: type[Options], network: bool = False) -> dict[str, Option]:
    """Return the options of some classes that an interface shows.

    Args:
        sources: classes of options.
        network: whether to leave out options that cannot be given over the network.
    """
    return {
        name: each
        for name, each in options_of(*sources).items()
        if not each.hidden and not (network and each.local)
    }


def _kind(hint: Any) -> tuple[type, bool, bool]:
    """Return the type of the value or its elements, whether it is a sequence, and whether it may be None."""
    optional = False
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        rest = [each for each in typing.get_args(hint) if each is not type(None)]
        optional, hint = len(rest) < len(typing.get_args(hint)), rest[0] if len(rest) == 1 else dict
    if typing.get_origin(hint) is tuple:
        return typing.get_args(hint)[0], True, optional
    return (hint if hint in _JSON else dict), False, optional


@dataclass(frozen=True, kw_only=True)
class Options:
    """Base class of options; checks every value when an object is created.

    Raises:
        UsageError: a value is invalid; the message names the option and says what it must be.
    """

    _error: ClassVar[type[LeanfrontError]] = UsageError
    _context: ClassVar[str] = ""
    """Prefix of error messages."""

    def __post_init__(self) -> None:
        for name, each in options_of(type(self)).items():
            try:
                value = each.read(getattr(self, name))
            except ValueError as error:
                raise self._error(f"{self._context}{error}") from None
            object.__setattr__(self, name, value)

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Self:
        """Create options from values given by name, or from the result of `to_json`.

        Raises:
            UsageError: a name is unknown (the message suggests a similar one), or a value is invalid.
        """
        _require_known(given, options_of(cls), cls)
        return cls(**given)

    def to_json(self) -> dict[str, Any]:
        """Return all options as a JSON-ready dictionary."""
        values = {name: getattr(self, name) for name in options_of(type(self))}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def changed(self) -> dict[str, Any]:
        """Return the options that differ from their defaults as a JSON-ready dictionary."""
        known = options_of(type(self))
        return {
            name: value
            # Classes may write themselves otherwise.
            for name, value in Options.to_json(self).items()
            if getattr(self, name) != known[name].default
        }


def divided(given: Mapping[str, Any], *sources: type[Options]) -> tuple[Any, ...]:
    """Create an object of each class from values given by name.

    Raises:
        UsageError: a name belongs to none of the classes, or a value is invalid.
    """
    _require_known(given, options_of(*sources), sources[0])
    return tuple(
        source(**{name: value for name, value in given.items() if name in options_of(source)})
        for source in sources
    )


def _require_known(given: Iterable[str], known: Mapping[str, Option], source: type[Options]) -> None:
    for name in given:
        if name not in known:
            shown = [each for each, about in known.items() if not about.hidden]
            close = difflib.get_close_matches(str(name), shown, 1)
            meant = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(shown)}"
            raise source._error(f"{source._context}unknown option '{name}'; {meant}")


def plain(given: Mapping[str, Any], *sources: type[Options]) -> dict[str, Any]:
    """Return the values of options given by name in JSON-ready form, without those that are None.

    They are not checked here, but by the server that they are sent to.
    """
    known = options_of(*sources)
    found = {name: value for name, value in given.items() if value is not None}
    for name, value in found.items():
        if name in known and known[name].many:
            parts = value.split(",") if isinstance(value, str) else value
            found[name] = [part.strip() if isinstance(part, str) else part for part in parts]
    return found


def takes(*sources: type[Options], network: bool = False, omit: Collection[str] = ()) -> Callable[[F], F]:
    """Decorate a function with ``**options`` so that its signature and docstring list the options.

    The line ``options: ...`` of the docstring is replaced by a line for each option.

    Args:
        sources: classes of the options.
        network: whether to leave out options that cannot be given over the network.
        omit: names of options that the function has as parameters of its own.
    """
    found = {name: each for name, each in shown(*sources, network=network).items() if name not in omit}

    def decorate(function: F) -> F:
        signature = inspect.signature(function)
        own = [
            each for each in signature.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD
        ]
        keyword = inspect.Parameter.KEYWORD_ONLY
        further = [inspect.Parameter(name, keyword, default=each.default) for name, each in found.items()]
        function.__signature__ = signature.replace(parameters=[*own, *further])  # type: ignore[attr-defined]
        if function.__doc__:
            lines = function.__doc__.split("\n")
            place = next(
                (number for number, line in enumerate(lines) if line.strip().startswith("options: ")), None
            )
            if place is None:
                raise TypeError(f"the docstring of {function.__qualname__} has no line 'options: ...'")
            indent = lines[place][: len(lines[place]) - len(lines[place].lstrip())]
            lines[place : place + 1] = [_line(each, indent) for each in found.values()]
            function.__doc__ = "\n".join(lines)
        return function

    return decorate


def _line(each: Option, indent: str) -> str:
    """Return the docstring entry of an option."""
    text = each.help if each.help[1:2].isupper() else each.help[:1].lower() + each.help[1:]
    if each.choices is not None:
        text += f" Choices: {', '.join(f'``{one}``' for one in each.choices)}."
    return textwrap.fill(
        f"{each.name}: {text}", _WIDTH, initial_indent=indent, subsequent_indent=f"{indent}    "
    )
