"""Processes, measured from outside. Imports nothing heavy: a child's peak memory begins with its parent's."""

import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

COMMAND = str(Path(sys.executable).with_name("mnist-edge"))

#: What mnist-edge sets for itself; the plain scripts get it too.
SETTINGS = {"OPENBLAS_NUM_THREADS": "1", "ORT_DISABLE_TELEMETRY": "1"}

#: Compiled modules are kept, as an installation keeps them: the first run writes them where the checkout has none.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | SETTINGS


@dataclass(frozen=True)
class Cost:
    """What a process took: seconds on the clock, seconds of all its threads and children, bytes at its peak."""

    wall: float
    cpu: float
    memory: int


def run(command: Sequence[str]) -> Cost:
    """Run a command to its end with nothing on its standard output, and return what it took."""
    with tempfile.TemporaryFile() as errors:
        started = perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors, env=ENVIRONMENT)
        _, status, usage = os.wait4(process.pid, 0)
        wall = perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            raise SystemExit(f"error: {' '.join(command)}: exit code {process.returncode}: {errors.read().decode()[-500:]}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))


def compare(commands: Mapping[str, Sequence[str]], rounds: int = 15) -> dict[str, Cost]:
    """Run each command so many times, in shuffled order after one that does not count, and return the medians."""
    for command in commands.values():
        run(command)
    order = [name for name in commands for _ in range(rounds)]
    random.Random(0).shuffle(order)
    seen: dict[str, list[Cost]] = {name: [] for name in commands}
    for name in order:
        seen[name].append(run(commands[name]))
    return {
        name: Cost(median(c.wall for c in costs), median(c.cpu for c in costs), int(median(c.memory for c in costs)))
        for name, costs in seen.items()
    }


def verdict(ratio: float, aim: float) -> str:
    """Return a ratio and whether it is within its aim."""
    return f"{ratio:.3f}" + ("" if ratio <= aim else " (missed)")
