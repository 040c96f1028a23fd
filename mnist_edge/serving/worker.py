"""A worker: a process that loads the models, says that it is ready, and answers until it is told to stop."""

from __future__ import annotations

import gc
import json
import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from mnist_edge.common.errors import MnistEdgeError, one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnist_edge.serving.metrics import Metrics
    from mnist_edge.serving.settings import Settings
    from mnist_edge.serving.sources import Source


def run(
    settings: Settings, sources: Sequence[Source], listening: socket.socket, metrics: Metrics, row: int, tell: int, parent: int, log: int
) -> int:
    """Serve in this process, and return its exit code.

    `tell` and `parent` are ends of pipes: a line of JSON goes into the first, ``{"ready": …}`` or ``{"error": …}``; the second is closed
    when the parent ends, and then so does the worker. `log` is where log lines go.
    """
    try:
        from mnist_edge.serving import models

        served, notes = models.load(settings, sources)
    except Exception as error:  # a runtime may raise anything
        ours = isinstance(error, MnistEdgeError)
        _tell(tell, {"error": str(error) if ours else one_line(error), "kind": type(error).__name__ if ours else "ModelError"})
        return 1
    import asyncio

    from mnist_edge.serving import access
    from mnist_edge.serving.app import App
    from mnist_edge.serving.connections import Server

    counts = metrics.row(row)
    counts.start()

    lines: list[bytes] = []

    def flush() -> None:
        with suppress(OSError):  # a full disk must not stop the answers
            os.write(log, b"".join(lines))
        lines.clear()

    def write(line: bytes) -> None:
        if not lines:
            asyncio.get_running_loop().call_soon(flush)  # with all lines of the same turn
        lines.append(line)

    app = App(served, settings, metrics, counts, write, access.names(listening.getsockname()[0], settings.host))
    about = [{"name": one.name, "version": one.version, "description": one.predictor.description} for one in served.values()]

    def ready() -> None:
        loop = asyncio.get_running_loop()

        def orphaned() -> None:
            loop.remove_reader(parent)
            server.stop()

        loop.add_reader(parent, orphaned)
        _tell(tell, {"ready": about, "notes": notes})

    server = Server(app, settings, ready)
    gc.collect()
    gc.freeze()  # what is here stays, so the collector need not look at it again
    server.run(sockets=[listening])
    return 0


def _tell(tell: int, document: dict[str, Any]) -> None:
    with suppress(OSError):
        os.write(tell, json.dumps(document).encode() + b"\n")
    os.close(tell)
