"""make matrix: every artifact of the reference models on every runtime and platform that is here. Writes docs/matrix.md.

What was measured is kept in build/matrix.json, by artifact, runtime's release and platform, so that an interrupted run goes on where it
stopped: the emulated machines take hours. Proofs that pass are kept with the models, as mnist-edge verify keeps them, if --keep-proofs says so.
"""

import argparse
import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from machine import processor
from numpy.typing import NDArray

import exporters
from exporters import gate
from mnist_edge import dataset as datasets
from mnist_edge import runtimes, store
from mnist_edge.benchmark.latency import latencies
from mnist_edge.common.errors import MnistEdgeError, one_line
from mnist_edge.common.files import write_atomically
from mnist_edge.common.logits import Run
from mnist_edge.dataset import Dataset
from mnist_edge.proof import parity, verification
from mnist_edge.proof.verification import Trial
from mnist_edge.runtimes import emulated, platforms
from mnist_edge.store import Model
from mnist_edge.store.manifest import Artifact

HOUSE = Path(__file__).resolve().parents[1]
KEPT = HOUSE / "build" / "matrix.json"
TABLE = HOUSE / "docs" / "matrix.md"

#: A copy of the models, in which they are exported to the formats that the repository does not keep.
COPY = HOUSE / "build" / "matrix"

#: Emulated machines answer batches of one so slowly that they are asked about so many images only.
_FEW = 1000

Results = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Column:
    """A runtime here, or ONNX Runtime on an emulated machine."""

    name: str
    runtime: runtimes.Runtime
    machine: str = ""


def main() -> None:
    """Measure what is not measured yet, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models-dir", type=Path, default=HOUSE / "models")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--only", nargs="*", help="names of columns: runtimes, and platforms that are emulated")
    parser.add_argument("--model", nargs="*", help="names of models")
    parser.add_argument("--skip", nargs="*", default=[], help="artifacts that are not tried on emulated machines, for the time they take")
    parser.add_argument("--keep-proofs", action="store_true", help="keep what passes with the models")
    options = parser.parse_args()
    test = datasets.load("mnist", "test", options.data_dir)
    _copy(options.models_dir)
    models = [model for model in store.list_models(COPY)[0] if not options.model or model.name in options.model]
    models = [_exported(model, test) for model in models]
    results: Results = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    chosen = [column for column in columns() if not options.only or column.name in options.only]
    for column in chosen:
        for model in models:
            for artifact in model.artifacts:
                if not column.runtime.runs(artifact) or (column.machine and artifact.file in options.skip):
                    continue
                measured = _measured(model, artifact, column, test, results)
                print(f"{artifact.file:28} {column.name:14} {cell(measured).replace('<br>', ', ')}", flush=True)
                if options.keep_proofs and (options.models_dir / model.name / artifact.file).exists():
                    _keep_proof(options.models_dir / model.name, artifact, column, test, measured)
    everything = store.list_models(COPY)[0]
    write_atomically(TABLE, table(everything, results, columns()).encode())
    print(f"wrote {TABLE.relative_to(HOUSE)}")


def _copy(models_dir: Path) -> None:
    """Copy each model that is not copied yet, or was trained or exported again since."""
    for model in store.list_models(models_dir)[0]:
        there = COPY / model.name
        files = {artifact.sha256 for artifact in model.artifacts}
        if there.is_dir() and files <= {artifact.sha256 for artifact in Model.read(there).artifacts}:
            continue
        shutil.rmtree(there, ignore_errors=True)
        shutil.copytree(model.folder, there)


def _exported(model: Model, test: Dataset) -> Model:
    """Export a model to each format that can be written here and is not there; what the gate refuses is said and left out."""
    if not (model.folder / model.manifest.weights.file).is_file():
        return model
    for format in exporters.formats():
        if format.missing() or any(artifact.format == format.name for artifact in model.artifacts):
            continue
        try:
            model, _ = gate.export(model, format.name, test)
        except MnistEdgeError as error:
            print(f"{model.name}: not exported to {format.name}: {error}")
    return model


def columns() -> list[Column]:
    """Return the columns: each runtime that takes artifacts, then each emulated machine."""
    here = [Column(name, one) for name, one in runtimes.runtimes().items() if not one.from_weights]
    return here + [Column(name, runtimes.get("ort"), name) for name in emulated.PLATFORMS]


def _measured(model: Model, artifact: Artifact, column: Column, test: Dataset, results: Results) -> dict[str, Any]:
    key = _key(artifact, column)
    try:
        version = _version(column)
    except MnistEdgeError as error:
        return {"missing": str(error)}
    kept = results.get(key)
    if kept is not None and kept["version"] == version and kept["images"] == len(test):
        return kept
    started = time.time()
    results[key] = {"version": version, "images": len(test)} | _measure(model, artifact, column, test)
    results[key] |= {"seconds": round(time.time() - started, 1), "made_on": processor()}
    KEPT.parent.mkdir(exist_ok=True)
    write_atomically(KEPT, json.dumps(results, indent=1).encode())
    return results[key]


def _measure(model: Model, artifact: Artifact, column: Column, test: Dataset) -> dict[str, Any]:
    """Return the figures of one artifact in one place, or the reason why it gives none."""
    stored = model.manifest.reference_on(test.sha256)
    assert stored is not None, f"{model.name}: no answers of PyTorch to this test set"
    reference = store.read_reference(model, stored)
    try:
        with_threads: Callable[[int], Run] = _loader(model, artifact, column)
        run = with_threads(1)
        budget = parity.Budget(**artifact.parity["budget"])
        report, logits = parity.check(run, reference, test.images, test.labels, budget)
        if len(logits) != len(test):
            return {"reason": "; ".join(report.failures)}
        few = test.images[:_FEW] if column.machine else test.images
        other = {f"batch {size}": parity.logits_of(run, few, size) for size in (1, 64)}
        other["2 threads"] = parity.logits_of(with_threads(2), few)
    except MnistEdgeError as error:
        return {"reason": str(error).replace(str(model.folder) + "/", "")}
    except Exception as error:  # a runtime raises what it likes
        return {"reason": one_line(error)}
    return {
        "passed": bool(report),
        "failures": list(report.failures),
        "equal_answers": report.equal_answers,
        "max_difference": report.max_difference,
        "accuracy": report.accuracy,
        "changed_by": {what: int((again.argmax(1) != logits[: len(few)].argmax(1)).sum()) for what, again in other.items()},
        "moved_by": {what: float(np.abs(again - logits[: len(few)]).max()) for what, again in other.items()},
        "tried_again": len(few),
        "latency_ratio": None if column.machine else _latency_ratio(model, artifact, run, test.images[:1]),
    }


def _loader(model: Model, artifact: Artifact, column: Column) -> Callable[[int], Run]:
    path = model.path(artifact)
    if column.machine:
        return lambda threads: emulated.load(path, column.machine, threads)
    return lambda threads: column.runtime.load(path, threads)


def _latency_ratio(model: Model, artifact: Artifact, run: Run, image: NDArray[np.uint8]) -> float | None:
    """Return the latency of one image against ONNX Runtime's with the float32 ONNX file, or with this file where it runs it."""
    base = artifact if artifact.format == "onnx" else next((one for one in model.artifacts if one.format == "onnx"), None)
    if base is None:
        return None
    times = latencies({"this": run, "ort": runtimes.load_artifact(model, base)}, image)
    return float(np.median(times["this"]) / np.median(times["ort"]))


def _version(column: Column) -> str:
    if column.machine:
        emulated.get(column.machine).require()
        return f"{runtimes.get('ort').version()} by qemu"
    return column.runtime.version()


def _key(artifact: Artifact, column: Column) -> str:
    return f"{artifact.file} {artifact.sha256[:16]} {column.name}"


def _keep_proof(folder: Path, artifact: Artifact, column: Column, test: Dataset, measured: dict[str, Any]) -> None:
    """Verify again and keep the proof, if it passed and is not there yet."""
    model = Model.read(folder)
    now = model.artifact_of_file(Path(artifact.file))
    where = "emulated" if column.machine else "here"
    if not measured.get("passed") or _is_kept(now, column, where):
        return
    stored = model.manifest.reference_on(test.sha256)
    assert stored is not None
    verification.keep_proofs(model, list(verification.verify(model, [Trial(now, column.runtime, column.machine)], stored, test)))


def _is_kept(artifact: Artifact, column: Column, where: str) -> bool:
    for proof in artifact.proofs:
        if proof.runtime != column.runtime.name or proof.platform is None:
            continue
        if where == "here" and platforms.Platform.from_json(proof.platform).same_kind(platforms.here()):
            return proof.version == column.runtime.version()
        if where == "emulated" and proof.platform.get("processor") == emulated.get(column.machine).processor:
            return True
    return False


def cell(measured: dict[str, Any] | None) -> str:
    """Return what the table says of one measurement."""
    if measured is None:
        return "–"
    if "missing" in measured:
        return "not here"
    if "reason" in measured:
        return "does not run"
    lines = [f"{measured['equal_answers']:,}", f"{measured['max_difference']:.2g}"]
    if measured["latency_ratio"] is not None:
        lines.append(f"{measured['latency_ratio']:.1f}×")
    if changed := {what: number for what, number in measured["changed_by"].items() if number}:
        lines += [f"{what}: {number} change" for what, number in changed.items()]
    lines[0] += "" if measured["tried_again"] else "¹"
    text = "<br>".join(lines)
    return text if measured["passed"] else f"**{text}**"


def table(models: list[Model], results: Results, known: list[Column]) -> str:
    """Return the page in Markdown."""
    used = [column for column in known if any(key.endswith(f" {column.name}") for key in results)]
    lines = [f"| artifact | {' | '.join(column.name for column in used)} |", "|---" * (len(used) + 1) + "|"]
    reasons: list[str] = []
    for model in models:
        for artifact in model.artifacts:
            found = [results.get(_key(artifact, column)) for column in used]
            if any(found):
                lines.append(f"| {artifact.file} | {' | '.join(map(cell, found))} |")
            reasons += [f"- {artifact.file} on {column.name}: {why}" for column, one in zip(used, found, strict=True) for why in _whys(one)]
    versions = dict.fromkeys(f"{column.name}: {one['version']}" for column in used for one in _of(results, column))
    machines = dict.fromkeys(one["made_on"] for one in results.values())
    emulations = [
        f"{one.name}: {one.summary} ({one.processor})" for one in emulated.PLATFORMS.values() if one.name in {c.name for c in used}
    ]
    return _PAGE.format(
        table="\n".join(lines),
        reasons="\n".join(reasons) or "- None.",
        versions="\n".join(f"- {line}" for line in versions),
        emulations="\n".join(f"- {line}" for line in emulations),
        machine=" and ".join(machines),
        here=platforms.here().describe(),
        few=f"{_FEW:,}",
    )


def _of(results: Results, column: Column) -> Iterator[dict[str, Any]]:
    yield from (one for key, one in results.items() if key.endswith(f" {column.name}"))


def _whys(one: dict[str, Any] | None) -> Iterator[str]:
    if one is None:
        return
    if "reason" in one:
        yield one["reason"]
    elif one["failures"]:
        yield f"refused: {'; '.join(one['failures'])}"
    elif any(one["changed_by"].values()):
        most = max(one["moved_by"].values())
        yield f"a batch of another size, or a second thread, changes answers; logits move by up to {most:.2g}"


_PAGE = """# Which runtime answers as PyTorch does

Every artifact of the reference models, run on MNIST's 10,000 test images by each runtime, and compared with PyTorch's stored answers.
`make matrix` writes this page. `mnist-edge verify MODEL --runtime RUNTIME` repeats one row of it on your machine.

Each cell has, from top to bottom:

- how many of the 10,000 answers are PyTorch's;
- the largest difference of a logit, in any batch that was tried (1, 2, 3, 5, 7, 8, 64, 256);
- the latency of one image on one thread, as a multiple of ONNX Runtime's with the same file (of a `.tflite` or `.pte`: with the float32 ONNX file);
- whether batches of 1 or 64 instead of 256, or two threads instead of one, change an answer (on emulated machines of {few} images).

**Bold**: the gate refuses it, because it does not keep the artifact's budget. –: a format or precision that the runtime does not take, or
not measured yet. ¹: other batches and threads were not tried.

{table}

## What does not run, or does not answer as PyTorch does

{reasons}

## Where this was measured

On {machine}; to the program that is {here}. The other columns ran there under qemu, which proves arithmetic and not speed:

{emulations}

Releases:

{versions}
"""


if __name__ == "__main__":
    main()
