"""The command line: a file a command."""

from leanfront.cli.main import main

__all__ = ["main"]
