"""`train --teacher`: a network learns the answers of trained models, says so, and goes on with the same teachers only."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import Command, StopsIn, settings_for, train_small
from safetensors.torch import load_file

from mnist_edge import store
from mnist_edge.architectures.deployed import torch_logits
from mnist_edge.architectures.recipe import Recipe
from mnist_edge.common.errors import TrainingError
from mnist_edge.dataset import Dataset, load
from mnist_edge.runtimes.torch import load_network
from mnist_edge.store.publishing import record_of
from mnist_edge.store.retrain import training_command
from mnist_edge.training.result import weights_of
from mnist_edge.training.run import Run, train
from mnist_edge.training.teachers import find_teachers, informed

WORDS = ("--data", "drawn", "--train-images", "600", "--epochs", "2", "--batch-size", "32")


@pytest.fixture
def models(tmp_path: Path, drawn_train: Dataset, drawn_test: Dataset) -> Path:
    """A models folder with two teachers: one calls every digit a 3, the other an 8."""
    for name, digit in (("threes", 3), ("eights", 8)):
        model = train_small(tmp_path / "models", "mlp-256", data=drawn_train.first(120), test=drawn_test.first(100), name=name)
        network = load_network(model).network
        with torch.no_grad():
            list(network.parameters())[-1].copy_(torch.eye(10)[digit] * 1000)
        path = model.path(model.manifest.weights)
        path.write_bytes(weights_of(network))
        replace(model.manifest, weights=record_of(path)).write(model.folder)
    return tmp_path / "models"


def test_a_network_learns_its_teachers_answers_and_its_manifest_and_card_say_so(
    models: Path, run_command: Command, drawn_test: Dataset
) -> None:
    run_command("train", "mlp-256", "--name", "student", "--teacher", "threes", *WORDS, check=0)
    student = store.find("student", models)
    assert (torch_logits(load_network(student), drawn_test.images).argmax(axis=1) == 3).all()
    weights = store.find("threes", models).manifest.weights.sha256
    assert student.manifest.training["teachers"] == [{"name": "threes", "weights": weights}]
    assert "--teacher threes" in training_command(student.manifest, "student")
    run_command("report", "student", check=0)
    card = (student.folder / "README.md").read_text()
    assert f"It learned the mean probabilities of threes (weights {weights[:12]}…) in place of the labels." in card
    assert "--teacher threes" in card


def test_of_several_teachers_the_mean_of_their_probabilities_is_learned(models: Path, run_command: Command, drawn_test: Dataset) -> None:
    run_command("train", "mlp-256", "--name", "student", "--teacher", "threes", "--teacher", models / "eights", *WORDS, check=0)
    logits = torch_logits(load_network(store.find("student", models)), drawn_test.images)
    three, eight = torch.from_numpy(logits).softmax(dim=1)[:, [3, 8]].mean(dim=0).tolist()
    assert three == pytest.approx(0.5, abs=0.1) and eight == pytest.approx(0.5, abs=0.1)


@pytest.mark.slow
def test_an_interrupted_student_ends_with_the_undisturbed_bits(models: Path, drawn_train: Dataset, drawn_test: Dataset) -> None:
    data, test = drawn_train.first(180), drawn_test.first(100)
    recipe, teachers = Recipe(epochs=2, batch_size=32), find_teachers(["threes", "eights"], models)
    undisturbed = train_small(models, "mlp-256", data=data, test=test, name="a", recipe=recipe, teachers=teachers)
    run = Run(models, "b")
    with run:
        run.start(settings_for(data, "mlp-256", recipe=recipe, teachers=teachers))
    with pytest.raises(KeyboardInterrupt), run:
        train(run, run.read_settings(), data, test, StopsIn(2, 3))
    with run:
        resumed = train(run, run.read_settings(), data, test, StopsIn(9, None)).model
    one, other = (load_file(model.path(model.manifest.weights)) for model in (undisturbed, resumed))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_teacher_that_is_not_there_or_has_changed_is_one_line(
    models: Path, run_command: Command, drawn_train: Dataset, drawn_test: Dataset
) -> None:
    shutil.copytree(models / "threes", models / ".runs" / "student")  # an unfinished run, which stays where it is
    unknown = run_command("train", "mlp-256", "--name", "student", "--teacher", "nobody", *WORDS, check=2).stderr
    assert "unknown model 'nobody'" in unknown and len(unknown.splitlines()) == 1
    assert (models / ".runs" / "student" / "manifest.json").exists()
    data = drawn_train.first(120)
    settings = settings_for(data, "mlp-256", teachers=find_teachers(["threes"], models))
    with Run(models, "student") as run:
        run.start(settings)
        shutil.rmtree(models / "threes")
        (models / "eights").rename(models / "threes")
        with pytest.raises(TrainingError, match="threes: has other weights than at the start of this run; put them back"):
            train(run, settings, data, drawn_test.first(100), StopsIn(9, None))


def test_a_run_goes_on_with_the_same_teachers_only(models: Path, run_command: Command) -> None:
    data = load("drawn", "train", None, 600)
    with Run(models, "student") as run:
        run.start(settings_for(data, "mlp-256", teachers=find_teachers(["threes"], models), train_images=600))
    student = ("train", "mlp-256", "--name", "student", *WORDS[:4], "--resume")
    refused = run_command(*student, "--teacher", "eights", check=2).stderr
    assert "was started with --teacher threes (weights " in refused and ", not eights (weights " in refused
    run_command(*student, check=0)
    assert [one["name"] for one in store.find("student", models).manifest.training["teachers"]] == ["threes"]


def test_a_teacher_that_was_trained_on_held_out_images_is_told(models: Path, run_command: Command, drawn_train: Dataset) -> None:
    settings = settings_for(drawn_train.first(120), "mlp-256", teachers=find_teachers(["threes"], models))
    assert informed(settings) == []
    assert informed(replace(settings, held_out="writers")) == ["threes"]
    assert informed(replace(settings, held_out="writers", data=settings.data | {"sha256": "other"})) == []
