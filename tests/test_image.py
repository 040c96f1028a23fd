import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnist_edge import image
from mnist_edge.dataset import Dataset
from mnist_edge.errors import PictureError


def test_a_28_by_28_picture_is_itself_from_every_source(seven: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "seven.png"
    Image.fromarray(seven).save(path)
    for source in (path, str(path), path.read_bytes(), io.BytesIO(path.read_bytes()), Image.open(path), seven):
        assert (image.read(source) == seven).all()


def test_mnist_comes_back_bit_for_bit(mnist_test: Dataset) -> None:
    assert all((image.read(pixels[0]) == pixels[0]).all() for pixels in mnist_test.images)


def test_another_size_and_dark_ink_keep_the_digit(seven: np.ndarray) -> None:
    large = np.kron(seven, np.ones((10, 10), np.uint8))
    assert np.abs(image.read(large).astype(int) - seven).max() <= 1
    assert np.abs(image.read(255 - large).astype(int) - seven).max() <= 1
    wide = np.pad(large, ((0, 0), (40, 40)))
    assert image.read(wide).shape == (28, 28)


def test_sixteen_bits_are_scaled_and_not_clipped(seven: np.ndarray) -> None:
    deep = Image.fromarray(seven.astype(np.uint16) * 257)
    assert (image.read(deep) == seven).all()


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no such file"), (b"", "not a picture"), (b"some text", "not a picture"), (b"\x89PNG\r\n\x1a\n" + b"\0" * 20, r"x\.png")],
)
def test_what_is_no_picture_is_named(content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PictureError, match=message) as error:
        image.read(path)
    assert "x.png" in str(error.value)
    with pytest.raises(PictureError, match="a folder"):
        image.read(tmp_path)


def test_a_huge_picture_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    Image.new("1", (5000, 10)).save(path)
    with pytest.raises(PictureError, match="5000×10"):
        image.read(path)


def test_ink_on_a_transparent_ground_is_read(seven: np.ndarray) -> None:
    for ink in (0, 255):
        picture = Image.merge("LA", (Image.new("L", (28, 28), ink), Image.fromarray(seven)))
        assert np.abs(image.read(picture).astype(int) - seven).max() <= 1


@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_blank_picture_is_no_digit(value: int, tmp_path: Path) -> None:
    Image.new("L", (50, 50), value).save(tmp_path / "blank.png")
    with pytest.raises(PictureError, match=r"blank\.png: no ink found"):
        image.read(tmp_path / "blank.png")


@pytest.mark.parametrize("array", [np.zeros((28, 28)), np.zeros((28, 28, 3), np.uint8), np.zeros((0, 28), np.uint8)])
def test_an_array_that_is_no_grey_picture_is_refused(array: np.ndarray) -> None:
    with pytest.raises(PictureError, match="array of"):
        image.read(array)
