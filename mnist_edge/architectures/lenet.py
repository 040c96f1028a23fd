"""LeNet of tutorial 000, which reports 98.11 % after ten epochs."""

import torch
from torch import Tensor, nn

from mnist_edge.architectures.recipe import Augmentation, Recipe, tutorial_recipe
from mnist_edge.architectures.registry import Architecture, register


class LeNet(nn.Module):
    """Two convolutions with max pooling, three dense layers: 61,706 parameters.

    After LeCun et al., "Gradient-Based Learning Applied to Document Recognition", 1998, with ReLU and max pooling.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, kernel_size=5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, kernel_size=5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, float32 N×10, for normalised float32 N×1×28×28."""
        x = torch.max_pool2d(torch.relu(self.conv1(x)), 2)
        x = torch.max_pool2d(torch.relu(self.conv2(x)), 2)
        x = torch.relu(self.fc1(x.flatten(1)))
        x = torch.relu(self.fc2(x))
        logits: Tensor = self.fc3(x)
        return logits


register(
    Architecture(
        "lenet",
        LeNet,
        "LeNet with ReLU and max pooling (tutorial 000)",
        tutorial=tutorial_recipe(10),
        best=Recipe(
            epochs=100,
            augmentation=Augmentation(scale=0.2, pen=0.8),
            drawn=0.3,
            hands="many",
            channels_last=True,
        ),
        tutorial_accuracy=0.9811,
    )
)
