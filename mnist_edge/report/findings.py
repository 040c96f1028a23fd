"""Gathers what a report says about a model, from its manifest and PyTorch's stored answers. Needs no torch and no matplotlib."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge import store
from mnist_edge.common.errors import ModelError
from mnist_edge.common.text import data_name
from mnist_edge.dataset import Dataset
from mnist_edge.dataset.writers import Writers, writers_of
from mnist_edge.predictor import Predictor
from mnist_edge.proof import verification
from mnist_edge.proof.confidence import softmax
from mnist_edge.proof.evaluation import Evaluation, Hand, by_writer, evaluate, evaluate_logits
from mnist_edge.store import Model
from mnist_edge.store.manifest import Artifact

#: Bounds of the bins of confidence: half of them above 99 %, where nearly all answers of a good classifier are.
CONFIDENCE_BOUNDS = (0.0, 0.5, 0.7, 0.9, 0.97, 0.99, 0.999, 1.0)


@dataclass(frozen=True)
class Bin:
    """The answers of about the same confidence.

    Attributes:
        low, high: bounds of the confidence, 0 to 1; the low one is outside.
        answers, right: how many there are, and how many of them are right.
        confidence: their mean confidence; if the confidence is honest, `share` equals it; NaN if there are no answers.
    """

    low: float
    high: float
    answers: int
    right: int
    confidence: float

    @property
    def share(self) -> float:
        """Share of right answers, 0 to 1; NaN if there are no answers."""
        return self.right / self.answers if self.answers else float("nan")

    def interval(self) -> tuple[float, float]:
        """Return the 95 % interval of the share (Wilson, "Probable Inference", 1927); 0 to 1 where there are no answers."""
        n, z = self.answers, 1.96
        if not n:
            return 0.0, 1.0
        centre = (self.share + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * (self.share * (1 - self.share) / n + z * z / (4 * n * n)) ** 0.5
        return max(0.0, centre - half), min(1.0, centre + half)


@dataclass(frozen=True)
class Confusion:
    """A digit that was taken for another, and how often."""

    label: int
    digit: int
    count: int


@dataclass(frozen=True)
class Pictures:
    """How a model reads pictures from outside the data set, and what to call them."""

    name: str
    evaluation: Evaluation


@dataclass(frozen=True)
class Findings:
    """A model, and PyTorch's answers to a test set.

    Attributes:
        model: the model.
        data: the test set.
        logits: PyTorch's stored answers to it, float32 N×10.
        history: one row per epoch, as `training.loop.Epoch.to_json` gives them.
        pictures: how it reads pictures from outside the data set, if there are any.
        writers: who wrote the test set's images, if that is known.
    """

    model: Model
    data: Dataset
    logits: NDArray[np.float32]
    history: tuple[dict[str, Any], ...]
    pictures: Pictures | None = None
    writers: Writers | None = None

    @property
    def data_name(self) -> str:
        """What to call the test set in a sentence."""
        return data_name(self.data.name)

    def elsewhere(self, artifact: Artifact) -> str:
        """Return the name of the data set that an artifact was proven on if it is not this one; else nothing."""
        proven = artifact.parity["data"]
        return "" if proven["sha256"] == self.data.sha256 else data_name(proven["name"])

    @cached_property
    def evaluation(self) -> Evaluation:
        """Where PyTorch's answers are right and wrong."""
        return evaluate_logits(self.logits, self.data)

    @cached_property
    def hands(self) -> list[Hand]:
        """How each writer is read, the worst first; empty if the writers are not known."""
        return by_writer(self.evaluation, self.writers) if self.writers else []

    def wrong(self) -> list[int]:
        """Return the indices of the images answered wrongly, the most confident first."""
        found = self.evaluation
        return sorted((int(i) for i in found.wrong), key=lambda i: (-found.confidences[i], i))

    def confusions(self) -> list[Confusion]:
        """Return which digits were mistaken for which, the most frequent first."""
        counts = self.evaluation.confusion
        found = [Confusion(r, c, int(counts[r, c])) for r in range(10) for c in range(10) if r != c and counts[r, c]]
        return sorted(found, key=lambda one: (-one.count, one.label, one.digit))

    def calibration(self, bounds: Sequence[float] = CONFIDENCE_BOUNDS) -> list[Bin]:
        """Return the answers by their confidence."""
        confidences = self.evaluation.confidences
        right = self.evaluation.answers == self.data.labels
        bins = []
        for low, high in pairwise(bounds):
            inside = (confidences > low) & (confidences <= high)
            mean = float(confidences[inside].mean()) if inside.any() else float("nan")
            bins.append(Bin(low, high, int(inside.sum()), int(right[inside].sum()), mean))
        return bins

    def calibration_error(self, bins: int = 15) -> float:
        """Return the expected calibration error, 0 to 1, over bins of equal width (Guo et al., "On Calibration", 2017)."""
        rows = self.calibration(np.linspace(0.0, 1.0, bins + 1).tolist())
        return sum(row.answers * abs(row.share - row.confidence) for row in rows if row.answers) / len(self.data)

    def mean_loss(self) -> float:
        """Return the mean negative log-likelihood of the labels, in nats."""
        probabilities = softmax(self.logits)[np.arange(len(self.data)), self.data.labels]
        return float(-np.log(np.maximum(probabilities, np.finfo(np.float64).tiny)).mean())


def gather(
    model: Model, data: str | None = None, data_dir: Path | None = None, pictures: Dataset | None = None, writers: Path | None = None
) -> Findings:
    """Gather the findings about a model. `data` is the test set that PyTorch's answers were stored for; None takes what is here.

    `pictures` are read by the model's artifact for ONNX Runtime, float32 before others; without one they are not read. `writers` is a label
    file of QMNIST's that says who wrote the test images; None looks for one beside MNIST's files.
    Raises DataError if the test set is not on this machine, ModelError for damaged files.
    """
    reference, test = verification.choose_reference(model, data, data_dir)
    known = writers_of(test, writers, data_dir)
    found = Findings(model, test, store.read_reference(model, reference), read_history(model), writers=known)
    if pictures is None or not any(artifact.runtime == "ort" for artifact in model.artifacts):
        return found
    return replace(found, pictures=Pictures(data_name(pictures.name), evaluate(Predictor.load(model.folder).logits, pictures)))


def read_history(model: Model) -> tuple[dict[str, Any], ...]:
    """Return a model's training, one row per epoch. Raises ModelError."""
    path = model.path(model.manifest.history)
    try:
        return tuple(json.loads(line) for line in path.read_text().splitlines())
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: not readable as JSON lines: {error}") from error
