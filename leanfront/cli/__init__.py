"""The command line: a file a command, the options they share, how they print and how they end.

``leanfront --help`` imports no command. A command's module is imported for its own ``--help``, too: so it imports at
its top what the help tells, names and defaults from light modules, and inside the function what the command needs to
do its work. Whoever asks for help, or for what is stored, waits for no torch.
"""

from leanfront.cli.group import main

__all__ = ["main"]
