"""Wall time and peak memory of one process, as the operating system accounts for it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Spent:
    """Seconds on the clock and of the processors, and the most memory held at once, in MiB."""

    wall: float
    cpu: float
    peak: float


def spent(module: str, *arguments: str) -> Spent:
    """What `python -m module arguments` took; ends the benchmark where it fails."""
    started = time.perf_counter()
    child = subprocess.Popen([sys.executable, "-m", module, *arguments])
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.perf_counter() - started
    if status:
        raise SystemExit(f"python -m {module} {' '.join(arguments)} failed")
    return Spent(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def measured(module: str, *arguments: str) -> tuple[float, float]:
    """Seconds and MiB of `python -m module arguments`; ends the benchmark where it fails."""
    took = spent(module, *arguments)
    return took.wall, took.peak


def table(found: dict[str, tuple[float, float]]) -> None:
    """Print sides with their ratios to the first one."""
    name, base = next(iter(found.items()))
    print(f"{'':26}{'wall s':>10}{'peak MiB':>10}{'ratio':>8}{'ratio':>8}   (to {name})")
    for side, (wall, peak) in found.items():
        print(f"{side:26}{wall:>10.1f}{peak:>10.0f}{wall / base[0]:>8.2f}{peak / base[1]:>8.2f}")
