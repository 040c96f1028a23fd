"""The command in the tests' own process: as it is typed in a shell, without the two seconds in which Python imports torch.

What a command sets for its process is put back afterwards: folder, environment, streams, import path and modules of the
working folder, warnings, signals, and PyTorch's threads and random numbers.
"""

import importlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import urllib.request
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, chdir, contextmanager
from pathlib import Path
from types import FrameType
from typing import IO, Any

import numpy as np

#: What Python and the libraries read once, when they start.
READ_AT_START = ("PYTHON", "LC_", "LANG", "OMP_", "MKL_", "OPENBLAS_", "ORT_", "LD_")


def is_possible(environment: dict[str, str], options: dict[str, Any]) -> bool:
    """Say whether a command can run here with these options of `subprocess.run`."""
    changed = {key for key in environment | dict(os.environ) if environment.get(key) != os.environ.get(key)}
    return options.keys() <= {"cwd", "stdin", "text", "timeout"} and not any(key.startswith(READ_AT_START) for key in changed)


def run(
    arguments: Sequence[str], environment: dict[str, str], cwd: Path, *, stdin: IO[Any] | None = None, text: bool = True, timeout: int = 300
) -> "subprocess.CompletedProcess[Any]":
    """Run the command in this process and return what `subprocess.run` would.

    Descriptors 0, 1 and 2 are lent to files, so output of libraries and of processes that the command starts is there, too.
    """
    import mnist_edge.runtimes.ort  # noqa: F401 - sets the environment when it is first imported, and that has to stay
    from mnist_edge.cli import cli

    code: Any = None
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        with ExitStack() as stack:
            for context in (_state(cwd), _environment(environment), chdir(cwd), _alarm(timeout), _streams(stdin, out, err)):
                stack.enter_context(context)
            try:
                cli.main(args=list(arguments), prog_name="mnist-edge")
            except SystemExit as end:
                code = end.code
        assert isinstance(code, int), f"exit code {code!r}"
        printed = []
        for file in (out, err):
            file.seek(0)
            content = file.read()
            printed.append(content.decode().replace("\r\n", "\n").replace("\r", "\n") if text else content)
    return subprocess.CompletedProcess(["mnist-edge", *arguments], code, *printed)


@contextmanager
def _streams(stdin: IO[Any] | None, out: IO[bytes], err: IO[bytes]) -> Iterator[None]:
    before = sys.stdin, sys.stdout, sys.stderr
    for stream in before[1:]:
        stream.flush()
    kept = [os.dup(descriptor) for descriptor in (0, 1, 2)]
    with ExitStack() as stack:
        given = stdin if stdin is not None else stack.enter_context(open(os.devnull, "rb"))  # noqa: PTH123
        for descriptor, file in enumerate((given, out, err)):
            os.dup2(file.fileno(), descriptor)
        # not closed: a log handler that is made while the command runs keeps its stream
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
        try:
            yield
        finally:
            try:
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                sys.stdin, sys.stdout, sys.stderr = before
                for descriptor, copy in enumerate(kept):
                    os.dup2(copy, descriptor)
                    os.close(copy)


@contextmanager
def _environment(environment: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(environment)
    urllib.request._opener = None  # type: ignore[attr-defined] # it keeps the proxies that it finds when it is first used
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        urllib.request._opener = None  # type: ignore[attr-defined]


@contextmanager
def _alarm(seconds: int) -> Iterator[None]:
    def ring(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"the command did not end in {seconds} seconds")

    before = {number: signal.getsignal(number) for number in (signal.SIGALRM, signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _state(cwd: Path) -> Iterator[None]:
    """Begin as a process does, and put everything back at the end."""
    path, argv, modules = sys.path[:], sys.argv, set(sys.modules)
    numbers = random.getstate(), np.random.get_state()
    importlib.invalidate_caches()  # a test may have written a module just now
    sys.argv = ["mnist-edge"]
    with warnings.catch_warnings(), _torch_state():
        warnings.showwarning = _show_warning
        warnings.resetwarnings()
        for kind in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", kind)
        try:
            yield
        finally:
            # a library's own additions stay, as it does: onnxruntime adds a folder of its own, once, and imports from it later
            sys.path[:] = [place for place in sys.path if place in path or not Path(place).is_relative_to(cwd)]
            sys.argv = argv
            random.setstate(numbers[0])
            np.random.set_state(numbers[1])
            for name in set(sys.modules) - modules:
                if Path(getattr(sys.modules[name], "__file__", None) or "/").is_relative_to(cwd):
                    del sys.modules[name]


@contextmanager
def _torch_state() -> Iterator[None]:
    import torch

    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def _show_warning(message: Warning | str, category: type[Warning], filename: str, lineno: int, *rest: Any, **more: Any) -> None:
    sys.stderr.write(warnings.formatwarning(message, category, filename, lineno))
