"""PyTorch's own answers are a reference only if it gives the same ones when asked again, in batches of any size."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from exporters import reference
from mnist_edge import store
from mnist_edge.common.errors import ModelError
from mnist_edge.dataset import Dataset
from mnist_edge.proof.steady import BATCHES, find_unsteadiness, with_extremes

PIXELS = with_extremes(np.arange(13 * 784, dtype=np.uint8).reshape(13, 1, 28, 28))


def logits(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    weights = np.random.default_rng(1).normal(size=(784, 10)).astype(np.float32) / 784
    return (pixels.reshape(len(pixels), 784).astype(np.float32) @ weights).astype(np.float32)


def test_rounding_is_no_fault() -> None:
    random = np.random.default_rng(2)
    assert (
        find_unsteadiness(lambda pixels: logits(pixels) + random.uniform(-2e-5, 2e-5, (len(pixels), 10)).astype(np.float32), PIXELS) is None
    )


@pytest.mark.parametrize("size", BATCHES)
def test_one_size_of_batch_answered_otherwise_is_found(size: int) -> None:
    found = find_unsteadiness(lambda pixels: logits(pixels) * (2 if len(pixels) == size else 1), PIXELS)
    assert found is not None
    assert (found.noise, found.batch) == (False, size)


def test_noise_and_missing_answers_are_found() -> None:
    random = np.random.default_rng(3)
    found = find_unsteadiness(lambda pixels: logits(pixels) + random.random((len(pixels), 10), np.float32), PIXELS, logits(PIXELS))
    assert found is not None
    assert found.noise
    assert "not deterministic" in str(found)
    assert find_unsteadiness(lambda pixels: logits(pixels)[:1], PIXELS, logits(PIXELS)) is not None
    assert find_unsteadiness(lambda pixels: logits(pixels) * np.float32(np.nan), PIXELS, logits(PIXELS)) is not None
    assert find_unsteadiness(lambda pixels: logits(pixels) * np.float32(np.nan), PIXELS) is None  # always the same, and refused elsewhere


def test_what_pytorch_answers_at_random_is_no_reference(trained: Path, drawn_test: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from mnist_edge.architectures.lenet import LeNet

    real, model = LeNet.forward, store.find("lenet", trained)
    for wrong, message in (
        (lambda self, x: real(self, x) + torch.rand(10), "network lenet: not deterministic in eval mode"),
        (lambda self, x: real(self, x) * (2 if x.shape[0] == 3 else 1), r"others are in its batch \(tried: 3 at once\).*batch_first"),
        (lambda self, x: real(self, x) * (2 if x.mean() > 2 else 1), r"others are in its batch \(tried: 1 at once\)"),
    ):
        monkeypatch.setattr(LeNet, "forward", wrong)
        with pytest.raises(ModelError, match=message):
            reference.answers(model, drawn_test)
