"""The process that holds the port and the workers: starts them, replaces one that dies, and exchanges all of them for a new version.

It imports neither numpy nor a runtime, so that each worker begins small and with what is on the disk now. The port's socket is made once and
inherited, and not opened by each worker with SO_REUSEPORT: with that, connections that wait in the queue of a worker are lost when it dies.
"""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NoReturn

from mnist_edge.common import errors
from mnist_edge.common.errors import MnistEdgeError, ModelError, UsageError
from mnist_edge.serving import access
from mnist_edge.serving.metrics import Metrics
from mnist_edge.serving.settings import Settings
from mnist_edge.serving.sources import Source, choose

#: What the supervisor listens to. Workers get only SIGTERM, from it.
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGHUP) if hasattr(signal, "SIGHUP") else ()

#: After a worker could not be started, the next one waits so long, and each time twice as long, in seconds.
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 30.0


@dataclass(frozen=True)
class Started:
    """What a server says of itself, once it is ready.

    Attributes:
        url: its address, such as ``http://127.0.0.1:8000/``.
        is_local: only this machine reaches it.
        models: name, version and description of each.
        notes: what a person should know, such as that a model is not proven here.
    """

    url: str
    is_local: bool
    models: list[dict[str, str]]
    notes: list[str]


@dataclass
class _Worker:
    pid: int
    row: int
    pipe: int
    replaces: int | None = None
    said: bytes = b""
    versions: tuple[tuple[str, str], ...] = ()  # name and version of each model, once it is ready
    is_ready: bool = False
    is_stopping: bool = False


@dataclass
class _State:
    workers: dict[int, _Worker] = field(default_factory=dict)
    to_replace: list[int] = field(default_factory=list)
    is_exchanging: bool = False
    is_up: bool = False
    stop: int = 0  # the signal
    reload: bool = False
    wait: float = 0.0
    not_before: float = 0.0


def serve(settings: Settings, ready: Callable[[Started], None], problem: Callable[[str], None]) -> None:
    """Serve until SIGTERM. `ready` is called once, when requests are answered; `problem` with each line that a person should read later.

    Raises UsageError if the port cannot be used, KeyboardInterrupt after Ctrl-C, and what loading the models raises, before anything is served.
    """
    if not hasattr(os, "fork") or not _SIGNALS:
        raise UsageError("mnist-edge serve needs Linux or macOS")
    sources, notes = choose(settings)
    listening = _listen(settings.host, settings.port)
    with listening:
        _Supervisor(settings, sources, notes, listening, ready, problem).run()


class _Supervisor:
    def __init__(
        self,
        settings: Settings,
        sources: Sequence[Source],
        notes: Sequence[str],
        listening: socket.socket,
        ready: Callable[[Started], None],
        problem: Callable[[str], None],
    ) -> None:
        self.sources, self.notes = sources, notes
        self.settings, self.listening, self.ready, self.problem = settings, listening, ready, problem
        # while workers are exchanged, the old ones still count
        self.metrics = Metrics(2 * settings.workers + 2)
        self.state = _State()
        self.alive, self.parent = os.pipe()  # the second end stays here: it is closed when this process ends, however it ends
        self.wake, self.woken = os.pipe()
        for end in (self.wake, self.woken):
            os.set_blocking(end, False)

    def run(self) -> None:
        """Start the workers, and look after them."""
        before = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
        signal.set_wakeup_fd(self.woken, warn_on_full_buffer=False)
        try:
            for _ in range(self.settings.workers):
                self._start()
            while not self.state.stop:
                self._step()
        finally:
            self._stop_all()
            signal.set_wakeup_fd(-1)
            for number, handler in before.items():
                signal.signal(number, handler)
            for end in (self.alive, self.parent, self.wake, self.woken):
                os.close(end)
        if self.state.stop == signal.SIGINT:
            raise KeyboardInterrupt

    def _on_signal(self, number: int, frame: Any) -> None:
        if number == signal.SIGHUP:
            self.state.reload = True
        elif number != signal.SIGCHLD:
            self.state.stop = number

    def _step(self) -> None:
        """Wait until something happens, and do what is due."""
        state = self.state
        pipes = [worker.pipe for worker in state.workers.values() if worker.pipe >= 0]
        timeout = max(0.0, state.not_before - time.monotonic()) if self._is_lacking() else None
        readable = select.select([self.wake, *pipes], [], [], timeout)[0]
        with suppress(BlockingIOError):
            os.read(self.wake, 4096)
        for worker in [one for one in state.workers.values() if one.pipe in readable]:
            self._hear(worker)
        self._reap()
        if state.reload and state.is_up:
            state.reload = False
            state.to_replace = [
                worker.pid for worker in state.workers.values() if not worker.is_stopping
            ]  # one that starts may have old files
            state.is_exchanging = True
        if state.stop:
            return
        if self._is_lacking():
            if time.monotonic() >= state.not_before:
                self._start()
        elif state.to_replace and all(worker.is_ready for worker in state.workers.values()) and self._free_row() is not None:
            self._start(replaces=state.to_replace.pop(0))

    def _is_lacking(self) -> bool:
        """Say whether there are fewer workers than there should be, those that are starting counted."""
        staying = [worker for worker in self.state.workers.values() if not worker.is_stopping and worker.replaces is None]
        return len(staying) < self.settings.workers and self._free_row() is not None

    def _free_row(self) -> int | None:
        used = {worker.row for worker in self.state.workers.values()}
        return next((row for row in range(self.metrics.rows) if row not in used), None)

    def _start(self, replaces: int | None = None) -> None:
        row = self._free_row()
        assert row is not None  # the callers asked
        hear, tell = os.pipe()
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # a child must not run this process's handlers
        try:
            pid = os.fork()
            if pid == 0:
                self._become_worker(row, tell)
        except OSError as error:
            os.close(hear)
            self._could_not_start(f"no process for a worker: {error.strerror or error}", "ModelError")
            return
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            os.close(tell)
        self.state.workers[pid] = _Worker(pid, row, hear, replaces)

    def _become_worker(self, row: int, tell: int) -> NoReturn:
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_IGN if number in (signal.SIGINT, signal.SIGHUP) else signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            for worker in self.state.workers.values():
                if worker.pipe >= 0:
                    os.close(worker.pipe)
            for end in (self.parent, self.wake, self.woken):
                os.close(end)
            from mnist_edge.serving import worker as child

            code = child.run(self.settings, self.sources, self.listening, self.metrics, row, tell, self.alive, 1)
        except BaseException as error:  # nothing may go back up into the parent's code
            with suppress(Exception):
                os.write(2, f"error: a worker failed: {errors.one_line(error)}\n".encode())
        finally:
            os._exit(code)

    def _hear(self, worker: _Worker) -> None:
        """Read what a worker says; at the end of its line or of its life, take it in."""
        part = os.read(worker.pipe, 65536)
        worker.said += part
        if part and not worker.said.endswith(b"\n"):
            return
        os.close(worker.pipe)
        worker.pipe = -1
        with suppress(ValueError):
            self._take_in(worker, json.loads(worker.said))

    def _take_in(self, worker: _Worker, said: dict[str, Any]) -> None:
        state = self.state
        if "error" in said:
            self._could_not_start(said["error"], said["kind"])
            return
        worker.is_ready, state.wait = True, 0.0
        worker.versions = tuple((one["name"], one["version"]) for one in said["ready"])
        old = None if worker.replaces is None else state.workers.get(worker.replaces)
        worker.replaces = None
        if old is not None:
            self._stop(old)
        if not state.is_up:
            if not all(one.is_ready for one in state.workers.values()):
                return
            state.is_up = True
            local = access.is_local(self.listening.getsockname()[0])
            self.ready(Started(_url(self.listening), local, said["ready"], [*self.notes, *said["notes"]]))
        self._exchange_others(worker)
        if state.is_exchanging and not state.to_replace and all(one.is_ready for one in state.workers.values()):
            state.is_exchanging = False
            self.problem("the workers were replaced; now serving: " + ", ".join(f"{name} {version}" for name, version in worker.versions))
            for note in said["notes"]:
                self.problem(f"warning: {note}")

    def _exchange_others(self, worker: _Worker) -> None:
        """Exchange workers with other versions than one that has started now: a client must not get this one's answer or that one's by chance."""
        state = self.state
        staying = [one for one in state.workers.values() if one.is_ready and not one.is_stopping and one.pid not in state.to_replace]
        others = [one.pid for one in staying if one.versions != worker.versions]
        if not others:
            return
        if not state.is_exchanging:
            self.problem("the models on the disk are not the versions that are served; the workers are being replaced")
        state.to_replace += others
        state.is_exchanging = True

    def _could_not_start(self, error: str, kind: str) -> None:
        state = self.state
        if not state.is_up:
            raise _as_error(error, kind)
        state.to_replace.clear()
        state.is_exchanging = False
        self._wait_longer()
        rest = (
            "the ones before it keep running" if any(one.is_ready for one in state.workers.values()) else "no other is left; trying again"
        )
        self.problem(f"error: a worker could not start, and {rest}: {error}")

    def _wait_longer(self) -> None:
        state = self.state
        state.wait = min(_LONGEST_WAIT, 2 * state.wait) or _FIRST_WAIT
        state.not_before = time.monotonic() + state.wait

    def _reap(self) -> None:
        state = self.state
        for worker in list(state.workers.values()):
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if pid == 0:
                continue
            del state.workers[pid]
            self.metrics.row(worker.row).stop()
            self._forget(pid)
            if worker.pipe >= 0:  # it may have said why
                self._hear_last(worker)
            elif not worker.is_ready:  # it has said why
                continue
            elif not worker.is_stopping and not state.stop:
                self.problem(f"worker {pid} ended ({_how(status)}); another takes its place")

    def _forget(self, pid: int) -> None:
        """Take in that a worker is not there any more, so that what was to take its place counts as its replacement."""
        state = self.state
        state.to_replace = [one for one in state.to_replace if one != pid]
        for worker in state.workers.values():
            if worker.replaces == pid:
                worker.replaces = None

    def _hear_last(self, worker: _Worker) -> None:
        while worker.pipe >= 0:
            self._hear(worker)
        if not worker.said:
            self._could_not_start("a worker ended before it was ready", "ModelError")

    def _stop(self, worker: _Worker) -> None:
        worker.is_stopping = True
        self._forget(worker.pid)
        with suppress(ProcessLookupError):
            os.kill(worker.pid, signal.SIGTERM)

    def _stop_all(self) -> None:
        """Let each worker finish; kill what is left after a while, or at a second Ctrl-C."""
        state, first = self.state, self.state.stop
        state.stop = 0
        self.listening.close()
        for worker in state.workers.values():
            self._stop(worker)
        until = time.monotonic() + self.settings.stop_seconds + 3
        while state.workers and time.monotonic() < until and not state.stop:
            select.select([self.wake], [], [], 0.2)
            with suppress(BlockingIOError):
                os.read(self.wake, 4096)
            self._reap_stopped()
        for pid in state.workers:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        state.stop = first

    def _reap_stopped(self) -> None:
        for pid in list(self.state.workers):
            if os.waitpid(pid, os.WNOHANG)[0]:
                del self.state.workers[pid]


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listening = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:  # UnicodeError: it is no name at all, such as a..b
        what = getattr(error, "strerror", None) or "it is not a host name"
        raise UsageError(f"{host} is not an address of this machine: {what}; --host names another") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if host == "::" else 1)
        listening.bind(address)
        listening.listen(2048)
        listening.setblocking(False)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRNOTAVAIL:
            raise UsageError(f"{host} is not an address of this machine; --host names another") from error
        raise UsageError(f"port {port} of {host} cannot be used: {error.strerror or error}; --port names another") from error
    return listening


def _url(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def _as_error(message: str, kind: str) -> MnistEdgeError:
    """Return a worker's error as this process's own, of the same class, so that it has the same exit code."""
    found = getattr(errors, kind, ModelError)
    is_plain = isinstance(found, type) and issubclass(found, MnistEdgeError) and found is not errors.FixedBatchError
    error: MnistEdgeError = found(message) if is_plain else ModelError(message)
    return error


def _how(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
