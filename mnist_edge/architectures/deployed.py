"""A network as it is shipped: pixels in, logits out, normalisation inside."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from mnist_edge.architectures import build
from mnist_edge.common.errors import ModelError, UsageError, one_line
from mnist_edge.store import Model


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


def load_deployed(model: Model) -> Deployed:
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


def load_weights(network: nn.Module, path: Path) -> None:
    """Load a safetensors file into a network. Raises ModelError if it is damaged or does not fit."""
    try:
        network.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        raise ModelError(f"{path}: does not fit network {type(network).__name__}: {one_line(error)}") from error
