"""Publishing: a model or an artifact takes its place in one step, and what it replaces is not lost."""

import io
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.errors import UsageError
from mnist_edge.files import flush, folder_aside, sha256_file, write_atomically
from mnist_edge.manifest import FILE_NAME, Artifact, FileRecord, Manifest, Reference
from mnist_edge.store import Model, models_dir

#: Models that a training replaced are kept in this folder of the models folder.
REPLACED = ".replaced"


def publish_model(aside: Path, target: Path) -> Path | None:
    """Put a finished model's folder in its place, and return where the model that was there is kept.

    On Linux the two folders change places in one step; elsewhere there is a moment between two renames, and the old
    folder comes back if the second fails. Raises OSError; then the old model is where it was.
    """
    if not target.exists():
        os.rename(aside, target)
        flush(target.parent)
        return None
    if not (target / FILE_NAME).is_file():
        raise UsageError(f"{target}: there, but not a model; move it away, or give the model another name with --name")
    kept = target.parent / REPLACED / f"{target.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    while kept.exists():
        kept = kept.with_name(kept.name + "-")
    kept.parent.mkdir(exist_ok=True)
    if _exchange(aside, target):
        os.rename(aside, kept)
    else:
        os.rename(target, kept)
        try:
            os.rename(aside, target)
        except OSError:
            os.rename(kept, target)
            raise
    flush(target.parent)
    return kept


def publish_artifact(model: Model, aside: Path, artifact: Artifact) -> Model:
    """Put a proven artifact into the model's folder and its record into the manifest. Raises OSError.

    An artifact of the same name stays valid until the new one has its place: the manifest lists both while the file changes.
    """
    with _locked(model.folder):
        manifest = Manifest.read(model.folder)
        target = model.folder / artifact.file
        done = manifest.with_artifact(artifact)
        if target.exists():
            current = Model(model.folder, manifest).artifacts
            both = replace(manifest, artifacts=(*current, artifact))
            both.write(model.folder)
        flush(aside)
        os.replace(aside, target)
        flush(model.folder)
        done.write(model.folder)
    return Model.read(model.folder, model.chosen)


def update_manifest(model: Model, manifest: Manifest) -> Model:
    """Replace a model's manifest. Raises OSError."""
    with _locked(model.folder):
        manifest.write(model.folder)
    return Model.read(model.folder, model.chosen)


def writable(model: Model, folder: Path | None = None) -> Model:
    """Return `model`, or for the installed reference a copy of it in the models folder. Raises OSError."""
    if not model.is_installed_reference:
        return model
    target = models_dir(folder) / model.name
    with folder_aside(models_dir(folder), model.name) as aside:
        for record in (*model.artifacts, *model.manifest.references, model.manifest.weights, model.manifest.history):
            shutil.copyfile(model.path(record), aside / record.file)
        model.manifest.write(aside)
        publish_model(aside, target)
    return Model.read(target, f"the installed reference, copied to {target}")


def write_reference(folder: Path, logits: NDArray[np.float32], data: dict[str, Any]) -> Reference:
    """Write PyTorch's answers, float32 N×10, to a data set into a model's folder, and return their record. Raises OSError.

    The file is named for the data's hash: older answers stay valid until the manifest names the new ones.
    """
    buffer = io.BytesIO()
    np.save(buffer, logits)
    path = folder / f"reference-{data['sha256'][:8]}.npy"
    write_atomically(path, buffer.getvalue())
    return Reference(**asdict(record_of(path)), data=data)


def record_of(path: Path) -> FileRecord:
    """Return the record of a file as it is now. Raises OSError."""
    return FileRecord(path.name, sha256_file(path), path.stat().st_size)


def _exchange(a: Path, b: Path) -> bool:
    """Let two folders change places in one step; False where the system cannot (renameat2(2), Linux 3.15)."""
    import ctypes
    import sys

    if not sys.platform.startswith("linux"):
        return False
    at_fdcwd, rename_exchange = -100, 2
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    return bool(renameat2(at_fdcwd, os.fsencode(a), at_fdcwd, os.fsencode(b), rename_exchange) == 0)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one program at a time change a manifest; the system gives the lock back when a program dies."""
    try:
        import fcntl
    except ImportError:  # Windows: the last writer wins
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
