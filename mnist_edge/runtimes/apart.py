"""Tries a runtime in a separate process first: it may crash on an artifact and must not take this program down with it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from mnist_edge.common.errors import ModelError
from mnist_edge.runtimes import RUNTIMES, Runtime

#: What the process writes at its end; a library may complain after it.
_ALIVE = "mnist-edge: it is alive"

_CODE = f"""
import sys, numpy
from pathlib import Path
from mnist_edge import runtimes
runtimes.get(sys.argv[1]).load(Path(sys.argv[2]))(numpy.zeros((2, 1, 28, 28), numpy.uint8))
sys.stderr.write({_ALIVE!r})
"""


def check(runtime: Runtime, path: Path, always: bool = False) -> None:
    """Let a runtime load an artifact and answer once, in a separate process. This package's own runtimes are tried only if `always`.

    Raises ModelError if its process dies or ends. An error that it raises shows when it is loaded here.
    """
    if (runtime.name in RUNTIMES and not always) or not runtime.module or runtime.missing():
        return
    # -P: no module of the working folder
    done = subprocess.run([sys.executable, "-P", "-c", _CODE, runtime.name, str(path)], capture_output=True, check=False)
    if _ALIVE.encode() in done.stderr or (done.returncode == 1 and b"Traceback" in done.stderr):
        return
    how = signal.Signals(-done.returncode).name if done.returncode < 0 else f"exit code {done.returncode}"
    raise ModelError(f"{path}: runtime {runtime.name} dies ({how}) while running it")
