"""Which training images are held out, and that everything downstream goes by the rule that a model was trained by."""

import json
import os
from dataclasses import replace
from pathlib import Path

import held_out_writers
import numpy as np
import pytest
from conftest import Command, settings_for
from once import lacking

from exporters import Calibration
from mnist_edge import store
from mnist_edge.common.errors import DataError
from mnist_edge.dataset import EVERY_TWELFTH, WRITERS, Dataset, drawn, load, rule_for, split_validation
from mnist_edge.dataset.held_out import FILE, rows_of_writers
from mnist_edge.dataset.writers import find_writers, read_writers
from mnist_edge.report import words
from mnist_edge.report.findings import Findings
from mnist_edge.store.manifest import Manifest
from mnist_edge.store.retrain import recipe_of, rule_of, training_command
from mnist_edge.training.processes import ALONE
from mnist_edge.training.run import trainer_for
from mnist_edge.training.settings import Settings

LENET = Path(__file__).resolve().parents[1] / "models" / "lenet"


@pytest.fixture(scope="module")
def mnist_train(mnist_dir: Path) -> Dataset:
    return load("mnist", "train", mnist_dir)


@pytest.fixture(scope="module")
def labels(mnist_dir: Path) -> Path:
    """QMNIST's labels of MNIST's training images."""
    folder = Path(os.environ.get("MNIST_EDGE_TEST_WRITERS") or mnist_dir.parent / "qmnist")
    path = find_writers(folder, "train")
    if path is None:
        lacking(f"no label files of QMNIST in {folder}; set MNIST_EDGE_TEST_WRITERS to a folder with them")
    return path


def test_whole_writers_of_mnist_are_held_out(mnist_train: Dataset) -> None:
    assert rule_for(mnist_train) == WRITERS
    train, held_out = split_validation(mnist_train, WRITERS)
    assert len(train) + len(held_out) == 60_000 and not set(train) & set(held_out)
    assert len(held_out) == 4870 and (np.bincount(mnist_train.labels[held_out]) > 400).all()


def test_the_file_is_what_qmnist_says(mnist_train: Dataset, labels: Path) -> None:
    writers = read_writers(labels, mnist_train)
    assert held_out_writers.text_of(writers) == FILE.read_text(encoding="utf-8")
    held_out = np.unique(writers.writer[rows_of_writers()])
    rest = np.delete(writers.writer, rows_of_writers())
    assert len(held_out) == 45 and len(np.unique(writers.writer)) == 539
    assert not set(held_out) & set(rest)
    pupils = [writers.group(writer) == "pupil" for writer in held_out]
    assert sum(pupils) == 21  # 250 of 539 are pupils


def test_other_data_and_parts_of_mnist_hold_out_every_twelfth(mnist_train: Dataset) -> None:
    turned = Dataset("mnist", "train", mnist_train.images[::-1], mnist_train.labels[::-1])
    for other in (mnist_train.first(59_999), turned, drawn.draw("train", 60)):
        assert rule_for(other) == EVERY_TWELFTH
        assert split_validation(other, EVERY_TWELFTH)[1].tolist() == list(range(11, len(other), 12))
        with pytest.raises(DataError, match="only the writers of MNIST's whole training set are known, not those of"):
            split_validation(other, WRITERS)


def test_a_rule_of_a_newer_version_is_refused() -> None:
    with pytest.raises(DataError, match="unknown rule 'pupils'"):
        split_validation(drawn.draw("train", 60), "pupils")  # type: ignore[arg-type]


def test_none_of_the_held_out_writers_is_trained_on(mnist_train: Dataset) -> None:
    settings = settings_for(mnist_train, held_out=WRITERS)
    trainer = trainer_for(replace(settings, recipe=replace(settings.recipe, drawn=0.0)), mnist_train, ALONE)
    rows = rows_of_writers()
    assert (trainer.validation.pixels.numpy() == mnist_train.images[rows]).all()
    assert (trainer.training.pixels.numpy() == np.delete(mnist_train.images, rows, axis=0)).all()


def test_a_run_of_an_older_version_goes_on_with_its_rule(drawn_train: Dataset) -> None:
    body = json.loads(json.dumps(settings_for(drawn_train, held_out=WRITERS).to_json()))
    assert Settings.from_json(body).held_out == WRITERS
    del body["held_out"]
    assert Settings.from_json(body).held_out == EVERY_TWELFTH


def by(rule: str | None, data: Dataset, manifest: Manifest | None = None) -> Manifest:
    """A manifest of a model that was trained on this data with images held out by this rule; None as in older versions."""
    manifest = manifest or Manifest.read(LENET)
    record = manifest.training["data"] | {"images": len(data), "sha256": data.sha256}
    record.pop("held_out_by", None)
    return replace(manifest, training=manifest.training | {"data": record | ({"held_out_by": rule} if rule else {})})


def test_a_model_is_calibrated_on_images_that_its_own_rule_left_in(mnist_train: Dataset) -> None:
    twelfth, writers = np.arange(11, 60_000, 12), rows_of_writers()
    for rule, held_out, others in ((None, twelfth, writers), (WRITERS, writers, twelfth)):
        drawn_from = Calibration.draw(mnist_train, 5000, rule=rule_of(by(rule, mnist_train), mnist_train)).record["indices"]
        assert not set(drawn_from) & set(held_out)
        assert set(drawn_from) & set(others)
    other = drawn.draw("train", 60)
    assert rule_of(by(WRITERS, mnist_train), other) == rule_of(by(None, mnist_train), other) == EVERY_TWELFTH


def test_the_command_that_trains_a_model_again_names_a_rule_that_is_not_usual(mnist_train: Dataset) -> None:
    for rule, said in ((None, True), (EVERY_TWELFTH, True), (WRITERS, False)):
        manifest = by(rule, mnist_train)
        assert ("--held-out every-twelfth" in training_command(manifest, "lenet", recipe_of(manifest))) == said
    assert "--held-out" not in training_command(by(EVERY_TWELFTH, mnist_train.first(600)), "lenet")


def test_writers_cannot_be_held_out_of_other_data(run_command: Command, tmp_path: Path) -> None:
    line = ("train", "mlp-256", "--data", "drawn", "--train-images", "600", "--epochs", "1")
    done = run_command(*line, "--held-out", "writers", check=1)
    assert "not those of drawn (train, 600 images); use --held-out every-twelfth" in done.stderr
    run_command(*line, "--held-out", "every-twelfth")
    manifest = json.loads((tmp_path / "models" / "mlp-256" / "manifest.json").read_text())
    assert (manifest["training"]["data"]["held_out"], manifest["training"]["data"]["held_out_by"]) == (50, "every-twelfth")


def test_the_card_says_which_rule_it_was(mnist_train: Dataset, mnist_test: Dataset) -> None:
    for rule, line in (
        (None, "every twelfth image was held out, {} in all"),
        (WRITERS, "all {} images of 45 of the 539 writers were held out"),
    ):
        model = store.Model(LENET, by(rule, mnist_train))
        line = line.format(f"{model.manifest.training['data']['held_out']:,}")
        assert line in words.training(Findings(model, mnist_test, np.zeros((10_000, 10), np.float32), ()))[0]
