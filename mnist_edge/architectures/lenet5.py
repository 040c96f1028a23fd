"""LeNet-5 of tutorial 002."""

from torch import Tensor, nn

from mnist_edge.architectures.recipe import Recipe, tutorial_recipe
from mnist_edge.architectures.registry import Architecture, register


class LeNet5(nn.Module):
    """Two 5×5 convolutions without padding, each average-pooled, and three dense layers: 44,426 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 6, kernel_size=5), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(6, 16, kernel_size=5), nn.ReLU(), nn.AvgPool2d(2)
        )
        self.classifier = nn.Sequential(nn.Linear(16 * 4 * 4, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, float32 N×10, for normalised float32 N×1×28×28."""
        logits: Tensor = self.classifier(self.features(x).flatten(1))
        return logits


register(Architecture("lenet5", LeNet5, "LeNet-5 with average pooling (tutorial 002)", tutorial=tutorial_recipe(50), best=Recipe()))
