"""Labelled digits as arrays: MNIST, folders of pictures, drawn digits. numpy and Pillow alone."""

from mnist_edge.dataset.base import CLASSES, VALIDATION_EVERY, Dataset, split_validation
from mnist_edge.dataset.sources import describe, load, load_for_proof

__all__ = ["CLASSES", "VALIDATION_EVERY", "Dataset", "describe", "load", "load_for_proof", "split_validation"]
