"""Ctrl-C ends the command with exit code 130 and one line, whatever it is doing.

Python's own way is a KeyboardInterrupt wherever the program happens to be. That is right where files written aside want to be
cleaned up and a training says how it goes on. It is wrong while a module is imported: an extension module turns it into an
ImportError or swallows it, and what is half imported breaks later. There, and wherever a KeyboardInterrupt would be lost or
shown as a traceback, the process ends at once.

What happens before Python runs this file cannot be caught: then Python itself shows a traceback.
"""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False  # nothing is imported here that Python has not loaded already, but signal
if TYPE_CHECKING:
    from types import FrameType, TracebackType
    from typing import Any, NoReturn

EXIT_INTERRUPTED = 130


class _State:
    interrupted = False  # a KeyboardInterrupt was raised
    documented = False  # with --json: the one document is on standard output


def is_program() -> bool:
    """Say whether the module that asks is being imported by the program that was started, not by another module such as a test."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and (frame.f_globals.get("__name__") == "mnist_edge.cli" or _is_importlib(frame)):
        frame = frame.f_back
    return frame is not None and frame.f_globals.get("__name__") == "__main__"


def install() -> None:
    """Take Ctrl-C over from Python; where the parent had it ignored (nohup), or somebody else handles it, nothing changes."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return
    try:
        signal.signal(signal.SIGINT, _on_interrupt)
    except ValueError:  # not in the main thread, which alone may do this
        return
    shown, ignored = sys.excepthook, sys.unraisablehook

    def on_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            leave()
        shown(kind, error, trace)

    def on_ignored(what: Any) -> None:  # in a __del__, or a callback of C code
        if issubclass(what.exc_type, KeyboardInterrupt):
            leave()
        ignored(what)

    sys.excepthook, sys.unraisablehook = on_uncaught, on_ignored


def begin() -> None:
    """Forget an earlier command of the same process."""
    _State.interrupted = _State.documented = False


def was_interrupted() -> bool:
    """Say whether Ctrl-C was pressed: what failed since then failed because of it, whatever the error says."""
    return _State.interrupted


def wants_document(arguments: list[str]) -> bool:
    """Say whether ``--json`` is asked for and its document is not on standard output yet."""
    asked = "--json" in arguments or os.environ.get("MNIST_EDGE_JSON", "0").lower() not in ("", "0", "false", "no", "off")
    return asked and not _State.documented


def document_written() -> None:
    """Remember that standard output has its document."""
    _State.documented = True


def leave() -> NoReturn:
    """End the process at once, as an interrupted one. What was being written aside is removed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        if files := sys.modules.get("mnist_edge.common.files"):
            files.discard_asides()
        if sys.stdout is not None:
            sys.stdout.flush()
    except Exception:  # half imported, or a stream in use: there is nothing to lose any more
        pass
    _write(2, (b"\x1b[?25h\n" if os.isatty(2) else b"") + b"error: interrupted\n")  # a progress bar hides the cursor
    if wants_document(sys.argv[1:]):
        _write(1, b'{"error": "interrupted", "exit_code": %d}\n' % EXIT_INTERRUPTED)
    os._exit(EXIT_INTERRUPTED)


def _on_interrupt(number: int, frame: FrameType | None) -> None:
    if _State.interrupted or _is_importing(frame):  # a second time: do not wait for what the first one cleans up
        leave()
    _State.interrupted = True
    raise KeyboardInterrupt


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if _is_importlib(frame):
            return True
        frame = frame.f_back
    return False


def _is_importlib(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith("<frozen importlib")


def _write(descriptor: int, text: bytes) -> None:
    try:  # noqa: SIM105 - contextlib may be what is being imported
        os.write(descriptor, text)  # not by sys.stderr, which may be in the middle of a write
    except OSError:
        pass
