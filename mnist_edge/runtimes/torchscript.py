"""TorchScript, in PyTorch."""

import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mnist_edge.common.errors import ModelError
from mnist_edge.common.logits import Run
from mnist_edge.runtimes import usable_threads


def load(path: Path, threads: int = 1) -> Run:
    """Load a TorchScript file. `threads` sets PyTorch's for the whole process. Raises ModelError."""
    torch.set_num_threads(usable_threads(threads))
    # it still works in full; catch_warnings would reset another thread's filters
    warnings.filterwarnings("ignore", "`torch.jit.load` is deprecated", FutureWarning)
    try:
        module = torch.jit.load(str(path), map_location="cpu").eval()
    except (RuntimeError, ValueError, OSError) as error:
        raise ModelError(f"{path}: torch {torch.__version__} cannot load it: {str(error).strip().splitlines()[0]}") from error

    def logits(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            result: NDArray[np.float32] = module(torch.from_numpy(np.require(pixels, requirements="W"))).numpy()
            return result

    return logits


def version() -> str:
    """Return name and version, such as ``torch 2.15.0+cu132``."""
    return f"torch {torch.__version__}"
