"""Random changes of images, a whole batch at a time on its device."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate, pad

from mnist_edge.architectures.recipe import Augmentation

#: Points of the coarse grid in each direction, five pixels apart: about the width of a stroke's bend.
GRID = 6


def augment(images: Tensor, bounds: Augmentation, random: torch.Generator) -> Tensor:
    """Return float images N×1×28×28, each turned, scaled, sheared, shifted, bent and written with another pen by its own
    random amounts.

    What comes in from outside is 0, the ground. The random numbers are drawn on the CPU, so that every device sees the same.
    """
    rotation, scale_x, scale_y, shear, shift_x, shift_y = torch.rand(6, len(images), generator=random) * 2 - 1
    angle = rotation * math.radians(bounds.rotation)
    width, height = 1 + scale_x * bounds.scale, 1 + scale_y * bounds.scale
    sine, cosine = angle.sin(), angle.cos()
    # grid_sample's coordinates run from -1 to 1, so a side is 2 wide
    row_x = torch.stack([cosine * width, (shear * bounds.shear - sine) * width, shift_x * 2 * bounds.shift], dim=1)
    row_y = torch.stack([sine * height, cosine * height, shift_y * 2 * bounds.shift], dim=1)
    matrices = torch.stack([row_x, row_y], dim=1).to(images.device)
    grid = affine_grid(matrices, list(images.shape), align_corners=False)
    if bounds.elastic:
        moved = torch.randn(len(images), 2, GRID, GRID, generator=random) * (2 * bounds.elastic)
        field = interpolate(moved.to(images.device), size=list(images.shape[-2:]), mode="bicubic", align_corners=True)
        grid = grid + field.permute(0, 2, 3, 1)
    images = grid_sample(images, grid, align_corners=False)
    if bounds.pen:
        amount = ((torch.rand(len(images), 1, 1, 1, generator=random) * 2 - 1) * bounds.pen).to(images.device)
        broad, thin = _around(images, torch.maximum), _around(images, torch.minimum)
        images = images + amount.clamp(min=0) * (broad - images) - amount.clamp(max=0) * (thin - images)
    return images


def _around(images: Tensor, larger: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Return the largest or smallest of each pixel and its four neighbours; beyond the borders is ground. Ten times as fast as max_pool2d."""
    wide = pad(images, (1, 1, 1, 1))
    across = larger(wide[..., 1:-1, :-2], wide[..., 1:-1, 2:])
    down = larger(wide[..., :-2, 1:-1], wide[..., 2:, 1:-1])
    return larger(images, larger(across, down))
