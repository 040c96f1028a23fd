"""Try a recipe: train a network by it on MNIST, and print how held-out writers and other people's digits are read as it goes.

    python benchmarks/recipes.py lenet --set drawn=0.4 --set hands=many --augment pen=0.8 --augment scale=0.2 --seed 1 \\
        --keep build/trial.pt --sets SEMEION OPTDIGITS

A recipe is chosen by these figures, over more than one seed. The test images are read only with --test, once, at the end: to report what was chosen.
Nothing is published. Killed, the same command goes on from --keep. What is kept of some trials can teach another network (--teacher).
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from mnist_edge import architectures
from mnist_edge import dataset as datasets
from mnist_edge.architectures.deployed import Deployed, torch_logits
from mnist_edge.architectures.recipe import Recipe
from mnist_edge.common.errors import UsageError
from mnist_edge.common.files import sha256_file
from mnist_edge.dataset import Dataset
from mnist_edge.proof.evaluation import evaluate_logits
from mnist_edge.training.check import assemble
from mnist_edge.training.loop import Epoch, Trainer
from mnist_edge.training.processes import ALONE
from mnist_edge.training.run import trainer_for
from mnist_edge.training.settings import Settings


class Quiet:
    """Hears nothing."""

    def on_batch(self, epoch: int, batch: int, batches: int, loss: float) -> None:
        """Do nothing."""

    def on_epoch(self, epoch: Epoch) -> None:
        """Do nothing."""


def changed(recipe: Recipe, fields: list[str], augmentation: list[str]) -> Recipe:
    """Return a recipe with some fields changed, each given as ``NAME=VALUE``; an augmentation of ``none`` leaves the images as they are."""
    bounds = None if augmentation == ["none"] else recipe.augmentation
    if augmentation and augmentation != ["none"]:
        assert bounds is not None, "a recipe without augmentation"
        bounds = replace(bounds, **_values(augmentation))
    return replace(recipe, augmentation=bounds, **_values(fields))


def _values(pairs: list[str]) -> dict[str, Any]:
    values = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        try:
            values[name] = json.loads(value)
        except ValueError:
            values[name] = value
    return values


def restore(trainer: Trainer, keep: Path, trial: dict[str, Any]) -> None:
    """Go on from what is kept of this trial. Stops if it is of another one."""
    kept = torch.load(keep, weights_only=True)
    if any(kept.get(name) != value for name, value in trial.items()):
        raise SystemExit(f"{keep}: of another network, recipe, seed, teachers or data; name another file with --keep, or remove it")
    trainer.restore(kept["state"])


def network_of(keep: Path) -> Deployed:
    """Return the network that is kept of a finished trial. Stops if it is not finished."""
    kept = torch.load(keep, weights_only=True)
    settings = Settings.from_json(kept["settings"])
    if kept["state"]["epoch"] < settings.recipe.epochs:
        raise SystemExit(f"{keep}: a trial that is not finished; run it to its end first")
    deployed = assemble(settings)
    deployed.network.load_state_dict(kept["state"].get("average") or kept["state"]["network"])
    return deployed.eval()


def accuracy(trainer: Trainer, data: Dataset) -> float:
    """Return the share of a test set that is read rightly, in percent; refused pictures are wrong."""
    return round(100 * evaluate_logits(torch_logits(trainer.deployed.eval(), data.images), data).accuracy, 2)


def main() -> None:
    """Train, and print a line of JSON an epoch."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("network")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="a field of the recipe (architectures/recipe.py)")
    parser.add_argument("--augment", action="append", default=[], metavar="FIELD=VALUE", help="a field of its augmentation, or none")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--held-out", choices=["writers", "every-twelfth"], default="writers")
    parser.add_argument("--sets", nargs="*", default=[], help="folders of pictures in 0…9, read after every fourth epoch and the last")
    parser.add_argument("--keep", type=Path, required=True, help="the checkpoint")
    parser.add_argument(
        "--teacher",
        action="append",
        default=[],
        type=Path,
        metavar="KEPT",
        help="the checkpoint of a finished trial, whose answers are learned in place of labels; of several, the mean of their probabilities",
    )
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--test", action="store_true", help="read the test images at the end")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = datasets.load("mnist", "train", options.data_dir)
    try:
        recipe = changed(architectures.find(options.network).best, options.set, options.augment)
    except (TypeError, UsageError) as error:  # a field that is not there, a value that makes no sense
        parser.error(str(error))
    settings = Settings(options.network, {}, recipe, options.seed, "cpu", 1, datasets.describe(data), "MIT", held_out=options.held_out)
    trainer = trainer_for(settings, data, ALONE)
    trainer.teachers = [network_of(teacher) for teacher in options.teacher]
    trial = {"settings": settings.to_json(), "teachers": [sha256_file(teacher) for teacher in options.teacher]}
    if options.keep.exists():
        restore(trainer, options.keep, trial)
    options.keep.parent.mkdir(parents=True, exist_ok=True)
    others = [datasets.load(folder, "test") for folder in options.sets]
    for epoch in trainer.epochs(Quiet()):
        torch.save(trial | {"state": trainer.state()}, options.keep)
        row: dict[str, Any] = {
            "epoch": epoch.epoch,
            "seconds": epoch.seconds,
            "training": round(100 * epoch.accuracy, 2),
            "held_out": round(100 * epoch.validation_accuracy, 2),
        }
        if epoch.epoch % 4 == 0 or epoch.epoch == recipe.epochs:
            row |= {other.name: accuracy(trainer, other) for other in others}
        print(json.dumps(row), flush=True)
    if options.test:
        print(json.dumps({"test": accuracy(trainer, datasets.load("mnist", "test", options.data_dir))}))


if __name__ == "__main__":
    main()
