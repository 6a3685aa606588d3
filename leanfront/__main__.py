"""``python -m leanfront``: the command line under the interpreter that one names."""

from leanfront.cli import main

if __name__ == "__main__":
    main(prog_name="leanfront")
