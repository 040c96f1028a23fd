"""The one-block ResNet of tutorial 002, with and without a convolution in its shortcut."""

import torch
from torch import Tensor, nn

from mnist_edge.architectures.recipe import Augmentation, Recipe, tutorial_recipe
from mnist_edge.architectures.registry import Architecture, register


class ResNetTiny(nn.Module):
    """Two 3×3 convolutions of 8 channels beside a shortcut, a 1×1 convolution down to one channel, one dense layer.

    Put right: without `use_conv` the tutorial adds the one input channel to all eight by broadcasting. Here the shortcut
    keeps the input in the first channel and fills the others with zeros, option A of He et al., "Deep Residual Learning",
    2016, section 4.1; with `use_conv` it is the 1×1 convolution of option B, as in the tutorial.
    """

    def __init__(self, use_conv: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, kernel_size=3, padding=1)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 8, kernel_size=3, padding=1)
        self.bn2 = nn.BatchNorm2d(8)
        self.shortcut = nn.Conv2d(1, 8, kernel_size=1) if use_conv else nn.ZeroPad3d((0, 0, 0, 0, 0, 7))
        self.conv4 = nn.Conv2d(8, 1, kernel_size=1)
        self.fc = nn.Linear(28 * 28, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, float32 N×10, for normalised float32 N×1×28×28."""
        y = torch.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y)) + self.shortcut(x)
        logits: Tensor = self.fc(self.conv4(y).flatten(1))
        return logits


register(
    Architecture(
        "resnet-tiny",
        ResNetTiny,
        "one residual block (tutorial 002); --set use_conv=true",
        tutorial=tutorial_recipe(30),
        # it is too small: with more augmentation, or with drawn digits, it learns both worse
        best=Recipe(
            epochs=60, batch_size=256, lr=1e-2, drawn=0.0, augmentation=Augmentation(rotation=8, scale=0.08, shear=0.12, shift=0.01)
        ),
    )
)
