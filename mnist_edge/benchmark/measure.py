"""Every artifact of a model, each in fresh processes of its own, in shuffled order."""

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from mnist_edge import runtimes
from mnist_edge.benchmark.installed import installed_bytes
from mnist_edge.errors import MissingExtraError, ModelError
from mnist_edge.extras import require
from mnist_edge.store import Model

#: Seconds that a process answers single images, and again batches of 256.
SECONDS = 0.5

#: What predicting needs besides the runtime.
_EDGE = ("mnist-edge", "numpy", "pillow", "click")


@dataclass(frozen=True)
class Measured:
    """One artifact in its runtime, or the network itself in PyTorch. Times are seconds, medians over the rounds.

    Attributes:
        file: the artifact, or the weights.
        runtime: what ran it.
        precision: ``float32``, ``fp16``…
        bytes: size of the file.
        accuracy: share of the test set that it answers rightly, as proven when it was published; of the network, PyTorch's.
        equal_answers, images: answers equal to PyTorch's, of so many, as proven.
        data: name of the test set.
        start: from starting the process until its first line runs: the interpreter.
        imports: importing the runtime and what it needs.
        session: loading the file.
        first_answer: the first image.
        latency_p50, latency_p99: one image, warm.
        throughput: images per second in batches of 256.
        peak_memory: of a process that loaded the file and answered once, bytes; None where the system does not tell.
        installed: bytes of the packages that must be installed, with all that they need; None where pip did not say.
    """

    file: str
    runtime: str
    precision: str
    bytes: int
    accuracy: float
    equal_answers: int
    images: int
    data: str
    start: float
    imports: float
    session: float
    first_answer: float
    latency_p50: float
    latency_p99: float
    throughput: float
    peak_memory: int | None
    installed: int | None

    @property
    def cold_start(self) -> float:
        """Seconds from starting a process to its first answer."""
        return self.start + self.imports + self.session + self.first_answer

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        return asdict(self) | {"cold_start": self.cold_start}


@dataclass(frozen=True)
class _Subject:
    """What is measured: a file in a runtime, and what the manifest says of it."""

    path: Path
    runtime: runtimes.Runtime
    about: dict[str, Any]


def benchmark(
    model: Model, threads: int = 1, rounds: int = 5, on_step: Callable[[int, int, str], None] = lambda done, of, what: None
) -> tuple[list[Measured], list[str]]:
    """Measure every artifact of a model, and the network in PyTorch where that is installed.

    Each round starts a fresh process for each, in shuffled order. Returns the rows, and why what is missing is missing.
    Raises ModelError if a file is damaged, cannot be loaded, or there is nothing to measure.
    """
    subjects, missing = _subjects(model)
    if not subjects:
        raise ModelError(f"{model.folder}: nothing to measure here: {'; '.join(missing) or 'no artifact'}")
    order = [subject for subject in subjects for _ in range(rounds)]
    random.Random(0).shuffle(order)
    seen: dict[int, list[dict[str, Any]]] = {id(subject): [] for subject in subjects}
    for done, subject in enumerate(order):
        on_step(done, len(order), f"{subject.about['file']} in {subject.runtime.name}")
        seen[id(subject)].append(_run(subject, threads))
    on_step(len(order), len(order), "")
    rows = []
    for subject in subjects:
        results = seen[id(subject)]
        figures: dict[str, Any] = {
            key: None if value is None else median(result[key] for result in results) for key, value in results[0].items()
        }
        rows.append(Measured(**subject.about, **figures, installed=installed_bytes(*_EDGE, *subject.runtime.requires)))
    return rows, missing


def _subjects(model: Model) -> tuple[list[_Subject], list[str]]:
    subjects, missing = [], []
    for artifact in sorted(model.artifacts, key=lambda a: (a.format, a.precision != "float32", a.precision)):
        runtime = runtimes.get(artifact.runtime)
        try:
            require(artifact.file, *runtime.requires)
        except MissingExtraError as error:
            missing.append(str(error))
            continue
        about = {key: artifact.parity[key] for key in ("accuracy", "equal_answers", "images")}
        about |= {"file": artifact.file, "runtime": runtime.name, "precision": artifact.precision, "bytes": artifact.bytes}
        subjects.append(_Subject(model.path(artifact), runtime, about | {"data": artifact.parity["data"]["name"]}))
    for runtime in _from_weights():
        scores, weights = model.manifest.scores, model.manifest.weights
        images = scores["test_data"]["images"]
        about = {"file": weights.file, "runtime": runtime.name, "precision": "float32", "bytes": weights.bytes}
        about |= {"accuracy": scores["test_accuracy"], "equal_answers": images, "images": images, "data": scores["test_data"]["name"]}
        subjects.append(_Subject(model.folder, runtime, about))
    return subjects, missing


def _from_weights() -> Iterator[runtimes.Runtime]:
    from mnist_edge.extras import is_installed

    for runtime in runtimes.RUNTIMES.values():
        if runtime.from_weights and all(map(is_installed, runtime.requires)):
            yield runtime


def _run(subject: _Subject, threads: int) -> dict[str, Any]:
    order = {"runtime": subject.runtime.name, "path": str(subject.path.resolve()), "threads": threads, "seconds": SECONDS}
    command = [sys.executable, "-m", "mnist_edge.benchmark.worker"]
    done = subprocess.run([*command, json.dumps(order | {"started": time.time()})], capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise ModelError(f"{subject.path}: cannot be measured: {last}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result
