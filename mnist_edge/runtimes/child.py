"""A runtime in a separate process: in another language, or on an emulated processor. Pixels go in through a pipe, and logits come back.

The child first writes one line of JSON: ``{"version": …}`` and anything else that it reports about itself, or ``{"error": …}``. Then, for each batch:
the parent writes the number of images, uint32, and their pixels, uint8 N×1×28×28; the child answers with rows and columns, uint32 each, and
the logits, float32; or with 0xFFFFFFFF and the length of a message, uint32, and the message in UTF-8. All numbers are little-endian.
"""

import json
import struct
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.common.errors import ModelError

#: In the place of a number of rows: a message follows.
_MESSAGE = 0xFFFFFFFF


class ChildError(ModelError):
    """A child process ended, or its answer was not valid."""


class Child:
    """A running child process, which is called like any function from pixels, uint8 N×1×28×28, to logits, float32.

    It ends with this object. Threads that share it have to take turns.

    Attributes:
        about: what the child reported about itself.
    """

    def __init__(
        self, command: Sequence[str | Path], what: str, environment: Mapping[str, str] | None = None, limit: float | None = None
    ) -> None:
        """Start `command` and wait for its first line, at most `limit` seconds if given; `what` names it in errors.

        Raises ModelError if it cannot start, does not load, or says nothing within the limit.
        """
        self._what = what
        self._late = 0.0
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115, closed when the child ends
        try:
            process = subprocess.Popen(
                [str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, env=environment
            )
        except OSError as error:
            self._errors.close()
            raise ModelError(f"{what}: cannot be started: {error.strerror or error}") from error
        self._process = process
        self._end = weakref.finalize(self, _end, process, self._errors)
        with self._within(limit):
            line = self._stdout.readline()
        try:
            about = json.loads(line)
            assert isinstance(about, dict)
        except (ValueError, AssertionError):
            raise self._died() from None
        if "error" in about:
            self.close()
            raise ModelError(f"{what}: {about['error']}")
        self.about: dict[str, Any] = about

    def __call__(self, pixels: NDArray[np.uint8], limit: float | None = None) -> NDArray[np.float32]:
        """Return logits, float32 N×classes. Raises ModelError if the child refuses the batch, has ended, or takes more than `limit` seconds."""
        with self._within(limit):
            try:
                self._stdin.write(struct.pack("<I", len(pixels)) + np.ascontiguousarray(pixels).tobytes())
                self._stdin.flush()
            except (OSError, ValueError):  # ValueError: it was ended before
                raise self._died() from None
            rows, columns = struct.unpack("<II", self._read(8))
            if rows == _MESSAGE:
                raise ModelError(f"{self._what}: {self._read(columns).decode(errors='replace')}")
            return np.frombuffer(self._read(4 * rows * columns), "<f4").astype(np.float32).reshape(rows, columns)

    def close(self) -> None:
        """End the child."""
        self._end()

    @contextmanager
    def _within(self, limit: float | None) -> Iterator[None]:
        """Kill the process if the block takes longer; what reads from it then finds its end."""

        def kill() -> None:
            self._late = limit or 0.0
            self._process.kill()

        if limit is None:
            yield
            return
        timer = threading.Timer(limit, kill)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    @property
    def _stdin(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def _stdout(self) -> IO[bytes]:
        assert self._process.stdout is not None
        return self._process.stdout

    def _read(self, count: int) -> bytes:
        data = self._stdout.read(count)
        if len(data) != count:
            raise self._died()
        return data

    def _died(self) -> ChildError:
        """Return an error with what the child said last, and end it."""
        if self._end.alive:
            self._process.kill()
            self._process.wait()
            self._errors.seek(0)
            said = self._errors.read()[-2000:].decode(errors="replace").strip().splitlines()
            last = f": {said[-1]}" if said else ""
            how = f"did not answer within {self._late:.0f} seconds" if self._late else f"ended with code {self._process.returncode}"
            error = ChildError(f"{self._what}: {how}{last}")
            self.close()
            return error
        return ChildError(f"{self._what}: has ended")


def _end(process: "subprocess.Popen[bytes]", errors: IO[bytes]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout, errors):
        if stream is not None:
            with suppress(OSError):  # the data still to be written has no reader
                stream.close()
