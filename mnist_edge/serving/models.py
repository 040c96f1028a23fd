"""The models that a server answers with, each loaded, tested and timed."""

from __future__ import annotations

import threading
import time
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from mnist_edge import runtimes, store
from mnist_edge.common.errors import ModelError, NotAModelError, UsageError
from mnist_edge.predictor import Predictor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mnist_edge.serving.settings import Settings

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

    def logits(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return logits, float32 N×classes, for pixels, uint8 N×1×28×28. Any thread may call it. Raises ModelError."""
        if len(pixels) <= self._part:
            with self._lock:
                return self.predictor.logits(pixels)
        parts = []
        for start in range(0, len(pixels), self._part):
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


def load(settings: Settings) -> tuple[dict[str, Served], list[str]]:
    """Load the models, and let each pass its self-test. Return them by name, and what a person should know about them.

    Raises what `Predictor.load` raises, and UsageError if two models have one name.
    """
    served: dict[str, Served] = {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for given, problem in _named(settings):
            if problem:
                warnings.warn(problem, stacklevel=1)
                continue
            one = _load(given, settings)
            if one.name in served:
                raise UsageError(f"two models have the name {one.name!r}; rename a folder, or serve one of them")
            served[one.name] = one
    if not served:
        raise ModelError(f"no model in {store.models_dir(settings.models_dir)}; mnist-edge train NETWORK makes one")
    return served, [" ".join(str(one.message).split()) for one in caught]


def _named(settings: Settings) -> list[tuple[str | None, str]]:
    """Return what to load; with each, why it is left out, if it is."""
    if not settings.every:
        return [(name, "") for name in settings.models or (None,)]
    models, problems = store.list_models(store.models_dir(settings.models_dir))
    if damaged := [problem for problem in problems if not isinstance(problem, NotAModelError)]:
        raise damaged[0]
    runtime = runtimes.get(settings.runtime)
    found: list[tuple[str | None, str]] = []
    for model in models:
        try:
            if not runtime.from_weights:
                runtime.choose(model)
            found.append((str(model.folder), ""))
        except ModelError as error:  # no artifact for this runtime
            found.append((None, f"{model.name} is left out: {error}"))
    return found


def _load(given: str | None, settings: Settings) -> Served:
    found = store.resolve(given, settings.models_dir)
    model = found.model or store.find(given, settings.models_dir)  # which says that the file belongs to no model
    runtime = runtimes.get(settings.runtime)
    predictor = Predictor.load(
        given,
        settings.runtime,
        threads=settings.threads,
        models_dir=settings.models_dir,
        self_test=True,
        require_proof=settings.require_proof,
        options=settings.options,
    )
    artifact = None if runtime.from_weights else model.artifact_of_file(found.file) if found.file else runtime.choose(model)
    record: Any = artifact or model.manifest.weights
    platform = "pytorch" if artifact is None else {"onnx": "onnx_onnxv1"}.get(artifact.format, artifact.format)
    return Served(model.name, record.sha256[:12], platform, model.manifest.classes, predictor)
