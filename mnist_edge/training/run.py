"""A training from beginning to end: data, network, epochs with their checkpoints, test, and a model in the models folder."""

import io
import json
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from mnist_edge import dataset as datasets
from mnist_edge import store
from mnist_edge.architectures.deployed import torch_logits
from mnist_edge.architectures.own import told_as_its_own
from mnist_edge.common.errors import DataError, TrainingError, UsageError
from mnist_edge.common.files import folder_aside, unused, write_atomically
from mnist_edge.dataset import Dataset, drawn
from mnist_edge.proof.confidence import find_threshold
from mnist_edge.store import publishing
from mnist_edge.store.publishing import RUNS, run_lock
from mnist_edge.training import places
from mnist_edge.training.check import assemble, check_disk, check_network, check_trained
from mnist_edge.training.loop import Epoch, Images, Listener, Trainer
from mnist_edge.training.memory import keep_freed_memory
from mnist_edge.training.processes import ALONE, Processes
from mnist_edge.training.result import write_model
from mnist_edge.training.settings import Settings


@dataclass(frozen=True)
class Finished:
    """A finished training: the model, and where the model that it replaced is kept."""

    model: store.Model
    replaced: Path | None


class Run:
    """The folder of an unfinished training: its settings, and a checkpoint after every epoch.

    A user of it holds its lock: ``with Run(models_dir, name) as run``.
    """

    def __init__(self, models_dir: Path, name: str) -> None:
        places.check(models_dir, name)
        self.name, self.models_dir = name, models_dir
        self.folder = models_dir / RUNS / name
        self._settings, self._checkpoint = self.folder / "run.json", self.folder / "checkpoint.pt"
        self._lock: ExitStack | None = None

    def __enter__(self) -> Self:
        """Take the lock, and check that the models folder can be written to. Raises TrainingError if another program has it; OSError."""
        with ExitStack() as stack:
            stack.enter_context(_removed_if_unused(self.models_dir))
            if not stack.enter_context(run_lock(self.models_dir, self.name, patiently=True)):
                raise TrainingError(f"{self.name} is being trained by another program; wait for it, or choose another name with --name")
            with folder_aside(self.models_dir, self.name):  # the folders that the end will need
                pass
            self._lock = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def demand_lock(self) -> None:
        """Raise TrainingError unless the lock is held."""
        if self._lock is None:
            raise TrainingError(f"the run of {self.name} is used without its lock; write: with Run(…) as run")

    @property
    def has_checkpoint(self) -> bool:
        """True once an epoch is finished."""
        return self._checkpoint.exists()

    def read_settings(self) -> Settings | None:
        """Return the settings of the unfinished run, None if there is none. Raises TrainingError if they are damaged."""
        self.demand_lock()
        try:
            return Settings.from_json(json.loads(self._settings.read_bytes()))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise TrainingError(f"{self._settings}: damaged ({error}); start over without --resume") from error

    def start(self, settings: Settings) -> Path | None:
        """Start over. An unfinished run of the same name is moved aside; its new place is returned."""
        self.demand_lock()
        try:
            text = json.dumps(settings.to_json(), indent=1, allow_nan=False)
        except (TypeError, ValueError) as error:  # else the manifest could not be written at the end
            raise UsageError(f"these settings cannot be kept: {error}; look at the network's arguments ({settings.arguments})") from error
        kept = None
        if self.folder.exists():
            kept = unused(self.folder.with_name(f".{self.name}-{time.strftime('%Y%m%d-%H%M%S')}"))
            os.rename(self.folder, kept)
        self.folder.mkdir()
        write_atomically(self._settings, text.encode())
        return kept

    def save(self, trainer: Trainer, history: list[Epoch]) -> None:
        """Write a checkpoint in one step."""
        buffer = io.BytesIO()  # torch.save itself turns a full disk into a RuntimeError
        torch.save({"trainer": trainer.state(), "history": [epoch.to_json() for epoch in history]}, buffer)
        write_atomically(self._checkpoint, buffer.getvalue())

    def load(self, trainer: Trainer) -> list[Epoch]:
        """Restore the last checkpoint into `trainer` and return the history; empty if no epoch was finished."""
        if not self.has_checkpoint:
            return []
        try:
            state = torch.load(self._checkpoint, map_location="cpu", weights_only=True)
            trainer.restore(state["trainer"])
            return [Epoch(**epoch) for epoch in state["history"]]
        except Exception as error:  # a damaged file makes torch's reader raise nearly anything
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise TrainingError(f"{self._checkpoint}: cannot be resumed from ({reason}); start over without --resume") from error

    def remove(self) -> None:
        """Remove the run's folder."""
        import shutil

        self.demand_lock()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def _removed_if_unused(folder: Path) -> Iterator[None]:
    """Remove the models folder again if it was made needlessly."""
    was_there = folder.exists()
    try:
        yield
    finally:
        if not was_there:
            with suppress(OSError):  # it holds something
                folder.rmdir()


def train(run: Run, settings: Settings, data: Dataset, test: Dataset, listener: Listener, processes: Processes = ALONE) -> Finished:
    """Train `run`, or continue it, while its lock is held. Test once at the end. Publish the model in one step.

    This is the first of the `processes`; the others call `train_along`.

    The network is tried before the first epoch and before it is published (`check`). The checkpoint of every finished epoch stays
    until the model is in its place. Raises UsageError for a network that cannot be trained, TrainingError, DataError, OSError.
    """
    run.demand_lock()
    torch.set_num_threads(settings.threads)
    keep_freed_memory()
    try:
        trainer = trainer_for(settings, data, processes, run.models_dir)
    except Exception:
        if not run.has_checkpoint:  # this network cannot be trained, so there is nothing to continue
            run.remove()
        raise
    history = run.load(trainer)
    processes.from_first(trainer.state())
    started = time.time()
    before = sum(epoch.seconds for epoch in history)
    for epoch in trainer.epochs(listener):
        history.append(epoch)
        run.save(trainer, history)
        listener.on_epoch(epoch)
    seconds = round(before + time.time() - started, 1)
    deployed = trainer.deployed.to("cpu").to(memory_format=torch.contiguous_format).eval()
    with told_as_its_own(settings.architecture, TrainingError, advice=f"the trained network is kept in {run.folder}"):
        logits = torch_logits(deployed, test.images)
    if not np.isfinite(logits).all():
        raise TrainingError(f"{run.name} answers NaN or infinity to test images; try a lower --lr than {settings.recipe.lr:g}")
    try:
        check_trained(settings, deployed, test.images, logits)
    except TrainingError as error:
        raise TrainingError(f"{error}; the trained network is kept in {run.folder}") from error
    held_out = datasets.split_validation(data, settings.held_out)[1]
    threshold = find_threshold(torch_logits(deployed, data.images[held_out]), data.labels[held_out])
    with folder_aside(run.models_dir, run.name) as aside:
        write_model(aside, run.name, settings, deployed, history, seconds, len(held_out), threshold, test, logits)
        made = store.Model.read(aside).manifest  # another may take its place by the time it is published
        place = run.models_dir / run.name
        replaced = publishing.publish_model(aside, place)
    run.remove()
    return Finished(store.Model(place, made, f"folder {place}"), replaced)


class _Nobody(Listener):
    """Hears nothing."""

    def on_batch(self, epoch: int, batch: int, batches: int, loss: float) -> None:
        """Do nothing."""

    def on_epoch(self, epoch: Epoch) -> None:
        """Do nothing."""


def train_along(settings: Settings, data: Dataset, processes: Processes) -> None:
    """Train with the first process, as another one: nothing is written or published here.

    Raises UsageError for a network that cannot be trained, TrainingError, DataError.
    """
    if datasets.describe(data) != settings.data:
        raise DataError(
            f"the data set here ({len(data):,} images, SHA-256 {data.sha256[:12]}…) is not that of the first process; copy that one"
        )
    torch.set_num_threads(settings.threads)
    keep_freed_memory()
    trainer = trainer_for(settings, data, processes)
    trainer.restore(processes.from_first())
    for _ in trainer.epochs(_Nobody()):
        pass


def trainer_for(settings: Settings, data: Dataset, processes: Processes, models_dir: Path | None = None) -> Trainer:
    """Return a new network in training, with the images that are trained on and those that are held out.

    Raises UsageError for a network or data that cannot be trained; TrainingError if `models_dir` is on a full disk.
    """
    kept, held_out = datasets.split_validation(data, settings.held_out)
    if not len(held_out):
        raise UsageError(f"{len(data)} training images are too few: every 12th is held out for validation")
    extra = round(settings.recipe.drawn * len(kept))
    images = len(kept) + extra
    size = check_network(settings, data.images[kept], images)
    if models_dir is not None:
        check_disk(models_dir, size)

    torch.manual_seed(settings.seed)
    deployed = assemble(settings)
    training, validation = data.images[kept], data.images[held_out]
    labels = data.labels[kept]
    if extra > 0:
        more = drawn.draw("train", extra, hands=settings.recipe.hands)
        training, labels = np.concatenate([training, more.images]), np.concatenate([labels, more.labels])

    def on_device(pixels: np.ndarray[Any, np.dtype[np.uint8]], labels: np.ndarray[Any, np.dtype[np.uint8]]) -> Images:
        return Images(torch.from_numpy(pixels).to(settings.device), torch.from_numpy(labels.astype(np.int64)).to(settings.device))

    return Trainer(
        settings.architecture,
        deployed,
        settings.recipe,
        settings.seed,
        on_device(training, labels),
        on_device(validation, data.labels[held_out]),
        processes,
    )
