"""Puts a model or an artifact in its place in one step, and loses nothing that it replaces."""

import io
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.common.errors import ModelError, ParityError, UsageError, printable
from mnist_edge.common.files import flush, folder_aside, sha256_file, unused, write_atomically
from mnist_edge.common.locks import lock_file, locked, locked_itself
from mnist_edge.common.trees import exchange, flush_tree, read_tree, take_place
from mnist_edge.store import Model, models_dir
from mnist_edge.store.manifest import FILE_NAME, Artifact, FileRecord, Manifest, Reference
from mnist_edge.store.proofs import is_weaker, merged

#: Folders of a models folder: models that others replaced; exports that were refused; unfinished runs, each in its model's name, where
#: one that was set aside is ``.NAME-DATE``.
REPLACED, FAILED, RUNS = ".replaced", ".failed", ".runs"


def publish_model(aside: Path, target: Path) -> Path | None:
    """Put a newly trained model's folder in its place, and return where the model that was there is kept.

    Raises UsageError for what is in the way and is no model's folder, OSError; then what was there is where it was.
    """
    for file in aside.iterdir():
        flush(file)
    flush(aside)
    with locked(target.parent, wait=True):
        check_target(target)
        return _place(aside, target)


def check_target(target: Path) -> None:
    """Raise UsageError if no model can be put there, because a link or something other than a model is in the way."""
    if target.is_symlink():
        raise UsageError(
            f"{target}: a symbolic link to {printable(target.readlink())}, which a new model would replace; remove it, "
            "or give the model another name with --name"
        )
    if target.exists() and not (target / FILE_NAME).is_file():
        raise UsageError(f"{target}: exists, but is not a model; move it away, or give the model another name with --name")


def _place(aside: Path, target: Path) -> Path | None:
    """Put a folder where a model is to be, and return where the model that was there is kept; the caller holds the lock.

    The new folder first takes the old one's place to be under ``.replaced``; then, on Linux, the two change places in one
    step, so that neither is ever anywhere else. Elsewhere there is a moment between two renames.
    """
    if not target.exists():
        os.rename(aside, target)
        flush(target.parent)
        return None
    kept = unused(target.parent / REPLACED / f"{target.name}-{time.strftime('%Y%m%d-%H%M%S')}")
    kept.parent.mkdir(exist_ok=True)
    os.rename(aside, kept)
    if not exchange(kept, target):
        parked = unused(kept.with_name(kept.name + ".old"))
        os.rename(target, parked)
        try:
            os.rename(kept, target)
        except OSError:
            os.rename(parked, target)
            raise
        os.rename(parked, kept)
    flush(kept.parent)
    flush(target.parent)
    return kept


def change_manifest(model: Model, change: Callable[[Manifest], Manifest]) -> Model:
    """Change the manifest as it is now, whatever else was published meanwhile; files that `change` writes are written under the lock.

    Raises ModelError if the model was trained again in the meantime, OSError.
    """
    with locked(model.home, wait=True):
        changed = change(current(model))
        changed.write(model.folder)
    return replace(model, manifest=changed)


def publish_artifact(
    model: Model,
    aside: Path,
    artifact: Artifact,
    change: Callable[[Manifest], Manifest] = lambda manifest: manifest,
    force: bool = False,
) -> tuple[Model, Artifact]:
    """Put a proven artifact into the model's folder and its record into the manifest, with what else is to `change` there.

    An artifact of the same name stays valid until the new one has its place: the manifest lists both while the file changes.
    Returns the model as it is then, and the record that was kept, which has the stronger proof where the bytes are those that were there.

    Raises ModelError if the model was trained again in the meantime, because the proof is of the old weights; ParityError if the
    artifact that is there has a stronger proof, unless `force`; UsageError for a folder in its place that is no artifact; OSError.
    """
    with locked(model.home, wait=True):
        manifest = current(model)
        target = model.folder / artifact.file
        now = Model(model.folder, manifest)
        known = next((one for one in now.artifacts if one.file == artifact.file), None)
        # what takes a folder's place removes all that is in it; the same folder is one whose publishing was cut off
        if known is None and target.is_dir() and not target.is_symlink() and not _is_there(target, artifact):
            raise UsageError(f"{target}: a folder that is not an artifact of this model, and this export would remove it; move it away")
        artifact = _keep_stronger(now, known, artifact, force)
        done = change(manifest).with_artifact(artifact)
        flush_tree(aside)
        if os.path.lexists(target):
            replace(manifest, artifacts=(*now.artifacts, artifact)).write(model.folder)
        take_place(aside, target)
        flush(model.folder)
        done.write(model.folder)
    return replace(model, manifest=done), artifact


def _keep_stronger(model: Model, known: Artifact | None, new: Artifact, force: bool) -> Artifact:
    """Return the record to keep where `new` takes the place of `known`.

    For the same bytes it has the proofs of both. Raises ParityError where other bytes with a weaker proof would replace an artifact that is
    there and sound, unless `force`.
    """
    if known is not None and (new.sha256, new.members) == (known.sha256, known.members):
        proofs = known.proofs
        for proof in new.proofs:
            proofs = merged(proofs, proof)
        return replace(new, proofs=proofs)
    if known is None or force or not is_weaker(new.proof, known.proof) or not _is_sound(model, known):
        return new
    raise ParityError(
        f"{model.folder / known.file}: not replaced, because its proof, {known.proof.describe()}, is stronger than this one, {new.proof.describe()}; "
        "make a proof that is at least as strong, or add --force"
    )


def _is_there(target: Path, artifact: Artifact) -> bool:
    """Say whether a folder holds exactly the members of an artifact."""
    try:
        tree = read_tree(target)
    except (ModelError, OSError):
        return False
    return (tree.sha256, tree.members) == (artifact.sha256, artifact.members)


def _is_sound(model: Model, artifact: Artifact) -> bool:
    try:
        return bool(model.path(artifact))
    except ModelError:
        return False


def current(model: Model) -> Manifest:
    """Return a model's manifest as it is now. Raises ModelError if the model is another by now; hold the lock while that matters."""
    manifest = Manifest.read(model.folder)
    if manifest.weights.sha256 != model.manifest.weights.sha256:
        raise ModelError(
            f"{model.folder}: trained again in the meantime, so this result is for a model that is no longer there; run the command again"
        )
    return manifest


#: The file with golden inputs, in a model's folder.
GOLDEN = "golden.npz"

#: A training asks for its run's lock so often, with so many seconds between: whoever lists the runs takes each lock for a moment.
PATIENCE = (10, 0.01)


@contextmanager
def run_lock(models_dir: Path, name: str, patiently: bool = False) -> Iterator[bool]:
    """Take the lock of a model's training run, so that no other training begins or goes on with it; gives False while one does. Raises OSError."""
    times, pause = PATIENCE if patiently else (1, 0.0)
    with ExitStack() as stack:
        for attempt in range(times):
            time.sleep(pause if attempt else 0.0)
            if free := stack.enter_context(lock_file(models_dir / RUNS / f".{name}.lock")):
                break
        if free and (models_dir / RUNS / name).is_dir():
            free = stack.enter_context(locked_itself(models_dir / RUNS / name)) is not False  # which version 0.1 holds
        yield free


def writable(model: Model, folder: Path | None = None) -> Model:
    """Return `model`, or for the installed reference its copy in the models folder, which is made if it is not there.

    Raises UsageError where a model of the user's own has its name there, OSError.
    """
    check_writable(model, folder)
    if not model.is_installed_reference or _is_target(model, folder):
        return model
    target = models_dir(folder) / model.name
    with folder_aside(models_dir(folder), model.name) as aside:
        for record in (*model.artifacts, *model.manifest.references, model.manifest.weights, model.manifest.history, *_golden(model)):
            copy = shutil.copytree if isinstance(record, Artifact) and record.members else shutil.copyfile
            copy(model.path(record), aside / record.file)
            flush_tree(aside / record.file)
        model.manifest.write(aside)
        with locked(target.parent, wait=True):
            check_writable(model, folder)  # another program may have put a model there
            if not target.exists():
                _place(aside, target)
            return Model.read(target, f"the installed reference, copied to {target}")  # before another program can take its place


def check_writable(model: Model, folder: Path | None = None) -> None:
    """Raise UsageError where `writable` would have to replace a model of the user's own."""
    target = models_dir(folder) / model.name
    if not model.is_installed_reference or _is_target(model, folder) or not os.path.lexists(target):
        return
    check_target(target)
    if Manifest.read(target).weights.sha256 != model.manifest.weights.sha256:
        raise UsageError(
            f"{target}: a model of your own, which a copy of the reference would replace. To export yours, name it {model.name}; "
            "to export the reference, give its copy another place with --models-dir FOLDER"
        )


def _is_target(model: Model, folder: Path | None) -> bool:
    return (models_dir(folder) / model.name).resolve() == model.folder.resolve()


def write_reference(folder: Path, logits: NDArray[np.float32], data: dict[str, Any]) -> Reference:
    """Write PyTorch's answers, float32 N×10, to a data set into a model's folder, and return their record. Raises OSError.

    The file is named for the data's hash: older answers stay valid until the manifest names the new ones.
    """
    buffer = io.BytesIO()
    np.save(buffer, logits)
    path = folder / f"reference-{data['sha256'][:8]}.npy"
    write_atomically(path, buffer.getvalue())
    return Reference(**asdict(record_of(path)), data=data)


def write_golden(folder: Path, golden: bytes) -> FileRecord:
    """Write golden inputs with PyTorch's answers (`Golden.to_bytes`) into a model's folder, and return their record. Raises OSError."""
    path = folder / GOLDEN
    write_atomically(path, golden)
    return record_of(path)


def _golden(model: Model) -> list[FileRecord]:
    return [model.manifest.golden] if model.manifest.golden else []


def record_of(path: Path) -> FileRecord:
    """Return the record of a file as it is now. Raises OSError."""
    return FileRecord(path.name, sha256_file(path), path.stat().st_size)
