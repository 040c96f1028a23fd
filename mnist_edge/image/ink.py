"""Finds the ink, and how strong it is, in any light: a grey or coloured picture → the strength of its ink."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageFilter

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Ink differs from the paper around it by at least this, of 255.
MIN_STRENGTH = 24

#: If a square of this share of the picture's longer side fits into a dark area, it is no stroke but a shadow, a table or a finger.
PAPER_WINDOW = 0.24

#: The soft edge of a stroke on even ground is at most this many pixels wide.
SOFT_EDGE = 2

#: Beyond this it is clear whether the ink is dark or light; of 2,000 pictures in all sorts of light, none was beyond it and wrong.
CLEAR_POLARITY = 0.4

#: A picture whose longer side is at most this is a digit that was cut out and shrunk, not a view of a sheet.
TINY = 64


def find_polarity(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], float]:
    """Return the colour plane in which the ink differs most from the paper, and how clearly it is lighter there, below 0 darker.

    Strokes are narrow: against a blur of the picture they stand out far and the paper around them little, so the third moment
    of the difference has the ink's sign. The edge of a shadow counts on both sides alike. On a picture that the digit fills to
    the borders it may be near zero, so the borders have a say as well: they are mostly paper, and surely so if all of them are alike.
    """
    if pixels.ndim == 3 and (pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 0] == pixels[..., 2]).all():
        pixels = pixels[..., 0]
    factor = -(-max(pixels.shape) // 72)
    reduced = np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).reduce(factor)) if factor > 1 else pixels
    planes = [reduced] if pixels.ndim == 2 else [np.ascontiguousarray(reduced[..., i]) for i in range(3)]
    cubes = [_cubed_difference(plane) for plane in planes]
    spread = [float(np.abs(cube).sum()) for cube in cubes]
    best = next(i for i in range(len(planes)) if spread[i] >= 0.95 * max(spread))
    small = planes[best]
    low, high = quantile(small.ravel(), 0.02), quantile(small.ravel(), 0.98)
    edge = borders(small)
    say = 0.6 if int(edge.max()) - int(edge.min()) < MIN_STRENGTH else 0.3
    sign = float(cubes[best].sum()) / max(spread[best], 1e-9) + say * (low + high - 2 * quantile(edge, 0.5)) / (high - low + 1)
    return np.ascontiguousarray(pixels if pixels.ndim == 2 else pixels[..., best]), sign


def _cubed_difference(plane: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return how far each pixel lies from the mean around it, to the third power."""
    radius = max(plane.shape) // 8
    margin = min(2 * radius, *plane.shape)
    mirrored = Image.fromarray(np.pad(plane, margin, mode="symmetric")).filter(ImageFilter.BoxBlur(radius))
    around = np.asarray(mirrored)[margin:-margin, margin:-margin]
    difference = plane.astype(np.float32) - around.astype(np.float32)
    return difference * difference * difference


def denoise(plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the plane with a sensor's noise blurred away; without noise it is unchanged.

    Noise is told by how far half of the pixels lie from the mean of their two neighbours; ink is less than half.
    """
    if max(plane.shape) <= TINY:
        return plane
    rows = plane[::3].astype(np.int16)
    bend = np.abs(rows[:, 2:] + rows[:, :-2] - 2 * rows[:, 1:-1])
    noise = quantile(bend.ravel(), 0.5) / 2.6  # as far as from the mean of the 3×3 around it
    return plane if noise < 1.5 else np.asarray(Image.fromarray(plane).filter(ImageFilter.GaussianBlur(min(2.5, max(0.8, noise / 4)))))


def ink_strength(plane: NDArray[np.uint8], dark: bool) -> NDArray[np.uint8]:
    """Return how much darker than the paper around it each pixel is, 0 to 255; of light ink, how much lighter.

    The paper is the picture's closing by a square that fits into no stroke, so that a shadow, soft or hard, is paper too; or the one
    brightness that an even ground has (`even_ground`). The difference is taken as a share of the paper's brightness: ink in the shade is as
    black as ink in the light.
    """
    plane = plane if dark else 255 - plane
    paper = closing(plane, max(3, int(max(plane.shape) * PAPER_WINDOW)))
    if even_ground(plane, paper):
        paper = np.full_like(paper, paper.max())
    share: NDArray[np.uint8] = ((paper - plane).astype(np.uint16) * 255 // np.maximum(paper, 64)).astype(np.uint8)
    return share


def even_ground(plane: NDArray[np.uint8], paper: NDArray[np.uint8]) -> bool:
    """Return whether what the closing took for dark paper is a stroke of a broad pen, on ground that is even but for it.

    `paper` is the closing of `plane`. It then has two values, that of the ground and that of the ink, which is the darkest in the picture,
    and nothing between but at the edges. A shadow is less dark than ink or has a broad edge, and a table or a finger reaches the border.
    """
    ground, ink = int(paper.max()), int(plane.min())
    if int(paper.min()) > ink + MIN_STRENGTH or ground - ink <= 2 * MIN_STRENGTH:
        return False
    is_ground = paper >= ground - MIN_STRENGTH // 2
    between = ~is_ground & (paper > ink + MIN_STRENGTH)
    needed = 0.5 if max(plane.shape) <= TINY else 1  # a digit that was cut out may touch the border
    return (
        bool(borders(is_ground).mean() >= needed)
        and not (between & ~grown(is_ground, SOFT_EDGE)[SOFT_EDGE:-SOFT_EDGE, SOFT_EDGE:-SOFT_EDGE]).any()
    )


def borders(plane: NDArray[Any]) -> NDArray[Any]:
    """Return the pixels of the four borders."""
    return np.concatenate([plane[0], plane[-1], plane[:, 0], plane[:, -1]])


def closing(plane: NDArray[np.uint8], window: int) -> NDArray[np.uint8]:
    """Return the morphological closing by a square: dark things that are narrower disappear. The borders are mirrored."""
    margin = min(window - 1, *plane.shape)
    window = margin + 1
    wide = np.pad(plane, margin, mode="symmetric")
    for operation in (np.maximum, np.minimum):
        for _ in range(2):  # down the columns, then, on the transposed plane, along the rows
            wide = np.ascontiguousarray(running(operation, wide, window).T)
    return wide


def running(operation: np.ufunc, array: NDArray[np.uint8], window: int) -> NDArray[np.uint8]:
    """Return the largest or smallest of each `window` successive rows; windows that double make it log(window) passes."""
    reach = 1
    while reach < window:
        step = min(reach, window - reach)
        array = operation(array[:-step], array[step:])
        reach += step
    return array


def grown(mask: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    """Return the mask, (H + 2 reach)×(W + 2 reach), larger by `reach` pixels on every side."""
    wide = np.pad(mask, 2 * reach).view(np.uint8)
    for _ in range(2):
        wide = np.ascontiguousarray(running(np.maximum, wide, 2 * reach + 1).T)
    return wide > 0


def otsu(values: NDArray[np.uint8]) -> int:
    """Return the threshold that splits `values` into the two classes that lie farthest apart.

    Otsu, "A Threshold Selection Method from Gray-Level Histograms", 1979. Of equally good ones, the middle.
    """
    counts = np.bincount(values.ravel(), minlength=256).astype(np.float64)
    below, above = counts.cumsum(), counts.sum() - counts.cumsum()
    mass = (counts * np.arange(256)).cumsum()
    between = (mass * counts.sum() - mass[-1] * below) ** 2 / np.maximum(below * above, 1)
    return int(np.flatnonzero(between >= between.max() * (1 - 1e-9)).mean())


def quantile(values: NDArray[np.integer[Any]], share: float) -> int:
    """Return the value that `share` of the values, not negative and small, do not exceed; 0 for none. Faster than sorting them."""
    counts = np.bincount(values, minlength=1).cumsum()
    return int(np.searchsorted(counts, share * counts[-1]))
