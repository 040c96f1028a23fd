"""LiteRT, which was TensorFlow Lite, on the CPU, with its XNNPACK kernels in float32.

Limits: a file takes one image, because its converter freezes the batch. `load` returns a function that takes any number and runs one image
at a time, so a large batch is no faster per image than a small one. Threads share one interpreter and take turns.
"""

from importlib.metadata import version as _installed
from pathlib import Path
from threading import Lock

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from mnist_edge.common.errors import ModelError, one_line
from mnist_edge.common.logits import Run
from mnist_edge.runtimes import usable_threads
from mnist_edge.runtimes.quiet import quiet

#: Shapes of one image's pixels: channels first or last, which for one channel are the same bytes.
_IMAGE = ([1, 1, 28, 28], [1, 28, 28, 1])


def version() -> str:
    """Return name and version, such as ``litert 2.3.0``."""
    return f"litert {_installed('ai-edge-litert')}"


def load(path: Path, threads: int = 1) -> Run:
    """Load a ``.tflite`` file. Raises ModelError if LiteRT refuses it or it does not take pixels and give logits."""
    try:
        content = path.read_bytes()
        with quiet():  # it prints once about its kernels
            interpreter = Interpreter(model_content=content, num_threads=usable_threads(threads))
            interpreter.allocate_tensors()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from error
    except Exception as error:  # a ValueError or a RuntimeError, depending on where it fails
        raise ModelError(f"{path}: LiteRT {_installed('ai-edge-litert')} cannot load it: {one_line(error)}") from error
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    takes = [(np.dtype(i["dtype"]).name, i["shape"].tolist()) for i in inputs]
    gives = [(np.dtype(o["dtype"]).name, o["shape"].tolist()) for o in outputs]
    if takes not in ([("uint8", shape)] for shape in _IMAGE) or gives != [("float32", [1, 10])]:
        raise ModelError(
            f"{path}: takes {takes} and gives {gives}; LiteRT's part of the contract is one image, uint8 1×1×28×28 or 1×28×28×1 → float32 1×10"
        )
    shape, pixels_in, logits_out, turn = inputs[0]["shape"], inputs[0]["index"], outputs[0]["index"], Lock()

    def logits(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        answers = np.empty((len(pixels), 10), np.float32)
        with turn:
            for answer, image in zip(answers, np.ascontiguousarray(pixels), strict=True):
                interpreter.set_tensor(pixels_in, image.reshape(shape))
                interpreter.invoke()
                answer[:] = interpreter.get_tensor(logits_out)[0]
        return answers

    return logits
