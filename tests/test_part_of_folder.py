"""A part of a folder of pictures: spread over the digits, chosen before anything is decoded."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from test_dataset import write_idx

from mnist_edge import image
from mnist_edge.common.errors import DataError
from mnist_edge.dataset import EVERY_TWELFTH, drawn, load, split_validation
from mnist_edge.dataset.folder import write_folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 160 training pictures and 40 test pictures. Do not change it; `folder` is a copy."""
    folder = tmp_path_factory.mktemp("part") / "pics"
    for split, count in (("train", 160), ("test", 40)):
        write_folder(drawn.draw(split, count), folder)
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "pics"))


@pytest.mark.parametrize(("count", "shares"), [(10, [1] * 10), (40, [4] * 10), (123, [13, 13, 13] + [12] * 7), (160, [16] * 10)])
def test_every_digit_gives_its_share(whole: Path, count: int, shares: list[int]) -> None:
    part = load(str(whole), "train", count=count)
    assert np.bincount(part.labels, minlength=10).tolist() == shares
    assert part.sha256 == load(str(whole), "train", count=count).sha256


def test_a_digit_with_few_pictures_gives_what_it_has(folder: Path) -> None:
    for path in sorted((folder / "train" / "3").iterdir())[2:]:
        path.unlink()
    part = load(str(folder), "train", count=101)
    assert np.bincount(part.labels).tolist() == [11, 11, 11, 2, 11, 11, 11, 11, 11, 11]


def test_all_of_a_folder_is_the_folder(whole: Path) -> None:
    assert load(str(whole), "train", count=160).sha256 == load(str(whole), "train").sha256


def test_only_what_is_taken_is_decoded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    last = max((folder / "train" / "0").iterdir())
    last.write_text("no picture")
    read: list[Path] = []
    monkeypatch.setattr(image, "read", lambda path, decode=image.read: (read.append(path), decode(path))[1])
    part = load(str(folder), "train", count=40)
    assert read == list(part.paths)
    assert len(read) == 40
    with pytest.raises(DataError, match="remove it from the training set"):
        load(str(folder), "train")


def test_every_digit_is_held_out_where_there_are_twelve_of_each(whole: Path) -> None:
    for count in (120, 137, 160):
        part = load(str(whole), "train", count=count)
        held_out = part.labels[split_validation(part, EVERY_TWELFTH)[1]]
        assert set(held_out.tolist()) == set(range(10)), count


def test_too_few_and_too_many_are_one_line(whole: Path) -> None:
    with pytest.raises(DataError, match=r"pics \(train\) has images of 10 digits; 9 are too few to take one of each"):
        load(str(whole), "train", count=9)
    with pytest.raises(DataError, match=r"pics \(train\) has 160 images; 161 were asked for"):
        load(str(whole), "train", count=161)


def test_a_test_set_that_lacks_digits_is_spread_over_those_it_has(folder: Path) -> None:
    for path in (folder / "test" / "7").iterdir():
        path.unlink()
    assert np.bincount(load(str(folder), "test", count=9).labels, minlength=10).tolist() == [1] * 7 + [0, 1, 1]


def test_mnist_is_taken_from_its_beginning(tmp_path: Path) -> None:
    write_idx(tmp_path, 40)
    whole, part = load("mnist", "train", tmp_path), load("mnist", "train", tmp_path, 23)
    assert (part.images == whole.images[:23]).all()
    assert (part.labels == whole.labels[:23]).all()
