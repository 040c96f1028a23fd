"""The options that a format or a runtime declares as data: the command line makes its own options from them."""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from mnist_edge.common.errors import UsageError, among, unknown_name


class Option(NamedTuple):
    """One option.

    Attributes:
        name: a Python name; ``calibration_method`` becomes ``--calibration-method``.
        help: what it does, in a sentence.
        type: `str`, `int`, `float` or `bool`.
        choices: the values that it takes; empty for any.
        default: the value if the option is not given, in words, for the help.
        multiple: True if it may be given several times; its value is then a list.
        metavar: the placeholder for the value in the help.
    """

    name: str
    help: str
    type: type = str
    choices: tuple[str, ...] = ()
    default: str = ""
    multiple: bool = False
    metavar: str = ""

    @property
    def flag(self) -> str:
        """The option as it is typed on the command line."""
        return f"--{self.name.replace('_', '-')}"

    def check(self, value: object) -> None:
        """Raise UsageError for a value of another type, or one that is no choice."""
        for one in value if self.multiple and isinstance(value, (list, tuple)) else [value]:
            if not isinstance(one, self.type) or (self.type is not bool and isinstance(one, bool)):
                raise UsageError(f"{self.flag} takes {_TYPES.get(self.type, self.type.__name__)}, not {one!r}")
            if isinstance(one, float) and not math.isfinite(one):
                raise UsageError(f"{self.flag} {one}: not a finite number")
            if self.choices and one not in self.choices:
                raise UsageError(f"{self.flag} {one}: no such choice{among(str(one), self.choices)}")


#: Names of formats and runtimes, as they are typed.
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")

_TYPES = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def check_options(what: str, declared: Iterable[Option], given: Mapping[str, Any]) -> None:
    """Raise UsageError unless each option that was given is declared by `what`, such as ``format onnx``, and has a value that fits."""
    known = {option.name: option for option in declared}
    for name, value in given.items():
        if name not in known:
            raise unknown_name(f"option of {what}", name, known)
        known[name].check(value)


def check_declared(what: str, name: object, options: object) -> None:
    """Raise UsageError unless `name`, of a format or runtime, can be typed, and its `options` can be made into those of a command."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise UsageError(f"{what}: its name must consist of lowercase letters, digits, dots, hyphens and underscores")
    if not isinstance(options, (tuple, list)) or not all(isinstance(option, Option) for option in options):
        raise UsageError(f"{what}: its options must be a tuple of Option")
    seen: set[str] = set()
    for option in options:
        if not (isinstance(option.name, str) and re.fullmatch(r"[a-z][a-z0-9_]*", option.name)) or keyword.iskeyword(option.name):
            raise UsageError(f"{what}: the name of option {option.name!r} must be a lowercase Python identifier")
        if option.type not in _TYPES:
            raise UsageError(
                f"{what}: option {option.name!r} has type {option.type!r}, but must have one of {', '.join(one.__name__ for one in _TYPES)}"
            )
        if option.name in seen:
            raise UsageError(f"{what}: option {option.name!r} is declared twice")
        seen.add(option.name)
