"""Pixels or pictures → digits, through any runtime."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from mnist_edge import image, runtimes, store
from mnist_edge.common.errors import ModelError, NotProvenError, PictureError, UnprovenWarning, UsageError, one_line
from mnist_edge.common.logits import check
from mnist_edge.common.text import low_confidence
from mnist_edge.proof import records
from mnist_edge.proof.confidence import softmax
from mnist_edge.store.manifest import FILE_NAME, Artifact

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnist_edge.common.logits import Run
    from mnist_edge.reading import Reading


class Prediction(NamedTuple):
    """A model's answer to one picture.

    Attributes:
        digit: 0 to 9.
        confidence: the digit's probability, 0 to 1.
        probabilities: of the ten digits, in order; they sum to 1.
        warnings: why the digit may be wrong; empty if there is no doubt.
    """

    digit: int
    confidence: float
    probabilities: tuple[float, ...]
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the prediction as JSON values."""
        return {
            "digit": self.digit,
            "confidence": self.confidence,
            "probabilities": list(self.probabilities),
            "warnings": list(self.warnings),
        }


class Predictor:
    """A model, loaded and ready.

    >>> from mnist_edge import Predictor
    >>> predictor = Predictor.load()                    # the model trained last, else the reference LeNet
    >>> predictor.predict("seven.png").digit            # doctest: +SKIP
    7
    """

    def __init__(self, run: Run, description: str, threshold: float | None = None, *, one_by_one: bool = False) -> None:
        """Wrap a function from pixels to logits, described in words. `load` is the usual way here.

        Answers with a confidence below `threshold` get a warning; a model's own is in its manifest. `one_by_one` is for a function whose
        answers change with the batch: the digits of a page are then given to it one at a time.
        """
        self._run = run
        self.description = description
        self.threshold = threshold
        self.one_by_one = one_by_one

    @classmethod
    def load(
        cls,
        model: str | Path | store.Found | None = None,
        runtime: str = "ort",
        *,
        threads: int = 1,
        models_dir: Path | None = None,
        self_test: bool = False,
        require_proof: bool = False,
        options: Mapping[str, Any] | None = None,
    ) -> Self:
        """Load a model by its name, its folder or one of its files, as `store.resolve` finds it; or what that has found already.

        None takes what ``MNIST_EDGE_MODEL`` names, else the model trained last, else the reference.

        A file with a manifest beside it must match the hash in it. A lone file is taken as it is, if it keeps the contract.
        With the runtime ``torch``, a model whose network is not part of this package (``mine:Net``) runs that network's code, so it has
        to be allowed first: ``mnist_edge.architectures.allow("mine:Net")``. No other runtime imports it.
        With `self_test`, the loaded model has to answer the golden inputs in the model's folder as PyTorch did, in a few milliseconds.
        If there is no proof of this artifact with this release of the runtime on this kind of machine, an `UnprovenWarning` says so and how
        to prove it; with `require_proof` that is a NotProvenError. `options` are the runtime's own.

        Raises ParityError if the self-test fails, NotProvenError, UnknownNameError for a model or runtime that is not there, ModelError for a file that is damaged, edited or
        cannot be loaded, NotAllowedError for a network that was not allowed, MissingExtraError where the runtime is not installed.
        """
        chosen = runtimes.get(runtime)
        if not 1 <= threads <= 256:  # a runtime starts as many threads as it is asked for, until memory runs out
            raise UsageError(f"threads must be 1 to 256, not {threads}")
        found = model if isinstance(model, store.Found) else store.resolve(model, models_dir)
        if found.file is not None:
            return cls._load_file(found.file, found.model, chosen, threads, self_test, require_proof, options)
        assert found.model is not None  # one of the two is there
        artifact = None if chosen.from_weights else chosen.choose(found.model)
        if artifact:
            run = runtimes.load_artifact(found.model, artifact, threads, chosen, options)
            _check_proof(found.model, artifact, chosen, require_proof, options)
        else:
            run = chosen.load_model(found.model, threads, options)
        if self_test:
            _self_test(found.model, artifact, chosen, run)
        description = f"{found.model.name} ({found.model.chosen}{_unproven(artifact)}), runtime {runtime}"
        return cls(run, description, _threshold(found.model), one_by_one=_is_unsteady(artifact))

    @classmethod
    def _load_file(
        cls,
        path: Path,
        model: store.Model | None,
        runtime: runtimes.Runtime,
        threads: int,
        self_test: bool,
        require_proof: bool,
        options: Mapping[str, Any] | None,
    ) -> Self:
        if runtime.from_weights:
            raise UsageError(f"{path}: runtime {runtime.name} takes a model, not a file; name the folder, or another runtime")
        if image.is_picture(path):
            raise ModelError(f"{path} is a picture, not a model")
        if model is None:
            if self_test:
                raise ModelError(f"{path}: no {FILE_NAME} beside it, so there are no golden inputs for a self-test")
            if require_proof:
                raise NotProvenError(f"{path}: no {FILE_NAME} beside it, so nothing proves what it answers; name the model's folder")
            return cls(runtime.load(path, threads, options), f"{path} (no {FILE_NAME} beside it: unproven), runtime {runtime.name}")
        artifact = model.artifact_of_file(path)
        if not runtime.runs(artifact):
            raise UsageError(f"{path}: runtime {runtime.name} does not run it; add: --runtime {artifact.runtime}")
        run = runtimes.load_artifact(model, artifact, threads, runtime, options)
        _check_proof(model, artifact, runtime, require_proof, options)
        if self_test:
            _self_test(model, artifact, runtime, run)
        description = f"{path}{f' (unproven: {artifact.unproven})' if artifact.unproven else ''}, runtime {runtime.name}"
        return cls(run, description, _threshold(model), one_by_one=_is_unsteady(artifact))

    def logits(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return logits, float32 N×10, for pixels, uint8 N×1×28×28, ink bright on a dark ground.

        Raises PictureError for other pixels; ModelError if the model fails, gives another shape or dtype, or answers NaN or infinity.
        """
        if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != (1, 28, 28):
            what = f"{pixels.dtype} {pixels.shape}" if isinstance(pixels, np.ndarray) else type(pixels).__name__
            raise PictureError(f"pixels are uint8, N×1×28×28; this is {what}")
        try:
            logits = self._run(pixels)
        except Exception as error:  # a runtime may raise anything
            raise ModelError(f"{self.description}: failed while running: {one_line(error)}") from error
        return check(logits, len(pixels), self.description)

    def predict(self, picture: image.Picture, *, ink: str = "auto") -> Prediction:
        """Read one picture of a digit, of any size and in any light.

        `picture` is a path, a file's bytes, an open binary file, a Pillow image, or an array: H×W or H×W×3, of bool, uint16, other
        integers (0 to 255) or floats (0 to 1, or 0 to 255). `ink` is ``dark``, ``light`` or ``auto``.

        Raises PictureError if it cannot be read or holds no digit.
        """
        return self.predict_prepared([image.prepare(picture, ink)])[0]

    def predict_many(self, pictures: Iterable[image.Picture], batch_size: int = 64, *, ink: str = "auto") -> Iterator[Prediction]:
        """Read pictures as they come, `batch_size` at a time, in order. Raises PictureError at the first that cannot be read."""
        batch: list[image.Prepared] = []
        for picture in pictures:
            batch.append(image.prepare(picture, ink))
            if len(batch) == batch_size:
                yield from self.predict_prepared(batch)
                batch.clear()
        if batch:
            yield from self.predict_prepared(batch)

    def read(self, picture: image.Picture, *, ink: str = "auto") -> Reading:
        """Read a page: all of its digits, in rows from top to bottom, each from left to right. A page without digits has no rows.

        `picture` and `ink` are as for `predict`; the picture is read with its EXIF orientation followed. Digits whose probability is below the
        model's own threshold get a warning. Raises PictureError if the picture cannot be read.
        """
        from mnist_edge import reading

        return reading.read(picture, self._probabilities, ink, threshold=self.threshold)

    def _probabilities(self, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return the digits' probabilities; with dynamic int8, whose answers change with the batch, one by one."""
        if self.one_by_one:
            return softmax(np.concatenate([self.logits(pixels[i : i + 1]) for i in range(len(pixels))]))
        return softmax(self.logits(pixels))

    def predict_prepared(self, prepared: Sequence[image.Prepared]) -> list[Prediction]:
        """Answer pictures that `mnist_edge.image.prepare` has prepared, all in one batch; their warnings are kept."""
        answers = self.predictions(self.logits(np.stack([one.pixels for one in prepared])[:, None]))
        return [
            answer._replace(warnings=one.warnings + answer.warnings) if one.warnings else answer
            for answer, one in zip(answers, prepared, strict=True)
        ]

    def predictions(self, logits: NDArray[np.float32]) -> list[Prediction]:
        """Turn this model's logits, float32 N×10, into predictions; one below the model's own threshold gets a warning.

        Raises ModelError for NaN or infinity.
        """
        answers = predictions(logits)
        if self.threshold is None:
            return answers
        doubt = (low_confidence(self.threshold),)
        return [one._replace(warnings=doubt) if one.confidence < self.threshold else one for one in answers]


def _self_test(model: store.Model, artifact: Artifact | None, runtime: runtimes.Runtime, run: Run) -> None:
    from mnist_edge.proof.verification import self_test

    self_test(model, artifact, runtime, run)


def _check_proof(
    model: store.Model, artifact: Artifact, runtime: runtimes.Runtime, is_required: bool, options: Mapping[str, Any] | None
) -> None:
    """Warn, or raise NotProvenError, if an artifact is not proven with this runtime on this kind of machine."""
    reason = records.why_not_proven(artifact, runtime, options)
    if reason and not artifact.unproven:
        from mnist_edge.store.kept import with_kept

        reason = records.why_not_proven(with_kept(artifact), runtime, options)
    if not reason:
        return
    if artifact.unproven:
        how = model.export_again(again=artifact)
    elif options:
        how = f"mnist-edge verify proves it without {', '.join('--' + name.replace('_', '-') for name in options)}"
    else:
        import shlex

        name = model.name if model.is_installed_reference else str(model.folder)
        own = "" if runtime.name == artifact.runtime else f" --runtime {runtime.name}"
        how = f"prove it: {shlex.join(['mnist-edge', 'verify', name])}{own}"
    message = f"{artifact.file}: {reason}; {how}"
    if is_required:
        raise NotProvenError(message)
    warnings.warn(message, UnprovenWarning, stacklevel=4)


def _unproven(artifact: Artifact | None) -> str:
    return f"; {artifact.label}: {artifact.unproven}" if artifact and artifact.unproven else ""


def _is_unsteady(artifact: Artifact | None) -> bool:
    """Return whether an image's answer changes with the batch that it is in."""
    return artifact is not None and artifact.precision == "int8-dynamic"


def _threshold(model: store.Model) -> float | None:
    threshold: float | None = model.manifest.scores.get("confidence", {}).get("threshold")
    return threshold


def predictions(logits: NDArray[np.float32]) -> list[Prediction]:
    """Turn logits, float32 N×10, into predictions, by the softmax in float64. Raises ModelError for NaN or infinity."""
    probabilities = softmax(check(logits, len(logits), "the model"))
    digits = probabilities.argmax(axis=1)
    return [Prediction(int(d), float(p[d]), tuple(p.tolist())) for d, p in zip(digits, probabilities, strict=True)]
