"""Query a stored search from a program without PyTorch: run a subprocess, read its JSON and exit code.

leanfront search digits --name mine --trials 60
python examples/query_from_another_program.py mine 8KB 16KB 32KB
"""

from __future__ import annotations

import json
import subprocess
import sys

FEASIBLE, INFEASIBLE = 0, 3


def select(search: str, memory: str) -> dict[str, object]:
    """Return the answer of ``leanfront select --json``.

    Raises:
        SystemExit: the command failed; the message is the command's.
    """
    command = ["leanfront", "select", search, "--max-memory", memory, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (FEASIBLE, INFEASIBLE):
        raise SystemExit(done.stderr.strip())
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def main() -> None:
    if len(sys.argv) < 3:
        raise SystemExit(f"usage: {sys.argv[0]} SEARCH SIZE...")
    search, *budgets = sys.argv[1:]
    for memory in budgets:
        answer = select(search, memory)
        chosen = answer["candidate"] if answer["feasible"] else answer["nearest"]
        assert isinstance(chosen, dict)
        said = "ship" if answer["feasible"] else f"nothing fits, {answer['binding']} binds; nearest is"
        print(
            f"{memory:>8}: {said} candidate {chosen['id']}: accuracy {chosen['accuracy']:.3f}, "
            f"{chosen['memory_bytes']:,} bytes, {chosen['macs']:,} MACs"
        )


if __name__ == "__main__":
    main()
