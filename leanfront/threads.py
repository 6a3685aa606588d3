"""Setting for waiting torch threads. Imported before anything that imports torch: OpenMP reads it when loaded."""

from __future__ import annotations

import os

# Idle OpenMP threads spin by default. If all cores are busy (several evaluators, tests beside a search), spinning
# threads keep working ones off the cores: ResNet-20 took 4.4 times as long beside two busy processes on two
# cores, and 15% less on an idle machine (benchmarks/evaluation.py).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
