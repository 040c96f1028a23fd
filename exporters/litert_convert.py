"""`exporters.litert` runs this in a process that finds litert-torch: ``litert_convert.py NETWORK.pt2 NETWORK.tflite``. It imports nothing of this package."""

import sys

import litert_torch
import torch


class Deployed(torch.nn.Module):
    """The exported network with names for its input and output, ``pixels`` and ``logits``, which the file keeps."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return logits, float32 1×10, for pixels, uint8 1×1×28×28."""
        return {"logits": self.network(pixels)}


network = torch.export.load(sys.argv[1]).module()
example = torch.zeros(1, 1, 28, 28, dtype=torch.uint8)
litert_torch.convert(Deployed(network), sample_kwargs={"pixels": example}).export(sys.argv[2])
