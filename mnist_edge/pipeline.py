"""Many pictures: decoded in other processes while this one runs the model, in order, in flat memory."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from mnist_edge import image
from mnist_edge.errors import MnistEdgeError, PictureError

if TYPE_CHECKING:
    from concurrent.futures import Executor

#: From so many pictures on, starting processes pays.
MANY = 100

#: Pictures that a process takes at a time, and how many such chunks wait for each process.
_CHUNK, _WAITING = 16, 3

_NOTHING = np.empty((0, 0), np.uint8)

T = TypeVar("T")


class Source(NamedTuple):
    """A picture to be read.

    Attributes:
        path: its name, as given.
        problem: why it cannot be read, where that is known already.
        open: gives what to read instead of the file `path`, for standard input.
    """

    path: str
    problem: str | None = None
    open: Callable[[], image.Picture] | None = None


class Read(NamedTuple):
    """A picture that was read, or why not.

    Attributes:
        source: what was asked for.
        prepared: what the network sees; None where there is an error.
        error: one line.
        seconds: how long reading took.
    """

    source: Source
    prepared: image.Prepared | None
    error: str | None
    seconds: float


def read_all(sources: Iterable[Source], ink: str = "auto", *, keep_pictures: bool = True, processes: int | None = None) -> Iterator[Read]:
    """Prepare pictures in order, as they come. From `MANY` on it is done in so many `processes`, one a core for None.

    Without `keep_pictures` the upright picture in `Prepared` is left empty, which spares moving it between processes.
    Raises MnistEdgeError if a process dies; pictures that cannot be read become a `Read` with an error.
    """
    sources = iter(sources)
    first = list(islice(sources, MANY))
    processes = processes or _cores()
    if len(first) < MANY or processes < 2:
        for source in chain(first, sources):
            yield _read(source, ink)
        return
    with _pool(processes) as pool:
        waiting: deque[Callable[[], list[Read]]] = deque()
        for chunk in _chunks(chain(first, sources)):
            waiting.append(_submit(pool, chunk, ink, keep_pictures))
            if len(waiting) > _WAITING * processes:
                yield from waiting.popleft()()
        while waiting:
            yield from waiting.popleft()()


def ahead(items: Iterable[T], waiting: int = 2) -> Iterator[T]:
    """Give what `items` gives, made in a thread a few steps ahead. What it raises is raised here."""
    from queue import Queue
    from threading import Thread

    queue: Queue[tuple[bool, Any]] = Queue(waiting)
    stopped = False

    def make() -> None:
        try:
            for item in items:
                queue.put((True, item))
                if stopped:
                    return
            queue.put((False, None))
        except BaseException as error:  # raised where the items are taken
            queue.put((False, error))

    thread = Thread(target=make, daemon=True)
    thread.start()
    try:
        while True:
            there, item = queue.get()
            if there:
                yield item
            elif item is None:
                return
            else:
                raise item
    finally:
        stopped = True


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _chunks(sources: Iterable[Source]) -> Iterator[list[Source]]:
    """Give files in chunks; what only this process can read is a chunk of its own."""
    chunk: list[Source] = []
    for source in sources:
        if source.open is not None:
            if chunk:
                yield chunk
            yield [source]
            chunk = []
            continue
        chunk.append(source)
        if len(chunk) == _CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _submit(pool: Executor, chunk: list[Source], ink: str, keep_pictures: bool) -> Callable[[], list[Read]]:
    if chunk[0].open is not None:
        return lambda: [_read(chunk[0], ink)]
    return pool.submit(_read_chunk, chunk, ink, keep_pictures).result


def _read_chunk(chunk: list[Source], ink: str, keep_pictures: bool) -> list[Read]:
    found = [_read(source, ink) for source in chunk]
    if keep_pictures:
        return found
    return [one._replace(prepared=one.prepared._replace(picture=_NOTHING)) if one.prepared else one for one in found]


def _read(source: Source, ink: str) -> Read:
    started = time.perf_counter()
    prepared, error = None, source.problem
    if error is None:
        try:
            prepared = image.prepare(source.open() if source.open else source.path, ink)
        except PictureError as raised:
            error = str(raised)
    return Read(source, prepared, error, time.perf_counter() - started)


@contextmanager
def _pool(processes: int) -> Iterator[Executor]:
    """Give processes that leave Ctrl-C to this one.

    They are forked, in a few milliseconds, where this one has no other threads, whose locks a child would inherit for ever.
    """
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    method = "fork" if _is_single_threaded() else "spawn"
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context(method), _leave_interrupts)
    try:
        yield pool
    except BrokenProcessPool as error:
        raise MnistEdgeError(
            "a process that reads pictures died, perhaps for want of memory; read fewer or smaller ones at a time"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)  # waits for what is being read, or the processes would outlive this one


def _is_single_threaded() -> bool:
    try:
        return len(os.listdir("/proc/self/task")) == 1  # noqa: PTH208
    except OSError:
        return False


def _leave_interrupts() -> None:
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
