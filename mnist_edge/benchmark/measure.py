"""Measures every artifact of a model, each in its own fresh processes, in shuffled order."""

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from mnist_edge import runtimes
from mnist_edge.benchmark.installed import installed_bytes
from mnist_edge.common.errors import MissingExtraError, ModelError, UsageError
from mnist_edge.common.trust import allowed, check_allowed
from mnist_edge.store import Model

#: How many seconds a process answers single images, and then batches of 256.
SECONDS = 0.5

#: The packages that predicting needs besides the runtime.
_EDGE = ("mnist-edge", "numpy", "pillow", "click")


@dataclass(frozen=True)
class Measured:
    """One artifact in its runtime, or the network itself in PyTorch. Times are seconds, medians over the rounds.

    Attributes:
        file: the artifact, or the weights.
        runtime: the runtime that ran it.
        precision: ``float32``, ``fp16``…
        bytes: size of the file.
        accuracy: share of the test set that it reads correctly, as proven when it was published; for the network, PyTorch's share.
        equal_answers, images: number of answers equal to PyTorch's, and number of images, as proven.
        data: name of the test set.
        start: from starting the process until its first line runs: the interpreter.
        imports: importing the runtime and what it needs.
        session: loading the file.
        first_answer: the first image.
        latency_p50, latency_p99: one image, warm.
        throughput: images per second in batches of 256.
        peak_memory: bytes used by a process that loaded the file and answered once; None if the system does not say.
        installed: bytes of the packages that must be installed, with all that they need; None if that is not known.
        unproven: why it is not proven; empty for a proven artifact, and for the network itself.
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
    unproven: str = ""

    @property
    def label(self) -> str:
        """What to call the file wherever it is shown."""
        return f"{self.file} (unproven)" if self.unproven else self.file

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


class LeftOut(NamedTuple):
    """Something that was not measured: why, and whether that is a fault and not just a runtime that is not installed here."""

    reason: str
    at_fault: bool


def benchmark(
    model: Model, threads: int = 1, rounds: int = 5, on_step: Callable[[int, int, str], None] = lambda done, of, what: None
) -> tuple[list[Measured], list[LeftOut]]:
    """Measure every artifact of a model, and the network in PyTorch where that is installed.

    Each round starts a fresh process for each, in shuffled order. Returns the rows, and what could not be measured: one
    damaged artifact does not stop the rest. Raises ModelError if there is nothing to measure.
    """
    subjects, left_out = _subjects(model)
    order = [subject for subject in subjects for _ in range(rounds)]
    random.Random(0).shuffle(order)
    seen: dict[int, list[dict[str, Any]]] = {id(subject): [] for subject in subjects}
    failed: dict[int, str] = {}
    for done, subject in enumerate(order):
        if id(subject) in failed:
            continue
        on_step(done, len(order), f"{subject.about['file']} in {subject.runtime.name}")
        try:
            seen[id(subject)].append(_run(subject, threads))
        except ModelError as error:
            failed[id(subject)] = str(error)
    on_step(len(order), len(order), "")
    left_out += [LeftOut(reason, True) for reason in failed.values()]
    rows = []
    for subject in subjects:
        if id(subject) in failed:
            continue
        results = seen[id(subject)]
        figures: dict[str, Any] = {
            key: None if value is None else median(result[key] for result in results) for key, value in results[0].items()
        }
        rows.append(Measured(**subject.about, **figures, installed=installed_bytes(*_EDGE, *subject.runtime.requires)))
    if not rows:
        raise ModelError(f"{model.folder}: nothing to measure here: {'; '.join(one.reason for one in left_out) or 'no artifact'}")
    return rows, left_out


def _subjects(model: Model) -> tuple[list[_Subject], list[LeftOut]]:
    subjects, left_out = [], []
    for artifact in sorted(model.artifacts, key=lambda a: (a.format, a.precision != "float32", a.precision)):
        runtime = runtimes.own(artifact)
        try:
            runtime.require(artifact.file)
            path = model.path(artifact)
        except (MissingExtraError, ModelError) as error:
            left_out.append(LeftOut(str(error), isinstance(error, ModelError)))
            continue
        about = {key: artifact.parity[key] for key in ("accuracy", "equal_answers", "images")}
        about |= {"file": artifact.file, "runtime": runtime.name, "precision": artifact.precision, "bytes": artifact.bytes}
        subjects.append(_Subject(path, runtime, about | {"data": artifact.parity["data"]["name"], "unproven": artifact.unproven}))
    for runtime in _from_weights():
        try:
            check_allowed(model.manifest.architecture)
            model.path(model.manifest.weights)
        except UsageError as error:  # not allowed, or no network at all
            left_out.append(LeftOut(f"{model.manifest.weights.file} in {runtime.name}: {error}", False))
            continue
        except ModelError as error:  # a model can be given away without its weights
            left_out.append(LeftOut(str(error), (model.folder / model.manifest.weights.file).exists()))
            continue
        scores, weights = model.manifest.scores, model.manifest.weights
        images = scores["test_data"]["images"]
        about = {"file": weights.file, "runtime": runtime.name, "precision": "float32", "bytes": weights.bytes}
        about |= {"accuracy": scores["test_accuracy"], "equal_answers": images, "images": images, "data": scores["test_data"]["name"]}
        subjects.append(_Subject(model.folder, runtime, about))
    return subjects, left_out


def _from_weights() -> Iterator[runtimes.Runtime]:
    from mnist_edge.common.extras import is_installed

    for runtime in runtimes.RUNTIMES.values():
        if runtime.from_weights and all(map(is_installed, runtime.requires)):
            yield runtime


def _run(subject: _Subject, threads: int) -> dict[str, Any]:
    order = {
        "runtime": subject.runtime.name,
        "path": str(subject.path.resolve()),
        "threads": threads,
        "seconds": SECONDS,
        "allowed": allowed(),
    }
    command = [sys.executable, "-P", "-m", "mnist_edge.benchmark.worker"]  # -P: no module of the working folder
    done = subprocess.run([*command, json.dumps(order | {"started": time.time()})], capture_output=True, text=True, check=False)
    try:
        if done.returncode:
            raise ValueError
        result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])  # a runtime may print something of its own first
    except (ValueError, IndexError):  # a runtime may end the process, too
        last = (done.stderr.strip().splitlines() or [f"runtime {subject.runtime.name} ended with exit code {done.returncode}"])[-1]
        raise ModelError(f"{subject.path}: cannot be measured: {last}") from None
    return result
