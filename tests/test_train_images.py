"""How many training images were asked for is kept, and asked for again."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import settings_for, train_small

from mnist_edge import store
from mnist_edge.cli.common import Output
from mnist_edge.cli.train import settle
from mnist_edge.common.errors import DataError, UsageError
from mnist_edge.dataset import Dataset, describe, drawn, load
from mnist_edge.dataset.folder import write_folder
from mnist_edge.store.retrain import training_command
from mnist_edge.training.run import Run
from mnist_edge.training.settings import Settings

OUT = Output(as_json=False)


def test_a_model_of_a_part_of_a_folder_says_so_in_its_command(tmp_path: Path, drawn_test: Dataset) -> None:
    write_folder(drawn.draw("train", 60), tmp_path / "pics")
    part = load(str(tmp_path / "pics"), "train", count=40)
    model = train_small(tmp_path / "models", "mlp-256", data=part, test=drawn_test, train_images=40)
    assert model.manifest.training["train_images"] == 40
    assert "--data pics --train-images 40 " in training_command(model.manifest, "mlp-256")


def test_manifests_that_do_not_know_it_are_read_as_before(trained: Path) -> None:
    manifest = store.find("lenet", trained).manifest
    older = replace(manifest, training={k: v for k, v in manifest.training.items() if k != "train_images"})
    assert "--train-images 1200" in training_command(older, "lenet")
    whole = replace(older, training=older.training | {"data": older.training["data"] | {"name": "folder:pics"}})
    assert "--train-images" not in training_command(whole, "lenet")


def test_a_run_is_resumed_with_its_own_number_only(tmp_path: Path, drawn_train: Dataset) -> None:
    part = settings_for(drawn_train.first(120), train_images=120)
    other = replace(part, data=describe(drawn_train.first(240)), train_images=240)
    with Run(tmp_path, "lenet") as run:
        run.start(part)
        assert run.read_settings() == part
        assert settle(run, part, {}, True, OUT) == part
        with pytest.raises(UsageError, match="was started on 120 images, not 240; give the same --train-images"):
            settle(run, other, {}, True, OUT)


def test_a_run_of_an_older_version_goes_on(tmp_path: Path, drawn_train: Dataset) -> None:
    part = settings_for(drawn_train.first(120), train_images=120)
    older = part.to_json()
    del older["train_images"]
    assert Settings.from_json(older) == replace(part, train_images=None)
    with Run(tmp_path, "lenet") as run:
        run.start(part)
        (run.folder / "run.json").write_text(json.dumps(older))
        assert settle(run, part, {}, True, OUT) == replace(part, train_images=None)


def test_two_folders_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    for parent, seed in (("a", 1), ("b", 2)):
        write_folder(drawn.draw("train", 40, seed), tmp_path / parent / "pics")
    first, second = (load(str(tmp_path / parent / "pics"), "train") for parent in "ab")
    with Run(tmp_path / "models", "lenet") as run, pytest.raises(DataError) as error:
        run.start(settings_for(first))
        settle(run, settings_for(second), {}, True, OUT)
    assert f"started on 40 images of pics (SHA-256 {first.sha256[:12]}…), this is 40" in str(error.value)
    assert second.sha256[:12] in str(error.value)
