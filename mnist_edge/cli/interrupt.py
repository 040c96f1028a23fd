"""Ctrl-C ends the command with exit code 130 and one line, whatever the command is doing.

Python raises a KeyboardInterrupt wherever the program happens to be. That is right when unfinished files have to be removed, or when
a training says how to continue it. It is wrong while a module is imported: an extension module turns it into an ImportError or
swallows it, and a half-imported module breaks later. In that case, and wherever a KeyboardInterrupt would be lost or shown as a
traceback, the process ends at once.

Ctrl-C before Python runs this file cannot be caught: Python itself then shows a traceback.
"""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False  # apart from signal, this file imports only what Python has loaded already
if TYPE_CHECKING:
    from types import FrameType, TracebackType
    from typing import Any, NoReturn

EXIT_INTERRUPTED = 130


class _State:
    interrupted = False  # a KeyboardInterrupt was raised
    documented = False  # with --json: the one document is on standard output


def is_program() -> bool:
    """Say whether the started program imports the module that asks, and not another module, such as a test."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and (frame.f_globals.get("__name__") == "mnist_edge.cli" or _is_importlib(frame)):
        frame = frame.f_back
    return frame is not None and frame.f_globals.get("__name__") == "__main__"


def install() -> None:
    """Take Ctrl-C over from Python. Nothing changes if the parent ignores it (nohup) or somebody else handles it."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return
    try:
        signal.signal(signal.SIGINT, _on_interrupt)
    except ValueError:  # only the main thread may do this
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
    """Say whether Ctrl-C was pressed: every failure since then is due to it, whatever the error says."""
    return _State.interrupted


def wants_document(arguments: list[str]) -> bool:
    """Say whether ``--json`` is asked for and its document is not on standard output yet."""
    asked = "--json" in arguments or os.environ.get("MNIST_EDGE_JSON", "0").lower() not in ("", "0", "false", "no", "off")
    return asked and not _State.documented


def document_written() -> None:
    """Remember that standard output has its document."""
    _State.documented = True


def leave() -> NoReturn:
    """End the process at once, as an interrupted one. Unfinished files are removed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        if files := sys.modules.get("mnist_edge.common.files"):
            files.discard_asides()
        if sys.stdout is not None:
            sys.stdout.flush()
    except Exception:  # a module is half imported, or a stream is in use: nothing more can be lost
        pass
    _write(2, (b"\x1b[?25h\n" if os.isatty(2) else b"") + b"error: interrupted\n")  # a progress bar hides the cursor
    if wants_document(sys.argv[1:]):
        _write(1, b'{"error": "interrupted", "exit_code": %d}\n' % EXIT_INTERRUPTED)
    os._exit(EXIT_INTERRUPTED)


def _on_interrupt(number: int, frame: FrameType | None) -> None:
    if _State.interrupted or _is_importing(frame):  # a second Ctrl-C: do not wait for the cleaning up after the first
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
        os.write(descriptor, text)  # not through sys.stderr, which may be in the middle of a write
    except OSError:
        pass
