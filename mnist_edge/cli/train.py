"""``mnist-edge train``."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import click

from mnist_edge.cli import completing
from mnist_edge.cli.common import TRAIN_IMAGES, Number, Output, command_line, option, subcommand
from mnist_edge.common.errors import DataError, MnistEdgeError, UsageError
from mnist_edge.common.extras import require
from mnist_edge.common.text import count, data_name, duration, percent
from mnist_edge.common.trust import allow, allowing, own_network

if TYPE_CHECKING:
    from mnist_edge.dataset import Dataset
    from mnist_edge.training.processes import Processes
    from mnist_edge.training.run import Run
    from mnist_edge.training.settings import Settings


@subcommand("train", "train lenet", "train lenet --data drawn --epochs 2 --train-images 6000", "train lenet --resume")
@click.argument("architecture", shell_complete=completing.networks)
@option("--name", help="Name of the model.  [default: the network's]")
@option(
    "--recipe",
    type=str,
    shell_complete=completing.recipes,
    help="How to train: best (our own recipe) or tutorial (the recipe of its tutorial).  [default: best]",
)
@option("--epochs", type=click.IntRange(min=1), help="Number of passes over the training images.  [default: the recipe's]")
@option("--batch-size", type=click.IntRange(min=1), help="Images per training step.  [default: the recipe's]")
@option("--lr", type=Number(0, min_open=True), help="Learning rate.  [default: the recipe's]")
@option(
    "--seed", type=click.IntRange(min=0, max=2**31), help="Random seed for weights, image order, augmentation and dropout.  [default: 0]"
)
@option("--device", type=str, help="Device to train on: auto, cpu, cuda or mps.  [default: auto]")
@option(
    "--threads",
    type=click.IntRange(1, 256),
    help="Threads for PyTorch; a different number changes the last bits of the weights.  [default: PyTorch's]",
)
@option(
    "--precision",
    type=click.Choice(["float32", "bfloat16"]),
    help="Number format to compute in.  [default: the recipe's, if the device supports it]",
)
@option(
    "--data",
    type=str,
    default="mnist",
    shell_complete=completing.data,
    help="Data set: mnist, drawn, or a folder with train/0…9 and test/0…9.",
)
@option(
    "--train-images",
    type=click.IntRange(min=12),
    help=TRAIN_IMAGES,
)
@option(
    "--held-out",
    type=click.Choice(["writers", "every-twelfth"]),
    help="Which training images are held out: those of 45 of MNIST's writers, or every twelfth.  [default: writers for MNIST]",
)
@option("--set", "arguments", multiple=True, metavar="KEY=VALUE", help="Argument of the network, such as use_conv=true.")
@option("--licence", type=str, help="Licence of the trained weights, as an SPDX identifier.  [default: NOASSERTION]")
@option("--resume", is_flag=True, help="Continue the unfinished run with this name.")
@allowing()
def command(
    architecture: str,
    name: str | None,
    data: str,
    train_images: int | None,
    resume: bool,
    models_dir: Path | None,
    data_dir: Path | None,
    out: Output,
    **given: Any,
) -> None:
    """Train ARCHITECTURE and save the model in the models folder.

    ARCHITECTURE is a name that `mnist-edge architectures` lists, or package.module:Class for a network of your own. With MNIST, all images
    of 45 of the 539 writers are held out for validation; with other data, every twelfth image. The test images are read once, at the end.
    Every epoch writes a checkpoint: after an interruption, --resume continues and ends with the same weights.
    """
    require("training", "torch", "safetensors", "rich", "matplotlib")
    from mnist_edge import store
    from mnist_edge.cli.training_progress import show_training
    from mnist_edge.dataset import describe, rule_for
    from mnist_edge.training.processes import joined
    from mnist_edge.training.run import Run, train, train_along

    if own_network(architecture):
        allow(architecture)  # the user typed this name, so its code may run
    place = store.models_dir(models_dir), _default_name(architecture) if name is None else name
    with joined() as processes, _one_speaks(processes, out):
        if not processes.is_first:
            settings = processes.from_first()
            processes.take_device(settings.device)
            train_along(settings, load_data(data, data_dir, out, train_images)[0], processes)
            return
        again = resume_line(
            architecture,
            processes,
            name=name,
            data=None if data == "mnist" else data,
            train_images=train_images,
            models_dir=models_dir,
            data_dir=data_dir,
        )
        resume = resume or processes.restarts > 0
        with Run(*place) as run:
            earlier = run.read_settings() if resume else None
            asked = new_settings(architecture, given, earlier.arguments if earlier else {})
            processes.take_device(asked.device)
            training, test = load_data(data, data_dir, out, train_images)
            asked = replace(
                asked,
                data=describe(training),
                train_images=train_images,
                processes=processes.count,
                held_out=given["held_out"] or (earlier.held_out if earlier else rule_for(training)),
            )
            settings = processes.from_first(settle(run, asked, given, resume, out))
            out.say(
                f"training {architecture} as {run.name!r} on {count(len(training), 'image')} of {data_name(training.name)}, "
                f"{count(settings.recipe.epochs, 'epoch')}, {settings.device}"
                + (f", {processes.count} processes" if processes.count > 1 else "")
            )
            try:
                with show_training(settings.recipe.epochs, out) as listener:
                    finished = train(run, settings, training, test, listener, processes)
            except KeyboardInterrupt:
                out.problem(f"stopped; every finished epoch is kept. Continue with: {again}")
                raise
    model, scores = finished.model, finished.model.manifest.scores
    if finished.replaced is not None:
        out.say(f"the model that was there is kept in {finished.replaced} ({_restore_line(run, model.name)} puts it back)")
    text = (
        f"{model.name}: {percent(scores['test_accuracy'])} on {count(scores['test_data']['images'], 'test image')} of {data_name(scores['test_data']['name'])}, "
        f"{percent(scores['validation_accuracy'])} held out; {duration(model.manifest.training['seconds'])}; in {model.folder}"
    )
    out.result({"model": model.name, "folder": str(model.folder), "scores": scores, "training": model.manifest.training}, text)
    out.next_step("export", model.name, "--format", "onnx", models_dir=models_dir, allow_network=own_network(architecture))


@contextmanager
def _one_speaks(processes: "Processes", out: Output) -> Iterator[None]:
    """Let one process print: the first, but for an error that only another one has."""
    if not processes.is_first:
        out.silence()
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        if processes.told_by_another(error):
            click.get_current_context().exit(1)
        if isinstance(error, MnistEdgeError):
            raise processes.name_it(error) from error
        raise


def resume_line(architecture: str, processes: "Processes", **given: object) -> str:
    """Return the command that continues a run, without the options that the run itself remembers."""
    line = command_line("train", architecture, "--resume", **given)
    if processes.count == 1:
        return line
    return f"torchrun --nproc-per-node={os.environ['LOCAL_WORLD_SIZE']} -m mnist_edge {line.partition(' ')[2]}"


def _restore_line(run: "Run", name: str) -> str:
    return command_line("restore", name, models_dir=None if run.models_dir == Path("models") else run.models_dir)


def load_data(data: str, data_dir: Path | None, out: Output, train_images: int | None = None) -> tuple["Dataset", "Dataset"]:
    """Return the training set and the test set. MNIST is downloaded if it is not on this machine. Raises DataError."""
    from mnist_edge import dataset as datasets

    if data == "mnist":
        from mnist_edge.dataset.download import ensure_mnist
        from mnist_edge.dataset.sources import find_mnist

        found = find_mnist(data_dir)
        if not found.complete:
            out.say(f"{found.missing()}; downloading it (12 MB)")
            ensure_mnist(data_dir)
    training = datasets.load(data, "train", data_dir, train_images)
    return training, datasets.load_for_proof(None if data == "drawn" else data, data_dir)


def settle(run: "Run", asked: "Settings", given: dict[str, Any], resume: bool, out: Output) -> "Settings":
    """Return the settings of the run to resume, else those asked for. Raises UsageError if the two disagree."""
    settings = run.read_settings() if resume else None
    if settings is None:
        if resume:
            out.say(f"no unfinished run in {run.folder}; starting from the beginning")
        kept = run.start(asked)
        if kept is not None:
            out.say(f"starting over; the unfinished run is kept in {kept} ({_restore_line(run, kept.name)} puts it back)")
        return asked
    if settings.data != asked.data:
        if settings.train_images != asked.train_images and settings.data["images"] != asked.data["images"]:
            raise UsageError(
                f"the run in {run.folder} was started on {settings.data['images']:,} images, not {asked.data['images']:,}; "
                "give the same --train-images, or start over without --resume"
            )
        raise DataError(
            f"the run in {run.folder} was started on {_in_words(settings.data)}, this is {_in_words(asked.data)}; "
            "give the same --data and --train-images"
        )
    if settings.processes != asked.processes:
        raise UsageError(
            f"the run in {run.folder} was started with {count(settings.processes, 'process', 'processes')}, not {asked.processes}; "
            "start the same number (torchrun --nproc-per-node), or start over without --resume"
        )
    for what, was, now in (
        ("network", settings.architecture, asked.architecture),
        *(
            ("--set" if key == "arguments" else f"--{key.replace('_', '-')}", *_pair(settings, asked, key))
            for key, value in given.items()
            if value not in (None, ())
        ),
    ):
        if was != now:
            raise UsageError(
                f"the run in {run.folder} was started with {what} {was}, not {now}; leave it out, or start over without --resume"
            )
    return settings


def _in_words(data: dict[str, Any]) -> str:
    """Describe a data set so that it differs from another one of the same name."""
    return f"{data['images']:,} images of {data_name(data['name'])} (SHA-256 {data['sha256'][:12]}…)"


def _pair(settings: "Settings", asked: "Settings", key: str) -> tuple[Any, Any]:
    if key == "recipe":
        return settings.recipe.name, asked.recipe.name
    holders = (settings.recipe, asked.recipe) if hasattr(settings.recipe, key) else (settings, asked)
    return getattr(holders[0], key), getattr(holders[1], key)


def new_settings(architecture: str, given: dict[str, Any], arguments: Mapping[str, Any] = MappingProxyType({})) -> "Settings":
    """Return the settings that the options ask for, without data. Without --set, the network gets these `arguments`.

    Raises UsageError for options that make no sense.
    """
    import torch

    from mnist_edge import architectures
    from mnist_edge.training.settings import Settings, choose_device, computes_in

    recipe = architectures.find(architecture).recipe(given.get("recipe") or "best")
    device = choose_device(given.get("device") or "auto")
    precision = given.get("precision") or (recipe.precision if computes_in(recipe.precision, device) else "float32")
    built_with = parse_arguments(given.get("arguments", ())) or dict(arguments)
    architectures.build(architecture, built_with)
    return Settings(
        architecture=architecture,
        arguments=built_with,
        recipe=recipe.changed(epochs=given.get("epochs"), batch_size=given.get("batch_size"), lr=given.get("lr"), precision=precision),
        seed=given.get("seed") or 0,
        device=device,
        threads=given.get("threads") or torch.get_num_threads(),
        data={},
        licence=given.get("licence") or "NOASSERTION",
    )


def parse_arguments(pairs: tuple[str, ...]) -> dict[str, Any]:
    """Return ``key=value`` pairs as arguments. A value that parses as JSON is JSON, else text. Raises UsageError."""
    arguments = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key.isidentifier():
            raise UsageError(f"--set takes KEY=VALUE, not {pair!r}")
        try:
            arguments[key] = json.loads(value)
        except ValueError:
            arguments[key] = {"True": True, "False": False, "None": None}.get(value, value)
        try:
            json.dumps(arguments[key], allow_nan=False)
        except ValueError:
            raise UsageError(f"--set {key}: a manifest cannot hold NaN or infinity; give a finite number") from None
    return arguments


def _default_name(architecture: str) -> str:
    return architecture.rpartition(":")[2].lower()
