"""The CNN of tutorial 001, which is nextjournal.com/gkoehler/pytorch-mnist."""

import torch
from torch import Tensor, nn

from mnist_edge.architectures.recipe import MNIST_MEAN, MNIST_STD, Recipe, tutorial_recipe
from mnist_edge.architectures.registry import Architecture, register


class CNNSmall(nn.Module):
    """Convolutions 10 and 20 of 5×5, each max-pooled, `Dropout2d`, dense 50, dropout.

    Put right: the original ends in `log_softmax`; here it returns logits, and the loss takes the logarithm. Its
    `Dropout2d` sees 4-D input, where it drops whole channels as it is meant to.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 10, kernel_size=5)
        self.conv2 = nn.Conv2d(10, 20, kernel_size=5)
        self.conv2_drop = nn.Dropout2d()
        self.fc1 = nn.Linear(320, 50)
        self.fc1_drop = nn.Dropout()
        self.fc2 = nn.Linear(50, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, float32 N×10, for normalised float32 N×1×28×28."""
        x = torch.relu(torch.max_pool2d(self.conv1(x), 2))
        x = torch.relu(torch.max_pool2d(self.conv2_drop(self.conv2(x)), 2))
        x = self.fc1_drop(torch.relu(self.fc1(x.flatten(1))))
        logits: Tensor = self.fc2(x)
        return logits


register(
    Architecture(
        "cnn-small",
        CNNSmall,
        "two convolutions with dropout (tutorial 001, nextjournal)",
        tutorial=tutorial_recipe(3, optimizer="sgd", lr=0.01, momentum=0.5, mean=MNIST_MEAN, std=MNIST_STD),
        best=Recipe(epochs=50, precision="bfloat16"),
    )
)
