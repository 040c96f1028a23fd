"""ResNet-18 of tutorial 000, which reports 98.32 % after 30 epochs."""

import torch
from torch import Tensor, nn

from mnist_edge.architectures.recipe import Recipe, tutorial_recipe
from mnist_edge.architectures.registry import Architecture, register


class BasicBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut, which is a 1×1 convolution where the shape changes (He et al., 2016)."""

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, kernel_size=3, stride=stride, padding=1)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, kernel_size=3, padding=1)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.shortcut = nn.Sequential()
        if stride != 1 or channels_in != channels_out:
            self.shortcut = nn.Sequential(nn.Conv2d(channels_in, channels_out, kernel_size=1, stride=stride), nn.BatchNorm2d(channels_out))

    def forward(self, x: Tensor) -> Tensor:
        out = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class ResNet18(nn.Module):
    """A 3×3 stem and four stages of two blocks (64, 128, 256, 512 channels).

    The tutorial's `avg_pool2d(out, 4)` is the mean over the whole 4×4 map, and is written as that.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 64, kernel_size=3, padding=1)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = nn.Sequential(BasicBlock(64, 64), BasicBlock(64, 64))
        self.layer2 = nn.Sequential(BasicBlock(64, 128, stride=2), BasicBlock(128, 128))
        self.layer3 = nn.Sequential(BasicBlock(128, 256, stride=2), BasicBlock(256, 256))
        self.layer4 = nn.Sequential(BasicBlock(256, 512, stride=2), BasicBlock(512, 512))
        self.fc = nn.Linear(512, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, float32 N×10, for normalised float32 N×1×28×28."""
        x = torch.relu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        logits: Tensor = self.fc(x.mean(dim=(2, 3)))
        return logits


register(
    Architecture(
        "resnet18",
        ResNet18,
        "ResNet-18 with a 3×3 stem (tutorial 000)",
        tutorial=tutorial_recipe(30),
        best=Recipe(epochs=8, lr=1e-3, precision="bfloat16", average=0.998),
        tutorial_accuracy=0.9832,
    )
)
