"""Let digits touch in rows, read each row, and count those that are read without an error.

    python benchmarks/touching.py [--digits 2 3 4] [--rows 40] [--seed 0] [--model MODEL] [--runtime ort] [--data-dir FOLDER] [--save FOLDER]

The digits are of MNIST's held-out writers, three times as large, and overlap by a few pixels. A row depends on its length, its number
and the seed alone. Prints a line of JSON for each length: how many rows were read right, how many wrong and how many not at all, and the edit
distance as a share of the digits. `--save` writes the rows that were not read right, under what stands on them and what was read.
"""

import argparse
import json
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from several_digits import distance

from mnist_edge import Predictor
from mnist_edge import dataset as datasets
from mnist_edge.common.errors import UnprovenWarning
from mnist_edge.dataset import WRITERS, Dataset, split_validation

#: How many times MNIST's size; the paper around a row, in pixels; how many pixels of ink two digits share at least; what is ink, of 255.
SCALE, MARGIN, SHARED, INK = 3, 100, 3, 120


def row_of(data: Dataset, held_out: NDArray[np.intp], digits: int, number: int, seed: int) -> tuple[Image.Image, str]:
    """Return a row of touching digits, dark on paper, and what stands on it."""
    random = np.random.default_rng((seed, digits, number))
    chosen = random.choice(held_out, digits)
    ink = np.zeros((48 * SCALE, 28 * SCALE * digits + 2 * MARGIN), np.float32)
    right = MARGIN
    for i, image in enumerate(chosen):
        digit = _enlarged(data.images[image, 0])
        high, wide = digit.shape
        top = (len(ink) - high) // 2 + int(random.integers(-4, 5))
        left = right if i == 0 else _place(ink, digit, top, right)
        box = ink[top : top + high, left : left + wide]
        np.maximum(box, digit, out=box)
        right = left + wide
    paper = 240 - 0.8 * ink[:, : right + MARGIN]
    noisy = paper + random.normal(0, 2, paper.shape)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8)), "".join(str(data.labels[image]) for image in chosen)


def _enlarged(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    rows, columns = np.nonzero(image > 80)
    tight = image[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    size = tight.shape[1] * SCALE, tight.shape[0] * SCALE
    return np.asarray(Image.fromarray(tight).resize(size, Image.Resampling.BICUBIC), np.float32)


def _place(ink: NDArray[np.float32], digit: NDArray[np.float32], top: int, right: int) -> int:
    """Return how far left the digit has to go to touch what is there."""
    high, wide = digit.shape
    lefts = range(right, right - wide, -1)
    return next((x for x in lefts if ((ink[top : top + high, x : x + wide] > INK) & (digit > INK)).sum() >= SHARED), right - wide)


def main() -> None:
    """Read rows, and print a line of JSON for each length."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--digits", type=int, nargs="+", default=[2, 3, 4], help="lengths of rows  [default: 2 3 4]")
    parser.add_argument("--rows", type=int, default=40, help="of each length  [default: 40]")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model")
    parser.add_argument("--runtime", default="ort")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--save", type=Path)
    options = parser.parse_args()
    if min(*options.digits, options.rows) < 1 or options.seed < 0:
        parser.error("--digits and --rows are 1 or more, --seed 0 or more")
    warnings.simplefilter("ignore", UnprovenWarning)
    predictor = Predictor.load(options.model, options.runtime)
    data = datasets.load("mnist", "train", options.data_dir)
    held_out = split_validation(data, WRITERS)[1]
    for digits in options.digits:
        right = errors = unread = 0
        for number in range(options.rows):
            picture, truth = row_of(data, held_out, digits, number, options.seed)
            text = predictor.read(picture).text.replace(" ", "")
            right, errors, unread = right + (text == truth), errors + distance(text, truth), unread + (not text)
            if options.save and text != truth:
                options.save.mkdir(parents=True, exist_ok=True)
                picture.save(options.save / f"{truth}-read-as-{text.replace('/', '-') or 'nothing'}.png")
        row = {"digits": digits, "right": right, "wrong": options.rows - right - unread, "unread": unread}
        print(json.dumps(row | {"edit_share": round(errors / (digits * options.rows), 3)}), flush=True)


if __name__ == "__main__":
    main()
