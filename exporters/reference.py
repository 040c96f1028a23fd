"""PyTorch's own answers: checks that they are a fit reference, and stores them."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mnist_edge import dataset as datasets
from mnist_edge import store
from mnist_edge.common.errors import ModelError
from mnist_edge.common.extras import require
from mnist_edge.dataset import Dataset
from mnist_edge.proof import golden, parity, probes, records, steady, verification
from mnist_edge.proof.golden import Golden
from mnist_edge.proof.probes import Probes
from mnist_edge.store import publishing
from mnist_edge.store.manifest import Manifest

#: PyTorch answers this many images a second time, in batches of several sizes.
_STEADY = 16


@dataclass(frozen=True)
class Answers:
    """PyTorch's answers. Every artifact is compared with them.

    Attributes:
        data: the test set.
        logits: float32 N×10, the answers to the test set.
        golden: a few inputs with their answers.
        golden_is_stored: whether these are stored with the model already, undamaged.
        probes: inputs that no test set contains, with their answers.
    """

    data: Dataset
    logits: NDArray[np.float32]
    golden: Golden
    golden_is_stored: bool
    probes: Probes


def answers(model: store.Model, data: Dataset) -> Answers:
    """Ask PyTorch, after checking that the network is fit to be a reference.

    Raises ModelError if the weights do not fit, or if answers are not finite, change the second time, depend on an image's neighbours in
    the batch, or differ from those that the manifest's machine stored for the same images.
    """
    from mnist_edge.architectures.deployed import torch_logits
    from mnist_edge.runtimes.torch import load_network

    deployed = load_network(model)
    logits = torch_logits(deployed, data.images)
    if not np.isfinite(logits).all():
        raise ModelError(f"{model.folder}: PyTorch itself answers NaN or infinity; train it again")
    few = data.images[:_STEADY]

    def ask(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return torch_logits(deployed, images)

    unsteady = steady.find_unsteadiness(ask, few, logits[: len(few)]) or steady.find_unsteadiness(ask, steady.with_extremes(few[:5]))
    if unsteady is not None:
        raise ModelError(f"{model.folder}: network {model.manifest.architecture}: {unsteady}")
    tolerance = parity.FLOAT32_TOLERANCE
    stored = model.manifest.reference_on(data.sha256)
    if stored is not None:
        before = store.read_reference(model, stored)
        drift = float(np.abs(logits - before).max())
        if not drift <= tolerance:
            raise ModelError(
                f"{model.folder}: PyTorch here answers differently by {drift:.3g} from the logits stored with the model; "
                f"it was trained with torch {model.manifest.training['versions'].get('torch')}"
            )

    asked = probes.ask(ask, data.images)
    try:
        return Answers(data, logits, verification.read_golden(model), True, asked)
    except ModelError:  # an older version made the model, or the file is lost or damaged: the weights are enough to make it again
        return Answers(data, logits, golden.choose(ask), False, asked)


def store_answers(model: store.Model, given: Answers, manifest: Manifest) -> Manifest:
    """Write PyTorch's answers beside the model if they are not there yet, and return the manifest that lists them.

    Call it under the model's lock, after checking that the model is still the one that gave the answers. A model that was tested only
    on drawn digits also gets its test score from this test set. Raises OSError.
    """
    if not given.golden_is_stored:
        manifest = replace(manifest, golden=publishing.write_golden(model.folder, given.golden.to_bytes()))
    data = given.data
    if manifest.reference_on(data.sha256) is not None:
        return manifest
    about = datasets.describe(data)
    manifest = manifest.with_reference(publishing.write_reference(model.folder, given.logits, about))
    if manifest.scores["test_data"]["name"] != datasets.DRAWN or records.shortcomings(data.labels, manifest.classes):
        return manifest
    correct = int((given.logits.argmax(axis=1) == data.labels).sum())
    scores = {"test_accuracy": correct / len(data), "test_correct": correct, "test_data": about}
    return replace(manifest, scores=manifest.scores | scores)


def complete(model: store.Model, data: Dataset) -> store.Model:
    """Store PyTorch's answers to `data` with a model that was proven on other data. Raises ModelError, OSError."""
    require("computing PyTorch's answers", "torch", "safetensors")
    found = answers(model, data)
    return publishing.change_manifest(model, lambda manifest: store_answers(model, found, manifest))
