"""``mnist-edge demo``."""

import json
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from mnist_edge.cli.common import PATH, TRAIN_IMAGES, Output, command_line, option, png, subcommand
from mnist_edge.cli.group import EXIT_PARITY
from mnist_edge.common.errors import UsageError
from mnist_edge.common.text import count, data_name, percent

#: A process in which ``import torch`` fails, as on a device without torch.
_WITHOUT_TORCH = "import sys; sys.modules['torch'] = None; from mnist_edge.cli import main; main()"


@subcommand("demo", "demo", "demo --epochs 1 --train-images 6000", models="FOLDER/models")
@option("--folder", type=PATH, default=Path("demo"), help="Folder to write everything into.")
@option("--epochs", type=click.IntRange(min=1), default=5, help="Passes over the training images; train lenet takes more.")
@option("--train-images", type=click.IntRange(min=12), help=TRAIN_IMAGES)
@click.pass_context
def command(
    ctx: click.Context, folder: Path, epochs: int, train_images: int | None, models_dir: Path | None, data_dir: Path | None, out: Output
) -> None:
    """Train LeNet, export it to TorchScript and ONNX, prove both on the whole test set, and read a picture without torch.

    It uses MNIST if that is on this machine or can be downloaded, else digits that the program draws itself. It says which.
    """
    from mnist_edge.common.extras import TRAIN, require

    require("the demo", *TRAIN)
    from exporters import gate
    from mnist_edge import dataset as datasets
    from mnist_edge.cli.outcomes import describe_report
    from mnist_edge.cli.train import load_data, new_settings, settle
    from mnist_edge.cli.training_progress import show_training
    from mnist_edge.common.errors import DataError
    from mnist_edge.training.run import Run, train

    picture = folder / "digit.png"
    digit = _draw(picture, datasets.load("drawn", "test", count=20))  # first, so that a folder that cannot be written to fails at once
    run = Run(models_dir or folder / "models", "lenet")

    out.say("1. data")
    try:
        training, test = load_data("mnist", data_dir, out, train_images)
    except DataError as error:
        out.say(f"   {error}\n   continuing with digits that the program draws itself")
        training, test = load_data("drawn", data_dir, out, train_images)
    out.say(f"   {count(len(training), 'training image')} and {count(len(test), 'test image')} of {data_name(training.name)}")

    out.say(f"2. training LeNet for {count(epochs, 'epoch')}")
    given = {"epochs": epochs}
    asked = replace(new_settings("lenet", given), data=datasets.describe(training), train_images=train_images)
    with run:
        settings = settle(run, asked, given, False, out)
        with show_training(epochs, out) as listener:
            finished = train(run, settings, training, test, listener)
    model = finished.model
    if finished.replaced is not None:
        out.say(f"   the model of an earlier demo is kept in {finished.replaced}")
    out.say(f"   {percent(model.manifest.scores['test_accuracy'])} on the test images")

    proofs = {}
    for number, format_name in ((3, "torchscript"), (4, "onnx")):
        out.say(f"{number}. exporting to {format_name}, and comparing it with PyTorch on all {count(len(test), 'test image')}")
        model, proof = gate.export(model, format_name, test)
        out.say(describe_report(proof.report, test))
        proofs[format_name] = proof.report.to_json()
        if proof.artifact is None:
            ctx.exit(EXIT_PARITY)

    out.say("5. reading a picture in a process without torch")
    step = ["predict", str(picture), "--model", str(model.folder), "--json"]
    read = subprocess.run([sys.executable, "-P", "-c", _WITHOUT_TORCH, *step], capture_output=True, text=True, check=False)
    prediction: dict[str, Any] = json.loads(read.stdout) if read.returncode == 0 else {"error": read.stderr.strip()}
    answer = f"a {prediction['digit']}, {percent(prediction['confidence'])} sure" if read.returncode == 0 else prediction["error"]
    out.say(f"   $ mnist-edge {shlex.join(step)}\n   {answer}   (drawn as a {digit})")
    document = {
        "data": training.name,
        "scores": model.manifest.scores,
        "parity": proofs,
        "picture": str(picture),
        "prediction": prediction,
    }
    out.result(
        document,
        f"done: {model.folder} holds {', '.join(a.file for a in model.artifacts)}, each proven; {command_line('show', str(model.folder))} says how",
    )
    if read.returncode:
        ctx.exit(read.returncode)


def _draw(path: Path, drawn: Any) -> int:
    """Write a picture of 280×280 with a drawn digit, and return which. Raises UsageError if its folder is a file, OSError."""
    from PIL import Image

    from mnist_edge.common.files import write_atomically

    if path.parent.exists() and not path.parent.is_dir():
        raise UsageError(f"{path.parent}: a file and not a folder; name another with --folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, png(Image.fromarray(drawn.images[0, 0]).resize((280, 280), Image.Resampling.BICUBIC)))
    return int(drawn.labels[0])
