"""The CNN that tutorial 001 rewrote from TensorFlow 1 to `tf.keras`."""

import torch
from torch import Tensor, nn

from mnist_edge.architectures.recipe import Augmentation, Recipe, tutorial_recipe
from mnist_edge.architectures.registry import Architecture, register


class CNNKeras(nn.Module):
    """Convolutions 32 and 64 of 5×5 "same", each max-pooled, dense 1024, dropout 0.5."""

    def __init__(self, dropout: float = 0.5) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, kernel_size=5, padding=2)
        self.conv2 = nn.Conv2d(32, 64, kernel_size=5, padding=2)
        self.fc1 = nn.Linear(64 * 7 * 7, 1024)
        self.dropout = nn.Dropout(dropout)
        self.fc2 = nn.Linear(1024, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, float32 N×10, for normalised float32 N×1×28×28."""
        x = torch.max_pool2d(torch.relu(self.conv1(x)), 2)
        x = torch.max_pool2d(torch.relu(self.conv2(x)), 2)
        x = self.dropout(torch.relu(self.fc1(x.flatten(1))))
        logits: Tensor = self.fc2(x)
        return logits


# The tutorial prints no hyper-parameters: these are Keras' defaults (Adam at 0.001, batches of 32) for ten epochs.
register(
    Architecture(
        "cnn-keras",
        CNNKeras,
        "two 5×5 convolutions, dense 1024 (tutorial 001, Keras)",
        tutorial=tutorial_recipe(10, batch_size=32, mean=0.0, std=1.0),
        best=Recipe(epochs=40, lr=1e-3, precision="bfloat16", augmentation=Augmentation(elastic=0.02)),
    )
)
