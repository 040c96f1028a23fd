"""Write `mnist_edge/dataset/held_out_writers.txt`: which of MNIST's training images are held out, from QMNIST's labels.

    python benchmarks/held_out_writers.py qmnist-train-labels-idx2-int.gz

Of the employees and of the pupils, each in the order of NIST's numbers, the sixth of every twelve is held out: a fixed choice that looks at
no image and no model. The file is shipped, so this need not be run again; a test compares it with the labels where they are.
"""

import argparse
from pathlib import Path

import numpy as np

from mnist_edge import dataset as datasets
from mnist_edge.dataset.held_out import FILE
from mnist_edge.dataset.writers import PUPILS, Writers, read_writers

ONE_IN, FIRST = 12, 5

HEADER = """# The images of MNIST's training set (rows, counted from 0) that are held out: all those of {chosen} of its {all} writers.
# Of the employees and of the pupils, each in the order of their numbers, the sixth of every twelve is held out.
# A line a writer: group, NIST's number, rows. {images:,} images in all. Made by benchmarks/held_out_writers.py.
#
# Source: QMNIST's extended labels, https://github.com/facebookresearch/qmnist
# (Yadav and Bottou, "Cold Case: The Lost MNIST Digits", 2019), under this licence:
#
# BSD License
# For QMNIST software
# Copyright (c) Facebook, Inc. and its affiliates. All rights reserved.
#
# Redistribution and use in source and binary forms, with or without modification, are permitted provided that the following conditions are met:
# * Redistributions of source code must retain the above copyright notice, this list of conditions and the following disclaimer.
# * Redistributions in binary form must reproduce the above copyright notice, this list of conditions and the following disclaimer in the
#   documentation and/or other materials provided with the distribution.
# * Neither the name Facebook nor the names of its contributors may be used to endorse or promote products derived from this software without
#   specific prior written permission.
# THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS AND CONTRIBUTORS "AS IS" AND ANY EXPRESS OR IMPLIED WARRANTIES, INCLUDING, BUT NOT LIMITED TO,
# THE IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS FOR A PARTICULAR PURPOSE ARE DISCLAIMED. IN NO EVENT SHALL THE COPYRIGHT HOLDER OR
# CONTRIBUTORS BE LIABLE FOR ANY DIRECT, INDIRECT, INCIDENTAL, SPECIAL, EXEMPLARY, OR CONSEQUENTIAL DAMAGES (INCLUDING, BUT NOT LIMITED TO,
# PROCUREMENT OF SUBSTITUTE GOODS OR SERVICES; LOSS OF USE, DATA, OR PROFITS; OR BUSINESS INTERRUPTION) HOWEVER CAUSED AND ON ANY THEORY OF
# LIABILITY, WHETHER IN CONTRACT, STRICT LIABILITY, OR TORT (INCLUDING NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY OUT OF THE USE OF THIS SOFTWARE,
# EVEN IF ADVISED OF THE POSSIBILITY OF SUCH DAMAGE.
"""


def choose(writers: Writers) -> list[int]:
    """Return the numbers of the writers to hold out, employees first."""
    chosen: list[int] = []
    for is_pupil in (False, True):
        chosen += np.unique(writers.writer[(writers.series == PUPILS) == is_pupil])[FIRST::ONE_IN].tolist()
    return chosen


def text_of(writers: Writers) -> str:
    """Return the file's text."""
    rows = {writer: np.flatnonzero(writers.writer == writer) for writer in choose(writers)}
    header = HEADER.format(chosen=len(rows), all=len(np.unique(writers.writer)), images=sum(map(len, rows.values())))
    return header + "".join(f"{writers.group(writer)} {writer}: {' '.join(map(str, rows[writer]))}\n" for writer in rows)


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("labels", type=Path, help="QMNIST's qmnist-train-labels-idx2-int, plain or gzipped")
    parser.add_argument("--data-dir", type=Path)
    options = parser.parse_args()
    FILE.write_text(text_of(read_writers(options.labels, datasets.load("mnist", "train", options.data_dir))), encoding="utf-8")


if __name__ == "__main__":
    main()
