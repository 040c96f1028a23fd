"""Figures in words, the same ones everywhere."""

from collections.abc import Mapping


def percent(share: float | None, digits: int = 2) -> str:
    """Return 0.9912 as ``99.12 %``, None as a dash."""
    return "–" if share is None else f"{100 * share:.{digits}f} %"


def size(count: int) -> str:
    """Return a file's size in kB or MB (powers of ten)."""
    return f"{count / 1000:.0f} kB" if count < 999_500 else f"{count / 1e6:.1f} MB"


def count(number: int, what: str, many: str = "") -> str:
    """Return ``1 epoch`` or ``1,200 epochs``; `many` is a plural that does not end in s alone, such as ``processes``."""
    return f"{number:,} {what if number == 1 else many or f'{what}s'}"


def measured(figures: Mapping[str, int]) -> str:
    """Return what a network takes on a chip, in words, such as ``65,980 bytes of flash, 2,376 of RAM, 861,123 instructions an image``.

    `figures` are those of `mnist_edge.common.logits.Run`; empty text where there are none.
    """
    spoken = {"flash_bytes": "bytes of flash", "ram_bytes": "bytes of RAM", "instructions": "instructions an image"}
    return ", ".join(f"{figures[name]:,} {words}" for name, words in spoken.items() if name in figures)


def data_name(name: str) -> str:
    """Return what to call a data set in a sentence: ``MNIST``, ``drawn digits``, or a folder's name."""
    return {"mnist": "MNIST", "drawn": "drawn digits"}.get(name, name.removeprefix("folder:"))


def points(share: float) -> str:
    """Return a change, such as 0.0123, in percentage points with its sign: ``+1.23``; what rounds to nothing has none: ``0.00``."""
    text = f"{100 * share:+.2f}"
    return text if float(text) else "0.00"


def duration(seconds: float) -> str:
    """Return how long something took or will take, in the unit that a person would take: ``45 s``, ``12 min``, ``2.0 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def age(seconds: float) -> str:
    """Return how long ago something was, in the unit that a person would take: ``12 minutes``, ``3 days``."""
    for unit, length in (("day", 24 * 3600), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            return count(int(seconds // length), unit)
    return count(int(seconds), "second")


def low_confidence(threshold: float) -> str:
    """Return the warning at an answer whose probability is below a model's threshold."""
    return f"low confidence: this model is reliable at {percent(threshold)} or more"
