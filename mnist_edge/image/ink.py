"""Where the ink is, and how strong, whatever the light: a grey or coloured picture → the strength of its ink."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

#: Ink differs from the paper around it by at least this, of 255.
MIN_STRENGTH = 24

#: What a square of this share of the picture's longer side fits into is no stroke, but a shadow, a table or a finger.
PAPER_WINDOW = 0.24

#: Polarity is clear from here on; of 2,000 pictures in all sorts of light none was beyond it on the wrong side.
CLEAR_POLARITY = 0.4

#: A picture with no longer side than this is a digit cut out and shrunk, not a view of a sheet.
TINY = 64


def find_polarity(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], float]:
    """Return the colour plane in which the ink differs most from the paper, and how clearly it is lighter there, below 0 darker.

    Strokes are narrow: against a blur of the picture they stand out far and the paper around them little, so the third moment
    of the difference has the ink's sign. The edge of a shadow counts on both sides alike. On a picture that the digit fills to
    the borders it may be near zero, so the borders have a say as well: they are mostly paper.
    """
    if pixels.ndim == 3 and (pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 0] == pixels[..., 2]).all():
        pixels = pixels[..., 0]
    factor = -(-max(pixels.shape) // 96)
    reduced = np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).reduce(factor)) if factor > 1 else pixels
    small = np.atleast_3d(reduced).astype(np.float32)
    radius = max(small.shape) // 8
    margin = min(2 * radius, *small.shape[:2])
    mirrored = Image.fromarray(np.pad(reduced, [(margin, margin)] * 2 + [(0, 0)] * (reduced.ndim - 2), mode="symmetric"))
    around = np.atleast_3d(np.asarray(mirrored.filter(ImageFilter.BoxBlur(radius))))[margin:-margin, margin:-margin]
    cubes = (small - around) ** 3
    spread = np.abs(cubes).sum(axis=(0, 1))
    best = int((spread > 0.95 * spread.max()).argmax())
    plane = np.ascontiguousarray(pixels if pixels.ndim == 2 else pixels[..., best])
    values = small[..., best]
    low, high = np.percentile(values, [2, 98])
    border = np.median(np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]]))
    sign = cubes[..., best].sum() / max(spread[best], 1e-9) + 0.3 * (low + high - 2 * border) / (high - low + 1)
    return plane, float(sign)


def denoise(plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the plane with a sensor's noise blurred away, as it is where there is none.

    Noise is told by how far half of the pixels lie from the mean around them; ink is less than half.
    """
    if max(plane.shape) <= TINY:
        return plane
    image = Image.fromarray(plane)
    around = np.asarray(image.filter(ImageFilter.BoxBlur(1)))
    noise = quantile((np.maximum(plane, around) - np.minimum(plane, around)).ravel(), 0.5)
    return plane if noise < 2 else np.asarray(image.filter(ImageFilter.GaussianBlur(min(2.5, max(0.8, noise / 4)))))


def ink_strength(plane: NDArray[np.uint8], dark: bool) -> NDArray[np.uint8]:
    """Return how much darker than the paper around it each pixel is, 0 to 255; of light ink, how much lighter.

    The paper is the picture's closing by a square that fits into no stroke, so that a shadow, soft or hard, is paper too. The
    difference is taken as a share of the paper's brightness: ink in the shade is as black as ink in the light.
    """
    plane = plane if dark else 255 - plane
    paper = closing(plane, max(3, int(max(plane.shape) * PAPER_WINDOW)))
    share: NDArray[np.uint8] = ((paper - plane).astype(np.uint16) * 255 // np.maximum(paper, 64)).astype(np.uint8)
    return share


def closing(plane: NDArray[np.uint8], window: int) -> NDArray[np.uint8]:
    """Return the morphological closing by a square: what is dark and too narrow for it disappears. Mirrored at the borders."""
    margin = min(window - 1, *plane.shape)
    window = margin + 1
    wide = np.pad(plane, margin, mode="symmetric")
    for operation in (np.maximum, np.minimum):
        for _ in range(2):  # along the rows' axis, then, transposed, along the other
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
    """Return the threshold that parts `values` into two classes as far apart as can be.

    Otsu, "A Threshold Selection Method from Gray-Level Histograms", 1979. Of equally good ones, the middle.
    """
    counts = np.bincount(values.ravel(), minlength=256).astype(np.float64)
    below, above = counts.cumsum(), counts.sum() - counts.cumsum()
    mass = (counts * np.arange(256)).cumsum()
    between = (mass * counts.sum() - mass[-1] * below) ** 2 / np.maximum(below * above, 1)
    return int(np.flatnonzero(between >= between.max() * (1 - 1e-9)).mean())


def quantile(values: NDArray[np.uint8], share: float) -> int:
    """Return the value that `share` of the values do not exceed; 0 for none. Faster on bytes than sorting them."""
    counts = np.bincount(values, minlength=1).cumsum()
    return int(np.searchsorted(counts, share * counts[-1]))
