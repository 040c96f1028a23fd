"""Reports an error of the user's own network as the network's: its name, the kind of error, and the line of its code."""

import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType

import torch

from mnist_edge.common.errors import MnistEdgeError, UsageError, one_line

#: Code in these folders is not the user's: torch, and this package's own.
_OURS = (Path(__file__).parents[1], Path(__file__).parents[2] / "exporters")
_NOT_THEIRS = (Path(torch.__file__).parent, *_OURS)

#: Code in these folders may be the user's if no other is: installed packages, without the standard library.
_INSTALLED = tuple(Path(sysconfig.get_path(name)) for name in ("purelib", "platlib"))
_STANDARD = Path(sysconfig.get_path("stdlib"))

#: What each device's allocator says if no memory is left, beside `torch.OutOfMemoryError`.
_NO_MEMORY = ("not enough memory", "out of memory", "can't allocate memory", "DefaultCPUAllocator")


def called(name: str) -> str:
    """Return ``network lenet``, or ``your network mine:Net`` for one that is named by its module."""
    return f"your network {name}" if ":" in name else f"network {name}"


def place(traceback: TracebackType | None) -> str | None:
    """Return file and line, ``mine.py:12``, of the innermost call in the user's code; None if there is none."""
    calls = []
    while traceback is not None:
        calls.append((traceback.tb_frame.f_code.co_filename, traceback.tb_lineno))
        traceback = traceback.tb_next
    return _innermost(calls)


def place_now() -> str | None:
    """Return file and line of the user's code that runs at this moment and called this; None if there is none."""
    calls: list[tuple[str, int]] = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        ours = any(Path(file).is_relative_to(folder) for folder in _OURS)
        if ours and calls:  # what called the user's
            break
        if not ours:
            calls.insert(0, (file, frame.f_lineno))
        frame = frame.f_back
    return _innermost(calls)


def _innermost(calls: list[tuple[str, int]]) -> str | None:
    """Return the last call in the user's own files, else the last one in what was installed."""
    theirs = [(Path(file), line) for file, line in calls if _may_be_theirs(file)]
    own = [call for call in theirs if not any(call[0].is_relative_to(folder) for folder in _INSTALLED)] or theirs
    if not own:
        return None
    path, line = own[-1]
    return f"{path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}:{line}"


def _may_be_theirs(file: str) -> bool:
    path = Path(file)
    if file.startswith("<") or any(path.is_relative_to(folder) for folder in _NOT_THEIRS):
        return False
    return any(path.is_relative_to(folder) for folder in _INSTALLED) or not path.is_relative_to(_STANDARD)


def raised(name: str, error: BaseException) -> str:
    """Return what the network `name` raised, as one line with its place: ``your network mine:Net: ValueError: … (mine.py:12)``."""
    where = place(error.__traceback__)
    return f"{called(name)}: {one_line(error)}" + (f" ({where})" if where else "")


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether the machine or its device ran out of memory."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY)


@contextmanager
def told_as_its_own(
    name: str, kind: type[MnistEdgeError] = UsageError, *, advice: str = "", memory: str = "take a smaller --batch-size"
) -> Iterator[None]:
    """Turn whatever the network `name` raises, SystemExit included, into one line of this `kind`; this package's own errors pass.

    `advice` ends the line; `memory` takes its place if there was not enough memory.
    """
    try:
        yield
    except (MnistEdgeError, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # the user's own network, which may raise anything
        if is_out_of_memory(error):
            raise kind(f"{raised(name, error)}; there is not enough memory: {memory}") from error
        raise kind(raised(name, error) + (f"; {advice}" if advice else "")) from error
