"""The models that a server answers with, each loaded, tested and timed."""

from __future__ import annotations

import threading
import time
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from mnist_edge import runtimes
from mnist_edge.predictor import Predictor
from mnist_edge.serving.refusals import GoneError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mnist_edge.serving.settings import Settings
    from mnist_edge.serving.sources import Source

#: A batch is answered in parts, so that memory stays flat; a part takes at most about so long, and has at most so many images.
_PART_SECONDS, _PART_IMAGES = 0.005, 64


class Served:
    """A model that answers.

    Attributes:
        name: what clients call it.
        version: the first 12 digits of the artifact's SHA-256, so that another file is another version.
        platform: the artifact's format, as the protocol calls it.
        classes: the names of the answers, in the order of the logits.
        seconds: what one image takes here, measured.
    """

    def __init__(self, name: str, version: str, platform: str, classes: Sequence[str], predictor: Predictor) -> None:
        self.name, self.version, self.platform, self.classes, self.predictor = name, version, platform, tuple(classes), predictor
        self._lock = threading.Lock()  # not every runtime can be called by two threads at once
        self.seconds = self._measure()
        self._part = max(1, min(_PART_IMAGES, int(_PART_SECONDS / self.seconds)))

    def logits(self, pixels: NDArray[np.uint8], given_up: threading.Event | None = None) -> NDArray[np.float32]:
        """Return logits, float32 N×classes, for pixels, uint8 N×1×28×28. Any thread may call it.

        Raises ModelError; GoneError between the parts of a batch once `given_up` is set.
        """
        if given_up is not None and given_up.is_set():
            raise GoneError
        if len(pixels) <= self._part:
            with self._lock:
                return self.predictor.logits(pixels)
        parts = []
        for start in range(0, len(pixels), self._part):
            if given_up is not None and given_up.is_set():
                raise GoneError
            with self._lock:
                parts.append(self.predictor.logits(pixels[start : start + self._part]))
        return np.concatenate(parts)

    def _measure(self) -> float:
        pixels = np.zeros((1, 1, 28, 28), np.uint8)
        times = []
        for _ in range(5):
            started = time.perf_counter()
            self.predictor.logits(pixels)
            times.append(time.perf_counter() - started)
        return max(min(times), 1e-6)


def load(settings: Settings, sources: Sequence[Source]) -> tuple[dict[str, Served], list[str]]:
    """Load the models, and let each pass its self-test. Return them by name, and what a person should know about them.

    Raises what `Source.find` and `Predictor.load` raise.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        served = {source.name: _load(source, settings) for source in sources}
    return served, [" ".join(str(one.message).split()) for one in caught]


def _load(source: Source, settings: Settings) -> Served:
    found = source.find()  # the manifest is read once: the version is that of the artifact which is loaded
    model = found.model
    assert model is not None  # `find` says so
    runtime = runtimes.get(settings.runtime)
    predictor = Predictor.load(
        found, settings.runtime, threads=settings.threads, self_test=True, require_proof=settings.require_proof, options=settings.options
    )
    artifact = None if runtime.from_weights else model.artifact_of_file(found.file) if found.file else runtime.choose(model)
    record: Any = artifact or model.manifest.weights
    platform = "pytorch" if artifact is None else {"onnx": "onnx_onnxv1"}.get(artifact.format, artifact.format)
    return Served(source.name, record.sha256[:12], platform, model.manifest.classes, predictor)
