"""Puts the emulators that the chips need into a folder: ``python -m mnist_edge.runtimes.chips``."""

import sys

from mnist_edge.common.errors import MnistEdgeError, one_line
from mnist_edge.runtimes import machines


def main() -> int:
    """Set up QEMU for programs and for whole chips. Return the exit code."""
    try:
        where = machines.set_up(("qemu", "qemu-system"), tell=lambda line: sys.stderr.write(f"{line}\n"))
    except (MnistEdgeError, OSError) as error:
        sys.stderr.write(f"error: {error if isinstance(error, MnistEdgeError) else one_line(error)}\n")
        return 1
    sys.stderr.write(f"the emulators are set up in {where}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
