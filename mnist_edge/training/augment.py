"""Random affine changes, a whole batch at a time on its device."""

import math

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from mnist_edge.training.recipe import Augmentation


def augment(images: Tensor, bounds: Augmentation, random: torch.Generator) -> Tensor:
    """Return float images N×1×28×28, each turned, scaled, sheared and shifted by its own random amounts.

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
    return grid_sample(images, grid, align_corners=False)
