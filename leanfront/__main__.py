"""``python -m leanfront``: the command line in the current Python interpreter."""

from leanfront.cli import main

if __name__ == "__main__":
    main(prog_name="leanfront")
