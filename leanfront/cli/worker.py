"""``leanfront worker``."""

from __future__ import annotations

import logging
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from leanfront.cli.options import database_option, given, options_from
from leanfront.worker.settings import WorkerSettings


@click.command()
@click.option("--target", "targets", metavar="NAME=TARGET", multiple=True, help="Target to register.")
@click.option(
    "--targets", "targets_file", type=Path, metavar="FILE.toml", help="File of targets to register."
)
@options_from(WorkerSettings)
@click.option("--once", is_flag=True, help="Exit when the queue is empty.")
@database_option
def worker(
    targets: tuple[str, ...],
    targets_file: Path | None,
    once: bool,
    database: str | None,
    **options: Any,
) -> None:
    """Run queued jobs until stopped (Ctrl-C or SIGTERM)."""
    from leanfront.core.targets.registry import Registry
    from leanfront.locations import open_store
    from leanfront.worker.runner import Runner, stopped_by_signals

    (settings,) = given(options, WorkerSettings)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    registry = Registry.of(targets, targets_file)
    runner = Runner(open_store(database), replace(settings, registry=registry))
    with stopped_by_signals(runner):
        runner.run(once=once)
