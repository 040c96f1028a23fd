"""How a model reads each writer: QMNIST's labels, `evaluate` and `report`."""

import gzip
import json
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import Command

from mnist_edge.common.errors import DataError
from mnist_edge.dataset import Dataset, drawn
from mnist_edge.dataset.writers import Writers, read_writers, writers_of
from mnist_edge.proof.evaluation import Evaluation, by_writer, misread
from mnist_edge.report import figures, words, write
from mnist_edge.report.findings import Findings
from mnist_edge.report.write import draw_report


def write_labels(path: Path, labels: np.ndarray, writers: np.ndarray, more: int = 3) -> Path:
    """A label file as QMNIST's: eight columns, and more rows than there are images. Writers from 100 on are pupils."""
    table = np.zeros((len(labels) + more, 8), ">i4")
    table[: len(labels), 0] = labels
    table[: len(labels), 1] = np.where(writers >= 100, 4, 0)
    table[: len(labels), 2] = writers
    content = struct.pack(">III", 0x0C02, *table.shape) + table.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.fixture(scope="module")
def few() -> Dataset:
    return drawn.draw("test", 60)


@pytest.mark.parametrize("name", ["labels", "labels.gz"])
def test_the_first_rows_say_who_wrote_the_images(name: str, few: Dataset, tmp_path: Path) -> None:
    numbers = np.arange(60) // 10 * 40
    found = read_writers(write_labels(tmp_path / name, few.labels, numbers), few)
    assert found.writer.tolist() == numbers.tolist()
    assert [found.group(writer) for writer in (0, 80, 120, 200)] == ["employee", "employee", "pupil", "pupil"]


def test_labels_of_other_images_are_refused(few: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "labels"
    write_labels(path, (few.labels + (np.arange(60) == 7)) % 10, np.zeros(60, int))
    with pytest.raises(DataError, match=r"labels: the labels are not those of drawn \(test\); the first that differs is at position 7"):
        read_writers(path, few)
    write_labels(path, few.labels[:50], np.zeros(50, int))
    with pytest.raises(DataError, match="53 rows for 60 images"):
        read_writers(path, few)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(DataError, match="truncated"):
        read_writers(path, few)
    path.write_bytes(struct.pack(">II", 0x0801, 60) + few.labels.tobytes())
    with pytest.raises(DataError, match="magic number 0x00000801 where 0x00000c02 was expected"):
        read_writers(path, few)
    path.write_bytes(struct.pack(">III", 0x0C02, 60, 1) + few.labels.astype(">i4").tobytes())
    with pytest.raises(DataError, match="1 columns; QMNIST's extended labels have eight"):
        read_writers(path, few)


def test_who_wrote_is_found_beside_mnist(mnist_test: Dataset, mnist_dir: Path, tmp_path: Path) -> None:
    assert writers_of(drawn.draw("test", 60)) is None
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for path in mnist_dir.rglob("t10k-*"):
        (raw / path.name).symlink_to(path)
    assert writers_of(mnist_test, data_dir=tmp_path) is None
    write_labels(raw / "qmnist-test-labels-idx2-int.gz", mnist_test.labels, np.arange(10_000) // 100)
    found = writers_of(mnist_test, data_dir=tmp_path)
    assert found is not None and found.writer[-1] == 99


def test_writers_are_sorted_by_how_badly_they_are_read(few: Dataset) -> None:
    writers = Writers(np.array([0] * 30 + [4] * 30), np.array([1] * 10 + [2] * 20 + [100] * 5 + [101] * 25))
    answers = few.labels.copy()
    for i in (0, 1, 30, 35):
        answers[i] = (answers[i] + 1) % 10
    answers[31] = answers[30]
    wrong = np.flatnonzero(answers != few.labels)
    found = Evaluation(np.zeros((10, 10), np.int64), wrong, answers, np.ones(60))
    hands = by_writer(found, writers)
    assert [(one.writer, one.group, len(one.images), one.wrong) for one in hands] == [
        (100, "pupil", 5, (30, 31)),
        (1, "employee", 10, (0, 1)),
        (101, "pupil", 25, (35,)),
        (2, "employee", 20, ()),
    ]
    assert [one.accuracy for one in hands] == [0.6, 0.8, 0.96, 1.0]
    assert misread(hands[2], few, found) == f"{few.labels[35]} as {answers[35]}"


def test_what_is_misread_twice_is_said_once(few: Dataset) -> None:
    ones = np.flatnonzero(few.labels == 1)[:2]
    answers = few.labels.copy()
    answers[ones] = 7
    found = Evaluation(np.zeros((10, 10), np.int64), ones, answers, np.ones(60))
    (hand,) = by_writer(found, Writers(np.zeros(60, int), np.zeros(60, int)))
    assert misread(hand, few, found) == "1 as 7 (2×)"


def test_evaluate_lists_the_writers(run_command: Command, models: Path, drawn_test: Dataset, tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).permutation(np.arange(len(drawn_test)) % 150)
    file = write_labels(tmp_path / "who.gz", drawn_test.labels, numbers)
    written = tmp_path / "data"
    written.mkdir()
    images = struct.pack(">IIII", 0x0803, len(drawn_test), 28, 28) + drawn_test.images.tobytes()
    (written / "t10k-images-idx3-ubyte").write_bytes(images)
    (written / "t10k-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x0801, len(drawn_test)) + drawn_test.labels.tobytes())
    arguments = ("evaluate", "lenet", "--models-dir", models, "--data-dir", written)
    assert json.loads(run_command(*arguments, "--json").stdout)["by_writer"] is None
    document = json.loads(run_command(*arguments, "--writers", file, "--json").stdout)
    hands = document["by_writer"]
    assert len(hands) == 150 and sum(one["images"] for one in hands) == len(drawn_test)
    assert sorted(case["index"] for one in hands for case in one["wrong"]) == [case["index"] for case in document["wrong"]]
    assert [one["accuracy"] for one in hands] == sorted(one["accuracy"] for one in hands)
    text = run_command(*arguments, "--writers", file).stdout
    assert "150 writers, " in text and "of the digits of 100 employees" in text and "of 50 pupils" in text
    worst = hands[0]
    line = next(line for line in text.splitlines() if line.split()[:2] == [str(worst["writer"]), worst["group"]])
    case = worst["wrong"][0]
    assert f"{case['label']} as {case['digit']}" in line


@pytest.mark.slow
def test_a_report_shows_the_worst_writers(found: Findings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "FIGURES", {"writers": figures.writers})  # the others are drawn in tests/report
    monkeypatch.setattr(figures, "MOST_WRITERS", 2)  # of eight, of whom tests/report draws all, with 176 digits
    assert "writers.png" not in draw_report(found)
    numbers = np.arange(len(found.data)) % 40
    known = replace(found, writers=Writers(np.zeros(len(numbers), int), numbers))
    files = draw_report(known)
    page = files["report.html"].decode()
    assert files["writers.png"].startswith(b"\x89PNG") and "The writers who are misread most" in page
    worst = known.hands[0]
    assert worst.wrong and f"<td>{worst.writer}</td><td>employee</td>" in page
    assert misread(worst, known.data, known.evaluation) in page
    assert any("40 writers" in line for line in words.strengths(known))
    alone = replace(found, writers=Writers(np.zeros(len(numbers), int), np.zeros(len(numbers), int)))
    assert draw_report(alone)["writers.png"] != files["writers.png"]
