"""The command line in the test's own process."""

from __future__ import annotations

from click.testing import CliRunner, Result

from leanfront.cli import main


def run(*arguments: str) -> Result:
    """Run `leanfront` with arguments."""
    return CliRunner().invoke(main, list(arguments))
