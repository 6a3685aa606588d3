"""``leanfront worker``."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import click

from leanfront.cli.options import database_option, place_options
from leanfront.core.storage.jobs import LEASE_SECONDS
from leanfront.errors import UsageError


@click.command()
@click.option("--target", "targets", metavar="NAME=TARGET", multiple=True, help="Target to register.")
@click.option(
    "--targets", "targets_file", type=Path, metavar="FILE.toml", help="File of targets to register."
)
@place_options
@click.option("--lease", default=LEASE_SECONDS, show_default=True, help="Seconds for which a job is claimed.")
@click.option("--once", is_flag=True, help="Exit when the queue is empty.")
@database_option
def worker(
    targets: tuple[str, ...],
    targets_file: Path | None,
    lease: float,
    once: bool,
    database: str | None,
    **where: Any,
) -> None:
    """Run queued jobs until stopped (Ctrl-C or SIGTERM)."""
    from leanfront.core.targets.registry import Registry
    from leanfront.locations import open_store
    from leanfront.worker.runner import Runner, stopped_by_signals
    from leanfront.worker.settings import WorkerSettings

    if not 1 <= lease <= 3600:
        raise UsageError(f"--lease takes 1 to 3600 seconds, not {lease:g}")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    registry = Registry.of(targets, targets_file)
    runner = Runner(open_store(database), WorkerSettings(registry=registry, lease=lease, **where))
    with stopped_by_signals(runner):
        runner.run(once=once)
