"""Shows a training: a progress bar in a terminal, one line per epoch elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager

from mnist_edge.cli.common import Output
from mnist_edge.common.text import duration, percent
from mnist_edge.training.loop import Epoch, Listener


@contextmanager
def show_training(epochs: int, out: Output) -> Iterator[Listener]:
    """Give a listener that shows epoch, batch, loss, held-out accuracy and time left on standard error. It shows nothing with --quiet."""
    if not out.shows_progress:
        yield _Lines(epochs, out)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    with Progress(
        TextColumn("epoch {task.fields[epoch]}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]}"),
        TextColumn("held out {task.fields[accuracy]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=Console(stderr=True),
    ) as bar:
        yield _Bar(bar, epochs)


class _Lines(Listener):
    def __init__(self, epochs: int, out: Output) -> None:
        self.epochs, self.out = epochs, out

    def on_batch(self, epoch: int, batch: int, batches: int, loss: float) -> None:
        pass

    def on_epoch(self, epoch: Epoch) -> None:
        left = (self.epochs - epoch.epoch) * epoch.seconds
        self.out.say(
            f"epoch {epoch.epoch}/{self.epochs}  loss {epoch.loss:.4f}  accuracy {percent(epoch.accuracy)}  "
            f"held out {percent(epoch.validation_accuracy)}  {epoch.seconds:.1f} s, {duration(left)} left"
        )


class _Bar(Listener):
    def __init__(self, bar: object, epochs: int) -> None:
        from rich.progress import Progress

        assert isinstance(bar, Progress)
        self.bar, self.epochs = bar, epochs
        self.task = bar.add_task("", total=None, epoch=f"1/{epochs}", loss="–", accuracy="–")

    def on_batch(self, epoch: int, batch: int, batches: int, loss: float) -> None:
        done = (epoch - 1) * batches + batch
        self.bar.update(self.task, total=self.epochs * batches, completed=done, epoch=f"{epoch}/{self.epochs}", loss=f"{loss:.4f}")

    def on_epoch(self, epoch: Epoch) -> None:
        self.bar.update(self.task, accuracy=percent(epoch.validation_accuracy))
