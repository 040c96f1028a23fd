"""Checks, before a training run starts, every name and place that its end needs."""

import os
from pathlib import Path

from mnist_edge.common.errors import TrainingError, UsageError
from mnist_edge.store.publishing import REPLACED, RUNS, check_target

#: Longest name of a model in bytes. Names are made from it: of an unfinished file, a model that was replaced, an artifact in a lower
#: precision, and a refused export, ``lenet-lenet.int8-dynamic.onnx-20261124-131500``; file systems allow 255 bytes, some 143.
LONGEST_NAME = 100


def check(models_dir: Path, name: str) -> None:
    """Find out whether a training run could be published at its end. Writes nothing. Raises UsageError for the name, TrainingError for a folder."""
    if not name.strip() or Path(name).name != name or name.startswith((".", "-")) or not name.isprintable():
        raise UsageError(f"{name!r} cannot be a model's name, because it becomes a folder's name; choose another with --name")
    length = len(os.fsencode(name))
    if length > LONGEST_NAME:
        raise UsageError(
            f"{name[:20]}…: a model's name has at most {LONGEST_NAME} bytes, and this one has {length}; choose a shorter one with --name"
        )
    target = models_dir / name
    check_target(target)
    for folder in (models_dir, models_dir / RUNS, models_dir / REPLACED, target):
        _check_folder(folder, models_dir)


def _check_folder(folder: Path, models_dir: Path) -> None:
    """Raise TrainingError for a path that is not a folder, cannot be written to, or is on another disk than the models folder."""
    if not os.path.lexists(folder):
        return
    if not folder.is_dir():
        raise TrainingError(f"{folder}: not a folder; move it away, or name another models folder with --models-dir")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise TrainingError(f"{folder}: cannot be written to; change that, or name another models folder with --models-dir")
    if folder.stat().st_dev != models_dir.stat().st_dev:  # folders change places by renaming, which works within a disk only
        raise TrainingError(f"{folder}: on another disk than {models_dir}; move it there, or name another models folder with --models-dir")
