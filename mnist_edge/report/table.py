"""The models of a folder in one table, a row a model: the ``README.md`` of the models folder."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median, stdev

from mnist_edge.benchmark.latency import latencies
from mnist_edge.files import write_atomically
from mnist_edge.manifest import Artifact
from mnist_edge.report import words
from mnist_edge.report.findings import Findings
from mnist_edge.report.marked import check_ours, marked
from mnist_edge.report.origin import origin
from mnist_edge.runtimes import load_artifact
from mnist_edge.store import Model

FILE = "README.md"


@dataclass(frozen=True)
class Row:
    """A model and what is not in its manifest.

    Attributes:
        findings: the model.
        latency: median seconds of one answer on one thread, by artifact's file.
        seeds: test accuracies, 0 to 1, of the same training with other seeds; the model's own is not among them.
        elsewhere: files that are not kept with the model, for their size.
    """

    findings: Findings
    latency: Mapping[str, float]
    seeds: Sequence[float] = ()
    elsewhere: frozenset[str] = field(default=frozenset())


def write_table(folder: Path, introduction: str, rows: Sequence[Row]) -> None:
    """Write a models folder's ``README.md``. Raises UsageError for one of the user's own, OSError."""
    check_ours(folder / FILE)
    write_atomically(folder / FILE, marked(f"{introduction}\n\n{table(rows)}"))


def latency_of(findings: Findings) -> dict[str, float]:
    """Measure the median seconds of one answer on one thread, by artifact's file, of those for ONNX Runtime. Raises ModelError."""
    files = [artifact for artifact in findings.model.artifacts if artifact.runtime == "ort"]
    runs = {artifact.file: load_artifact(findings.model, artifact) for artifact in files}
    return {file: median(times) for file, times in latencies(runs, findings.data.images[:1]).items()}


def siblings(model: Model, others: Sequence[Model]) -> list[Model]:
    """Return those of `others` that differ from `model` by nothing but the seed."""
    own = _training(model)
    return [other for other in others if _training(other) == own and other.manifest.training["seed"] != model.manifest.training["seed"]]


def table(rows: Sequence[Row]) -> str:
    """Return the table in Markdown, with what its columns mean."""
    pictures = next((row.findings.pictures for row in rows if row.findings.pictures is not None), None)
    seeds = any(row.seeds for row in rows)
    header = ["model", "parameters", "artifact", "size", "accuracy", "same answers", "latency", "trained in", "tutorial"]
    header += ["over seeds"] if seeds else []
    header += [f"{pictures.images:,} pictures"] if pictures is not None else []
    lines = [header, ["---"] * len(header), *(_cells(row, seeds, pictures is not None) for row in rows)]
    proven = " and ".join({f"the {len(row.findings.data):,} test images of {row.findings.data_name}" for row in rows})
    notes = [
        f"**accuracy** on {proven}, and **same answers** as PyTorch there, as proven when each file was published",
        "**latency** of one image, median, ONNX Runtime on one thread of the machine that wrote this",
        "**trained in** as long as it took there, on as many threads as the card names",
    ]
    if seeds:
        notes.append("**over seeds**: mean and standard deviation of the test accuracy; kept is seed 0, whichever was luckiest")
    if pictures is not None:
        notes.append(f"**{pictures.images:,} pictures** by other hands, which nothing was trained on, read by the first artifact")
    if any(row.elsewhere for row in rows):
        notes.append("¹ too large to be kept here; the card names the command that makes the model, and `mnist-edge export` makes the file")
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n\n" + "".join(f"- {note}.\n" for note in notes)


def _cells(row: Row, seeds: bool, pictures: bool) -> list[str]:
    findings = row.findings
    model, manifest = findings.model, findings.model.manifest
    artifacts = sorted(model.artifacts, key=lambda one: (one.precision != "float32", one.file))
    tutorial = origin(manifest).tutorial_accuracy

    def each(cell: Callable[[Artifact], str]) -> str:
        return "<br>".join(cell(one) for one in artifacts) or "–"

    def speed(one: Artifact) -> str:
        return f"{1e6 * row.latency[one.file]:,.0f} µs" if one.file in row.latency else "–"

    cells = [
        f"[{model.name}]({model.name}/README.md)",
        f"{manifest.parameters:,}",
        each(lambda one: _what(one) + ("¹" if one.file in row.elsewhere else "")),
        each(lambda one: words.size(one.bytes)),
        each(lambda one: words.percent(one.parity["accuracy"])) if artifacts else words.percent(findings.evaluation.accuracy),
        each(lambda one: f"{one.parity['equal_answers']:,}"),
        each(speed),
        words.duration(manifest.training["seconds"]),
        "–" if tutorial is None else words.percent(tutorial),
    ]
    if seeds:
        scores = [findings.evaluation.accuracy, *row.seeds]
        cells.append(f"{words.percent(mean(scores))} ± {100 * stdev(scores):.2f} ({len(scores)})" if row.seeds else "–")
    if pictures:
        cells.append("–" if findings.pictures is None else words.percent(findings.pictures.accuracy))
    return cells


def _what(one: Artifact) -> str:
    return one.precision if one.runtime == "ort" else f"{one.format} {one.precision}"


def _training(model: Model) -> tuple[object, ...]:
    manifest = model.manifest
    recipe = {"precision": "float32"} | manifest.training["recipe"]  # which older manifests do not name
    return manifest.architecture, manifest.arguments, recipe, manifest.training["data"]
