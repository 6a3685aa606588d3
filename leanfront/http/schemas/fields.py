"""Fields that several nouns share, and fields made from options."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, Field, PlainValidator, WithJsonSchema, create_model

from leanfront.options import Option, Options, shown

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)
AnyOptions = TypeVar("AnyOptions", bound=Options)
FRONTIER_VERSION: Any = Field(
    description="Grows with every change of the frontier or its measurements.", examples=[12]
)
NEXT: Any = Field(
    default=None,
    description="Cursor of the next page, whose address is in the header Link; omitted on the last page.",
)


def one_of(names: Iterable[str | None], description: str, default: str | None) -> Any:
    """Return a field that takes one of some names."""
    return Field(
        default=default, description=description, max_length=100, json_schema_extra={"enum": list(names)}
    )


def each_once(values: list[T], known: Collection[T] | None = None) -> list[T]:
    """Return a list unchanged. Raises `ValueError` if a value is unknown or given more than once."""
    unknown = [] if known is None else [str(each) for each in values if each not in known]
    if unknown and known is not None:
        raise ValueError(f"unknown: {', '.join(unknown)[:100]}; known: {', '.join(map(str, known))}")
    if len(set(values)) < len(values):
        raise ValueError("a value is given more than once")
    return values


def names_of(known: Iterable[str]) -> dict[str, Any]:
    """Return the JSON schema of a list of names, each once."""
    return {"items": {"type": "string", "enum": list(known)}, "uniqueItems": True}


def with_options(*sources: type[Options]) -> Callable[[type[M]], type[M]]:
    """Decorate the model of a request: add a field for every option that may be given over the network."""

    def decorate(model: type[M]) -> type[M]:
        own: dict[str, Any] = {
            name: (
                Annotated[
                    Any, PlainValidator(partial(each.read, strict=True)), WithJsonSchema(_schema(each))
                ],
                Field(default=each.default),
            )
            for name, each in shown(*sources, network=True).items()
        }
        return create_model(
            model.__name__, __base__=model, __module__=model.__module__, __doc__=model.__doc__, **own
        )

    return decorate


def options_in(request: BaseModel, source: type[AnyOptions]) -> AnyOptions:
    """Return the options in a request. Raises `UsageError`."""
    return source.read(given_in(request, source))


def given_in(request: BaseModel, source: type[Options]) -> dict[str, Any]:
    """Return the values in a request for the options of a class, by name."""
    return {name: getattr(request, name) for name in shown(source, network=True)}


def _schema(each: Option) -> dict[str, Any]:
    return {"title": each.name.replace("_", " ").capitalize(), **each.schema()}
