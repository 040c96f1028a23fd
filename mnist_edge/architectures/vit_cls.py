"""The Vision Transformer with a class token of tutorial 002."""

import torch
from torch import Tensor, nn

from mnist_edge.architectures.recipe import Recipe, tutorial_recipe
from mnist_edge.architectures.registry import Architecture, register


class TransformerBlock(nn.Module):
    """Attention, then a two-layer perceptron, each normalised beforehand and added to its input."""

    def __init__(self, dim: int, heads: int, mlp_dim: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, mlp_dim), nn.GELU(), nn.Linear(mlp_dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        x = x + self.attn(y, y, y, need_weights=self.training, average_attn_weights=False)[0]
        transformed: Tensor = x + self.mlp(self.norm2(x))
        return transformed


class ViTCls(nn.Module):
    """Patches of 4×4 and a class token, four blocks of width 64; the token's last state decides.

    Put right: the tutorial calls `nn.MultiheadAttention` without ``batch_first=True``. Its class token then sees only
    other images' class tokens, which are all alike, and the network cannot learn at all.
    """

    def __init__(self, patch_size: int = 4, dim: int = 64, depth: int = 4, heads: int = 8, mlp_dim: int = 128) -> None:
        super().__init__()
        self.patch_embedding = nn.Conv2d(1, dim, kernel_size=patch_size, stride=patch_size)
        self.cls_token = nn.Parameter(torch.randn(1, 1, dim))
        self.pos_embedding = nn.Parameter(torch.randn(1, (28 // patch_size) ** 2 + 1, dim))
        self.blocks = nn.Sequential(*(TransformerBlock(dim, heads, mlp_dim) for _ in range(depth)))
        self.fc = nn.Linear(dim, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, float32 N×10, for normalised float32 N×1×28×28."""
        patches = self.patch_embedding(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), patches], dim=1)
        logits: Tensor = self.fc(self.blocks(tokens + self.pos_embedding)[:, 0])
        return logits


register(
    Architecture(
        "vit-cls",
        ViTCls,
        "Vision Transformer, class token (tutorial 002)",
        tutorial=tutorial_recipe(20),
        best=Recipe(epochs=20, batch_size=64, lr=1e-3, precision="bfloat16"),
    )
)
