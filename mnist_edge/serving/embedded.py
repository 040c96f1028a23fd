"""The server's application for another ASGI server, such as Ray Serve's: one process, no log of its own."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from mnist_edge.common.errors import UnprovenWarning
from mnist_edge.serving import models
from mnist_edge.serving.app import App
from mnist_edge.serving.metrics import Metrics
from mnist_edge.serving.sources import choose

if TYPE_CHECKING:
    from mnist_edge.serving.settings import Settings


def application(settings: Settings) -> App:
    """Load the models, let each pass its self-test, and return the application that answers with them.

    Connections, workers and their limits are the other server's; those on bodies, pictures and time hold. What a person should know about a
    model is an `UnprovenWarning`. Raises what `sources.choose` and `models.load` raise.
    """
    sources, notes = choose(settings)
    served, warned = models.load(settings, sources)
    for note in (*notes, *warned):
        warnings.warn(note, UnprovenWarning, stacklevel=2)
    metrics = Metrics(1)
    row = metrics.row(0)
    row.start()
    return App(served, settings, metrics, row, lambda line: None)
