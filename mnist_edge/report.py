"""Pictures of a training (needs matplotlib)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

_TRAINING, _VALIDATION = "#0072b2", "#d55e00"  # told apart with any colour vision (Okabe and Ito, 2008)


def draw_curves(history: Sequence[dict[str, Any]], title: str, path: Path) -> None:
    """Draw loss and accuracy by epoch as a PNG; `history` holds the fields of `training.loop.Epoch`. Raises OSError."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    epochs = [row["epoch"] for row in history]
    with matplotlib.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(9, 3.4), dpi=120, layout="constrained")
        loss, accuracy = figure.subplots(1, 2)
        loss.plot(epochs, [row["loss"] for row in history], color=_TRAINING, marker=".", label="training")
        loss.plot(epochs, [row["validation_loss"] for row in history], color=_VALIDATION, marker=".", label="held out")
        loss.set(title="loss", xlabel="epoch", yscale="log")
        accuracy.plot(epochs, [100 * row["accuracy"] for row in history], color=_TRAINING, marker=".", label="training")
        accuracy.plot(epochs, [100 * row["validation_accuracy"] for row in history], color=_VALIDATION, marker=".", label="held out")
        best = history[-1]["validation_accuracy"]
        accuracy.set(title=f"accuracy, % (held out at the end: {100 * best:.2f})", xlabel="epoch")
        for axes in (loss, accuracy):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.grid(alpha=0.25)
            axes.legend(frameon=False)
        figure.suptitle(title)
        figure.savefig(path, metadata={"Software": None})
