"""A digit's ink → 28×28, as MNIST places it: cut out, thickened where the pen was thin, scaled, centred."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from mnist_edge.image.ink import MIN_STRENGTH, quantile, running

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Side of what the network sees, of the box that the ink fits, and the index where its centre of mass goes. All three are MNIST's.
SIZE, BOX, MIDDLE = 28, 20, 14

#: Strokes are brought to at least this width, in pixels of the 20×20 box; MNIST's are 1.7 to 3.3 (the middle 90 %).
MIN_STROKE = 2.4

#: Strokes are measured and thickened at this multiple of the 20×20 box.
FINE = 4


def strokes_met(mask: NDArray[np.bool_]) -> tuple[float, float]:
    """Return how many strokes a row and a column of the mask meet, on average."""
    along, down = (np.count_nonzero(np.diff(mask, axis=axis, prepend=False) & mask) for axis in (1, 0))
    return along / mask.shape[0], down / mask.shape[1]


def cut_out(strength: NDArray[np.uint8], mask: NDArray[np.bool_], level: int, box: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """Return the digit alone, uint8, its longer side 80: ink 255, paper 0, and the soft edge between."""
    top, bottom, left, right = box
    rows, columns = slice(max(0, top - 1), bottom + 1), slice(max(0, left - 1), right + 1)
    full = quantile(strength[mask], 0.6)
    low = 0.35 * level
    near = np.pad(mask[rows, columns], 1)
    near = near[:-2] | near[1:-1] | near[2:]  # the soft edge lies a pixel outside
    near = near[:, :-2] | near[:, 1:-1] | near[:, 2:]
    clear = np.clip((strength[rows, columns] - low) * (255 / max(1.0, full - low)), 0, 255) * near
    fine = scaled(clear.astype(np.uint8), BOX * FINE)
    ridge = max(1, quantile(fine[fine > MIN_STRENGTH], 0.9))  # little would be left of a hairline when it is scaled down
    return np.minimum(fine.astype(np.uint16) * 255 // ridge, 255).astype(np.uint8)


def stroke_width(drawing: NDArray[np.uint8]) -> float:
    """Return the mean width of the strokes, in pixels: twice the area over the outline's length.

    The length comes from how often rows and columns cross the outline, times π/4 (Cauchy's and Crofton's formula).
    """
    ink = np.pad(drawing, 1) > 127
    crossings = np.count_nonzero(ink[1:] != ink[:-1]) + np.count_nonzero(ink[:, 1:] != ink[:, :-1])
    return 2 * float(drawing.sum(dtype=np.float64)) / 255 / max(1.0, crossings * np.pi / 4)


def thicken(drawing: NDArray[np.uint8], pen: float) -> NDArray[np.uint8]:
    """Return the drawing with its strokes, `pen` wide, at least `MIN_STROKE` wide: a thin pen would fade when scaled down.

    Both widths are in pixels of the 20×20 box. The strokes are dilated by a disc.
    """
    radius = (MIN_STROKE - pen) * FINE / 2
    if radius < 0.5:
        return drawing
    reach = int(radius)
    spread = np.pad(drawing, 2 * reach)
    height = spread.shape[0] - 2 * reach
    result = np.zeros((height, spread.shape[1] - 2 * reach), np.uint8)
    for down in range(-reach, reach + 1):  # a disc is a row of runs
        half = int(np.sqrt(radius**2 - down**2))
        run = running(np.maximum, spread[reach + down : reach + down + height].T, 2 * half + 1).T
        result = np.maximum(result, run[:, reach - half : reach - half + result.shape[1]])
    return result


def fit(drawing: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the drawing cut to its ink, its longer side 20, its brightest pixel 255."""
    ink = drawing > 100
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    box = scaled(drawing[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], BOX)
    stretched: NDArray[np.uint8] = (box.astype(np.uint16) * 255 // max(1, int(box.max()))).astype(np.uint8)
    return stretched


def place(box: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return 28×28 with the box in it so that its centre of mass is at index 14, as near as whole pixels allow."""
    height, width = box.shape
    row, column = centre_of_mass(box)
    top = min(max(0, round(MIDDLE - row)), SIZE - height)
    left = min(max(0, round(MIDDLE - column)), SIZE - width)
    pixels = np.zeros((SIZE, SIZE), np.uint8)
    pixels[top : top + height, left : left + width] = box
    return pixels


def scaled(drawing: NDArray[np.uint8], longer: int) -> NDArray[np.uint8]:
    """Return the drawing with its longer side `longer` pixels, its aspect kept."""
    height, width = drawing.shape
    factor = longer / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    how = Image.Resampling.BOX if factor < 1 else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(drawing).resize(size, how))


def centre_of_mass(pixels: NDArray[np.uint8]) -> tuple[float, float]:
    """Return the centre of mass as row and column indices."""
    mass = max(1.0, float(pixels.sum(dtype=np.float64)))
    rows, columns = pixels.sum(axis=1, dtype=np.float64), pixels.sum(axis=0, dtype=np.float64)
    return float(rows @ np.arange(len(rows)) / mass), float(columns @ np.arange(len(columns)) / mass)
