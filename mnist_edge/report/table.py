"""The models of a folder in one table, one row per model: the ``README.md`` of the models folder."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median, stdev
from urllib.parse import quote

from mnist_edge.benchmark.latency import latencies
from mnist_edge.common.files import write_atomically
from mnist_edge.common.text import count, duration, percent, size
from mnist_edge.report.card import escape
from mnist_edge.report.findings import Findings
from mnist_edge.report.origin import origin
from mnist_edge.runtimes import load_artifact
from mnist_edge.store import Model
from mnist_edge.store.manifest import Artifact
from mnist_edge.store.marks import MARK, check_ours, marked
from mnist_edge.store.retrain import recipe_of

FILE = "README.md"


@dataclass(frozen=True)
class Row:
    """A model and what is not in its manifest.

    Attributes:
        findings: the model.
        latency: median seconds of one answer on one thread, by artifact's file.
        siblings: the same training from other seeds.
        elsewhere: files that are not kept with the model, for their size.
    """

    findings: Findings
    latency: Mapping[str, float]
    siblings: Sequence[Model] = ()
    elsewhere: frozenset[str] = frozenset()


def write_table(folder: Path, introduction: str, rows: Sequence[Row], mark: str = MARK) -> None:
    """Write a models folder's ``README.md``. Raises UsageError for one that does not bear the mark, OSError."""
    check_ours(folder / FILE, mark)
    write_atomically(folder / FILE, marked(f"{introduction}\n\n{table(rows)}", mark))


def latency_of(findings: Findings) -> dict[str, float]:
    """Measure the median seconds of one answer on one thread, by artifact's file, of those for ONNX Runtime. Raises ModelError."""
    files = [artifact for artifact in findings.model.artifacts if artifact.runtime == "ort"]
    runs = {artifact.file: load_artifact(findings.model, artifact) for artifact in files}
    return {file: median(times) for file, times in latencies(runs, findings.data.images[:1]).items()}


def siblings(model: Model, others: Sequence[Model]) -> list[Model]:
    """Return those of `others` with the network, recipe and data of `model` but another seed, tested on the same images; one per seed."""
    own = _training(model)
    seeds = {other.manifest.training["seed"]: other for other in reversed(others) if _training(other) == own}
    return [seeds[seed] for seed in sorted(seeds) if seed != model.manifest.training["seed"]]


def table(rows: Sequence[Row]) -> str:
    """Return the table in Markdown, with what its columns mean."""
    pictures = next((row.findings.pictures for row in rows if row.findings.pictures is not None), None)
    seeds = any(row.siblings for row in rows)
    header = ["model", "parameters", "artifact", "size", "accuracy", "same answers", "latency", "trained in", "tutorial"]
    header += ["over seeds"] if seeds else []
    header += [escape(pictures.name)] if pictures is not None else []
    lines = [header, ["---"] * len(header), *(_cells(row, seeds, pictures is not None) for row in rows)]
    tested = dict.fromkeys(f"{count(len(row.findings.data), 'test image')} of {escape(row.findings.data_name)}" for row in rows)
    notes = [
        f"**accuracy** on {' or '.join(tested)} unless it says otherwise, and **same answers** as PyTorch there, as proven when each file was published",
        "**latency** of one image, median, ONNX Runtime on one thread of the machine that wrote this",
        "**trained in**: how long the training took, on the number of threads that the card gives",
        "**tutorial**: the accuracy that the tutorial reports, where it gives one",
    ]
    if seeds:
        notes.append(
            "**over seeds**: mean and standard deviation of the test accuracy of the same training over several seeds (their number in brackets)"
        )
    if pictures is not None:
        notes.append(
            f"**{escape(pictures.name)}**: how many of {count(pictures.evaluation.images, 'picture')} are read correctly, by ONNX in float32 where there is one"
        )
    if any(row.elsewhere for row in rows):
        notes.append("¹ too large to be kept here; the card names the commands that make it")
    first = f"{_first_of(rows)}\n\n" if len(rows) > 1 else ""
    return first + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n\n" + "".join(f"- {note}.\n" for note in notes)


def _first_of(rows: Sequence[Row]) -> str:
    """Return which is the most accurate, the smallest and the fastest."""
    parts = []
    if len({row.findings.data.sha256 for row in rows}) == 1:  # figures of different test sets cannot be compared
        best = max(row.findings.evaluation.accuracy for row in rows)
        names = [escape(row.findings.model.name) for row in rows if row.findings.evaluation.accuracy == best]
        parts.append(f"Most accurate: {' and '.join(names)}, {percent(best)}.")
    files = [(row, one) for row in rows for one in row.findings.model.artifacts]
    if files:
        row, small = min(files, key=lambda pair: pair[1].bytes)
        parts.append(f"Smallest: {escape(row.findings.model.name)} in {_what(small)}, {size(small.bytes)}.")
    if timed := [(row, one) for row, one in files if one.file in row.latency]:
        row, fast = min(timed, key=lambda pair: pair[0].latency[pair[1].file])
        parts.append(f"Fastest: {escape(row.findings.model.name)} in {_what(fast)}, {1e6 * row.latency[fast.file]:,.0f} µs an image.")
    return " ".join(parts)


def _cells(row: Row, seeds: bool, pictures: bool) -> list[str]:
    findings = row.findings
    model, manifest = findings.model, findings.model.manifest
    artifacts = sorted(model.artifacts, key=lambda one: (one.precision != "float32", one.file))
    tutorial = origin(model).tutorial_accuracy

    def each(cell: Callable[[Artifact], str]) -> str:
        return "<br>".join(cell(one) for one in artifacts) or "–"

    def accuracy(one: Artifact) -> str:
        elsewhere = findings.elsewhere(one)
        return percent(one.parity["accuracy"]) + (f" ({escape(elsewhere)})" if elsewhere else "")

    def speed(one: Artifact) -> str:
        return f"{1e6 * row.latency[one.file]:,.0f} µs" if one.file in row.latency else "–"

    cells = [
        f"[{escape(model.name)}]({quote(model.name)}/README.md)",
        f"{manifest.parameters:,}",
        each(lambda one: _what(one) + ("¹" if one.file in row.elsewhere else "")),
        each(lambda one: size(one.bytes)),
        each(accuracy) if artifacts else percent(findings.evaluation.accuracy),
        each(lambda one: f"{one.parity['equal_answers']:,}"),
        each(speed),
        duration(manifest.training["seconds"]),
        percent(tutorial),
    ]
    if seeds:
        scores = [one.manifest.scores["test_accuracy"] for one in (model, *row.siblings)]
        cells.append(f"{percent(mean(scores))} ± {100 * stdev(scores):.2f} ({len(scores)})" if row.siblings else "–")
    if pictures:
        cells.append("–" if findings.pictures is None else f"{findings.pictures.evaluation.correct:,}")
    return cells


def _what(one: Artifact) -> str:
    what = one.precision if one.runtime == "ort" else f"{one.format} {one.precision}"
    return escape(what) + (" (unproven)" if one.unproven else "")


def _training(model: Model) -> tuple[object, ...]:
    manifest = model.manifest
    return manifest.architecture, manifest.arguments, recipe_of(manifest), manifest.training["data"], manifest.scores["test_data"]
