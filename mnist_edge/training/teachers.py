"""Models that teach a network: it learns their answers in place of labels."""

from collections.abc import Sequence
from pathlib import Path

import torch

from mnist_edge import store
from mnist_edge.architectures.deployed import Deployed
from mnist_edge.common.errors import TrainingError
from mnist_edge.runtimes.torch import load_network
from mnist_edge.store.retrain import own_rule_of
from mnist_edge.training.settings import Settings, Teacher


def find_teachers(names: Sequence[str], models_dir: Path | None) -> tuple[Teacher, ...]:
    """Return the models of these names or folders as teachers.

    Raises ModelError for one that is not there or has no weights, NotAllowedError for a network of one's own that the user did not allow.
    """
    found = []
    for name in names:
        model = store.find(name, models_dir)
        load_network(model)
        found.append(Teacher(model.name, str(model.folder.resolve()), model.manifest.weights.sha256))
    return tuple(found)


def informed(settings: Settings) -> list[str]:
    """Return the names of the teachers that were trained on the same data, but with other images held out."""
    manifests = [store.Model.read(Path(one.folder)).manifest for one in settings.teachers]
    return [
        teacher.name
        for teacher, manifest in zip(settings.teachers, manifests, strict=True)
        if manifest.training["data"]["sha256"] == settings.data["sha256"] and own_rule_of(manifest) != settings.held_out
    ]


def load_teachers(settings: Settings) -> list[Deployed]:
    """Return a training's teachers, on its device and in its memory format.

    Raises TrainingError if one has other weights than at the start, and as `find_teachers`.
    """
    loaded = []
    for teacher in settings.teachers:
        model = store.Model.read(Path(teacher.folder))
        if model.manifest.weights.sha256 != teacher.weights:
            raise TrainingError(
                f"{teacher.folder}: has other weights than at the start of this run; put them back, or start over without --resume"
            )
        network = load_network(model).to(settings.device)
        loaded.append(network.to(memory_format=torch.channels_last) if settings.recipe.is_channels_last else network)
    return loaded
