"""Labelled digits as arrays: MNIST, folders of pictures, drawn digits. numpy and Pillow alone."""

from mnist_edge.dataset.base import VALIDATION_EVERY, Dataset, Refused, split_validation
from mnist_edge.dataset.sources import DRAWN, describe, load, load_for_proof

__all__ = ["DRAWN", "VALIDATION_EVERY", "Dataset", "Refused", "describe", "load", "load_for_proof", "split_validation"]
