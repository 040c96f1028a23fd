"""A picture of a page → how strong the ink is at each place, and which pixels are ink, and how high the writing is."""

from __future__ import annotations

from math import prod, sqrt
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image, ImageFilter

from mnist_edge.image.ink import MIN_STRENGTH, closing, denoise, quantile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnist_edge.image.components import Components

#: Pages are worked on with at most this many pixels.
PAGE_PIXELS = 1_500_000

#: A square of this share of the longer side that fits into a dark area makes it no stroke but a shadow, a table or a finger.
PAPER_WINDOW = 0.12

#: But such a square has at least this side, in pixels: the strokes of a small picture are a large part of it.
LEAST_WINDOW = 16

#: Where the paper is darker than this share of the page's paper, it is none: a table, a floor, a hand.
DARKEST_PAPER = 0.3

#: Writing is at least so high, as a share of the side of a square with the page's area, or with `PAGE_PIXELS` if it is larger.
LEAST_HEIGHT = 0.007

#: Beyond this it is clear whether the ink is dark or light.
CLEAR_POLARITY = 0.5


class Ink(NamedTuple):
    """The ink of a page, if it is dark or if it is light.

    Attributes:
        dark: which of the two.
        strength: uint8, H×W, how much darker (or lighter) than the paper around it each pixel is.
        mask: bool, H×W, which pixels are ink.
    """

    dark: bool
    strength: NDArray[np.uint8]
    mask: NDArray[np.bool_]


def find_plane(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], float]:
    """Return the colour plane in which the ink differs most from the paper, and how clearly it is lighter there, below 0 darker.

    It is `mnist_edge.image.ink.find_polarity` for a page: strokes are a small part of it, so more of its detail is kept, and its
    borders have no say, because a table may be there.
    """
    if pixels.ndim == 3 and (pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 0] == pixels[..., 2]).all():
        pixels = pixels[..., 0]
    factor = -(-max(pixels.shape) // 512)
    small = np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).reduce(factor)) if factor > 1 else pixels
    planes = [small] if pixels.ndim == 2 else [np.ascontiguousarray(small[..., i]) for i in range(3)]
    cubes = [_cubed_difference(plane) for plane in planes]
    spread = [float(np.abs(cube).sum()) for cube in cubes]
    best = next(i for i in range(len(planes)) if spread[i] >= 0.95 * max(spread))
    return np.ascontiguousarray(pixels if pixels.ndim == 2 else pixels[..., best]), float(cubes[best].sum()) / max(spread[best], 1e-9)


def _cubed_difference(plane: NDArray[np.uint8]) -> NDArray[np.float32]:
    radius = max(3, max(plane.shape) // 12)
    margin = min(2 * radius, *plane.shape)
    around = Image.fromarray(np.pad(plane, margin, mode="symmetric")).filter(ImageFilter.BoxBlur(radius))
    difference = plane.astype(np.float32) - np.asarray(around)[margin:-margin, margin:-margin]
    cubed: NDArray[np.float32] = difference * difference * difference
    return cubed


def find_ink(plane: NDArray[np.uint8], dark: bool) -> Ink | None:
    """Find dark ink, or light ink, in a plane; None if there is nothing as strong as ink.

    The paper is the plane's closing. What of the strength is left where there is no ink (noise, a shadow's slope) is measured around each
    place and taken off, and a pixel is ink if it stands out from that as an edge does: the threshold is the mean strength of
    the edges, weighted by their steepness (Kittler, Illingworth and Föglein, "Threshold Selection Based on a Simple Image Statistic", 1985).
    """
    plane = denoise(plane)
    plane = plane if dark else 255 - plane
    paper = closing(plane, max(LEAST_WINDOW, int(max(plane.shape) * PAPER_WINDOW)))
    share = ((paper - plane).astype(np.uint16) * 255 // np.maximum(paper, 64)).astype(np.uint8)
    if int(share.max()) < MIN_STRENGTH:
        return None
    share[paper < DARKEST_PAPER * quantile(paper.ravel(), 0.9)] = 0
    middle, sixth = (quantile(share.ravel(), one) for one in (0.5, 0.16))
    bare = share <= max(0.6 * edge_strength(share, middle), middle + 3 * (middle - sixth))
    rest, noise = _around(share, bare, max(4, max(plane.shape) // 40))
    strength = np.maximum(share - rest, 0).astype(np.uint8)
    edges = edge_strength(np.where(bare, 0, strength).astype(np.uint8), 0)
    level = np.maximum(max(0.45 * edges, MIN_STRENGTH / 2), 4 * noise)
    return Ink(dark, strength, strength > level)


def edge_strength(strength: NDArray[np.uint8], above: int) -> float:
    """Return the mean of the strength, where it is above a value, weighted by the square of its steepness."""
    values = strength.astype(np.int16)
    steep = np.zeros_like(values)
    np.abs(values[1:] - values[:-1], out=steep[:-1])
    np.maximum(steep[:, :-1], np.abs(values[:, 1:] - values[:, :-1]), out=steep[:, :-1])
    chosen = np.flatnonzero((strength > above) & (steep > 0))
    weight = steep.ravel()[chosen].astype(np.float64) ** 2
    return float(weight @ values.ravel()[chosen]) / max(1.0, float(weight.sum()))


def _around(share: NDArray[np.uint8], bare: NDArray[np.bool_], reach: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the mean and the spread of the bare pixels' strength around each pixel, in a square that reaches so far."""
    step = max(1, reach // 8)
    values = np.where(bare, share, 0).astype(np.float32)
    sums = [_blocks(one, step) for one in (bare.astype(np.float32), values, values * values)]
    count, first, second = (_box_sum(one, max(1, reach // step)) for one in sums)
    total = [float(one.sum()) / max(1.0, float(sums[0].sum())) for one in sums[1:]]  # where all around is ink, the page's own
    mean = (first + total[0]) / (count + 1)
    spread = np.sqrt(np.maximum((second + total[1]) / (count + 1) - mean * mean, 0))
    height, width = share.shape
    return tuple(np.repeat(np.repeat(one, step, axis=0)[:height], step, axis=1)[:, :width] for one in (mean, spread))  # type: ignore[return-value]


def _blocks(values: NDArray[np.float32], step: int) -> NDArray[np.float32]:
    """Return the sums of blocks of step×step; a block at the border may have fewer."""
    if step == 1:
        return values
    height, width = values.shape
    values = np.pad(values, ((0, -height % step), (0, -width % step)))
    sums: NDArray[np.float32] = values.reshape(values.shape[0] // step, step, -1, step).sum(axis=(1, 3))
    return sums


def _box_sum(values: NDArray[np.float32], reach: int) -> NDArray[np.float32]:
    """Return the sums of squares with side 2 reach + 1, cut off at the borders."""
    result = values.astype(np.float64)
    for _ in range(2):
        total = np.concatenate([np.zeros((1, result.shape[1])), result.cumsum(axis=0)])
        at = np.arange(len(result))
        result = (total[np.minimum(at + reach + 1, len(result))] - total[np.maximum(at - reach, 0)]).T
    return result.astype(np.float32)


def levels(pieces: Components, mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return a threshold for each pixel of the mask, a share of its own piece's mean strength: a rule that is fainter parts from the digit on it."""
    area = np.bincount(pieces.labels, pieces.ends - pieces.starts, len(pieces)) if len(pieces) else np.zeros(0)
    level = (0.4 * pieces.ink / np.maximum(area, 1)).astype(np.int16)
    steps = np.zeros((mask.shape[0], mask.shape[1] + 1), np.int16)
    steps[pieces.rows, pieces.starts] = level[pieces.labels]
    steps[pieces.rows, pieces.ends] = -level[pieces.labels]
    return steps.cumsum(axis=1, dtype=np.int16)[:, :-1].astype(np.uint8)


def typical_height(pieces: Components, widest: float = 3) -> float:
    """Return the height of most of the ink that may be writing, 0 if there is none: neither specks, nor rules, nor what frames others."""
    height, width = pieces.height, pieces.width
    longer = np.maximum(height, width)
    fits = (
        (longer >= max(7, LEAST_HEIGHT * sqrt(min(prod(pieces.shape), PAGE_PIXELS)))) & (width <= widest * height) & (height <= 12 * width)
    )
    fits &= (pieces.borders <= 1) & (height < 0.95 * pieces.shape[0])
    chosen = np.flatnonzero(fits)
    if not len(chosen):
        return 0.0
    chosen = chosen[np.argsort(-pieces.ink[chosen])[:2000]]
    top, bottom, left, right = (one[chosen] for one in (pieces.top, pieces.bottom, pieces.left, pieces.right))
    y, x = (top + bottom) / 2, (left + right) / 2
    big = np.argsort(-longer[chosen])[:40]
    for one in big:
        held = (y > top[one]) & (y < bottom[one]) & (x > left[one]) & (x < right[one]) & (longer[chosen] > 0.15 * longer[chosen[one]])
        within = (top > top[one]) & (bottom < bottom[one]) & (left > left[one]) & (right < right[one])
        within &= bottom - top > 0.3 * (bottom[one] - top[one])
        if held.sum() > 2 or within.any():  # itself and two more, or one as large as what a box is for
            fits[chosen[one]] = False
    heights = height[fits]
    if not len(heights):
        return 0.0
    order = np.argsort(heights)
    weight = (heights[order] * np.sqrt(pieces.ink[fits][order].astype(np.float64))).cumsum()
    return float(heights[order][np.searchsorted(weight, 0.5 * weight[-1])])
