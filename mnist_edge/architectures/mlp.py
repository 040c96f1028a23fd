"""The two perceptrons: 256 hidden units in tutorial 001, 512 in tutorial 002."""

import torch
from torch import Tensor, nn

from mnist_edge.architectures.recipe import Recipe, tutorial_recipe
from mnist_edge.architectures.registry import Architecture, register


class MLP(nn.Module):
    """One hidden layer with ReLU.

    Put right: tutorial 002 puts a ReLU behind the last layer too, which can hold a digit's output at 0 for ever; the
    tutorial itself says that it is not needed.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(28 * 28, hidden)
        self.fc2 = nn.Linear(hidden, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, float32 N×10, for normalised float32 N×1×28×28."""
        logits: Tensor = self.fc2(torch.relu(self.fc1(x.flatten(1))))
        return logits


def mlp_256(hidden: int = 256) -> MLP:
    """Return the perceptron of tutorial 001."""
    return MLP(hidden)


def mlp_512(hidden: int = 512) -> MLP:
    """Return the perceptron of tutorial 002."""
    return MLP(hidden)


register(
    Architecture(
        "mlp-256", mlp_256, "one hidden layer of 256 (tutorial 001)", tutorial=tutorial_recipe(10, mean=0.0, std=1.0), best=Recipe(lr=2e-3)
    )
)
# The tutorial names lr = 0.09, and then calls Adam(net.parameters()), which takes its default of 0.001: that is what ran.
register(Architecture("mlp-512", mlp_512, "one hidden layer of 512 (tutorial 002)", tutorial=tutorial_recipe(50), best=Recipe(lr=2e-3)))
