"""Make the models of `models/` again: train, export, prove, report, and keep what is small enough. `make models` runs it.

Everything is made in `build/models` first, and what is finished there is not made again; an interrupted training goes on.
Then each model's folder in `models/` gets its manifest, artifacts of up to 5 MB, weights of less than 1 MB, PyTorch's answers, golden
inputs, history, card, curves and confusion matrix.

A lower precision is kept beside float32. Held-out training images say which (`choose_precision`), not the test images, which only prove it.
`--choose --build FOLDER` prints how each precision does on them, for the models in FOLDER/models, and makes nothing.

One thread each gives the same bits whatever the number of cores; two trainings at a time use two of them (--jobs).
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from machine import processor

import exporters
from exporters import Calibration
from exporters.registry import Target
from mnist_edge import architectures, runtimes, store
from mnist_edge import dataset as datasets
from mnist_edge.common.files import folder_aside
from mnist_edge.common.text import points, size
from mnist_edge.dataset import WRITERS, Dataset, split_validation
from mnist_edge.proof import parity
from mnist_edge.report import table
from mnist_edge.report.findings import Findings, gather
from mnist_edge.report.write import draw_report
from mnist_edge.store.manifest import Artifact, FileRecord, quantize_of
from mnist_edge.store.marks import REFERENCE_MARK
from mnist_edge.store.publishing import publish_model
from mnist_edge.store.retrain import recipe_of, rule_of
from mnist_edge.training.run import Run

ROOT = Path(__file__).resolve().parent.parent
MODELS, BUILD = ROOT / "models", ROOT / "build"

#: Of a file in the repository.
MOST_BYTES = 5_000_000

#: Of a model's weights in the repository. With them `export` and `--runtime torch` work in a clone. Those of nine models are below this, 2.3 MB
#: in all; those of the other six would add 81 MB to every clone.
MOST_WEIGHTS_BYTES = 1_000_000

#: What `export --quantize static` draws, too.
CALIBRATION_IMAGES = 500

#: Held-out images that each file is asked one by one, too.
ALONE = 500

#: How far a logit may move with an image's neighbours. Of the twelve models whose float32 file is kept, fp16 and static int8 move it by at
#: most 0.000002, and dynamic int8, whose scale is the batch's, by 0.04 to 0.67.
MOST_BATCH_DIFFERENCE = 0.001

#: What of a report is kept beside the card.
KEPT = ("README.md", "curves.png", "confusion.png")


@dataclass(frozen=True)
class Plan:
    """A model to make.

    Attributes:
        name: of the model.
        quantize: the lower precision that is kept beside float32. `export` stops if held-out images choose another (`choose_precision`).
        network, arguments: where these are not the name, and none.
        seeds: further seeds, for the spread; only where a training is short.
        formats: besides ONNX.
    """

    name: str
    quantize: str
    network: str = ""
    arguments: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (1, 2)
    formats: tuple[str, ...] = ()


PLANS = (
    Plan("resnet18", "static", seeds=()),
    Plan("vit", "fp16", seeds=()),
    Plan("vgg", "static", seeds=()),
    Plan("vit-cls", "static", seeds=()),
    Plan("cnn-keras", "static", seeds=()),
    Plan("mnistnet", "static", seeds=()),
    Plan("lenet", "static", formats=("torchscript",)),
    Plan("convnet", "static"),
    Plan("cnn-small", "static"),
    Plan("resnet-tiny", "fp16"),
    Plan("resnet-tiny-conv", "fp16", "resnet-tiny", ("use_conv=true",)),
    Plan("gru", "fp16"),
    Plan("lenet5", "static"),
    Plan("mlp-512", "static"),
    Plan("mlp-256", "static"),
)


def main() -> None:
    """Make what is missing, and write `models/`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these models; the table keeps what is finished of the others")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time  [default: 1]")
    parser.add_argument("--build", type=Path, default=BUILD, help="where the work is done  [default: build]")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--pictures", type=Path, help="pictures of digits in folders 0…9, read with each model")
    parser.add_argument("--no-seeds", action="store_true", help="train no further seeds")
    parser.add_argument("--choose", action="store_true", help="only print how each precision does on held-out images")
    options = parser.parse_args()
    known = {plan.name: plan for plan in PLANS}
    if unknown := [name for name in options.names if name not in known]:
        parser.error(f"no model {unknown[0]!r}; there: {', '.join(known)}")
    plans = [known[name] for name in options.names] or list(PLANS)
    models, seeds = options.build / "models", options.build / "seeds"
    if options.choose:
        print_candidates(plans, models, datasets.load("mnist", "train", options.data_dir))
        return

    trainings = [(plan, 0, models) for plan in plans]
    if not options.no_seeds:
        trainings += [(plan, seed, seeds) for plan in plans for seed in plan.seeds]
    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(lambda one: train(*one, options.data_dir), trainings))

    pictures = datasets.load(str(options.pictures), "test") if options.pictures else None
    for plan in plans:
        export(plan, models, options.data_dir)
        keep(store.Model.read(models / plan.name), plan, options.data_dir, pictures)
    if unmade := [plan.name for plan in PLANS if not (models / plan.name).is_dir()]:
        print(f"{MODELS / table.FILE} stays as it is: it is written when all models are in {models}; not there: {', '.join(unmade)}")
    else:
        write_table(models, seeds, options.data_dir, pictures)


def train(plan: Plan, seed: int, folder: Path, data_dir: Path | None) -> None:
    """Train one model, unless it is there; go on with an interrupted one. Stops at one that was trained by another recipe."""
    name = plan.name if seed == 0 else f"{plan.name}-seed{seed}"
    if is_trained(folder, name, plan.network or plan.name):
        return
    arguments = [word for pair in plan.arguments for word in ("--set", pair)]
    run("train", plan.network or plan.name, "--name", name, *arguments, "--seed", seed, "--threads", 1, "--device", "cpu",
        "--licence", "MIT", "--resume", folder=folder, data_dir=data_dir)  # fmt: skip


def is_trained(folder: Path, name: str, network: str) -> bool:
    """Say whether a model is there. Stops if it, or what there is of it, was trained by a recipe that is no longer the network's."""
    finished = (folder / name / "manifest.json").is_file()
    with Run(folder, name) as run:
        settings = None if finished else run.read_settings()
    if not finished and settings is None:
        return False
    manifest = store.Model.read(folder / name).manifest if finished else None
    recipe = recipe_of(manifest) if manifest else settings.recipe.to_json()
    held_out = manifest.training["data"].get("held_out_by") if manifest else settings.held_out
    # where a processor does not multiply in bfloat16, float32 takes its place
    if recipe | {"precision": ""} != architectures.find(network).best.to_json() | {"precision": ""}:
        place = folder / name if finished else run.folder
        raise SystemExit(f"{place}: trained by a recipe that is no longer that of {network}; move it away")
    if held_out != WRITERS:
        raise SystemExit(f"{folder / name}: trained with every twelfth image held out, not whole writers; move it away")
    return finished


def export(plan: Plan, folder: Path, data_dir: Path | None) -> None:
    """Export what is missing: other formats, ONNX in float32, and the lower precision.

    Stops if one is refused, or if held-out images choose another lower precision than the plan's.
    """
    there = {(one.format, one.quantize) for one in store.Model.read(folder / plan.name).artifacts}
    for name, quantize in [*((name, "none") for name in plan.formats), ("onnx", "none"), ("onnx", plan.quantize)]:
        if (name, quantize) in there:
            continue
        if quantize != "none":
            tried = candidates(store.Model.read(folder / plan.name), datasets.load("mnist", "train", data_dir))
            if (chosen := choose_precision(tried)) != plan.quantize:
                raise SystemExit(
                    f"{plan.name}: held-out images choose {chosen}, not {plan.quantize}: change PLANS\n{in_rows(plan.name, tried)}"
                )
        run("export", plan.name, "--format", name, "--quantize", quantize, folder=folder, data_dir=data_dir)


@dataclass(frozen=True)
class Candidate:
    """A lower precision of a model, tried on training images that were held out.

    Attributes:
        quantize: what ``--quantize`` takes to make it.
        bytes: size of the file.
        report: how its answers differ from those of the float32 file, which are PyTorch's within 0.0001, within this precision's budget.
        batch_difference: how far a logit moves between an image alone and the same image in a batch.
    """

    quantize: str
    bytes: int
    report: parity.ParityReport
    batch_difference: float

    @property
    def fits(self) -> bool:
        """Whether it keeps its budget and answers an image alike in any batch."""
        return bool(self.report) and self.batch_difference <= MOST_BATCH_DIFFERENCE


def choose_precision(tried: Sequence[Candidate]) -> str | None:
    """Return the ``--quantize`` of the smallest file that fits, None if none does."""
    fitting = [one for one in tried if one.fits]
    return min(fitting, key=lambda one: one.bytes).quantize if fitting else None


def candidates(model: store.Model, training: Dataset) -> list[Candidate]:
    """Make every lower precision from a model's float32 ONNX file, and try it on the held-out images of its training set.

    Static int8 is calibrated on training images that were not held out, the same that `export` takes.
    """
    rule = rule_of(model.manifest, training)
    _, indices = split_validation(training, rule)
    images, labels = training.images[indices], training.labels[indices]
    onnx, manifest = exporters.find("onnx"), model.manifest
    calibration = Calibration.draw(training, CALIBRATION_IMAGES, rule=rule)
    float32 = model.path(model.artifact("ort"))
    load = runtimes.get("ort").load
    answers = parity.logits_of(load(float32), images)
    tried = []
    with tempfile.TemporaryDirectory() as folder:
        for precision, reduction in onnx.reductions.items():
            path = Path(folder) / f"{precision}.onnx"
            about = (manifest.name, manifest.architecture, manifest.classes, manifest.licence, precision)
            reduction.convert(float32, Target(path, *about, calibration=calibration if reduction.calibrated else None))
            report, logits = parity.check(load(path), answers, images, labels, parity.BUDGETS[precision])
            alone = parity.logits_of(load(path), images[:ALONE], batch_size=1)
            moved = float(np.abs(alone - logits[:ALONE]).max()) if len(logits) else float("inf")
            tried.append(Candidate(quantize_of(precision), path.stat().st_size, report, moved))
    return tried


def print_candidates(plans: Sequence[Plan], folder: Path, training: Dataset) -> None:
    """Print a row for each lower precision of each model whose float32 ONNX file is there."""
    print("| model | precision | size | same answers | accuracy | moved by its batch | |\n|---|---|---|---|---|---|---|")
    for plan in plans:
        model = store.Model.read(folder / plan.name)
        if any((one.format, one.quantize) == ("onnx", "none") for one in model.artifacts):
            print(in_rows(plan.name, candidates(model, training)), flush=True)
        else:
            print(f"| {plan.name} | no float32 ONNX file in {folder / plan.name} | | | | | |", flush=True)


def in_rows(name: str, tried: Sequence[Candidate]) -> str:
    """Return candidates as rows of a Markdown table."""
    rows = []
    for one in tried:
        report = one.report
        verdict = (
            "**chosen**"
            if one.quantize == choose_precision(tried)
            else "; ".join(report.failures) or ("" if one.fits else "depends on the batch")
        )
        gained = points(report.accuracy - report.reference_accuracy)
        figures = f"{report.equal_answers:,} of {report.images:,} | {gained} points | {one.batch_difference:.2g}"
        rows.append(f"| {name} | {one.quantize} | {size(one.bytes)} | {figures} | {verdict} |")
    return "\n".join(rows)


def run(*words: object, folder: Path, data_dir: Path | None) -> None:
    """Run the command, as a user would."""
    data = ["--data-dir", data_dir] if data_dir else []
    command = [sys.executable, "-m", "mnist_edge", *words, "--models-dir", folder, *data]
    if subprocess.run([str(word) for word in command], check=False).returncode:
        raise SystemExit(f"stopped at: {' '.join(map(str, words))}")


def keep(made: store.Model, plan: Plan, data_dir: Path | None, pictures: Dataset | None) -> None:
    """Put what is small enough of a finished model into `models/`, in one step."""
    manifest = replace(made.manifest, artifacts=tuple(one for one in made.artifacts if is_kept(one, plan)))
    records: list[FileRecord] = [*manifest.artifacts, *manifest.references, manifest.history]
    records += [manifest.golden] if manifest.golden else []
    records += [manifest.weights] if manifest.weights.bytes < MOST_WEIGHTS_BYTES else []
    not_kept = [one for one in made.artifacts if one.quantize in ("none", plan.quantize) and one not in manifest.artifacts]
    findings = gather(made, None, data_dir, pictures)
    with folder_aside(MODELS, plan.name) as aside:
        for record in records:
            shutil.copyfile(made.path(record), aside / record.file)
        manifest.write(aside)
        kept = replace(findings, model=store.Model(MODELS / plan.name, manifest))  # the folder aside has a name of its own
        for name, content in draw_report(kept, manifest.weights in records, not_kept, REFERENCE_MARK).items():
            if name in KEPT:
                (aside / name).write_bytes(content)
        publish_model(aside, MODELS / plan.name)


def is_kept(artifact: Artifact, plan: Plan) -> bool:
    """Say whether an artifact is one that the plan names, and small enough."""
    return artifact.bytes <= MOST_BYTES and artifact.quantize in ("none", plan.quantize)


def write_table(models: Path, seeds: Path, data_dir: Path | None, pictures: Dataset | None) -> None:
    """Write `models/README.md`: every model, with the figures of the files that are too large to be kept, too."""
    others = store.list_models(seeds)[0]
    rows = []
    for plan in sorted(PLANS, key=lambda one: one.name):
        findings = gather(store.Model.read(models / plan.name), None, data_dir, pictures)
        siblings = table.siblings(findings.model, others)
        elsewhere = frozenset(one.file for one in findings.model.artifacts if one.bytes > MOST_BYTES)
        shown = only(findings, plan)
        rows.append(table.Row(shown, table.latency_of(shown), siblings, elsewhere))
    introduction = INTRODUCTION.format(processor=processor())
    table.write_table(MODELS, f"# Reference models\n\n{introduction}", rows, REFERENCE_MARK)


def only(findings: Findings, plan: Plan) -> Findings:
    """Return the findings without the artifacts that the plan does not name."""
    model = findings.model
    artifacts = tuple(one for one in model.artifacts if one.quantize in ("none", plan.quantize))
    return replace(findings, model=store.Model(model.folder, replace(model.manifest, artifacts=artifacts)))


INTRODUCTION = """The networks of the five tutorials, each trained by `mnist-edge train NAME` alone, as float32 ONNX and in the smallest lower precision that
keeps its budget on held-out training images and answers each image alike in any batch; the test images prove it. `mnist-edge list` shows
them, and `mnist-edge predict img.png --model gru` uses one; only LeNet is installed with the package. Each folder holds the manifest, the
files, PyTorch's answers to the test set (for `mnist-edge verify`), golden inputs (`verify --quick`), a card, the curves and the confusion
matrix, and weights of less than 1 MB, with which `mnist-edge export` and `--runtime torch` work; the card says where they are left out.
`make models` makes them again, on the same machine with the same bits.

Each is of seed 0, which was not chosen by its score. Recipes were chosen on held-out training images; of most networks a test figure of an
earlier training was known by then (docs/reference-models.md). Measured on {processor}."""


if __name__ == "__main__":
    main()
