"""One rule finds what MODEL means, for every command and for Python."""

import json
import shutil
from pathlib import Path

import pytest
from conftest import Command

from mnist_edge import Predictor, store
from mnist_edge.common.errors import ModelError, UnknownNameError

ROOT = Path(__file__).resolve().parents[1]


def test_a_name_in_the_models_folder_comes_before_a_file_of_that_name(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`store.find` once took the model, and `Predictor.load` the file."""
    monkeypatch.chdir(models.parent)
    shutil.copy(models / "lenet" / "lenet.onnx", "lenet")
    assert store.find("lenet").folder == Path("models/lenet")
    assert Predictor.load("lenet").description.startswith("lenet (in models)")
    assert "unproven" in Predictor.load("./lenet").description


def test_the_environment_names_the_model_for_all(
    models: Path, monkeypatch: pytest.MonkeyPatch, run_command: Command, picture: Path
) -> None:
    shutil.copytree(models / "lenet", models / "other")
    named = {"MNIST_EDGE_MODEL": "other", "MNIST_EDGE_MODELS_DIR": str(models)}
    for arguments in (
        ("predict", picture),
        ("verify", "--quick"),
        ("show",),
        ("evaluate", "--data", "drawn"),
        ("report", "--data", "drawn"),
    ):
        done = run_command(*arguments, env=named, check=None)
        assert "other (" in done.stdout + done.stderr, (arguments, done.stdout, done.stderr)
        given = (*arguments[:1], "lenet", *arguments[1:]) if arguments[0] != "predict" else (*arguments, "--model", "lenet")
        done = run_command(*given, env=named, check=None)
        assert "lenet (" in done.stdout + done.stderr, (given, done.stdout, done.stderr)
    monkeypatch.setenv("MNIST_EDGE_MODEL", str(models / "other" / "lenet.onnx"))
    assert store.find().name == "other"
    assert store.resolve().file == models / "other" / "lenet.onnx"
    assert store.find("lenet", models).name == "lenet"
    monkeypatch.setenv("MNIST_EDGE_MODEL", "nothing")
    with pytest.raises(UnknownNameError, match="unknown model 'nothing'"):
        Predictor.load(models_dir=models)
    monkeypatch.setenv("MNIST_EDGE_MODEL", "")
    assert store.find(None, models).folder.parent == models


def test_in_a_clone_the_default_is_lenet_unless_something_was_trained_there(models: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    for name in ("lenet", "vgg", "vit"):
        shutil.copytree(ROOT / "models" / name, clone / name)
    assert store.find(None, clone).name == "lenet"
    assert store.find(None, clone).chosen == "the reference model; nothing else was trained here"
    shutil.rmtree(clone / "lenet")
    assert store.find(None, clone).is_installed_reference
    shutil.copytree(models / "lenet", clone / "mine")
    assert store.find(None, clone).name == "mine"
    assert "trained last" in store.find(None, clone).chosen


def test_the_installed_reference_is_known_by_any_path(monkeypatch: pytest.MonkeyPatch) -> None:
    reference = store.find("lenet", Path("no such folder"))
    monkeypatch.chdir(reference.folder.parent)
    for path in (
        reference.folder,
        Path("lenet"),
        Path("./lenet"),
        Path("../models/lenet") if reference.folder.parent.name == "models" else Path("lenet"),
    ):
        assert store.Model.read(path).is_installed_reference, path


def test_what_is_no_model_is_said_the_same_way(models: Path, tmp_path: Path) -> None:
    lone = Path(shutil.copy(models / "lenet" / "lenet.onnx", tmp_path / "lone.onnx"))
    with pytest.raises(ModelError, match=r"lone\.onnx: no manifest\.json beside it, so it belongs to no model"):
        store.find(lone)
    for nothing in ("", "a/b", "x.onnx", "/"):
        with pytest.raises((UnknownNameError, ModelError)):
            store.find(nothing, models)


def test_the_reference_is_listed_once_whatever_else_there_is(models: Path, tmp_path: Path, run_command: Command) -> None:
    reference = store.installed_reference().folder
    for folder, others in ((models, 1), (tmp_path / "nothing", 0), (reference.parent, len(store.list_models(reference.parent)[0]) - 1)):
        listed = json.loads(run_command("list", "--json", "--models-dir", folder).stdout)["models"]
        assert sum(one["installed_reference"] for one in listed) == 1, folder
        assert len(listed) == others + 1


def test_what_is_proposed_for_a_model_without_its_weights_begins_with_them(run_command: Command) -> None:
    done = run_command("show", ROOT / "models" / "resnet18")
    assert (
        "without weights.safetensors it cannot be exported; restore that file, or train the model again: mnist-edge train resnet18"
        in done.stderr
    )
    assert done.stderr.rstrip().endswith("--format onnx")
