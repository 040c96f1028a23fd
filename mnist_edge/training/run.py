"""A training from beginning to end: data, network, epochs with their checkpoints, test, and a model in the models folder."""

import io
import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mnist_edge import dataset as datasets
from mnist_edge import publishing, store
from mnist_edge.architectures import build
from mnist_edge.confidence import find_threshold
from mnist_edge.dataset import Dataset
from mnist_edge.errors import TrainingError, UsageError, one_line
from mnist_edge.files import folder_aside, locked, write_atomically
from mnist_edge.manifest import FILE_NAME
from mnist_edge.training.deploy import Deployed
from mnist_edge.training.loop import Epoch, Images, Listener, Trainer
from mnist_edge.training.memory import keep_freed_memory
from mnist_edge.training.result import torch_logits, weights_of, write_model
from mnist_edge.training.settings import Settings

#: Unfinished runs lie in this folder of the models folder, each in its model's name.
RUNS = ".runs"


@dataclass(frozen=True)
class Finished:
    """A finished training: the model, and where the model that it replaced is kept."""

    model: store.Model
    replaced: Path | None


class Run:
    """The folder of an unfinished training: its settings, and a checkpoint after every epoch."""

    def __init__(self, models_dir: Path, name: str) -> None:
        if not name or Path(name).name != name or name.startswith(".") or not name.isprintable():
            raise UsageError(f"{name!r} is no name for a model: it becomes a folder's name; choose one with --name")
        self.name, self.models_dir = name, models_dir
        self.folder = models_dir / RUNS / name
        target = models_dir / name
        if target.exists() and not (target / FILE_NAME).is_file():
            raise UsageError(f"{target}: there, but not a model; move it away, or give the model another name with --name")
        self._settings, self._checkpoint = self.folder / "run.json", self.folder / "checkpoint.pt"

    def read_settings(self) -> Settings | None:
        """Return the settings of the unfinished run, None if there is none. Raises TrainingError if they are damaged."""
        try:
            return Settings.from_json(json.loads(self._settings.read_bytes()))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise TrainingError(f"{self._settings}: damaged ({error}); start over without --resume") from error

    def start(self, settings: Settings) -> Path | None:
        """Begin anew. An unfinished run of the same name is moved aside; its new place is returned."""
        kept = None
        if self.folder.exists():
            with locked(self.folder) as free:
                if not free:
                    raise TrainingError(f"{self.name} is being trained by another program; wait for it, or choose another name with --name")
            kept = self.folder.with_name(f".{self.name}-{time.strftime('%Y%m%d-%H%M%S')}")
            while kept.exists():
                kept = kept.with_name(kept.name + "-")
            os.rename(self.folder, kept)
        self.folder.mkdir(parents=True)
        write_atomically(self._settings, json.dumps(settings.to_json(), indent=1).encode())
        return kept

    def save(self, trainer: Trainer, history: list[Epoch]) -> None:
        """Write a checkpoint in one step."""
        buffer = io.BytesIO()  # torch.save itself turns a full disk into a RuntimeError
        torch.save({"trainer": trainer.state(), "history": [epoch.to_json() for epoch in history]}, buffer)
        write_atomically(self._checkpoint, buffer.getvalue())

    def load(self, trainer: Trainer) -> list[Epoch]:
        """Restore the last checkpoint into `trainer` and return the history; empty if no epoch was finished."""
        if not self._checkpoint.exists():
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

        shutil.rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):  # others may lie beside it
            self.folder.parent.rmdir()


def train(run: Run, settings: Settings, data: Dataset, test: Dataset, listener: Listener) -> Finished:
    """Train, or go on with, `run`; test once at the end; publish the model in one step.

    The checkpoint of every finished epoch stays until the model is in its place. Raises TrainingError, DataError, OSError.
    """
    with locked(run.folder) as free:
        if not free:
            raise TrainingError(f"{run.name} is being trained by another program; wait for it, or choose another name with --name")
        return _train(run, settings, data, test, listener)


def _train(run: Run, settings: Settings, data: Dataset, test: Dataset, listener: Listener) -> Finished:
    torch.set_num_threads(settings.threads)
    keep_freed_memory()
    trainer = _trainer(settings, data)
    history = run.load(trainer)
    started = time.time()
    before = sum(epoch.seconds for epoch in history)
    for epoch in trainer.epochs(listener):
        history.append(epoch)
        run.save(trainer, history)
        listener.on_epoch(epoch)
    seconds = round(before + time.time() - started, 1)
    deployed = trainer.deployed.to("cpu").to(memory_format=torch.contiguous_format).eval()
    logits = torch_logits(deployed, test.images)
    if not np.isfinite(logits).all():
        raise TrainingError(f"{run.name} answers NaN or infinity to test images; try a lower --lr than {settings.recipe.lr:g}")
    held_out = datasets.split_validation(data)[1]
    threshold = find_threshold(torch_logits(deployed, data.images[held_out]), data.labels[held_out])
    with folder_aside(run.models_dir, run.name) as aside:
        write_model(aside, run.name, settings, deployed, history, seconds, threshold, test, logits)
        replaced = publishing.publish_model(aside, run.models_dir / run.name)
    run.remove()
    return Finished(store.Model.read(run.models_dir / run.name), replaced)


def _trainer(settings: Settings, data: Dataset) -> Trainer:
    torch.manual_seed(settings.seed)
    network = build(settings.architecture, settings.arguments)
    deployed = Deployed(network, settings.recipe.mean, settings.recipe.std).to(settings.device)
    if settings.recipe.precision == "bfloat16":
        deployed = deployed.to(memory_format=torch.channels_last)  # in which bfloat16 convolutions are fastest, a third and more
    _check_contract(deployed, settings)
    kept, held_out = datasets.split_validation(data)
    if not len(held_out):
        raise UsageError(f"{len(data)} training images are too few: every {datasets.VALIDATION_EVERY}th is held out for validation")

    training, validation = data.images[kept], data.images[held_out]
    labels = data.labels[kept]
    if (extra := round(settings.recipe.drawn * len(kept))) > 0:
        drawn = datasets.load(datasets.DRAWN, "train", count=extra)
        training, labels = np.concatenate([training, drawn.images]), np.concatenate([labels, drawn.labels])

    def on_device(pixels: np.ndarray[Any, np.dtype[np.uint8]], labels: np.ndarray[Any, np.dtype[np.uint8]]) -> Images:
        return Images(torch.from_numpy(pixels).to(settings.device), torch.from_numpy(labels.astype(np.int64)).to(settings.device))

    return Trainer(deployed, settings.recipe, settings.seed, on_device(training, labels), on_device(validation, data.labels[held_out]))


def _check_contract(deployed: Deployed, settings: Settings) -> None:
    """Find out before the first epoch whether a network of the user's own takes N×1×28×28 and gives N×10."""
    try:
        with torch.no_grad():
            logits = deployed.eval()(torch.zeros(2, 1, 28, 28, dtype=torch.uint8, device=settings.device))
    except Exception as error:  # the user's own network, which may raise anything
        raise UsageError(f"network {settings.architecture} does not take float32 N×1×28×28: {one_line(error)}") from error
    if not isinstance(logits, torch.Tensor) or logits.shape != (2, 10):
        what = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise UsageError(f"network {settings.architecture} answers two images with {what}; logits are float32 N×10")
    try:
        weights_of(deployed.network)
    except (RuntimeError, ValueError) as error:  # weights that share memory, which safetensors refuses
        raise UsageError(f"network {settings.architecture}: its weights cannot be saved: {one_line(error)}") from error
