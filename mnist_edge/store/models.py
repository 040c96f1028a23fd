"""Finds a model in the models folder, and checks its files when they are used."""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mnist_edge.common.errors import ModelError, NotAModelError, UnknownNameError, unknown_name
from mnist_edge.common.files import sha256_file
from mnist_edge.common.trees import Tree, difference, read_tree
from mnist_edge.store.manifest import FILE_NAME, Artifact, FileRecord, Manifest, Reference

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: The model that is installed with the package, used where no model was trained yet.
REFERENCE_MODEL = "lenet"

#: The format to export to if none is named.
USUAL_FORMAT = "onnx"


@dataclass(frozen=True)
class Model:
    """A model's folder with its manifest, which has been checked; other files are checked when they are used.

    Attributes:
        chosen: why this one, in words, for a program to say.
    """

    folder: Path
    manifest: Manifest
    chosen: str = ""

    @classmethod
    def read(cls, folder: Path, chosen: str = "") -> "Model":
        """Read a model's folder. Raises ModelError."""
        return cls(folder, Manifest.read(folder), chosen or f"folder {folder}")

    @property
    def name(self) -> str:
        """The model's name: that of its folder, even if it was copied or renamed."""
        return self.folder.resolve().name

    @property
    def home(self) -> Path:
        """The models folder that it is in; the folder's lock guards it. A link or ``.`` is resolved first."""
        is_plain = self.folder.name not in ("", "..") and not self.folder.is_symlink()
        return self.folder.parent if is_plain else self.folder.resolve().parent

    @property
    def is_installed_reference(self) -> bool:
        """True for the model inside the installed package, which is never written to."""
        return self.folder.resolve() == _installed_reference()

    @property
    def is_shipped(self) -> bool:
        """True for a reference model in a clone, which has a marked card; a model that was trained or copied there has none."""
        from mnist_edge.store.marks import is_reference

        return is_reference(self.folder / "README.md")

    @cached_property
    def artifacts(self) -> tuple[Artifact, ...]:
        """The artifacts, one per file.

        While a file is being replaced the manifest lists it twice, as it was and as it will be; the entry that matches
        the file is the one that counts, so that a program killed at any moment leaves the old artifact or the new one.
        """
        by_file: dict[str, list[Artifact]] = {}
        for artifact in self.manifest.artifacts:
            by_file.setdefault(artifact.file, []).append(artifact)
        return tuple(self._current(entries) for entries in by_file.values())

    def _current(self, entries: list[Artifact]) -> Artifact:
        if len(entries) > 1 and (self.folder / entries[0].file).exists():
            with suppress(ModelError, OSError):
                digest = read_tree(self.folder / entries[0].file).sha256
                entries = [entry for entry in entries if entry.sha256 == digest] or entries
        return entries[-1]

    def path(self, record: FileRecord) -> Path:
        """Return the path of a file, or of an artifact that is a folder, after comparing its hash with the manifest's. Raises ModelError."""
        path = self.folder / record.file
        if path.name != record.file:
            raise ModelError(f"{self.folder / FILE_NAME}: file name {record.file!r} points outside the model's folder")
        members = record.members if isinstance(record, Artifact) else {}
        try:
            tree = read_tree(path) if members else Tree(sha256_file(path), 0, {})
        except OSError as error:
            raise ModelError(f"{path}: {error.strerror or error}; {self._mend(record)}") from error
        except ModelError as error:
            raise ModelError(f"{error}; {self._mend(record)}") from error
        if tree.sha256 != record.sha256 or tree.members != members:  # a file that lists a folder's members has the folder's hash
            which = f"{difference(tree, members)}: " if members else ""
            raise ModelError(
                f"{path}: refused, {which}its SHA-256 is {tree.sha256[:12]}… and not the manifest's {record.sha256[:12]}…; {self._mend(record)}"
            )
        return path

    def artifact(self, runtime: str) -> Artifact:
        """Return the artifact that was made for a runtime, float32 before others. Raises ModelError with the line that makes one."""
        found = [artifact for artifact in self.artifacts if artifact.runtime == runtime]
        if not found:
            raise self.lacks(runtime)
        return min(found, key=lambda artifact: (artifact.precision != "float32", artifact.file))

    def lacks(self, runtime: str, formats: Sequence[str] = ()) -> ModelError:
        """Return an error that says that no artifact is there for a runtime, and the line that makes one in one of these formats."""
        made = ", ".join(f"{a.file} for {a.runtime}" for a in self.artifacts) or "none yet"
        advice = self.export_again(formats[0] if formats else None, what="make one")
        return ModelError(f"{self.folder}: no artifact for runtime {runtime} (there: {made}); {advice}")

    def artifact_of_file(self, path: Path) -> Artifact:
        """Return the artifact that the manifest lists under this file's name. Raises ModelError."""
        for artifact in self.artifacts:
            if artifact.file == path.name:
                return artifact
        raise ModelError(f"{path}: not an artifact in the {FILE_NAME} beside it, so nothing proves what it answers; export it again")

    def export_command(self, format_name: str | None = None, *, again: Artifact | None = None) -> str:
        """Return the command, ready to paste, that makes an artifact in a format (None: the usual one), or makes one `again`."""
        import shlex

        from mnist_edge.common.trust import own_network

        model = self.name if self.is_installed_reference else str(self.folder)
        words = ["mnist-edge", "export", model, "--format", again.format if again else format_name or USUAL_FORMAT]
        if again and again.precision != "float32":
            words += ["--quantize", again.quantize]
        if own := own_network(self.manifest.architecture):
            words += ["--allow-network", own]
        return shlex.join(words)

    def export_again(self, format_name: str | None = None, *, again: Artifact | None = None, what: str = "make it again") -> str:
        """Return what makes an artifact, in words that end in `export_command`; where the weights are not here, what makes those comes first."""
        command = self.export_command(format_name, again=again)
        has_weights = (self.folder / self.manifest.weights.file).is_file()
        return f"{what}: {command}" if has_weights else f"{self._without_weights()}; then: {command}"

    def _mend(self, record: FileRecord) -> str:
        if isinstance(record, Artifact):
            return self.export_again(again=record)
        if record == self.manifest.golden:
            return self.export_again()
        return self._without_weights() if record == self.manifest.weights else "restore it, or train the model again"

    def _without_weights(self) -> str:
        from mnist_edge.store.retrain import training_command

        again = training_command(self.manifest, self.name, models_dir=self.folder.parent)
        what = "can be run from its exported files, but not exported again" if self.artifacts else "cannot be exported"
        return f"without {self.manifest.weights.file} it {what}; restore that file, or train the model again: {again}"


def models_dir(given: str | Path | None = None) -> Path:
    """Return the models folder: `given`, else ``MNIST_EDGE_MODELS_DIR``, else ``models`` in the working folder."""
    return Path(given or os.environ.get("MNIST_EDGE_MODELS_DIR") or "models")


def list_models(folder: Path) -> tuple[list[Model], list[ModelError]]:
    """Return the models in a models folder by name, and an error for each subfolder that is not a readable model.

    A subfolder that is no model at all, and harms nothing, is a NotAModelError. Raises ModelError.
    """
    models: list[Model] = []
    problems: list[ModelError] = []
    try:
        entries = sorted(folder.iterdir()) if folder.exists() else []
    except OSError as error:
        raise ModelError(f"{folder}: {error.strerror or error}; --models-dir names another") from error
    for entry in entries:
        if entry.name.startswith(".") or not entry.is_dir():
            continue
        try:
            models.append(Model.read(entry))
        except ModelError as error:
            problems.append(error)
    return models, problems


class Found(NamedTuple):
    """What a user named: a model, and which of its artifacts if it was a file; or a file that belongs to no model.

    Attributes:
        model: None for a file on its own.
        file: the artifact or other file that was named, None where it was a model.
    """

    model: Model | None
    file: Path | None = None


def resolve(model: str | Path | None = None, folder: Path | None = None) -> Found:
    """Find what is meant by a model's name in the models folder, its own folder, or a file: the one rule for all commands and `Predictor`.

    A name in the models folder comes first, then a path, then the name of the installed reference. None takes what
    ``MNIST_EDGE_MODEL`` names, else the model trained last in the models folder, else the reference.
    Raises UnknownNameError if there is no such model, ModelError if there is one but it cannot be read.
    """
    folder = models_dir(folder)
    if model is None:
        model = os.environ.get("MNIST_EDGE_MODEL") or None
    if model is None:
        return Found(_default(folder))
    name = str(model)
    if not name:
        raise UnknownNameError("a model's name cannot be empty; mnist-edge list shows the models")
    if Path(name).name == name and (folder / name / FILE_NAME).is_file():
        return Found(Model.read(folder / name, f"in {folder}"))
    path = Path(model)
    is_artifact = _is_artifact(path)
    if is_artifact and not path.name:  # the working folder is the artifact
        path = path.absolute()
    if path.is_dir() and not is_artifact:
        return Found(Model.read(path))
    if path.is_file() or is_artifact:
        if not (path.parent / FILE_NAME).is_file():
            return Found(None, path)
        return Found(Model.read(path.parent, f"beside {path.name}"), path)
    if name == REFERENCE_MODEL:
        return Found(installed_reference())
    if len(path.parts) != 1 or path.suffix:
        raise UnknownNameError(f"{name}: no such model folder or file; mnist-edge list shows the models")
    known = [m.name for m in list_models(folder)[0]]
    raise UnknownNameError(
        f"{unknown_name('model', name, {*known, REFERENCE_MODEL})}; looked in {folder}; mnist-edge train NETWORK makes one"
    )


def _is_artifact(path: Path) -> bool:
    """Say whether a folder is an artifact of the model in whose folder it lies."""
    folder = path.absolute()
    if not folder.is_dir() or (folder / FILE_NAME).exists() or not (folder.parent / FILE_NAME).is_file():
        return False
    return any(artifact.file == folder.name and artifact.members for artifact in Model.read(folder.parent).artifacts)


def find(model: str | Path | None = None, folder: Path | None = None) -> Model:
    """Find a model as `resolve` does. Raises ModelError for a file that belongs to no model, too."""
    found = resolve(model, folder)
    if found.model is None:
        raise ModelError(f"{found.file}: no {FILE_NAME} beside it, so it belongs to no model; mnist-edge list shows the models")
    return found.model


def read_reference(model: Model, reference: Reference) -> "NDArray[np.float32]":
    """Return PyTorch's stored answers, float32 N×10, one row for each image of the data set. Raises ModelError."""
    import numpy as np

    from mnist_edge.common.logits import check

    path = model.path(reference)
    try:
        logits: NDArray[np.float32] = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: not readable as .npy: {error}") from error
    return check(logits, reference.data["images"], str(path))


def _default(folder: Path) -> Model:
    models, problems = list_models(folder)
    damaged = [str(problem) for problem in problems if not isinstance(problem, NotAModelError)]
    trained = [model for model in models if not model.is_shipped]
    if trained:
        latest = max(trained, key=lambda m: str(m.manifest.training.get("finished", "")))
        passed_over = f", of those that can be read; not read: {'; '.join(damaged)}" if damaged else ""
        return replace(latest, chosen=f"trained last in {folder}{passed_over}")
    if damaged:
        raise ModelError(f"no readable model in {folder}: {damaged[0]}")
    shipped = next((model for model in models if model.name == REFERENCE_MODEL), None)
    return replace(shipped, chosen="the reference model; nothing else was trained here") if shipped else installed_reference()


def installed_reference() -> Model:
    """Return the model that is installed with the package. Raises ModelError if there is none."""
    folder = _installed_reference()
    if not (folder / FILE_NAME).is_file():
        raise ModelError(f"no model in {models_dir()} and no reference in {folder}; make one: mnist-edge train {REFERENCE_MODEL}")
    return Model.read(folder, "the reference installed with mnist-edge")


def _installed_reference() -> Path:
    package = Path(__file__).resolve().parents[1]
    installed = package / "reference" / REFERENCE_MODEL
    return installed if installed.is_dir() else package.parent / "models" / REFERENCE_MODEL
