"""make matrix: every artifact of the reference models on every runtime and platform that is here. Writes docs/matrix.md.

Answers come first, then latencies, for which nothing else should run: --answers-only and --latencies-only do them apart.
What was measured is kept in build/matrix.json, by artifact, runtime's release and platform, so that an interrupted run goes on where it
stopped: the emulated machines take hours. Proofs that pass are kept with the models, as mnist-edge verify keeps them, if --keep-proofs says so.
"""

import argparse
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matrix_page import FEW, Column, Results, cell, key, table
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


def main() -> None:
    """Measure what is not measured yet, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models-dir", type=Path, default=HOUSE / "models")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--only", nargs="*", help="names of columns: runtimes, and platforms that are emulated")
    parser.add_argument("--model", nargs="*", help="names of models")
    parser.add_argument("--skip", nargs="*", default=[], help="artifacts that are not tried on emulated machines, for the time they take")
    parser.add_argument("--keep-proofs", action="store_true", help="keep what passes with the models")
    phase = parser.add_mutually_exclusive_group()
    phase.add_argument("--answers-only", action="store_true", help="measure no latencies, for a machine with other work")
    phase.add_argument("--latencies-only", action="store_true", help="measure only the latencies that are wanting, on a quiet machine")
    options = parser.parse_args()
    test = datasets.load("mnist", "test", options.data_dir)
    _copy(options.models_dir)
    models = [model for model in store.list_models(COPY)[0] if not options.model or model.name in options.model]
    results: Results = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    everything = columns()
    asked = [column for column in everything if not options.only or column.name in options.only]
    models = [_exported(model, test, {name for column in asked for name in column.runtime.formats}) for model in models]
    chosen = [
        (column, model, artifact)
        for column in asked
        for model in models
        for artifact in model.artifacts
        if column.runtime.runs(artifact) and not (column.machine and artifact.file in options.skip)
    ]
    if not options.latencies_only:
        for column, model, artifact in chosen:
            measured = _measured(model, artifact, column, test, results)
            print(f"{artifact.file:28} {column.name:14} {cell(measured).replace('<br>', ', ')}", flush=True)
            if options.keep_proofs and (options.models_dir / model.name / artifact.file).exists():
                _keep_proof(options.models_dir / model.name, artifact, column, test, measured)
    if not options.answers_only:
        for column, model, artifact in chosen:
            _add_latency(model, artifact, column, test, results)
    write_atomically(TABLE, table(store.list_models(COPY)[0], results, everything).encode())
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


def _exported(model: Model, test: Dataset, wanted: set[str]) -> Model:
    """Export a model to each wanted format that can be written here and is not there; what the gate refuses is said and left out.

    A format that is made from another one is written in each precision that the model has of that one.
    """
    if not (model.folder / model.manifest.weights.file).is_file():
        return model
    for format in exporters.formats():
        if format.name not in wanted or format.missing():
            continue
        sources = {artifact.precision for artifact in model.artifacts if artifact.format == format.source}
        have = {artifact.precision for artifact in model.artifacts if artifact.format == format.name}
        for precision in (sources & set(format.precisions) if format.source else {"float32"}) - have:
            # this table has no column for chips: docs/c.md has them
            options = {"target": ("none",)} if any(option.name == "target" for option in format.options) else {}
            try:
                model, _ = gate.export(model, format.name, test, precision=precision, options=options)
            except MnistEdgeError as error:
                print(f"{model.name}: not exported to {format.name} in {precision}: {error}")
    return model


def columns() -> list[Column]:
    """Return the columns: each runtime that takes artifacts and is no chip, then each emulated machine."""
    here = [Column(name, one) for name, one in runtimes.runtimes().items() if not (one.from_weights or one.target)]
    return here + [Column(name, runtimes.get("ort"), name) for name in emulated.PLATFORMS]


def _measured(model: Model, artifact: Artifact, column: Column, test: Dataset, results: Results) -> dict[str, Any]:
    name = key(artifact, column)
    try:
        version = _version(column)
    except MnistEdgeError as error:
        return {"missing": str(error)}
    kept = results.get(name)
    if kept is not None and kept["version"] == version and kept["images"] == len(test):
        return kept
    started = time.time()
    results[name] = {"version": version, "images": len(test)} | _measure(model, artifact, column, test)
    results[name] |= {"seconds": round(time.time() - started, 1), "made_on": platforms.here().describe()}
    _keep(results)
    return results[name]


def _keep(results: Results) -> None:
    KEPT.parent.mkdir(exist_ok=True)
    write_atomically(KEPT, json.dumps(results, indent=1).encode())


def _add_latency(model: Model, artifact: Artifact, column: Column, test: Dataset, results: Results) -> None:
    """Measure the latency, if the answers are known and it is not."""
    measured = results.get(key(artifact, column), {})
    if "equal_answers" not in measured or "latency_ratio" in measured or column.runtime.missing():
        return
    try:
        measured["latency_ratio"] = _latency_ratio(model, artifact, _loader(model, artifact, column)(1), test.images[:1])
    except Exception as error:  # a runtime raises what it likes
        print(f"{artifact.file:28} {column.name:14} no latency: {one_line(error)}", flush=True)
        return
    print(f"{artifact.file:28} {column.name:14} {cell(measured).replace('<br>', ', ')}", flush=True)
    _keep(results)


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
        few = test.images[:FEW] if column.machine else test.images
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
    } | ({"latency_ratio": None} if column.machine else {})


def _loader(model: Model, artifact: Artifact, column: Column) -> Callable[[int], Run]:
    path = model.path(artifact)
    if column.machine:
        return lambda threads: emulated.load(path, column.machine, threads)
    return lambda threads: column.runtime.load(path, threads)


def _latency_ratio(model: Model, artifact: Artifact, run: Run, image: NDArray[np.uint8]) -> float | None:
    """Return the latency of one image against ONNX Runtime's with the ONNX file of this precision; None where there is none."""
    base = next((one for one in model.artifacts if one.format == "onnx" and one.precision == artifact.precision), None)
    if base is None:
        return None
    times = latencies({"this": run, "ort": runtimes.load_artifact(model, base)}, image)
    return float(np.median(times["this"]) / np.median(times["ort"]))


def _version(column: Column) -> str:
    if column.machine:
        emulated.get(column.machine).require()
        return f"{runtimes.get('ort').version()} by qemu"
    return column.runtime.version()


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


if __name__ == "__main__":
    main()
