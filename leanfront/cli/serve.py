"""``leanfront serve``."""

from __future__ import annotations

from pathlib import Path

import click

from leanfront.cli.options import database_option
from leanfront.http.keys import VARIABLE, Keys
from leanfront.http.settings import LOG_LEVELS, Settings


@click.command()
@click.option(
    "--host", default="127.0.0.1", show_default=True, help=f"Address to listen on; others need {VARIABLE}."
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0: any free one."
)
@click.option("--target", "targets", metavar="NAME=TARGET", multiple=True, help="Target to register.")
@click.option(
    "--targets", "targets_file", type=Path, metavar="FILE.toml", help="File of targets to register."
)
@click.option(
    "--log-level",
    type=click.Choice(LOG_LEVELS),
    default="info",
    show_default=True,
    help="Lowest level to log.",
)
@database_option
def serve(
    host: str,
    port: int,
    targets: tuple[str, ...],
    targets_file: Path | None,
    log_level: str,
    database: str | None,
) -> None:
    """Serve the HTTP API until stopped; its documentation is at /docs, metrics at /metrics.

    LEANFRONT_API_KEYS (comma-separated, each in clear text or as sha256:HEX) turns on Authorization: Bearer.
    Searches are driven by `leanfront worker`.
    """
    from leanfront.core.targets.registry import Registry
    from leanfront.http.server import Server, log_as_json
    from leanfront.locations import open_store

    registry = Registry.of(targets, targets_file)
    keys = Keys.from_environment()
    log_as_json(log_level)
    with open_store(database) as store:
        Server(store, registry, host=host, port=port, settings=Settings(keys=keys)).run()
