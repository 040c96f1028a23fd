"""The recipe `tutorial` was called `seed` up to 0.1: the old word goes on working, wherever it was kept."""

import json
import shlex
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import Command, Silent, settings_for, sha256, train_small
from test_training import StopsIn
from torch import nn

from mnist_edge import architectures, store
from mnist_edge.architectures import Architecture
from mnist_edge.architectures.recipe import Recipe, tutorial_recipe
from mnist_edge.cli.train import command as train_command
from mnist_edge.cli.train import new_settings
from mnist_edge.common.errors import UnknownNameError
from mnist_edge.dataset import Dataset
from mnist_edge.report.origin import origin
from mnist_edge.store.manifest import _own_hash
from mnist_edge.training.run import Run, train

QUICK = ("train", "mlp-256", "--data", "drawn", "--train-images", "240", "--epochs", "1")
WARNING = "warning: the recipe seed is now called tutorial"


def manifest_of(models: Path, name: str) -> dict[str, Any]:
    body: dict[str, Any] = json.loads((models / name / "manifest.json").read_text())
    return body


def test_the_old_word_trains_the_same_with_a_warning(run_command: Command, tmp_path: Path) -> None:
    models = tmp_path / "models"
    assert "called" not in run_command(*QUICK, "--recipe", "tutorial", "--name", "new").stderr
    typed = run_command(*QUICK, "--recipe", "seed", "--name", "typed", "-q")
    asked = run_command(*QUICK, "--name", "asked", env={"MNIST_EDGE_RECIPE": "seed"})
    assert typed.stderr.count(WARNING) == asked.stderr.count(WARNING) == 1
    for name in ("new", "typed", "asked"):
        recipe = manifest_of(models, name)["training"]["recipe"]
        assert recipe == architectures.find("mlp-256").recipe("tutorial").changed(epochs=1).to_json()
        assert recipe["name"] == "tutorial"
        assert sha256(models / name / "weights.safetensors") == sha256(models / "new" / "weights.safetensors")
    assert "tutorial: 1 epoch, adam" in run_command("show", "new").stdout


def test_help_and_the_unknown_name_say_the_new_word(run_command: Command) -> None:
    assert "or tutorial (" in " ".join(run_command("train", "--help").stdout.split())
    wrong = run_command(*QUICK, "--recipe", "tutorail", check=2)
    assert "mlp-256 has no recipe 'tutorail' (did you mean 'tutorial'?); known: best, tutorial" in wrong.stderr


def test_a_network_without_a_tutorial_says_so_under_either_name() -> None:
    alone = Architecture("alone", nn.Identity, "x")
    with pytest.raises(UnknownNameError, match="alone has no recipe 'tutorial'"):
        alone.recipe("tutorial")
    with pytest.warns(FutureWarning, match="called tutorial"), pytest.raises(UnknownNameError, match="alone has no recipe 'tutorial'"):
        alone.recipe("seed")


@pytest.mark.parametrize("words", [(), ("--recipe", "seed"), ("--recipe", "tutorial")])
def test_an_unfinished_run_of_the_old_name_ends_with_the_undisturbed_bits(
    words: tuple[str, ...], tmp_path: Path, drawn_train: Dataset, drawn_test: Dataset, run_command: Command
) -> None:
    data, models = drawn_train.first(240), tmp_path / "models"
    recipe = architectures.find("mlp-256").recipe("tutorial").changed(epochs=2)
    undisturbed = train_small(tmp_path / "other", "mlp-256", data=data, test=drawn_test, recipe=recipe)
    with Run(models, "mlp-256") as run:
        settings = settings_for(data, "mlp-256", recipe=recipe)
        run.start(settings)
        with pytest.raises(KeyboardInterrupt):
            train(run, settings, data, drawn_test, StopsIn(1, None))
        kept = run.folder / "run.json"
        body = json.loads(kept.read_text())
        body["recipe"]["name"] = "seed"
        kept.write_text(json.dumps(body))
        found = run.read_settings()
        assert found == settings
        if not words:
            resumed = train(run, found, data, drawn_test, Silent()).model
            assert resumed.manifest.training["recipe"]["name"] == "tutorial"
            assert sha256(resumed.folder / "weights.safetensors") == sha256(undisturbed.folder / "weights.safetensors")
            return
    # by the command, on the 240 digits that it draws
    place = kept.parent
    part = ("--data", "drawn", "--train-images", "240")
    from mnist_edge.dataset import describe, load

    body["data"], body["train_images"] = describe(load("drawn", "train", count=240)), 240
    kept.write_text(json.dumps(body))
    refused = run_command("train", "mlp-256", "--resume", *part, "--recipe", "best", check=2)
    assert "was started with --recipe tutorial, not best" in refused.stderr
    done = run_command("train", "mlp-256", "--resume", *part, *words)
    assert (WARNING in done.stderr) == ("seed" in words)
    assert "starting" not in done.stderr
    assert manifest_of(models, "mlp-256")["training"]["recipe"]["name"] == "tutorial"
    assert not place.exists()


@pytest.fixture
def old(tmp_path: Path, drawn_train: Dataset, drawn_test: Dataset) -> store.Model:
    """A model whose manifest says ``seed``, as 0.1 wrote it."""
    recipe = architectures.find("mlp-256").recipe("tutorial").changed(epochs=1)
    model = train_small(tmp_path / "models", "mlp-256", data=drawn_train.first(240), test=drawn_test, recipe=recipe)
    body = manifest_of(tmp_path / "models", "mlp-256")
    body["training"]["recipe"]["name"] = "seed"
    del body["sha256"]
    (model.folder / "manifest.json").write_text(json.dumps(body | {"sha256": _own_hash(body)}))
    return model


def test_a_manifest_of_the_old_name_is_shown_by_the_new_one_and_stays_as_it_is(old: store.Model, run_command: Command) -> None:
    before = (old.folder / "manifest.json").read_bytes()
    model = store.Model.read(old.folder)
    assert model.manifest == old.manifest
    assert "tutorial: 1 epoch, adam" in run_command("show", "mlp-256").stdout
    assert json.loads(run_command("show", "mlp-256", "--json").stdout)["training"]["recipe"]["name"] == "tutorial"
    assert (old.folder / "manifest.json").read_bytes() == before


def test_a_manifest_of_the_old_name_is_trained_again_by_a_command_that_works(old: store.Model) -> None:
    found = origin(store.Model.read(old.folder))
    assert found.is_exact
    program, verb, *words = shlex.split(found.command)
    assert (program, verb, words[words.index("--recipe") + 1]) == ("mnist-edge", "train", "tutorial")
    given = train_command.make_context("train", words).params
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert new_settings(given["architecture"], given).recipe.to_json() == old.manifest.training["recipe"]


@pytest.mark.proof
def test_a_plug_in_of_the_old_words_goes_on_working(run_process: Command, tmp_path: Path) -> None:
    site = tmp_path / "site"
    info = site / "mine-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mnist_edge.architectures]\nnet = mine:NET\nother = mine:OTHER\n")
    (site / "mine.py").write_text(
        "from torch import nn\n"
        "from mnist_edge.architectures import Architecture\n"
        "from mnist_edge.training.recipe import Recipe, seed_recipe\n"
        "class Net(nn.Sequential):\n"
        "    def __init__(self):\n"
        "        super().__init__(nn.Flatten(), nn.Linear(784, 10))\n"
        "NET = Architecture('net', Net, 'mine', seed=Recipe('seed', epochs=1, batch_size=50, lr=0.002))\n"
        "OTHER = Architecture('other', Net, 'mine', seed_recipe(1, lr=0.25), Recipe(epochs=9))\n"
    )
    words = ("--data", "drawn", "--train-images", "240", "--recipe", "tutorial", "--json")
    for name, lr in (("net", 0.002), ("other", 0.25)):
        done = run_process("train", name, *words, env={"PYTHONPATH": str(site)})
        assert "could not be loaded" not in done.stderr
        recipe = json.loads(done.stdout)["training"]["recipe"]
        assert (recipe["name"], recipe["lr"], recipe["epochs"]) == ("tutorial", lr, 1)


def test_the_old_word_in_an_architecture_is_deprecated() -> None:
    recipe = tutorial_recipe(3)
    with pytest.warns(DeprecationWarning, match="network net: its recipe seed= is now called tutorial=") as warned:
        old = Architecture("net", nn.Identity, "x", seed=recipe)
    assert warned[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        new = Architecture("net", nn.Identity, "x", tutorial=recipe)
        assert replace(old, summary="y").tutorial is recipe
        assert replace(old, tutorial=tutorial_recipe(4)).tutorial == tutorial_recipe(4)
    assert old == new
    assert old.tutorial is old.seed is old.recipe("tutorial") is recipe
    assert Recipe("seed") == Recipe("tutorial")  # type: ignore[arg-type]
