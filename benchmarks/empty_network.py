"""`mnist-edge` with a network that answers at once, for the cost of all else: its arguments are the command's."""

import numpy as np

from mnist_edge.cli import main
from mnist_edge.serving import models, settings, sources

_load = models.load


def load(given: settings.Settings, found: list[sources.Source]) -> tuple[dict[str, models.Served], list[str]]:
    """Load the models, and take their networks out."""
    served, notes = _load(given, found)
    answer = np.zeros((1, 10), np.float32)
    for one in served.values():
        one.predictor._run = lambda pixels: answer
    return served, notes


models.load = load
main()
