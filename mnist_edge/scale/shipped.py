"""A model on its way to machines that do not have it: its manifest and the one artifact that answers, as bytes."""

from __future__ import annotations

import hashlib
import tempfile
import warnings
from pathlib import Path
from typing import NamedTuple

from mnist_edge import runtimes, store
from mnist_edge.common.errors import NotProvenError, UnprovenWarning, UsageError
from mnist_edge.predictor import Predictor
from mnist_edge.store.manifest import FILE_NAME


class Shipped(NamedTuple):
    """A model to be sent.

    Attributes:
        file: the artifact's name.
        runtime: the name of what runs it.
        require_proof: whether a machine may answer only if the artifact is proven on its kind.
        files: contents by name, such as ``lenet.onnx`` and ``manifest.json``.
    """

    file: str
    runtime: str
    require_proof: bool
    files: dict[str, bytes]

    @property
    def sha256(self) -> str:
        """A hash of what decides the answers: the artifact, and the manifest's threshold with it."""
        told = [f"{self.runtime} {self.file}", *(f"{hashlib.sha256(body).hexdigest()} {name}" for name, body in sorted(self.files.items()))]
        return hashlib.sha256("\n".join(told).encode()).hexdigest()


def pack(model: str | Path | None, runtime: str, models_dir: Path | None, require_proof: bool) -> Shipped:
    """Read what is to be sent, checked against its hash. `model` is as in `Predictor.load`. Raises UsageError, ModelError, OSError."""
    chosen = runtimes.get(runtime)
    if chosen.from_weights:
        raise UsageError(f"--engine ray sends an artifact to each machine, and runtime {runtime} uses none; name another --runtime")
    found = store.resolve(model, models_dir)
    if found.model is None:
        assert found.file is not None  # one of the two is there
        return Shipped(found.file.name, runtime, require_proof, _contents(found.file, found.file.name))
    artifact = chosen.choose(found.model) if found.file is None else found.model.artifact_of_file(found.file)
    manifest = {FILE_NAME: (found.model.folder / FILE_NAME).read_bytes()}
    return Shipped(artifact.file, runtime, require_proof, manifest | _contents(found.model.path(artifact), artifact.file))


def unpack(shipped: Shipped) -> tuple[Predictor, tuple[str, ...]]:
    """Load a model that was sent, and say what is not proven about it on this machine. Raises what `Predictor.load` raises."""
    with tempfile.TemporaryDirectory() as scratch:
        for name, content in shipped.files.items():
            path = Path(scratch) / "model" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UnprovenWarning)
            try:
                predictor = Predictor.load(Path(scratch) / "model" / shipped.file, shipped.runtime, require_proof=shipped.require_proof)
            except NotProvenError as error:
                raise NotProvenError(_there(error)) from error
        return predictor, tuple(_there(one.message) for one in caught if issubclass(one.category, UnprovenWarning))


def _there(message: Warning | Exception | str) -> str:
    """Return what is not proven, without how to prove it: that names a folder that is about to go."""
    return f"{str(message).partition('; ')[0]}; to prove it there, run mnist-edge verify on such a machine"


def _contents(path: Path, name: str) -> dict[str, bytes]:
    if path.is_file():
        return {name: path.read_bytes()}
    return {f"{name}/{file.relative_to(path).as_posix()}": file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}
