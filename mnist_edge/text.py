"""Figures in words, the same ones everywhere."""


def percent(share: float | None, digits: int = 2) -> str:
    """Return 0.9912 as ``99.12 %``, None as a dash."""
    return "–" if share is None else f"{100 * share:.{digits}f} %"


def size(count: int) -> str:
    """Return a file's size in kB or MB (powers of ten)."""
    return f"{count / 1000:.0f} kB" if count < 999_500 else f"{count / 1e6:.1f} MB"


def count(number: int, what: str) -> str:
    """Return ``1 epoch`` or ``1,200 epochs``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def data_name(name: str) -> str:
    """Return what to call a data set in a sentence: ``MNIST``, ``drawn digits``, or a folder's name."""
    return {"mnist": "MNIST", "drawn": "drawn digits"}.get(name, name.removeprefix("folder:"))
