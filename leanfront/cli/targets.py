"""``leanfront targets``."""

from __future__ import annotations

import click

from leanfront.cli.options import json_option
from leanfront.cli.output import print_json


@click.command()
@json_option
def targets(as_json: bool) -> None:
    """List the built-in targets."""
    from leanfront.core.targets import builtin_targets

    found = builtin_targets()
    if as_json:
        print_json([{"name": name, "description": description} for name, description in found])
        return
    click.echo("\n".join(f"{name.ljust(max(len(n) for n, _ in found))}  {line}" for name, line in found))
    click.echo("\nYour own: path/to/file.py:function, returning a leanfront.Target (see docs/tutorial.md)")
