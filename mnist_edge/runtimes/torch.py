"""The network itself, in PyTorch, from the model's weights: what every artifact is compared with."""

import numpy as np
import torch
from numpy.typing import NDArray

from mnist_edge.parity import Run
from mnist_edge.runtimes import usable_threads
from mnist_edge.store import Model


def load_model(model: Model, threads: int = 1) -> Run:
    """Build the network and load its weights. `threads` sets PyTorch's for the whole process. Raises ModelError."""
    from mnist_edge.training.deploy import load_deployed

    torch.set_num_threads(usable_threads(threads))
    module = load_deployed(model)

    def logits(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            result: NDArray[np.float32] = module(torch.from_numpy(np.require(pixels, requirements="W"))).numpy()
            return result

    return logits


def version() -> str:
    """Return name and version, such as ``torch 2.15.0+cu132``."""
    return f"torch {torch.__version__}"
