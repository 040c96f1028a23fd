"""Labelled digits as arrays: MNIST, folders of pictures, drawn digits. numpy and Pillow alone."""

from mnist_edge.dataset.base import Dataset, Refused
from mnist_edge.dataset.held_out import EVERY_TWELFTH, WRITERS, Rule, rule_for, split_validation
from mnist_edge.dataset.sources import DRAWN, describe, load, load_for_proof

__all__ = [
    "DRAWN",
    "EVERY_TWELFTH",
    "WRITERS",
    "Dataset",
    "Refused",
    "Rule",
    "describe",
    "load",
    "load_for_proof",
    "rule_for",
    "split_validation",
]
