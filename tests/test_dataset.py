import gzip
import hashlib
import inspect
import struct
from pathlib import Path

import numpy as np
import pytest

from mnist_edge.common.errors import DataError
from mnist_edge.dataset import EVERY_TWELFTH, Dataset, drawn, load, load_for_proof, rule_for, split_validation
from mnist_edge.dataset.folder import write_folder
from mnist_edge.dataset.idx import FILES
from mnist_edge.dataset.shapes import MORE_SHAPES, SHAPES
from mnist_edge.image.strokes import stroke_width


def write_idx(folder: Path, count: int = 20, *, suffix: str = "") -> Path:
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    data = drawn.draw("test", count)
    for images, labels in FILES.values():
        for name, content in (
            (images, struct.pack(">4I", 0x803, count, 28, 28) + data.images.tobytes()),
            (labels, struct.pack(">2I", 0x801, count) + data.labels.tobytes()),
        ):
            (raw / (name + suffix)).write_bytes(gzip.compress(content) if suffix else content)
    return raw


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_mnist_is_read_plain_and_gzipped(tmp_path: Path, suffix: str) -> None:
    write_idx(tmp_path, suffix=suffix)
    data, truth = load("mnist", "test", tmp_path), drawn.draw("test", 20)
    assert data.images.shape == (20, 1, 28, 28)
    assert data.images.dtype == data.labels.dtype == np.uint8
    assert data.sha256 == truth.sha256


@pytest.mark.parametrize(
    ("file", "damage", "message"),
    [
        (0, lambda b: b[:3], "too few"),
        (0, lambda b: b"\0\0\x08\x01" + b[4:], "magic number 0x00000801 where 0x00000803"),
        (0, lambda b: b[:-1], "truncated"),
        (0, lambda b: b + b"\0", "too long"),
        (0, lambda b: b[:8] + struct.pack(">2I", 14, 56) + b[16:], "14×56"),
        (0, lambda b: b[:4] + struct.pack(">I", 2**31) + b[8:], "truncated"),
        (1, lambda b: b[:4] + struct.pack(">I", 19) + b[8:-1], "19 labels"),
        (1, lambda b: b[:-1] + b"\x0b", "label 11 at position 19"),
        (1, lambda b: b[:8] + b[8:].replace(b"\x04", b"\x05"), "no example of 4"),
    ],
)
def test_malformed_idx_names_the_file_and_the_fault(tmp_path: Path, file: int, damage: object, message: str) -> None:
    path = write_idx(tmp_path) / FILES["test"][file]
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(DataError, match=message) as error:
        load("mnist", "test", tmp_path)
    assert path.name in str(error.value)


def test_damaged_gzip_names_the_file(tmp_path: Path) -> None:
    path = write_idx(tmp_path, suffix=".gz") / (FILES["test"][0] + ".gz")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="damaged gzip") as error:
        load("mnist", "test", tmp_path)
    assert path.name in str(error.value)


def test_missing_mnist_says_where_it_looked_and_the_ways_on(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        load("mnist", "test", tmp_path)
    assert str(tmp_path) in str(error.value)
    assert "--data drawn" in str(error.value)


def test_drawn_digits_are_the_same_every_time_and_the_splits_differ() -> None:
    draw = inspect.unwrap(drawn.draw)  # the tests keep what was drawn
    first, again, other = draw("train", 200), draw("train", 200), draw("test", 200)
    assert first.sha256 == again.sha256 != other.sha256
    assert np.bincount(first.labels).tolist() == [20] * 10


def test_the_drawn_data_set_stays_what_models_were_proven_on() -> None:
    """Another way of writing would make every proof on drawn digits incomplete. New ones go to MORE_SHAPES."""
    assert hashlib.sha256(repr(SHAPES).encode()).hexdigest() == "acd39aaacd42622914f5a036da728ad5835f4be5a7a0af183a1dfd2e1d887777"


def test_many_hands_write_in_more_ways_with_broader_pens_and_other_proportions() -> None:
    few, many = drawn.draw("train", 2000), drawn.draw("train", 2000, hands="many")
    assert (many.images != drawn.draw("train", 2000, hands="many").images).sum() == 0

    def spread(data: Dataset) -> tuple[float, float]:
        ones = data.images[data.labels == 1][:, 0] > 127
        boxes = [(np.flatnonzero(one.any(axis=1)), np.flatnonzero(one.any(axis=0))) for one in ones]
        flatness = [(across[-1] - across[0] + 1) / (down[-1] - down[0] + 1) for down, across in boxes]
        pens = [stroke_width(image) for image in data.images[:, 0]]
        return float(np.quantile(flatness, 0.9)), float(np.quantile(pens, 0.95))

    (flat, broad), (flat_many, broad_many) = spread(few), spread(many)
    assert flat_many > 1.2 * flat and broad_many > 1.2 * broad
    for digit in MORE_SHAPES:
        assert (many.labels == digit).sum() == 200
    images = many.images[:, 0]
    assert (images.max(axis=(1, 2)) == 255).all()


def test_drawn_digits_are_placed_as_mnist_places_them() -> None:
    images = drawn.draw("test", 500).images[:, 0].astype(float)
    index = np.arange(28)
    mass = images.sum(axis=(1, 2))
    assert np.abs((images.sum(axis=2) @ index) / mass - 14).max() <= 0.51
    assert np.abs((images.sum(axis=1) @ index) / mass - 14).max() <= 0.51
    ink = images > 0
    height, width = ink.any(axis=2).sum(axis=1), ink.any(axis=1).sum(axis=1)
    assert np.maximum(height, width).max() <= 22  # 20, and a pixel of grey edge on either side


def test_written_pictures_are_read_back_bit_for_bit(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write_folder(drawn.draw(split, 40), tmp_path / "pictures")
    for split in ("train", "test"):
        truth, data = drawn.draw(split, 40), load(str(tmp_path / "pictures"), split)
        order = [int(path.stem) for path in data.paths]
        assert (data.images == truth.images[order]).all()
        assert (data.labels == truth.labels[order]).all()
    assert load(str(tmp_path / "pictures" / "test"), "test").name == "folder:test"
    with pytest.raises(DataError, match="not empty"):
        write_folder(drawn.draw("test", 40), tmp_path / "pictures")


def test_a_folder_called_mnist_does_not_pass_for_mnist(tmp_path: Path) -> None:
    write_folder(drawn.draw("test", 40), tmp_path / "mnist")
    assert load(str(tmp_path / "mnist"), "test").name == "folder:mnist"


def test_a_training_set_with_an_empty_digit_or_a_text_is_refused(tmp_path: Path) -> None:
    write_folder(drawn.draw("train", 40), tmp_path)
    for path in (tmp_path / "train" / "3").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"3: no pictures"):
        load(str(tmp_path), "train")
    (tmp_path / "train" / "3" / "x.png").write_text("no picture")
    with pytest.raises(DataError, match=r"x\.png: not a picture.* remove it from the training set"):
        load(str(tmp_path), "train")
    with pytest.raises(DataError, match="no such folder"):
        load(str(tmp_path / "nowhere"), "train")


def test_a_test_set_may_lack_digits_and_names_what_it_cannot_read(tmp_path: Path) -> None:
    write_folder(drawn.draw("test", 40), tmp_path)
    for path in (tmp_path / "test" / "3").iterdir():
        path.unlink()
    (tmp_path / "test" / "5" / "x.png").write_text("no picture")
    data = load(str(tmp_path), "test")
    assert len(data) == 36
    (refused,) = data.refused
    assert (refused.path.name, refused.label) == ("x.png", 5)
    assert refused.reason.startswith("not a picture")
    with pytest.raises(DataError, match="no folder train/"):
        load(str(tmp_path), "train")
    (tmp_path / "empty" / "0").mkdir(parents=True)
    with pytest.raises(DataError, match="no pictures"):
        load(str(tmp_path / "empty"), "test")
    (tmp_path / "empty" / "0" / "x.png").write_text("no picture")
    with pytest.raises(DataError, match=r"none of its 1 pictures can be read; the first is x\.png"):
        load(str(tmp_path / "empty"), "test")


def test_drawn_digits_are_placed_by_mnists_recipe() -> None:
    images = drawn.draw("test", 500).images[:, 0]
    for pixels in images:
        rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
        assert max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1 == 20
        mass = pixels.sum()
        centre = np.array([pixels.sum(axis=1) @ np.arange(28), pixels.sum(axis=0) @ np.arange(28)]) / mass
        assert np.abs(centre - 14).max() <= 0.5


def test_validation_is_a_fixed_twelfth() -> None:
    data = drawn.draw("train", 120)
    assert rule_for(data) == EVERY_TWELFTH
    train, held_out = split_validation(data, EVERY_TWELFTH)
    assert len(train) == 110
    assert held_out.tolist() == list(range(11, 120, 12))


def test_counts_must_agree() -> None:
    with pytest.raises(DataError, match="2 images but 1 labels"):
        Dataset("x", "test", np.zeros((2, 1, 28, 28), np.uint8), np.zeros(1, np.uint8))
    with pytest.raises(DataError, match="40 images; 41 were asked for"):
        drawn.draw("test", 40).first(41)


@pytest.mark.slow
def test_proof_takes_mnist_where_it_is_and_drawn_digits_elsewhere(tmp_path: Path) -> None:
    assert load_for_proof(None, tmp_path).name == "drawn"
    write_idx(tmp_path)
    assert load_for_proof(None, tmp_path).name == "mnist"


def test_real_mnist_has_its_sizes(mnist_dir: Path, mnist_test: Dataset) -> None:
    assert len(mnist_test) == 10_000
    assert len(load("mnist", "train", mnist_dir)) == 60_000
