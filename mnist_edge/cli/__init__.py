"""The command ``mnist-edge``. Each command has its own file, which is imported when it is called. Only this folder imports click."""

import os
import sys

try:  # before anything else, all of which takes time
    from mnist_edge.cli import interrupt

    if interrupt.is_program():
        interrupt.install()
except KeyboardInterrupt:
    os.write(2, b"error: interrupted\n")
    if "--json" in sys.argv:
        os.write(1, b'{"error": "interrupted", "exit_code": 130}\n')
    os._exit(130)

import atexit
from contextlib import suppress
from typing import NoReturn

# On import, numpy's linear algebra starts one thread per core. That takes 50 ms and helps no command. Set the variable to override.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from mnist_edge.cli.group import Cli, epilog

COMMANDS = {
    "train": "Train a network and save the model in the models folder.",
    "export": "Export a model, prove the artifact, and publish it.",
    "verify": "Compare every artifact of a model with PyTorch's answers.",
    "evaluate": "Measure a model's accuracy on a data set.",
    "predict": "Read pictures of digits.",
    "open": "Open a model's page, to draw digits in the browser.",
    "serve": "Serve models over HTTP, to programs and to people.",
    "benchmark": "Measure the size, startup time, speed and memory of every artifact.",
    "report": "Write a report on what a model is good and bad at, and its model card.",
    "list": "List the models.",
    "show": "Show a model's manifest.",
    "clean": "List or remove what training runs and exports left behind.",
    "restore": "Put back a model that a training run replaced.",
    "architectures": "List the networks, or the layers of one.",
    "formats": "List the export formats and the runtimes.",
    "data": "Find, download or write out data sets.",
    "doctor": "Show what is installed, what is missing, and how to fix it.",
    "demo": "Train, export, prove and predict, from start to finish.",
}

cli = Cli(
    name="mnist-edge",
    commands_help=COMMANDS,
    help="Train a digit classifier in PyTorch, export it, and prove that what runs on the device is the same model.\n\n"
    "Exit codes: 0 done, 1 failed, 2 usage error, 3 parity failed or not proven, 130 interrupted. "
    "Each option can also be set by an environment variable: --models-dir by MNIST_EDGE_MODELS_DIR.",
    epilog=epilog("train lenet", "export --format onnx", "predict img.png"),
)


def main() -> NoReturn:
    """Run the command and exit, without the 30 ms that Python would spend on unloading numpy and onnxruntime.

    The functions that the command registered to run at exit run first, and its threads finish first.
    """
    interrupt.install()
    code = 1  # for an exception that nobody caught: Python shows its traceback

    def leave() -> None:
        with suppress(OSError, AttributeError):  # the stream is None, or the disk is full: the exit code says so already
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)

    atexit.register(leave)  # the first to be registered is the last to be called
    try:
        cli.main(prog_name="mnist-edge", args=sys.argv[1:])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        raise
