"""Exit codes, and messages on Ctrl-C."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from leanfront.errors import StoppedError

DONE, FAILED, WRONG_USAGE, INFEASIBLE, INTERRUPTED = 0, 1, 2, 3, 130


@contextmanager
def resumable(name: Callable[[], str | None], url: str | None = None) -> Iterator[None]:
    """Run long work on a search; on Ctrl-C, print how to resume it.

    Args:
        name: function that returns the search's name, or None while it has none.
        url: URL of its database, as `locations.open_store` takes it.
    """
    try:
        yield
    except KeyboardInterrupt:
        from leanfront.locations import open_store

        hint, search = "Interrupted.", name()
        if search is not None and any(record.name == search for record in open_store(url).searches()):
            database = f" --database {shlex.quote(url)}" if url else ""
            hint += f" Go on with: leanfront resume {shlex.quote(search)}{database}"
        else:
            hint += " Nothing was stored yet: start it again."
        click.echo(f"\n{hint}", err=True)
        sys.exit(INTERRUPTED)


@contextmanager
def repeatable(kept: str) -> Iterator[None]:
    """Run long work that the same command can continue; on Ctrl-C, say so.

    Args:
        kept: what is kept, such as ``What was computed is kept``.
    """
    try:
        yield
    except (KeyboardInterrupt, StoppedError):
        again = shlex.join(["leanfront", *sys.argv[1:]])
        click.echo(f"\nInterrupted. {kept}; the same command goes on: {again}", err=True)
        sys.exit(INTERRUPTED)
