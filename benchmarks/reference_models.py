"""Make the models of `models/` again: train, export, prove, report, and keep what is small enough. `make models` runs it.

Everything is made in `build/models` first, and what is finished there is not made again; an interrupted training goes on.
Then each model's folder in `models/` gets its manifest, artifacts of up to 5 MB, PyTorch's answers, golden inputs, history,
card, curves and confusion matrix; only LeNet, which is installed with the package, its weights too.

One thread each gives the same bits whatever the number of cores; two trainings at a time use two of them (--jobs).
"""

import argparse
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from machine import processor

from mnist_edge import architectures, store
from mnist_edge import dataset as datasets
from mnist_edge.dataset import Dataset
from mnist_edge.files import folder_aside
from mnist_edge.manifest import FileRecord
from mnist_edge.publishing import publish_model
from mnist_edge.report import table
from mnist_edge.report.findings import Findings, gather
from mnist_edge.report.marked import REFERENCE_MARK
from mnist_edge.report.write import draw_report
from mnist_edge.retrain import recipe_of
from mnist_edge.training.run import Run

ROOT = Path(__file__).resolve().parent.parent
MODELS, BUILD = ROOT / "models", ROOT / "build"

#: Of a file in the repository.
MOST_BYTES = 5_000_000

#: What of a report is kept beside the card.
KEPT = ("README.md", "curves.png", "confusion.png")


@dataclass(frozen=True)
class Plan:
    """A model to make.

    Attributes:
        name: of the model.
        quantize: the lower precision that is kept beside float32: the smallest that the gate lets through and whose answers are the same in
            any batch, which those of dynamic int8 are not (README, "Smaller"). For the GRU, the tiny ResNets and the ViT that is fp16.
        network, arguments: where these are not the name, and none.
        seeds: further seeds, for the spread; only where a training is short.
        threads: LeNet's reference was trained with two, the others with one.
        formats: besides ONNX.
    """

    name: str
    quantize: str
    network: str = ""
    arguments: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (1, 2)
    threads: int = 1
    formats: tuple[str, ...] = ()


PLANS = (
    Plan("resnet18", "static", seeds=()),
    Plan("vit", "fp16", seeds=()),
    Plan("vgg", "static", seeds=()),
    Plan("vit-cls", "static", seeds=()),
    Plan("cnn-keras", "static", seeds=()),
    Plan("mnistnet", "static", seeds=()),
    Plan("lenet", "static", threads=2, formats=("torchscript",)),
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
    options = parser.parse_args()
    known = {plan.name: plan for plan in PLANS}
    if unknown := [name for name in options.names if name not in known]:
        parser.error(f"no model {unknown[0]!r}; there: {', '.join(known)}")
    plans = [known[name] for name in options.names] or list(PLANS)
    models, seeds = options.build / "models", options.build / "seeds"

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
    run("train", plan.network or plan.name, "--name", name, *arguments, "--seed", seed, "--threads", plan.threads, "--device", "cpu",
        "--licence", "MIT", "--resume", folder=folder, data_dir=data_dir)  # fmt: skip


def is_trained(folder: Path, name: str, network: str) -> bool:
    """Say whether a model is there. Stops if it, or what there is of it, was trained by a recipe that is no longer the network's."""
    finished = (folder / name / "manifest.json").is_file()
    with Run(folder, name) as run:
        settings = None if finished else run.read_settings()
    if not finished and settings is None:
        return False
    recipe = recipe_of(store.Model.read(folder / name).manifest) if finished else settings.recipe.to_json()
    # where a processor does not multiply in bfloat16, float32 takes its place
    if recipe | {"precision": ""} != architectures.find(network).best.to_json() | {"precision": ""}:
        place = folder / name if finished else run.folder
        raise SystemExit(f"{place}: trained by a recipe that is no longer that of {network}; move it away")
    return finished


def export(plan: Plan, folder: Path, data_dir: Path | None) -> None:
    """Export what is missing: other formats, ONNX in float32, and the lower precision. Stops if one is refused."""
    there = {(one.format, one.quantize) for one in store.Model.read(folder / plan.name).artifacts}
    wanted = [*((name, "none") for name in plan.formats), ("onnx", "none"), ("onnx", plan.quantize)]
    for name, quantize in wanted:
        if (name, quantize) not in there:
            run("export", plan.name, "--format", name, "--quantize", quantize, folder=folder, data_dir=data_dir)


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
    records += [manifest.weights] if plan.name == store.REFERENCE_MODEL else []
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


def is_kept(artifact: store.Artifact, plan: Plan) -> bool:
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
passes the gate and answers each image alike in any batch. `mnist-edge list` shows them, and `mnist-edge predict img.png --model gru` uses
one; only LeNet is installed with the package. Each folder holds the manifest, the files, PyTorch's answers to the test set (for
`mnist-edge verify`), golden inputs (`verify --quick`), a card, the curves and the confusion matrix; weights are LeNet's only. `make models`
makes them again, on the same machine with the same bits.

Each is of seed 0, which was not chosen by its score. Recipes were chosen on held-out training images; of most networks a test figure of an
earlier training was known by then (README, "Reference models"). Measured on {processor}."""


if __name__ == "__main__":
    main()
