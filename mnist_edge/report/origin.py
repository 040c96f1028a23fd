"""Where a model comes from: the network's description, and the command that makes the model again."""

from typing import NamedTuple

from mnist_edge.common.errors import MnistEdgeError
from mnist_edge.common.extras import is_installed
from mnist_edge.common.trust import own_network
from mnist_edge.store import Model
from mnist_edge.store.retrain import is_expressible, training_command


class Origin(NamedTuple):
    """What the registry says about a network.

    Attributes:
        summary: what it is, in a few words; empty where the registry cannot be asked.
        tutorial_accuracy: what its tutorial reports, 0 to 1; None where it reports nothing.
        command: the command that trains the model again, ready to paste.
        is_exact: whether that is known to be the same training: the network's own recipe may have changed since.
    """

    summary: str
    tutorial_accuracy: float | None
    command: str
    is_exact: bool


def origin(model: Model) -> Origin:
    """Ask the registry about a model's network. Without torch, or for a network outside the registry, ask only the manifest.

    Nothing outside the registry is imported: a manifest may name any module.
    """
    manifest = model.manifest
    if own_network(manifest.architecture):
        from mnist_edge.architectures.recipe import Recipe

        usual = Recipe().to_json()  # the recipe of every network that brings none of its own
        return Origin("", None, training_command(manifest, model.name, usual), is_expressible(manifest, usual))
    if is_installed("torch"):
        from mnist_edge import architectures

        try:
            found = architectures.find(manifest.architecture)
            usual = found.recipe(manifest.training["recipe"]["name"]).to_json()
        except MnistEdgeError:
            pass
        else:
            return Origin(
                found.summary, found.tutorial_accuracy, training_command(manifest, model.name, usual), is_expressible(manifest, usual)
            )
    return Origin("", None, training_command(manifest, model.name), False)
