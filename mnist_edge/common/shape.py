"""JSON from outside: does it have the shape that the program expects?

A shape is a type (`float` takes whole numbers, too, and nothing that is not finite; `int` takes no negative ones; `object` takes anything);
`FILE_NAME`; a dict of shapes by key, where ``?key`` may be left out; ``{str: shape}`` for any keys; a list of one shape; or a tuple of shapes to choose from.
"""

from pathlib import Path
from typing import Any, NamedTuple

#: The shape of a file's name that leads nowhere else.
FILE_NAME = object()


#: Numbers beyond this are no figures of anything, and infinite as soon as they are multiplied.
_LARGEST = 1e300


class Closed(NamedTuple):
    """A dict of shapes that admits no other keys."""

    keys: dict[str, Any]


def mismatch(value: Any, shape: Any, where: str = "") -> str:
    """Return what is wrong with a JSON value, in words that name the place; nothing where it has the shape."""
    if isinstance(shape, Closed):
        return _extra(value, shape.keys, where) or mismatch(value, shape.keys, where)
    if isinstance(shape, tuple):
        found = [mismatch(value, one, where) for one in shape]
        return "" if "" in found else found[0]
    if isinstance(shape, list):
        if not isinstance(value, list):
            return _wrong(value, where, "a list")
        return next((wrong for i, item in enumerate(value) if (wrong := mismatch(item, shape[0], f"{where}[{i}]"))), "")
    if isinstance(shape, dict):
        return _mismatch_of_dict(value, shape, where)
    if shape is None:
        return "" if value is None else _wrong(value, where, "null")
    if shape is float:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= _LARGEST
        return "" if is_number else _wrong(value, where, "a number")
    if shape is FILE_NAME:
        return "" if _is_file_name(value) else _wrong(value, where, "the name of a file in this folder")
    if shape is int:
        is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 0
        return "" if is_count else _wrong(value, where, "a count")
    return "" if isinstance(value, shape) else _wrong(value, where, {str: "text", dict: "an object"}.get(shape, shape.__name__))


def _is_file_name(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable() and value not in ("", "..") and Path(value).name == value


def _mismatch_of_dict(value: Any, shape: dict[Any, Any], where: str) -> str:
    if not isinstance(value, dict):
        return _wrong(value, where, "an object")
    place = f"{where}." if where else ""
    if str in shape:
        return next((wrong for key, item in value.items() if (wrong := mismatch(item, shape[str], f"{place}{key}"))), "")
    for name, inner in shape.items():
        key = name.removeprefix("?")
        if key not in value:
            if key == name:
                return f"{place}{key} is missing"
        elif wrong := mismatch(value[key], inner, f"{place}{key}"):
            return wrong
    return ""


def _extra(value: Any, keys: dict[str, Any], where: str) -> str:
    if not isinstance(value, dict):
        return ""
    known = {name.removeprefix("?") for name in keys}
    for key in value:
        if key not in known:
            return f"{where}.{key} is unknown" if where else f"{key} is unknown"
    return ""


def _wrong(value: Any, where: str, wanted: str) -> str:
    return f"{where or 'the content'} is {_short(value)}, not {wanted}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}…"
