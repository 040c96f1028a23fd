"""PyTorch's own answers: whether they are fit to be compared with, and where they are kept."""

from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mnist_edge import dataset as datasets
from mnist_edge import golden, parity, publishing, steady, store, verification
from mnist_edge.dataset import Dataset
from mnist_edge.errors import ModelError
from mnist_edge.extras import require
from mnist_edge.golden import Golden
from mnist_edge.manifest import FileRecord, Manifest, Reference

#: The network itself is asked about so many images again, in batches of several sizes.
_STEADY = 16


@dataclass(frozen=True)
class Answers:
    """PyTorch's answers, which every artifact is compared with.

    Attributes:
        data: the test set.
        logits: float32 N×10, to the test set.
        golden: a few inputs with their answers.
        golden_is_stored: whether these are with the model already, unharmed.
    """

    data: Dataset
    logits: NDArray[np.float32]
    golden: Golden
    golden_is_stored: bool


def answers(model: store.Model, data: Dataset) -> Answers:
    """Ask PyTorch, after checking that the network is fit to be a reference.

    Raises ModelError for weights that do not fit, answers that are not finite, answers that change when it is asked again,
    answers that depend on an image's neighbours in the batch, and answers that are not those which the manifest's machine stored for the same images.
    """
    from mnist_edge.training.deploy import load_deployed
    from mnist_edge.training.result import torch_logits

    deployed = load_deployed(model)
    logits = torch_logits(deployed, data.images)
    if not np.isfinite(logits).all():
        raise ModelError(f"{model.folder}: PyTorch itself answers NaN or infinity; train it again")
    few = data.images[:_STEADY]

    def ask(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return torch_logits(deployed, images)

    unsteady = steady.find_unsteadiness(ask, few, logits[: len(few)]) or steady.find_unsteadiness(ask, steady.with_extremes(few[:5]))
    if unsteady is not None:
        raise ModelError(f"{model.folder}: network {model.manifest.architecture}: {unsteady}")
    tolerance = parity.BUDGETS["float32"].logit_difference or 0.0
    stored = model.manifest.reference_on(data.sha256)
    if stored is not None:
        before = store.read_reference(model, stored)
        if before.shape != logits.shape:
            raise ModelError(f"{model.folder / stored.file}: {before.shape} answers where {logits.shape} were expected; train it again")
        drift = float(np.abs(logits - before).max())
        if not drift <= tolerance:
            raise ModelError(
                f"{model.folder}: PyTorch here answers differently by {drift:.3g} from the logits stored with the model; "
                f"it was trained with torch {model.manifest.training['versions'].get('torch')}"
            )
    try:
        return Answers(data, logits, verification.read_golden(model), True)
    except ModelError:  # an older version made the model, or the file is lost or damaged: it follows from the weights
        return Answers(data, logits, golden.choose(lambda pixels: torch_logits(deployed, pixels)), False)


class Change:
    """What a manifest is told of PyTorch's answers, and the files that this outdates.

    The answers are written beside the model at once; nothing refers to them until `apply` went into a published manifest.
    """

    def __init__(self, model: store.Model, given: Answers) -> None:
        self._given, self._model = given, model
        self._about = datasets.describe(given.data)
        known = model.manifest.reference_on(given.data.sha256)
        self._reference: Reference | None = None if known else publishing.write_reference(model.folder, given.logits, self._about)
        self._golden: FileRecord | None = None if given.golden_is_stored else publishing.write_golden(model.folder, given.golden)

    def apply(self, manifest: Manifest) -> Manifest:
        """Return the manifest with the answers in it.

        A model that was only ever tested on drawn digits gets its test score from this test set, too.
        """
        if self._golden is not None:
            manifest = replace(manifest, golden=self._golden)
        if self._reference is None:
            return manifest
        scores = manifest.scores
        if scores["test_data"]["name"] == "drawn":
            data = self._given.data
            correct = int((self._given.logits.argmax(axis=1) == data.labels).sum())
            scores = scores | {"test_accuracy": correct / len(data), "test_correct": correct, "test_data": self._about}
        return replace(manifest.with_reference(self._reference), scores=scores)

    def clean_up(self) -> None:
        """Remove the answers that were replaced, once the manifest is published."""
        if self._reference is None:
            return
        for old in self._model.manifest.references:
            if old.data["name"] == self._given.data.name and old.file != self._reference.file:
                with suppress(OSError):
                    (self._model.folder / old.file).unlink()


def complete(model: store.Model, data: Dataset) -> store.Model:
    """Store PyTorch's answers on `data` with a model that was proven on something else. Raises ModelError, OSError."""
    require("computing PyTorch's answers", "torch", "safetensors")
    change = Change(model, answers(model, data))
    model = publishing.change_manifest(model, change.apply)
    change.clean_up()
    return model
