"""The Vision Transformer with mean pooling of tutorial 000, which reports 98.23 % after 30 epochs."""

import torch
from torch import Tensor, nn

from mnist_edge.architectures.recipe import Recipe, tutorial_recipe
from mnist_edge.architectures.registry import Architecture, register


class TransformerBlock(nn.Module):
    """Attention, then a two-layer perceptron, each added to its input and normalised afterwards."""

    def __init__(self, embed_dim: int, heads: int, mlp_dim: int, dropout: float) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(embed_dim, heads, batch_first=True)
        self.mlp = nn.Sequential(
            nn.Linear(embed_dim, mlp_dim), nn.ReLU(), nn.Dropout(dropout), nn.Linear(mlp_dim, embed_dim), nn.Dropout(dropout)
        )
        self.layer_norm1 = nn.LayerNorm(embed_dim)
        self.layer_norm2 = nn.LayerNorm(embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer_norm1(x + self.attention(x, x, x, need_weights=self.training, average_attn_weights=False)[0])
        normalised: Tensor = self.layer_norm2(x + self.mlp(x))
        return normalised


class ViT(nn.Module):
    """Patches of 4×4, eight blocks of width 32, and the mean over the patches.

    Put right: the tutorial calls `nn.MultiheadAttention` without ``batch_first=True``, so that attention runs over the
    batch and each image's answer depends on its neighbours.
    """

    def __init__(
        self, patch_size: int = 4, embed_dim: int = 32, depth: int = 8, heads: int = 4, mlp_dim: int = 64, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.patch_embedding = nn.Conv2d(1, embed_dim, kernel_size=patch_size, stride=patch_size)
        self.pos_embedding = nn.Parameter(torch.randn(1, (28 // patch_size) ** 2, embed_dim))
        self.blocks = nn.Sequential(*(TransformerBlock(embed_dim, heads, mlp_dim, dropout) for _ in range(depth)))
        self.fc = nn.Linear(embed_dim, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, float32 N×10, for normalised float32 N×1×28×28."""
        patches = self.patch_embedding(x).flatten(2).transpose(1, 2)
        logits: Tensor = self.fc(self.blocks(patches + self.pos_embedding).mean(dim=1))
        return logits


register(
    Architecture(
        "vit",
        ViT,
        "Vision Transformer, mean of the patches (tutorial 000)",
        tutorial=tutorial_recipe(30),
        best=Recipe(epochs=45, batch_size=64, lr=1.5e-3, precision="bfloat16"),
        tutorial_accuracy=0.9823,
    )
)
