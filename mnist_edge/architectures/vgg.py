"""The small VGG of tutorial 000, which reports 99.45 % after 30 epochs."""

from torch import Tensor, nn

from mnist_edge.architectures.recipe import Recipe, tutorial_recipe
from mnist_edge.architectures.registry import Architecture, register


class VGG(nn.Module):
    """Three 3×3 convolutions (64, 128, 256), each with ReLU and max pooling, and three dense layers.

    The tutorial gives the convolutions and the number of dense layers but neither padding nor dense widths; here padding
    is 1, as in VGG (Simonyan and Zisserman, "Very Deep Convolutional Networks", 2015), the dense layers are 1024 and 512
    wide, and dropout follows the first two of them, as there (section 3.1).
    """

    def __init__(self, dropout: float = 0.5) -> None:
        super().__init__()
        self.conv1 = _block(1, 64)
        self.conv2 = _block(64, 128)
        self.conv3 = _block(128, 256)
        self.fc1 = nn.Linear(256 * 3 * 3, 1024)
        self.fc2 = nn.Linear(1024, 512)
        self.fc3 = nn.Linear(512, 10)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, float32 N×10, for normalised float32 N×1×28×28."""
        x = self.conv3(self.conv2(self.conv1(x))).flatten(1)
        x = self.dropout(self.fc1(x).relu())
        x = self.dropout(self.fc2(x).relu())
        logits: Tensor = self.fc3(x)
        return logits


def _block(channels_in: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels_in, channels_out, kernel_size=3, padding=1), nn.ReLU(), nn.MaxPool2d(2))


register(
    Architecture(
        "vgg",
        VGG,
        "three 3×3 convolutions, three dense layers (tutorial 000)",
        tutorial=tutorial_recipe(30),
        best=Recipe(epochs=60, lr=1e-3, precision="bfloat16"),
        tutorial_accuracy=0.9945,
    )
)
