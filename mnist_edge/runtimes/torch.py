"""The network itself, in PyTorch, from the model's weights: what every artifact is compared with."""

import numpy as np
import torch
from numpy.typing import NDArray

from mnist_edge.architectures import build
from mnist_edge.architectures.deployed import Deployed, load_weights
from mnist_edge.common.errors import UsageError
from mnist_edge.common.logits import Run
from mnist_edge.runtimes import usable_threads
from mnist_edge.store import Model


def load_model(model: Model, threads: int = 1) -> Run:
    """Build the network and load its weights. `threads` sets PyTorch's for the whole process. Raises ModelError."""
    torch.set_num_threads(usable_threads(threads))
    module = load_network(model)

    def logits(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            result: NDArray[np.float32] = module(torch.from_numpy(np.require(pixels, requirements="W"))).numpy()
            return result

    return logits


def load_network(model: Model) -> Deployed:
    """Build a model's network, load its weights and return it in eval mode.

    Raises ModelError if they do not fit, NotAllowedError for a network outside the registry that the user did not allow, UsageError
    for one that is not there or cannot be built.
    """
    manifest = model.manifest
    try:
        network = build(manifest.architecture, manifest.arguments)
    except UsageError as error:
        raise type(error)(f"{model.folder}: {error}") from error
    load_weights(network, model.path(manifest.weights))
    return Deployed(network, manifest.normalisation["mean"], manifest.normalisation["std"]).eval().requires_grad_(False)


def version() -> str:
    """Return name and version, such as ``torch 2.15.0+cu132``."""
    return f"torch {torch.__version__}"
