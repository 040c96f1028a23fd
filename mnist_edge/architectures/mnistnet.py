"""MnistNet of tutorial 003."""

import torch
from torch import Tensor, nn

from mnist_edge.architectures.recipe import Augmentation, Recipe, tutorial_recipe
from mnist_edge.architectures.registry import Architecture, register


class MnistNet(nn.Module):
    """Two 3×3 convolutions without padding, max pooling, `Dropout2d`, two dense layers.

    Put right: the tutorial ends in `log_softmax`; here it returns logits, and the loss takes the logarithm. Its
    `Dropout2d` sees 4-D input, where it drops whole channels as it is meant to.
    """

    def __init__(self, dropout: float = 0.25) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, kernel_size=3)
        self.conv2 = nn.Conv2d(32, 64, kernel_size=3)
        self.dropout = nn.Dropout2d(dropout)
        self.fc1 = nn.Linear(64 * 12 * 12, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, float32 N×10, for normalised float32 N×1×28×28."""
        x = torch.relu(self.conv1(x))
        x = torch.max_pool2d(torch.relu(self.conv2(x)), 2)
        x = torch.relu(self.fc1(self.dropout(x).flatten(1)))
        logits: Tensor = self.fc2(x)
        return logits


register(
    Architecture(
        "mnistnet",
        MnistNet,
        "two 3×3 convolutions, dropout (tutorial 003)",
        tutorial=tutorial_recipe(19, batch_size=32, optimizer="sgd", lr=0.01, mean=0.0, std=1.0),
        best=Recipe(epochs=20, lr=1e-3, precision="bfloat16", augmentation=Augmentation(elastic=0.02)),
    )
)
