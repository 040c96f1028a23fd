"""A data set that is made from Python is checked where it is made."""

from pathlib import Path

import numpy as np
import pytest

from mnist_edge.common.errors import DataError
from mnist_edge.dataset import Dataset, drawn

IMAGES, LABELS = np.zeros((3, 1, 28, 28), np.uint8), np.array([0, 5, 9], np.uint8)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES.astype(np.float32), LABELS, "images are uint8 N×1×28×28; these are float32 3×1×28×28"),
        (IMAGES[:, 0], LABELS, "these are uint8 3×28×28"),
        (IMAGES[..., :20], LABELS, "these are uint8 3×1×28×20"),
        ([[0]], LABELS, "these are list"),
        (IMAGES, LABELS.astype(np.int64), "labels are uint8 N; these are int64 3"),
        (IMAGES, LABELS[:, None], "these are uint8 3×1"),
        (IMAGES, [0, 5, 9], "these are list"),
        (IMAGES, LABELS[:2], "3 images but 2 labels"),
        (IMAGES, np.array([0, 10, 9], np.uint8), "label 10 at position 1; labels are 0 to 9"),
        (IMAGES[:0], LABELS[:0], "no images"),
    ],
)
def test_a_wrong_array_is_named(images: object, labels: object, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        Dataset("mine", "test", images, labels)  # type: ignore[arg-type]
    assert str(error.value).startswith("mine (test): ")
    assert "\n" not in str(error.value)


def test_paths_belong_to_the_images() -> None:
    with pytest.raises(DataError, match="3 images but 1 paths"):
        Dataset("mine", "test", IMAGES, LABELS, (Path("a.png"),))
    assert len(Dataset("mine", "test", IMAGES, LABELS)) == 3
    with pytest.raises(DataError, match="no images"):
        drawn.draw("train", 0)
