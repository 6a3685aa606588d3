"""The command line: one file per command, shared options, output and exit codes.

``leanfront --help`` imports no command, and a command's ``--help`` imports only the command's module. So a module
imports names and defaults for its help from light modules at the top, and what the command runs inside the function.
Help and stored results are shown without importing torch.
"""

from leanfront.cli.group import main

__all__ = ["main"]
