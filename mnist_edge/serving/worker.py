"""A worker: a process that loads the models, says that it is ready, and answers until it is told to stop."""

from __future__ import annotations

import gc
import json
import math
import os
import socket
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mnist_edge.common.errors import MnistEdgeError, one_line

#: Open files that a worker keeps for other things than connections. Where it has none left, the event loop resets whoever comes.
_OTHER_FILES = 16

#: What goes wrong is said once in so many seconds, and of so many kinds.
_SAME_SECONDS, _KINDS = 60.0, 100

if TYPE_CHECKING:
    import asyncio
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
    from mnist_edge.serving.log import Log

    counts = metrics.row(row)
    counts.start()

    counts.keep((one.name, one.version) for one in served.values())
    settings, few = _with_descriptors(settings)
    notes += few
    lines = Log(log, counts.unlogged)
    app = App(served, settings, metrics, counts, lines.write, access.names(listening.getsockname()[0], settings.host))
    notes += [
        f"the answers of {name} are not counted: too many models, or too many classes" for name, at in app.counts.items() if at is None
    ]
    about = [{"name": one.name, "version": one.version, "description": one.predictor.description} for one in served.values()]

    def ready() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_Problems())

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


def _with_descriptors(settings: Settings) -> tuple[Settings, list[str]]:
    """Allow this process as many open files as it may have; return the settings with at most as many connections, and a note if they are fewer."""
    import resource
    from pathlib import Path

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(OSError, ValueError):  # macOS takes no more than a system's own limit
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    if soft == resource.RLIM_INFINITY:
        return settings, []
    room = max(2, soft - len(list(Path("/dev/fd").iterdir())) - _OTHER_FILES)
    if settings.max_connections + settings.max_leaving <= room:
        return settings, []
    leaving = min(settings.max_leaving, room // 2)
    taken = min(settings.max_connections, room - leaving)
    settings, wanted = replace(settings, max_connections=taken, max_leaving=leaving), settings.max_connections
    if taken == wanted:
        return settings, []
    return settings, [
        f"a process may have {soft} open files here, so each worker takes {taken} connections and not {wanted}; ulimit -n allows more"
    ]


class _Problems:
    """Says what goes wrong in the event loop outside of requests: a line for each kind, and not again within a minute."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        what = f"{context['message']}: {one_line(error)}" if error else context["message"]
        if loop.time() - self._last.get(what, -math.inf) < _SAME_SECONDS:
            return
        if len(self._last) > _KINDS:
            self._last.clear()
        self._last[what] = loop.time()
        with suppress(OSError):
            os.write(2, f"error: {what}\n".encode())
