"""Which models a server answers with. They are chosen once, before the first worker, so that a reload brings new versions and never other models."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from mnist_edge import runtimes, store
from mnist_edge.common.errors import ModelError, NotAModelError, UnknownNameError, UsageError
from mnist_edge.serving.settings import Settings


class Source(NamedTuple):
    """Where a model comes from.

    Attributes:
        name: what clients call it.
        folder: its folder, as an absolute path. A link in it is followed each time the model is loaded.
        file: the artifact that was named; None where the model was named.
        chosen: why this one, in words.
    """

    name: str
    folder: Path
    file: Path | None
    chosen: str

    def find(self) -> store.Found:
        """Return what is there now. Raises ModelError if it is not readable any more, or if a link leads to a model of another name."""
        model = store.Model.read(self.folder, self.chosen)
        if model.name != self.name:
            raise ModelError(
                f"{self.folder} leads to {model.name} now, and not to {self.name}; to serve other models, start the server again"
            )
        return store.Found(model, self.file)


def choose(settings: Settings) -> tuple[list[Source], list[str]]:
    """Return where the models come from, and what a person should know of it.

    Raises UsageError for a model that is named twice, and for a ``--models-dir`` that was typed and is not there; UnknownNameError if it lacks
    the model; ModelError for what cannot be read.
    """
    folder = store.models_dir(settings.models_dir)
    if settings.is_folder_typed and not folder.is_dir():
        raise UsageError(f"{folder}: no such folder; --models-dir names the folder with the models")
    found, notes = _every(folder, settings.runtime) if settings.every else (_named(folder, settings), [])
    sources: dict[str, Source] = {}
    for one in found:
        assert one.model is not None  # both functions say so
        source = Source(one.model.name, one.model.folder.absolute(), one.file and one.file.absolute(), one.model.chosen)
        other = sources.setdefault(source.name, source)
        if other is not source and other[:3] == source[:3]:
            raise UsageError(f"{source.name} is named twice; name it once")
        if other is not source:
            raise UsageError(f"two models have the name {source.name!r}; rename a folder, or serve one of them")
    if not sources:
        raise ModelError(f"no model in {folder}; mnist-edge train NETWORK makes one")
    return list(sources.values()), notes


def _named(folder: Path, settings: Settings) -> list[store.Found]:
    found = []
    for given in settings.models or (None,):
        one = store.resolve(given, settings.models_dir)
        model = one.model or store.find(given, settings.models_dir)  # which says that the file belongs to no model
        is_path = given is not None and Path(given).name != given
        is_fallback = model.is_installed_reference and model.folder.absolute().parent != folder.absolute()
        if settings.is_folder_typed and is_fallback and not is_path:  # nobody watches a server, as one watches predict
            raise UnknownNameError(
                f"{folder} has no model{f' {given!r}' if given else ''}; mnist-edge list --models-dir {folder} shows what is there"
            )
        found.append(one)
    return found


def _every(folder: Path, runtime_name: str) -> tuple[list[store.Found], list[str]]:
    """Return all models of a folder that have an artifact for a runtime, and a note for each that has none."""
    models, problems = store.list_models(folder)
    if damaged := [problem for problem in problems if not isinstance(problem, NotAModelError)]:
        raise damaged[0]
    runtime = runtimes.get(runtime_name)
    found, notes = [], []
    for model in models:
        try:
            if not runtime.from_weights:
                runtime.choose(model)
            found.append(store.Found(model))
        except ModelError as error:
            notes.append(f"{model.name} is left out: {error}")
    return found, notes
