"""Functions given by address, so that registries need not import what computes."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any


@dataclass(frozen=True)
class Deferred:
    """A function that is imported when it is called.

    Two objects with the same address are equal. They can be pickled, called before or not.

    Args:
        address: ``"module:function"``.
    """

    address: str

    @cached_property
    def function(self) -> Any:
        """Import and return the function.

        Raises:
            ImportError: the module does not exist or has no such name.
        """
        module, colon, name = self.address.partition(":")
        if not colon:
            raise ImportError(f"{self.address!r} is no address of a function: write 'module:function'")
        found = importlib.import_module(module)
        try:
            return getattr(found, name)
        except AttributeError:
            raise ImportError(f"{module} has no {name!r}") from None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return self.function(*args, **kwargs)

    def __reduce__(self) -> tuple[type[Deferred], tuple[str]]:
        return Deferred, (self.address,)
