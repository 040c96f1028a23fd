"""ExecuTorch, PyTorch's own runtime for the edge, on the CPU, with its XNNPACK kernels in float32. In Python it imports torch.

Limits: a file takes one image, because ExecuTorch silently caps larger batches. `load` returns a function that takes any
number and runs one image at a time, so a large batch is no faster per image than a small one. Callers from several threads take turns. The
number of threads belongs to the whole process, and the first load sets it: changing it later is not safe while another model is loaded.
"""

from importlib.metadata import version as _installed
from pathlib import Path
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray

from mnist_edge.common.errors import ModelError, one_line
from mnist_edge.common.logits import Run
from mnist_edge.runtimes import usable_threads
from mnist_edge.runtimes.quiet import quiet

with quiet():  # its import prints about the processor
    from executorch.extension.pybindings import portable_lib
    from executorch.runtime import Runtime, Verification

#: ScalarType's numbers, which do not change: files hold them.
_BYTE, _FLOAT = 0, 6

_threads_set = False


def version() -> str:
    """Return name and version, such as ``executorch 1.5.1``."""
    return f"executorch {_installed('executorch')}"


def load(path: Path, threads: int = 1) -> Run:
    """Load a ``.pte`` file. Raises ModelError if ExecuTorch refuses it or it does not take pixels and give logits."""
    global _threads_set
    try:
        content = path.read_bytes()  # if the file were mapped, overwriting it would crash this process
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from error
    try:
        with quiet():
            if not _threads_set:
                portable_lib._unsafe_reset_threadpool(usable_threads(threads))
                _threads_set = True
            program = Runtime.get().load_program(content, verification=Verification.InternalConsistency)
            forward = program.load_method("forward")
    except Exception as error:  # mostly a RuntimeError with a number
        raise ModelError(f"{path}: ExecuTorch {_installed('executorch')} cannot load it: {one_line(error)}") from error
    if forward is None:
        raise ModelError(f"{path}: has no method forward; ExecuTorch {_installed('executorch')} runs nothing else here")
    about = forward.metadata
    takes = [(about.input_tensor_meta(i).dtype(), tuple(about.input_tensor_meta(i).sizes())) for i in range(about.num_inputs())]
    gives = [(about.output_tensor_meta(i).dtype(), tuple(about.output_tensor_meta(i).sizes())) for i in range(about.num_outputs())]
    if takes != [(_BYTE, (1, 1, 28, 28))] or gives != [(_FLOAT, (1, 10))]:
        raise ModelError(
            f"{path}: takes {takes} and gives {gives}, where dtype {_BYTE} is uint8 and {_FLOAT} is float32; "
            "ExecuTorch's part of the contract is one image, uint8 1×1×28×28 → float32 1×10"
        )
    turn = Lock()

    def logits(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        answers = np.empty((len(pixels), 10), np.float32)
        images = torch.from_numpy(np.require(pixels, requirements=["C", "W"]))
        with turn:
            method = program.load_method("forward")  # the same one; what it reads lives as long as the program that is asked for it
            for index in range(len(images)):
                answers[index] = method.execute([images[index : index + 1]])[0].numpy()
        return answers

    return logits
