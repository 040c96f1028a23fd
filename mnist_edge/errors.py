"""What can go wrong, in one line each: what is wrong, where, and what to do next.

The library raises these and nothing else on purpose; the command line turns each class into an exit code.
"""

from collections.abc import Iterable


class MnistEdgeError(Exception):
    """Base of every error that this package raises on purpose. ``str(error)`` is one line, ready to show."""


class UsageError(MnistEdgeError):
    """The caller asked for something that does not exist or makes no sense."""


class UnknownNameError(UsageError):
    """A name that no registry or folder knows."""


class DataError(MnistEdgeError):
    """A data set is missing, incomplete or malformed."""


class PictureError(MnistEdgeError):
    """A picture cannot be read as a digit."""


class ModelError(MnistEdgeError):
    """A model's folder, its manifest or one of its files is missing, edited or damaged."""


class ExportError(MnistEdgeError):
    """A format could not write its artifact, or the artifact does not keep the contract."""


class ParityError(ExportError):
    """An artifact does not run, or does not answer as PyTorch does."""


class TrainingError(MnistEdgeError):
    """A training cannot start or go on."""


class MissingExtraError(MnistEdgeError):
    """Something needs a package that the edge installation leaves out."""


class PluginWarning(UserWarning):
    """A network or a format of another distribution could not be loaded; everything else works."""


def one_line(error: BaseException) -> str:
    """Return another program's error as one line with its kind, at most 300 characters."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """Return an error for `name` that lists the `known` names of this `kind` and proposes the nearest."""
    import difflib

    names = sorted(known)
    nearest = difflib.get_close_matches(name, names, n=1)
    hint = f" (did you mean {nearest[0]!r}?)" if nearest else ""
    return UnknownNameError(f"unknown {kind} {name!r}{hint}; known: {', '.join(names) or 'none'}")
