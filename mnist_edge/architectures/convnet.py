"""ConvNet of tutorial 004, which reports 98.96 % after 20 epochs."""

import torch
from torch import Tensor, nn

from mnist_edge.architectures.recipe import MNIST_MEAN, MNIST_STD, Augmentation, Recipe, tutorial_recipe
from mnist_edge.architectures.registry import Architecture, register


class ConvNet(nn.Module):
    """A 5×5 convolution with max pooling, a 3×3 convolution, two dense layers.

    Put right: the tutorial ends in `log_softmax`; here it returns logits, and the loss takes the logarithm.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 10, kernel_size=5)
        self.conv2 = nn.Conv2d(10, 20, kernel_size=3)
        self.fc1 = nn.Linear(20 * 10 * 10, 500)
        self.fc2 = nn.Linear(500, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, float32 N×10, for normalised float32 N×1×28×28."""
        x = torch.max_pool2d(torch.relu(self.conv1(x)), 2)
        x = torch.relu(self.conv2(x))
        x = torch.relu(self.fc1(x.flatten(1)))
        logits: Tensor = self.fc2(x)
        return logits


register(
    Architecture(
        "convnet",
        ConvNet,
        "a 5×5 and a 3×3 convolution, dense 500 (tutorial 004)",
        tutorial=tutorial_recipe(20, batch_size=512, mean=MNIST_MEAN, std=MNIST_STD),
        best=Recipe(epochs=40, lr=2e-3, precision="bfloat16", augmentation=Augmentation(elastic=0.02)),
        tutorial_accuracy=0.9896,
    )
)
