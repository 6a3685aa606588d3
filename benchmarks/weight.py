"""Start-up cost of commands and the server: processor seconds and peak memory of fresh processes, in one run.

    python benchmarks/weight.py

Commands run several times in turn, from compiled files. The table shows the smallest processor time, because other
work on the machine can only increase it. The database holds one search on the digits, made for the run.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx2

REPEATS = 5
TRIALS = 12
MAIN = "from leanfront.cli import main; main(prog_name='leanfront')"


def spent(code: str, *arguments: str, folder: str) -> tuple[float, float]:
    """Run a process; return its (processor seconds, peak MB)."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    _, status, used = os.wait4(process.pid, 0)
    assert process.stderr is not None
    said = process.stderr.read().decode()
    process.stderr.close()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{arguments or code} ended with {process.returncode}: {said}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def served(folder: str) -> tuple[float, float]:
    """Start a server and query a frontier; return its (processor seconds, MB) after it has answered."""
    command = [sys.executable, "-c", MAIN, "serve", "--port", "0"]
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        # The server logs its address before it answers.
        line = next(line for line in process.stdout if "http://" in line)
        url = "http://" + line.split("http://")[1].split()[0].rstrip('",}/.')
        for path in (
            "/api/v1/health",
            "/api/v1/searches/mine/frontier",
            "/api/v1/searches/mine/select?max_macs=1G",
        ):
            answer = httpx2.get(url + path)
            answer.raise_for_status()
        ticks = os.sysconf("SC_CLK_TCK")
        fields = Path(f"/proc/{process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
        held = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        process.send_signal(signal.SIGTERM)
        process.communicate()
    return (int(fields[11]) + int(fields[12])) / ticks, int(held.split()[1]) / 1024


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        # Run in its own process: a forked process's peak memory includes that of its parent.
        made = [sys.executable, "-c", MAIN, "search", "digits", "--trials", str(TRIALS), "--name", "mine"]
        subprocess.run(made, cwd=folder, check=True, capture_output=True)
        commands: dict[str, list[str]] = {
            "`python -c pass`": [],
            '`python -c "import torch"`': [],
            "`leanfront --help`": ["--help"],
            "`leanfront search --help`": ["search", "--help"],
            "`leanfront targets`": ["targets"],
            "`leanfront searches`": ["searches"],
            "`leanfront frontier mine`": ["frontier", "mine"],
            "`leanfront select mine --max-memory 64KB`": [
                "select",
                "mine",
                "--max-memory",
                "64KB",
                "--no-verify",
            ],
            "`leanfront serve`, once it answers": ["serve"],
        }
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for _ in range(REPEATS + 1):
            for name, arguments in commands.items():
                if arguments == ["serve"]:
                    found[name].append(served(folder))
                elif arguments:
                    found[name].append(spent(MAIN, *arguments, folder=folder))
                else:
                    found[name].append(spent("pass" if "pass" in name else "import torch", folder=folder))
                time.sleep(0.1)
    print("| process | processor s | MB |\n|---|---|---|")
    for name, figures in found.items():
        # The first run compiles the files, so it is not counted.
        seconds, memory = zip(*figures[1:], strict=True)
        print(f"| {name} | {min(seconds):.2f} | {max(memory):.0f} |")


if __name__ == "__main__":
    main()
