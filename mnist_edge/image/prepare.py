"""Turns a picture into the image that MNIST would have made of it, in steps that can be read and seen one by one.

MNIST's own recipe (LeCun et al., "Gradient-Based Learning Applied to Document Recognition", 1998, section III-A): the ink is scaled
to fit 20×20 with its aspect kept, and placed in 28×28 so that its centre of mass is in the middle (`strokes`). The steps before
that find the ink in any light (`ink`), and the digit in the ink (`digit`).
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mnist_edge.common.errors import UsageError
from mnist_edge.image.decode import MAX_PIXELS, Decoded, Picture, decode
from mnist_edge.image.digit import find_digit, find_doubts
from mnist_edge.image.ink import CLEAR_POLARITY, denoise, find_polarity
from mnist_edge.image.strokes import BOX, MIDDLE, SIZE, centre_of_mass, fit, place, stroke_width, strokes_met, thicken

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: The values for the ink's polarity; ``auto`` finds out.
INKS = ("auto", "dark", "light")


class Prepared(NamedTuple):
    """A picture as the network sees it, and what was found on the way.

    Attributes:
        pixels: uint8, 28×28, ink bright on a dark ground.
        box: left, top, right and bottom of the digit, in pixels of the upright picture.
        size: width and height of the upright picture.
        ink: ``dark`` or ``light``.
        picture: uint8, the upright picture, grey or RGB, made smaller where it was large.
        warnings: why the digit may not be what it seems; empty for a clear picture.
    """

    pixels: NDArray[np.uint8]
    box: tuple[int, int, int, int]
    size: tuple[int, int]
    ink: str
    picture: NDArray[np.uint8]
    warnings: tuple[str, ...] = ()


def read(picture: Picture, ink: str = "auto") -> NDArray[np.uint8]:
    """Return only the pixels of `prepare`: uint8, 28×28. Raises PictureError."""
    return prepare(picture, ink).pixels


def prepare(picture: Picture, ink: str = "auto", max_pixels: int = MAX_PIXELS) -> Prepared:
    """Find the digit in a picture of at most `max_pixels`, and place it as MNIST would have.

    A picture that MNIST's recipe has placed already comes back as its own bytes, inverted if its ink is dark.

    Raises PictureError, in one line that names the picture, if it cannot be read or holds no ink; UsageError for an unknown `ink`.
    """
    if ink not in INKS:
        raise UsageError(f"unknown ink {ink!r}; known: {', '.join(INKS)}")
    decoded = decode(picture, max_pixels)
    placed = _as_placed_by_mnist(decoded, ink)
    if placed is not None:
        return placed
    plane, polarity = find_polarity(decoded.pixels)
    found = find_digit(denoise(plane), _inks_to_try(polarity, ink), decoded.name)
    width, height = decoded.size
    across, down = width / decoded.pixels.shape[1], height / decoded.pixels.shape[0]
    top, bottom, left, right = found.box
    return Prepared(
        place(fit(thicken(found.drawing, found.pen))),
        (int(left * across), int(top * down), min(width, ceil(right * across)), min(height, ceil(bottom * down))),
        decoded.size,
        "dark" if found.dark else "light",
        decoded.pixels,
        decoded.warnings + find_doubts(found),
    )


def _inks_to_try(polarity: float, ink: str) -> list[bool]:
    """Return whether to look for dark ink, for light ink, or for both, the likelier first."""
    if ink != "auto":
        return [ink == "dark"]
    likelier = polarity <= 0
    return [likelier] if abs(polarity) >= CLEAR_POLARITY else [likelier, not likelier]


def _as_placed_by_mnist(decoded: Decoded, ink: str) -> Prepared | None:
    """Return a 28×28 picture as it is if its ink, with nothing around it, fits the box and has its centre of mass in the middle."""
    grey = decoded.pixels if decoded.pixels.ndim == 2 else decoded.pixels[..., 0]
    if grey.shape != (SIZE, SIZE) or (decoded.pixels.ndim == 3 and (decoded.pixels != grey[..., None]).any()):
        return None
    for kind, pixels in (("light", grey), ("dark", 255 - grey)):
        rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
        if ink not in ("auto", kind) or len(rows) == 0:
            continue
        longer = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
        if not BOX - 1 <= longer <= BOX or not _looks_written(pixels):
            continue
        # of MNIST's 70,000 images the longer side is 19 or 20, and the centre at most 0.52 away
        if max(abs(centre - MIDDLE) for centre in centre_of_mass(pixels)) < 0.55:
            box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
            return Prepared(pixels, box, decoded.size, kind, decoded.pixels, decoded.warnings)
    return None


def _looks_written(pixels: NDArray[np.uint8]) -> bool:
    """Return whether there are strokes, not noise or a patch; all of MNIST's images are within these limits."""
    ink = pixels > 100
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    if len(rows) == 0 or int(pixels.max()) < 128:
        return False
    met = strokes_met(ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    return max(met) <= 3.5 and stroke_width(pixels) <= 8.5  # at most 3.33 and 8.44
