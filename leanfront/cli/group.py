"""The ``leanfront`` command group: lazily imported commands, errors as messages and exit codes."""

from __future__ import annotations

import sys
from collections import UserDict
from typing import Any

import click

from leanfront.cli.exits import DONE, FAILED, WRONG_USAGE
from leanfront.deferred import Deferred
from leanfront.errors import LeanfrontError, UsageError

COMMANDS = {
    "audit": (
        "leanfront.cli.audit:audit",
        "Show how the candidates of search NAME differ from the dense model beyond their loss of accuracy.",
    ),
    "database": ("leanfront.cli.database:database", "Maintain the database."),
    "demo": (
        "leanfront.cli.demo:demo",
        "Search a small network on handwritten digits and show the results.",
    ),
    "export": (
        "leanfront.cli.export:export",
        "Export CANDIDATE (a number) to a file: packed for leanfront.load, ONNX, or a torch.export program.",
    ),
    "frontier": (
        "leanfront.cli.frontier:frontier",
        "Show the nondominated candidates of a search, within limits.",
    ),
    "inspect": (
        "leanfront.cli.inspect:inspect",
        "Show which parts of a model can be compressed, which cannot, and why.",
    ),
    "recover": (
        "leanfront.cli.recover:recover",
        "Train candidates with the dense model as teacher; each result is stored as a new candidate.",
    ),
    "resume": (
        "leanfront.cli.resume:resume",
        "Resume a search that was stopped or killed, or that should run longer.",
    ),
    "search": ("leanfront.cli.search:search", "Search compressed versions of TARGET and keep the frontier."),
    "searches": ("leanfront.cli.searches:searches", "List the searches of a database."),
    "select": ("leanfront.cli.select:select", "Show the candidate to ship within a budget."),
    "serve": (
        "leanfront.cli.serve:serve",
        "Serve the HTTP API until stopped; its documentation is at /docs, metrics at /metrics.",
    ),
    "targets": ("leanfront.cli.targets:targets", "List the built-in targets."),
    "verify": (
        "leanfront.cli.verify:verify",
        "Check every claim about CANDIDATE (a number), or about a search's frontier, against its packed file alone.",
    ),
    "worker": (
        "leanfront.cli.worker:worker",
        "Run queued jobs until stopped (Ctrl-C or SIGTERM).",
    ),
}
"""Command name -> (address of the command, first sentence of its help)."""


class _Found(UserDict[str, Any]):
    """Commands by name, each imported on access."""

    def __getitem__(self, name: str) -> click.Command:
        command: click.Command = super().__getitem__(name).function
        return command


class _Group(click.Group):
    """A command group that imports commands on use, and turns errors into messages and exit codes."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands with the sentences of `COMMANDS`, without importing them."""
        listed = [click.Command(name, help=line) for name, (_, line) in COMMANDS.items()]
        click.Group(commands=listed).format_commands(ctx, formatter)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except UsageError as error:
            _fail(str(error), WRONG_USAGE)
        except LeanfrontError as error:
            _fail(str(error), FAILED)
        except BrokenPipeError:
            # The reader (head, less) has closed the pipe.
            sys.stderr.close()
            sys.exit(DONE)


def _fail(message: str, code: int) -> None:
    click.echo(f"leanfront: {message}", err=True)
    sys.exit(code)


def _tell_version(context: click.Context, option: click.Parameter, asked: bool) -> None:
    if asked and not context.resilient_parsing:
        # Reading the version from the installation takes a while.
        from leanfront.version import __version__

        click.echo(f"leanfront, version {__version__}")
        context.exit()


@click.group(
    cls=_Group,
    commands=_Found({name: Deferred(address) for name, (address, _) in COMMANDS.items()}),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_tell_version,
    help="Show the version and exit.",
)
def main() -> None:
    """Find the best compressed version of a trained PyTorch model within a budget."""
