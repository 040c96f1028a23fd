"""The log: what a request's line says, and where lines go. They are never waited for, because whoever reads them may have stopped."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

#: Lines are written in pieces of at most so many bytes, which a pipe takes as one or not at all; and at most so many wait for a reader.
_PIECE, _WAITING_BYTES = 4096, 2**20

#: Where a reader takes nothing, the next try is after so many seconds.
_AGAIN_SECONDS = 0.2


class Logged(Protocol):
    """What a line says of a request."""

    @property
    def scope(self) -> Mapping[str, Any]:
        """What ASGI says of it."""

    id: bytes
    model: str
    error: str
    body_size: int


class Lines:
    """Writes lines of JSON; `paths` are those that most requests have."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._quoted = {path: json.dumps(path) for path in paths}
        self._second, self._stamp = -1, ""

    def line(self, request: Logged, status: int, size: int, seconds: float) -> bytes:
        """Return a request's line, without what was in its body or its query."""
        now = time.time()
        if int(now) != self._second:
            self._second = int(now)
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
        scope = request.scope
        client = scope["client"][0] if scope["client"] else ""
        more = f',"model":{json.dumps(request.model)}' if request.model else ""
        if request.error:
            more += f',"error":{json.dumps(request.error)}'
        path = self._quoted.get(scope["path"]) or json.dumps(scope["path"])
        when = f"{self._stamp}.{int(now % 1 * 1000):03d}Z"
        return (
            f'{{"time":"{when}","id":"{request.id.decode()}","client":"{client}","method":"{scope["method"]}","path":{path},'
            f'"status":{status},"ms":{1000 * seconds:.3f},"in":{request.body_size},"out":{size}{more}}}\n'
        ).encode()


class Log:
    """Writes lines to a file, a pipe, a terminal or a socket; what a slow reader has no room for is dropped, and `dropped` is called with how many."""

    def __init__(self, descriptor: int, dropped: Callable[[int], object]) -> None:
        self._write, self._dropped = _writer(descriptor), dropped
        self._lines: list[bytes] = []
        self._late: list[bytes] = []  # what a reader had no room for
        self._late_bytes = 0

    def write(self, line: bytes) -> None:
        """Write a line with all others of the same turn of the event loop."""
        if not self._lines:
            asyncio.get_running_loop().call_soon(self._flush)
        self._lines.append(line)

    def _flush(self) -> None:
        lines, self._lines = self._lines, []
        if self._late:
            self._keep(lines)
        elif left := self._put(lines):
            self._keep(left)
            asyncio.get_running_loop().call_later(_AGAIN_SECONDS, self._retry)

    def _keep(self, lines: list[bytes]) -> None:
        for at, line in enumerate(lines):
            if self._late_bytes + len(line) > _WAITING_BYTES:
                self._dropped(len(lines) - at)
                return
            self._late.append(line)
            self._late_bytes += len(line)

    def _retry(self) -> None:
        late, self._late = self._late, []
        self._late = self._put(late)
        self._late_bytes = sum(map(len, self._late))
        if self._late:
            asyncio.get_running_loop().call_later(_AGAIN_SECONDS, self._retry)

    def _put(self, lines: list[bytes]) -> list[bytes]:
        """Write lines; return those for which there was no room, of which the first may have been written in part."""
        at = 0
        while at < len(lines):
            end, size = at + 1, len(lines[at])
            while end < len(lines) and size + len(lines[end]) <= _PIECE:
                size += len(lines[end])
                end += 1
            piece = lines[at] if end == at + 1 else b"".join(lines[at:end])
            try:
                written = self._write(piece)
            except BlockingIOError:
                return lines[at:]
            except OSError:  # a full disk, or a reader that has ended, must not stop the answers
                self._dropped(len(lines) - at)
                return []
            if written < len(piece):
                return [piece[written:], *lines[end:]]
            at = end
        return []


def _writer(descriptor: int) -> Callable[[bytes], int]:
    """Return what writes bytes without waiting, and raises BlockingIOError instead.

    The descriptor itself is shared with other processes, for which it has to stay as it is; so a pipe or a terminal is opened once more.
    """
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISSOCK(mode):
        stream = socket.socket(fileno=os.dup(descriptor))
        return lambda piece: stream.send(piece, socket.MSG_DONTWAIT)
    if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
        with suppress(OSError):
            own = os.open(f"/dev/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
            return lambda piece: os.write(own, piece)
    return lambda piece: os.write(descriptor, piece)
