"""The command that trains a model again, and the rule by which images were held out."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mnist_edge.dataset import EVERY_TWELFTH, Dataset, Rule, rule_for
from mnist_edge.dataset.held_out import MNIST_SHA256
from mnist_edge.store.manifest import Manifest

#: Number of training images of the data sets that everybody has.
_ALL = {"mnist": 60_000, "drawn": 60_000}


#: The fields of a recipe that can be set by an option.
_OPTIONS = ("epochs", "batch_size", "lr", "precision")


def recipe_of(manifest: Manifest) -> dict[str, Any]:
    """Return a model's recipe, completed with the fields that manifests of older versions lack."""
    recipe: dict[str, Any] = {"precision": "float32", "hands": "few", "channels_last": False, "average": 0.0} | manifest.training["recipe"]
    if recipe["augmentation"] is not None:
        recipe["augmentation"] = {"elastic": 0.0, "pen": 0.0} | recipe["augmentation"]
    return recipe


def rule_of(manifest: Manifest, data: Dataset) -> Rule:
    """Return the rule by which images of `data` are held out for a model: its own where it was trained on them, else that of a new training."""
    return _rule(manifest.training) if data.sha256 == manifest.training["data"]["sha256"] else rule_for(data)


def _rule(training: Mapping[str, Any]) -> Rule:
    rule: Rule = training["data"].get("held_out_by", EVERY_TWELFTH)
    return rule


def is_expressible(manifest: Manifest, usual: Mapping[str, Any]) -> bool:
    """Say whether the options of `train` turn the network's own recipe into this model's; they cannot if the network's recipe has changed since."""
    recipe = recipe_of(manifest)
    return all(recipe.get(key) == value for key, value in usual.items() if key not in _OPTIONS)


def training_command(manifest: Manifest, name: str, usual: Mapping[str, Any] | None = None, models_dir: Path | None = None) -> str:
    """Return what trains a model again under this name, ready to paste.

    `usual` is the recipe that belongs to the network (`Recipe.to_json`); fields equal to it are left out. If it is not
    known, every option of the recipe is given. A folder of pictures is called by its name, for its place is not kept.
    """
    training, recipe = manifest.training, recipe_of(manifest)
    processes = training.get("processes", 1)
    words = ["mnist-edge"] if processes == 1 else ["torchrun", f"--nproc-per-node={processes}", "-m", "mnist_edge"]
    words += ["train", manifest.architecture]
    if name != manifest.architecture:
        words += ["--name", name]
    for key, value in manifest.arguments.items():
        words += ["--set", f"{key}={_as_typed(value)}"]
    if recipe["name"] != "best":
        words += ["--recipe", recipe["name"]]
    for key in _OPTIONS:
        if usual is None or recipe[key] != usual.get(key):
            words += [f"--{key.replace('_', '-')}", str(recipe[key])]
    data = training["data"]
    if data["name"] != "mnist":
        words += ["--data", data["name"].removeprefix("folder:")]
    if (part := _part_of(training)) is not None:
        words += ["--train-images", str(part)]
    if _rule(training) == EVERY_TWELFTH and data["sha256"] == MNIST_SHA256:
        words += ["--held-out", EVERY_TWELFTH]
    if training["seed"]:
        words += ["--seed", str(training["seed"])]
    words += ["--threads", str(training["threads"]), "--device", training["device"]]
    if manifest.licence != "NOASSERTION":
        words += ["--licence", manifest.licence]
    if models_dir is not None:
        words += ["--models-dir", str(models_dir)]
    return shlex.join(words)


def _part_of(training: Mapping[str, Any]) -> int | None:
    """Return the number of training images that was asked for. Older manifests of a folder do not record it."""
    asked: int | None = training.get("train_images")
    data = training["data"]
    if asked is None and data["images"] < _ALL.get(data["name"], 0):
        asked = data["images"]
    return asked


def _as_typed(value: object) -> str:
    """Return a value as ``--set`` reads it back: JSON, or plain text if that is not JSON."""
    if isinstance(value, str):
        try:
            json.loads(value)
        except ValueError:
            return value
    return json.dumps(value)
