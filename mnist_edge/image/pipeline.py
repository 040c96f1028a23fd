"""Many pictures: decoded in other processes while this one runs the model, in order, in flat memory."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain, islice
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from mnist_edge import image
from mnist_edge.common.errors import MnistEdgeError, PictureError, printable

if TYPE_CHECKING:
    from concurrent.futures import Executor

#: From this many pictures on, starting processes saves time.
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


def read_all(
    sources: Iterable[Source], ink: str = "auto", *, keep_pictures: bool = True, processes: int | None = None
) -> Generator[Read, None, None]:
    """Prepare pictures in order, as they come. From `MANY` pictures on, this many `processes` do it; None means one per core.

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
        waiting: deque[tuple[Source, Callable[[], list[Read]]]] = deque()
        for chunk in _chunks(chain(first, sources)):
            waiting.append((chunk[0], _submit(pool, chunk, ink, keep_pictures)))
            if len(waiting) > _WAITING * processes:
                yield from _result(*waiting.popleft())
        while waiting:
            yield from _result(*waiting.popleft())


def ahead(items: Generator[T, None, None], waiting: int = 2) -> Generator[T, None, None]:
    """Give what `items` gives, made in a thread a few steps ahead. What it raises is raised here.

    Close it when it is left early: that ends the thread, after the step that it is in, and closes `items`.
    """
    from queue import Full, Queue
    from threading import Event, Thread

    queue: Queue[tuple[T | None, BaseException | None, bool]] = Queue(waiting)
    left = Event()

    def put(item: T | None, error: BaseException | None, there: bool) -> None:
        while not left.is_set():
            with suppress(Full):
                queue.put((item, error, there), timeout=0.1)
                return

    def make() -> None:
        error = None
        try:
            for item in items:
                put(item, None, True)
                if left.is_set():
                    break
        except BaseException as raised:  # raised where the items are taken
            error = raised
        items.close()
        put(None, error, False)

    thread = Thread(target=make, daemon=True)
    thread.start()
    try:
        while True:
            item, error, there = queue.get()
            if not there:
                break
            yield item  # type: ignore[misc]  # it is there
    finally:
        left.set()
        thread.join()
    if error is not None:
        raise error


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
    with _ctrl_c_held(), _no_module_of_the_working_folder():  # a process is started when there is work for it
        return pool.submit(_read_chunk, chunk, ink, keep_pictures).result


def _result(first: Source, result: Callable[[], list[Read]]) -> list[Read]:
    from concurrent.futures.process import BrokenProcessPool

    try:
        return result()
    except BrokenProcessPool as error:
        raise MnistEdgeError(
            f"{printable(first.path)}: a process that read this picture, or one soon after it, died, perhaps because memory ran out; leave it out"
        ) from error


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

    method = "fork" if _is_single_threaded() else "spawn"
    with _no_module_of_the_working_folder():
        pool = ProcessPoolExecutor(processes, multiprocessing.get_context(method), _begin)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)  # waits for what is being read, or the processes would outlive this one


@contextmanager
def _no_module_of_the_working_folder() -> Iterator[None]:
    """Start interpreters that do not look for modules in the working folder: multiprocessing would take its own from there."""
    name = "PYTHONSAFEPATH"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@contextmanager
def _ctrl_c_held() -> Iterator[None]:
    """Hold Ctrl-C back for a moment; a process that is started in it never gets any, not even before `_begin`."""
    import signal

    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _is_single_threaded() -> bool:
    try:
        return len(os.listdir("/proc/self/task")) == 1  # noqa: PTH208
    except OSError:
        return False


def _begin() -> None:
    """Leave Ctrl-C to the parent, and end with it, whatever ends it: forked siblings hold the pipes open that would tell."""
    import signal
    from threading import Thread

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    from multiprocessing import parent_process
    from multiprocessing.connection import wait

    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
