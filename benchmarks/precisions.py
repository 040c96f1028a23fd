"""Every model of a folder in every precision: published or refused, and why. Prints the table of docs/precisions.md.

After `make models`: cp -r build/models NEW_FOLDER, and python benchmarks/precisions.py NEW_FOLDER. What passed is left in it, and what it had.
"""

import argparse
from pathlib import Path

import exporters
from exporters import Calibration, gate
from mnist_edge import dataset as datasets
from mnist_edge import store
from mnist_edge.common.errors import ExportError, NoGainError
from mnist_edge.store.manifest import quantize_of

CALIBRATION_IMAGES = 500


def main() -> None:
    """Export, and print a row a model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models_dir", type=Path)
    parser.add_argument("--data-dir", type=Path)
    options = parser.parse_args()
    test = datasets.load("mnist", "test", options.data_dir)
    calibration = Calibration.draw(datasets.load("mnist", "train", options.data_dir), CALIBRATION_IMAGES)

    precisions = exporters.find("onnx").precisions
    print("| network | PyTorch | float32 |" + "".join(f" {quantize_of(precision)} |" for precision in precisions[1:]))
    print("|---" * (2 + len(precisions)) + "|")
    for model in store.list_models(options.models_dir)[0]:
        cells = [f"`{model.name}`", f"{100 * model.manifest.scores['test_accuracy']:.2f} %"]
        cells += [_export(model, precision, test, calibration) for precision in precisions]
        print(f"| {' | '.join(cells)} |", flush=True)


def _export(model: store.Model, precision: str, test: datasets.Dataset, calibration: Calibration) -> str:
    images = calibration if precision == "int8-static" else None
    try:
        _, proof = gate.export(model, "onnx", test, precision=precision, calibration=images)
    except NoGainError as error:
        return f"**no**: saves no space, {100 * error.size:.0f} %; {error.speed}"
    except ExportError as error:
        return f"**no**: {error}"
    report = proof.report
    figures = f"{100 * report.accuracy:.2f} %, {report.images - report.equal_answers} changed"
    if proof.artifact is None:
        costly = f"; costliest: {proof.costs[0].layer}" if proof.costs else ""
        changed = report.images - report.equal_answers
        return f"**no**: {changed} of {report.images:,} answers changed, accuracy {100 * report.accuracy:.2f} %{costly}"
    if proof.verdict is None:
        return f"{proof.artifact.bytes / 1000:,.0f} kB"
    return f"{100 * proof.verdict.size:.0f} %, {proof.verdict.speed}; {figures}"


if __name__ == "__main__":
    main()
