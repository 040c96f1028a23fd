"""Inputs that no test set has. A file that branches on its data, or overflows, may get these wrong and every digit right."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnist_edge.common.errors import one_line
from mnist_edge.common.logits import Run, check_shape
from mnist_edge.proof.parity import FLOAT32_TOLERANCE

#: Images of noise, and test images that are inverted.
_NOISY, _INVERTED = 16, 64

#: Logits of MNIST's test images reach 65 in our networks; those of inverted images 270. Beyond this size, the allowed difference grows with the logits.
_LARGE = 100.0


@dataclass(frozen=True)
class Probes:
    """Such inputs with PyTorch's answers.

    Attributes:
        pixels: uint8 N×1×28×28 by name.
        logits: float32 N×10 by name.
    """

    pixels: Mapping[str, NDArray[np.uint8]]
    logits: Mapping[str, NDArray[np.float32]]


def ask(run: Run, images: NDArray[np.uint8]) -> Probes:
    """Return all black, all white, noise, and the first of `images`, uint8 N×1×28×28, inverted, with the answers of `run`, PyTorch.

    PyTorch may answer NaN to some of these: one that divides by an image's contrast does so for an image of one brightness.
    """
    shape = (1, 28, 28)
    pixels = {
        "all black": np.zeros((1, *shape), np.uint8),
        "all white": np.full((1, *shape), 255, np.uint8),
        "noise": np.random.default_rng(0).integers(0, 256, (_NOISY, *shape), dtype=np.uint8),
        "inverted images": 255 - images[:_INVERTED],
    }
    return Probes(pixels, {name: check_shape(run(batch), len(batch), "PyTorch") for name, batch in pixels.items()})


def failures(run: Run, probes: Probes, exact: bool) -> list[str]:
    """Return what is wrong with the answers of `run`, one line for each kind of input; nothing if all match PyTorch's.

    If they need not be `exact`, as in a lower precision, which is not made for such inputs, they only have to be finite where PyTorch's are.
    """
    found = []
    for name, pixels in probes.pixels.items():
        try:
            logits = check_shape(run(pixels), len(pixels))
        except Exception as error:  # a runtime may raise anything, and none of it is an answer
            found.append(f"{name}: {one_line(error)}")
            continue
        reference = probes.logits[name]
        sound = np.isfinite(reference).all(axis=1)
        if not np.isfinite(logits[sound]).all():
            found.append(f"{name}: answered NaN or infinity")
        elif exact and np.isfinite(logits[~sound]).all(axis=1).any():
            found.append(f"{name}: PyTorch answers NaN or infinity, and this does not")
        elif exact and sound.any():
            allowed = FLOAT32_TOLERANCE * max(1.0, float(np.abs(reference[sound]).max()) / _LARGE)
            difference = float(np.abs(logits[sound] - reference[sound]).max())
            if not difference <= allowed:
                found.append(f"{name}: logits differ by up to {difference:.3g}; allowed: {allowed:.3g}")
    return found
