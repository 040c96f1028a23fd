"""Where a model comes from: the network's own words, and the command that makes the model again."""

import shlex
from typing import NamedTuple

from mnist_edge.errors import MnistEdgeError
from mnist_edge.extras import is_installed
from mnist_edge.manifest import Manifest


class Origin(NamedTuple):
    """What the registry says of a network.

    Attributes:
        summary: what it is, in a few words; empty where the registry cannot be asked.
        tutorial_accuracy: what its tutorial reports, 0 to 1; None where it reports nothing.
        command: what trains the model again, ready to paste.
    """

    summary: str
    tutorial_accuracy: float | None
    command: str


def origin(manifest: Manifest) -> Origin:
    """Ask the registry about a model's network; without torch, or of a network that is not there any more, only the manifest."""
    training, recipe = manifest.training, manifest.training["recipe"]
    summary, tutorial, usual = "", None, {}
    if is_installed("torch"):
        from mnist_edge import architectures

        try:
            found = architectures.find(manifest.architecture)
            usual = found.recipe(recipe["name"]).to_json()
        except MnistEdgeError:
            pass
        else:
            summary, tutorial = found.summary, found.tutorial_accuracy
    words = ["mnist-edge", "train", manifest.architecture]
    if manifest.name != manifest.architecture:
        words += ["--name", manifest.name]
    for key, value in manifest.arguments.items():
        words += ["--set", f"{key}={str(value).lower() if isinstance(value, bool) else value}"]
    if recipe["name"] != "best":
        words += ["--recipe", recipe["name"]]
    for key in ("epochs", "batch_size", "lr", "precision"):
        if recipe.get(key) is not None and recipe[key] != usual.get(key):
            words += [f"--{key.replace('_', '-')}", f"{recipe[key]:g}" if isinstance(recipe[key], float) else str(recipe[key])]
    if training["data"]["name"] != "mnist":
        words += ["--data", training["data"]["name"].removeprefix("folder:")]
    if training["seed"]:
        words += ["--seed", str(training["seed"])]
    words += ["--threads", str(training["threads"]), "--device", training["device"]]
    return Origin(summary, tutorial, shlex.join(words))
