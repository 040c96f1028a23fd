"""The errors of this package. Each is one line that says what is wrong, where, and what to do next.

The library raises only these on purpose; the command line turns each class into an exit code.
"""

import os
from collections.abc import Iterable


class MnistEdgeError(Exception):
    """Base of every error that this package raises on purpose. ``str(error)`` is one line, ready to show."""


class UsageError(MnistEdgeError):
    """The caller asked for something that does not exist or makes no sense."""


class UnknownNameError(UsageError):
    """A name that no registry or folder knows."""


class NotAllowedError(UsageError):
    """A model's network is code from outside, and the user did not allow it."""


class DataError(MnistEdgeError):
    """A data set is missing, incomplete or malformed."""


class PictureError(MnistEdgeError):
    """A picture cannot be read as a digit."""


class ModelError(MnistEdgeError):
    """A model's folder, its manifest or one of its files is missing, edited or damaged."""


class NotAModelError(ModelError):
    """A folder without a manifest: it is not a model, and that is no fault."""


class FixedBatchError(ModelError):
    """A file takes only `batch` images at a time, but the contract is any number."""

    def __init__(self, message: str, batch: int) -> None:
        super().__init__(message)
        self.batch = batch


class ExportError(MnistEdgeError):
    """A format could not write its artifact, or the artifact does not keep the contract."""


class NoGainError(ExportError):
    """A lower precision saves no space: `size` is the file's as a share of float32's, `speed` its speed in words, such as ``as fast``."""

    def __init__(self, message: str, size: float, speed: str) -> None:
        super().__init__(message)
        self.size, self.speed = size, speed


class ParityError(ExportError):
    """An artifact does not run, or does not answer as PyTorch does."""


class NotProvenError(ParityError):
    """Nothing proves what an artifact answers on this runtime and this kind of machine, and a proof was asked for."""


class TrainingError(MnistEdgeError):
    """A training cannot start or continue."""


class MissingExtraError(MnistEdgeError):
    """Something needs a package that the edge installation leaves out."""


class UnprovenWarning(UserWarning):
    """Nothing proves what an artifact answers on this runtime and this kind of machine."""


class PluginWarning(UserWarning):
    """A network or a format of another distribution could not be loaded; everything else works."""


def one_line(error: BaseException) -> str:
    """Return another program's error as one line with its kind, at most 300 characters."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def printable(name: object) -> str:
    """Return a path or a name as one line that any terminal can show: control characters and bytes that are not UTF-8 are escaped."""
    text = os.fsdecode(name) if isinstance(name, (str, bytes, os.PathLike)) else str(name)
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    if 0xDC80 <= ord(character) <= 0xDCFF:  # where Python puts a byte that is not UTF-8 (PEP 383)
        return f"\\x{ord(character) - 0xDC00:02x}"
    return ascii(character)[1:-1]


def printable_lines(text: str) -> str:
    """Return a text of several lines, each made safe by `printable`: a name in it may come from anybody and hold terminal codes."""
    return text if text.isprintable() else "\n".join(map(printable, text.split("\n")))


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """Return an error for `name` that lists the `known` names of this `kind` and proposes the nearest."""
    return UnknownNameError(f"unknown {kind} {name!r}{among(name, known)}")


def among(name: str, known: Iterable[str]) -> str:
    """Return the end of an error on an unknown `name`: the nearest of the `known` names, whatever its case, and all of them."""
    import difflib

    names = sorted(known)
    folded = {one.casefold(): one for one in names}
    nearest = difflib.get_close_matches(name.casefold(), folded, n=1)
    hint = f" (did you mean {folded[nearest[0]]!r}?)" if nearest else ""
    return f"{hint}; known: {', '.join(names) or 'none'}"
