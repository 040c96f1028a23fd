"""The recurrent network of tutorial 002."""

from torch import Tensor, nn

from mnist_edge.architectures.recipe import Recipe, tutorial_recipe
from mnist_edge.architectures.registry import Architecture, register


class GRU(nn.Module):
    """Reads an image row by row, 28 steps of 28 pixels, into 64 units; the last state decides."""

    def __init__(self, hidden: int = 64) -> None:
        super().__init__()
        self.gru = nn.GRU(input_size=28, hidden_size=hidden, batch_first=True)
        self.fc = nn.Linear(hidden, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, float32 N×10, for normalised float32 N×1×28×28."""
        states, _ = self.gru(x.squeeze(1))
        logits: Tensor = self.fc(states[:, -1])
        return logits


register(Architecture("gru", GRU, "a GRU over the rows (tutorial 002)", tutorial=tutorial_recipe(30), best=Recipe(lr=5e-3)))
