"""Train a digit classifier in PyTorch, export it, prove the export, and run it without PyTorch.

Importing this package loads nothing but itself; ``Predictor`` and ``Prediction`` come in when they are first used.
"""

from mnist_edge.common.version import __version__

TYPE_CHECKING = False  # typing takes 10 ms and more, in which Ctrl-C would be a traceback
if TYPE_CHECKING:
    from typing import Any

    from mnist_edge.predictor import Prediction, Predictor

__all__ = ["Prediction", "Predictor", "__version__"]


def __getattr__(name: str) -> "Any":
    if name in ("Prediction", "Predictor"):
        from mnist_edge import predictor

        return getattr(predictor, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
