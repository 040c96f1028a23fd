"""A model in a pipeline of Ray Data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mnist_edge import image
from mnist_edge.common.errors import PictureError
from mnist_edge.predictor import Predictor

if TYPE_CHECKING:
    from mnist_edge.predictor import Prediction


class Answers:
    """Answer pictures in ``ray.data``, one by one, as `mnist-edge predict` does; a picture that cannot be read becomes an error, not an end.

    >>> import ray                                                              # doctest: +SKIP
    >>> pictures = ray.data.read_binary_files("scans", include_paths=True)      # doctest: +SKIP
    >>> pictures.map_batches(Answers, concurrency=2).write_parquet("answers")   # doctest: +SKIP

    `column` names what is read: a file's bytes (``bytes``, as `read_binary_files` gives), arrays H×W or H×W×3 (``image``, as
    `read_images` gives) or paths. It is dropped, unless it holds paths; all other columns are kept. `model` and `runtime` are as in
    `Predictor.load`, and have to be found on every machine.

    Each batch gets ``digit``, int8, -1 where there is an error; ``confidence``, float64; ``probabilities``, float64 N×classes, both NaN there;
    ``warnings`` and ``error``, text, the latter empty where there is none.
    """

    def __init__(
        self,
        model: str | Path | None = None,
        runtime: str = "ort",
        *,
        column: str = "bytes",
        ink: str = "auto",
        require_proof: bool = False,
    ) -> None:
        self._predictor = Predictor.load(model, runtime, require_proof=require_proof)
        self._column, self._ink = column, ink
        self._classes = self._predictor.logits(np.zeros((1, 1, 28, 28), np.uint8)).shape[1]

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return the batch with the answers. Raises KeyError for a batch without the column."""
        pictures = batch[self._column]
        found = [self._answer(one) for one in pictures]
        kept = {key: value for key, value in batch.items() if key != self._column or (len(pictures) and isinstance(pictures[0], str))}
        nothing = [np.nan] * self._classes
        return kept | {
            "digit": np.array([one.digit if one else -1 for one, _ in found], np.int8),
            "confidence": np.array([one.confidence if one else np.nan for one, _ in found], np.float64),
            "probabilities": np.array([one.probabilities if one else nothing for one, _ in found], np.float64).reshape(-1, self._classes),
            "warnings": np.array(["; ".join(one.warnings) if one else "" for one, _ in found], object),
            "error": np.array([error for _, error in found], object),
        }

    def _answer(self, picture: Any) -> tuple[Prediction | None, str]:
        try:
            return self._predictor.predict_prepared([image.prepare(picture, self._ink)])[0], ""
        except PictureError as error:
            return None, str(error)
