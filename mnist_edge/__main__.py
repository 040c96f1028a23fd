"""``python -m mnist_edge`` is the command ``mnist-edge``."""

import os
import sys


def _leave_out_the_working_folder() -> None:
    """Take it off the module path, where ``python -m`` puts it first: a click.py that came with a model is not the library."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120 - nothing is imported before this
    try:
        here = os.getcwd()  # noqa: PTH109
    except OSError:
        here = ""
    if not sys.flags.safe_path and sys.path[0] in ("", here) and sys.path[0] != package:
        del sys.path[0]


if __name__ == "__main__":
    _leave_out_the_working_folder()
    from mnist_edge.cli import main

    main()
