"""Checks that a network always gives the same answer to an image, whatever other images are in its batch."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Sizes of batches that are tried.
BATCHES = (1, 2, 3, 5, 7, 8)

#: Rounding may change the logits of one image by this much: the budget of float32 artifacts, or more if the logits are large.
ABSOLUTE, RELATIVE = 1e-4, 1e-5

Ask = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


class Unsteady(NamedTuple):
    """How a network was unsteady.

    Attributes:
        noise: True if the same batch got two answers; False if an image's answer depends on its batch.
        difference: the largest difference of a logit that was seen.
        batch: how many images it was given at once.
    """

    noise: bool
    difference: float
    batch: int

    def __str__(self) -> str:
        if self.noise:
            return (
                f"not deterministic in eval mode: asked twice about the same images, it gives answers that differ by {self.difference:.3g}; "
                "look for random numbers, or for state that each call changes, outside self.training"
            )
        return (
            f"its answer to an image changes by {self.difference:.3g} when others are in its batch (tried: {self.batch} at once); look for "
            "attention without batch_first, normalisation over the batch in eval mode, or an if on the batch's size or on a value of the batch"
        )


def with_extremes(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return images, uint8 N×1×28×28, with a black one, a white one and one of noise before them."""
    noise = np.random.default_rng(0).integers(0, 256, (1, 1, 28, 28), np.uint8)
    return np.concatenate([np.zeros_like(noise), np.full_like(noise, 255), noise, pixels])


def find_unsteadiness(ask: Ask, pixels: NDArray[np.uint8], expected: NDArray[np.float32] | None = None) -> Unsteady | None:
    """Run images, uint8 N×1×28×28, twice and in batches of several sizes. Return what differs, None if nothing does.

    `expected` are answers given before, float32 N×10, in a batch of any size; without them, all images are run at once first.
    """
    if expected is None:
        expected = ask(pixels)
        if (off := difference(expected, ask(pixels))) > 0:
            return Unsteady(True, off, len(pixels))
    for size in BATCHES:
        for start in range(0, len(pixels), size):
            batch = pixels[start : start + size]
            answer = ask(batch)
            if (off := difference(expected[start : start + size], answer)) > 0:
                again = difference(answer, ask(batch))
                return Unsteady(again > 0, again or off, len(batch))
    return None


def difference(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Return the largest difference of two sets of logits, float32 N×10; 0 where it is no more than rounding, infinity for other shapes or where one alone is NaN."""
    if a.shape != b.shape:
        return float("inf")
    allowed = ABSOLUTE + RELATIVE * np.nan_to_num(np.abs(a), nan=0.0, posinf=0.0).max(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):  # of two infinities
        off = np.nan_to_num(np.abs(a - b), nan=np.inf)
    off[(a == b) | (np.isnan(a) & np.isnan(b))] = 0.0
    return float(off.max()) if not (off <= allowed).all() else 0.0
