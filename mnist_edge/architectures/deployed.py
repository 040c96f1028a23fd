"""A network as it is shipped: pixels in, logits out, normalisation inside."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from mnist_edge.common.errors import ModelError, one_line


class Deployed(nn.Module):
    """Pixels, uint8 N×1×28×28 → logits, float32 N×10, by a network that takes normalised images.

    (pixels / 255 - mean) / std is folded into one multiplication and one addition.
    """

    def __init__(self, network: nn.Module, mean: float, std: float) -> None:
        super().__init__()
        self.network = network
        self.scale = 1.0 / (255.0 * std)
        self.shift = -mean / std

    def normalise(self, pixels: Tensor) -> Tensor:
        """Return normalised float32 for pixels of 0 to 255 of any dtype."""
        return pixels.to(torch.float32) * self.scale + self.shift

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits, float32 N×10."""
        logits: Tensor = self.network(self.normalise(pixels))
        return logits


#: TorchScript writes a class's module into its files: the name that it had when the first of them were published keeps their bytes.
Deployed.__module__ = "mnist_edge.training.deploy"


def load_weights(network: nn.Module, path: Path) -> None:
    """Load a safetensors file into a network. Raises ModelError if it is damaged or does not fit."""
    try:
        network.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        raise ModelError(f"{path}: does not fit network {type(network).__name__}: {one_line(error)}") from error


def torch_logits(deployed: Deployed, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return PyTorch's answers on the CPU, float32 N×10, to uint8 N×1×28×28: every artifact is compared with these."""
    with torch.inference_mode():
        parts = [deployed(torch.from_numpy(batch)) for batch in np.array_split(pixels.copy(), max(1, len(pixels) // 250))]
    return np.asarray(torch.cat(parts).numpy(), np.float32)
