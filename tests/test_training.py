import json
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Silent, settings_for, train_small

from mnist_edge import architectures, store
from mnist_edge.architectures.deployed import Deployed, torch_logits
from mnist_edge.architectures.recipe import Augmentation, Recipe
from mnist_edge.cli.train import new_settings
from mnist_edge.common.errors import TrainingError, UsageError
from mnist_edge.dataset import Dataset
from mnist_edge.runtimes.torch import load_network
from mnist_edge.store.publishing import RUNS
from mnist_edge.training.augment import augment
from mnist_edge.training.loop import Epoch, Images, Trainer
from mnist_edge.training.processes import ALONE
from mnist_edge.training.run import Run, train, trainer_for
from mnist_edge.training.settings import Settings, choose_device


def weights_of(model: store.Model) -> str:
    return model.manifest.weights.sha256


def test_it_learns_and_the_manifest_says_how(trained: Path, drawn_train: Dataset, drawn_test: Dataset) -> None:
    model = store.find("lenet", trained)
    manifest = model.manifest
    assert manifest.scores["test_accuracy"] > 0.6
    assert manifest.scores["test_data"]["sha256"] == drawn_test.sha256
    data = {
        "name": "drawn",
        "split": "train",
        "images": 1200,
        "sha256": drawn_train.sha256,
        "held_out": 100,
        "held_out_by": "every-twelfth",
    }
    assert manifest.training["data"] == data
    assert manifest.training["versions"]["torch"] == torch.__version__
    history = [json.loads(line) for line in model.path(manifest.history).read_text().splitlines()]
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert history[-1]["loss"] < history[0]["loss"]
    assert (model.folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert not (trained / RUNS / "lenet").exists()


@pytest.mark.slow
def test_the_same_command_gives_the_same_bits_and_another_seed_does_not(tmp_path: Path, drawn_train: Dataset, drawn_test: Dataset) -> None:
    data, test = drawn_train.first(600), drawn_test.first(100)
    first, again = (train_small(tmp_path / name, "cnn-small", data=data, test=test, threads=2) for name in "ab")
    other = train_small(tmp_path / "c", "cnn-small", data=data, test=test, threads=2, seed=1)
    assert weights_of(first) == weights_of(again) != weights_of(other)


def test_a_recipe_can_add_drawn_digits_and_holds_none_of_them_out(tmp_path: Path, drawn_train: Dataset, drawn_test: Dataset) -> None:
    seen = []

    class Counts(Silent):
        def on_batch(self, epoch: int, batch: int, batches: int, loss: float) -> None:
            seen.append(batches)

    for share in (0.0, 0.5):
        settings = settings_for(drawn_train, "mlp-256", recipe=Recipe(epochs=1, batch_size=50, drawn=share))
        with Run(tmp_path / str(share), "mlp-256") as run:
            run.start(settings)
            train(run, settings, drawn_train, drawn_test, Counts())
    assert set(seen) == {22, 33}  # 1,100 images and half as many more


class StopsIn(Silent):
    """Interrupt as Ctrl-C does, in a batch or right after an epoch."""

    def __init__(self, epoch: int, batch: int | None) -> None:
        self.where = (epoch, batch)

    def on_batch(self, epoch: int, batch: int, batches: int, loss: float) -> None:
        if (epoch, batch) == self.where:
            raise KeyboardInterrupt

    def on_epoch(self, epoch: Epoch) -> None:
        if (epoch.epoch, None) == self.where:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("architecture", "schedule", "precision", "threads", "average"),
    [
        ("cnn-small", "onecycle", "float32", 2, 0.0),  # dropout
        ("resnet-tiny", "constant", "bfloat16", 1, 0.9),  # running statistics
        pytest.param("cnn-small", "constant", "float32", 1, 0.0, marks=pytest.mark.proof),
        pytest.param("resnet-tiny", "onecycle", "float32", 1, 0.0, marks=pytest.mark.proof),
        pytest.param("cnn-small", "onecycle", "bfloat16", 2, 0.0, marks=pytest.mark.proof),
    ],
)
@pytest.mark.slow
def test_an_interrupted_training_ends_with_the_undisturbed_bits(
    tmp_path: Path,
    drawn_train: Dataset,
    drawn_test: Dataset,
    architecture: str,
    schedule: str,
    precision: str,
    threads: int,
    average: float,
) -> None:
    recipe = Recipe(
        epochs=3,
        batch_size=32,
        schedule=schedule,
        optimizer="adamw" if schedule == "onecycle" else "sgd",
        momentum=0.9,
        lr=0.01,
        precision=precision,
        average=average,
    )
    data, test = drawn_train.first(180), drawn_test.first(100)
    undisturbed = train_small(tmp_path / "a", architecture, data=data, test=test, recipe=recipe, threads=threads)
    run, settings = Run(tmp_path / "b", architecture), settings_for(data, architecture, recipe=recipe, threads=threads)
    with run:
        run.start(settings)
    for epoch, batch in ((1, 3), (1, None), (3, 2)):
        with pytest.raises(KeyboardInterrupt), run:
            train(run, settings, data, test, StopsIn(epoch, batch))
        assert not (tmp_path / "b" / architecture).exists()
        with run:
            settings = run.read_settings() or settings
    with run:
        resumed = train(run, settings, data, test, Silent()).model
    assert weights_of(resumed) == weights_of(undisturbed)
    assert len(resumed.path(resumed.manifest.history).read_text().splitlines()) == 3


def test_a_recipe_can_publish_the_average_of_the_weights(tmp_path: Path, drawn_train: Dataset, drawn_test: Dataset) -> None:
    recipe = Recipe(epochs=2, batch_size=64, lr=0.01, average=0.9)
    data = drawn_train.first(600)
    model = train_small(tmp_path, "mlp-256", data=data, test=drawn_test, recipe=recipe)
    trainer = trainer_for(settings_for(data, "mlp-256", recipe=recipe), data, ALONE)
    steps: list[dict[str, torch.Tensor]] = []

    class Keeps(Silent):
        def on_batch(self, epoch: int, batch: int, batches: int, loss: float) -> None:
            steps.append({name: value.clone().double() for name, value in trainer.state()["network"].items()})

    epochs = list(trainer.epochs(Keeps()))
    expected = steps[0]
    for number, newest in enumerate(steps[1:], start=2):
        decay = min(0.9, (1 + number) / (10 + number))
        expected = {name: decay * expected[name] + (1 - decay) * newest[name] for name in expected}
    published = load_network(model).network.state_dict()
    for name, weights in published.items():
        assert torch.allclose(weights.double(), expected[name], atol=1e-6)
        assert not torch.allclose(weights.double(), steps[-1][name], atol=1e-4)
    assert model.manifest.scores["validation_accuracy"] == epochs[-1].validation_accuracy


@pytest.mark.parametrize("average", [-0.5, 1.0, float("nan")])
def test_an_average_that_makes_no_sense_is_refused(average: float) -> None:
    with pytest.raises(UsageError, match="average must be at least 0 and below 1"):
        Recipe(average=average)


def test_a_network_that_cannot_be_copied_has_no_average(drawn_train: Dataset) -> None:
    class Locked(torch.nn.Linear):
        def __init__(self) -> None:
            super().__init__(784, 10)
            self.lock = threading.Lock()

    settings = settings_for(drawn_train, recipe=Recipe(average=0.9))
    images = Images(torch.zeros(1, 1, 28, 28, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64))
    deployed = Deployed(Locked(), settings.recipe.mean, settings.recipe.std)
    with pytest.raises(UsageError, match="^your network mine:Locked: .*; its recipe asks for an average of the weights"):
        Trainer("mine:Locked", deployed, settings.recipe, 0, images, images)


def test_a_loss_that_is_not_finite_names_its_batch(tmp_path: Path, drawn_train: Dataset, drawn_test: Dataset) -> None:
    recipe = Recipe(epochs=1, batch_size=64, lr=1e18, schedule="constant", optimizer="sgd")
    with pytest.raises(TrainingError, match=r"the loss is (nan|inf) in epoch 1, batch \d+ of 20; try a lower --lr"):
        train_small(tmp_path, data=drawn_train, test=drawn_test, recipe=recipe)
    assert not (tmp_path / "lenet").exists()


def test_weights_that_break_in_the_last_step_are_not_published(tmp_path: Path, drawn_train: Dataset, drawn_test: Dataset) -> None:
    recipe = Recipe(epochs=1, batch_size=64, lr=1e18, schedule="constant", optimizer="sgd")
    with pytest.raises(TrainingError, match="the held-out loss is"):
        train_small(tmp_path, data=drawn_train.first(24), test=drawn_test, recipe=recipe)
    assert not (tmp_path / "lenet").exists()


def test_a_run_in_progress_is_left_alone(tmp_path: Path, drawn_train: Dataset, drawn_test: Dataset) -> None:
    drawn_train = drawn_train.first(240)
    settings = settings_for(drawn_train)

    class Second(Silent):
        def on_batch(self, epoch: int, batch: int, batches: int, loss: float) -> None:
            with pytest.raises(TrainingError, match="being trained by another program"), Run(tmp_path, "lenet"):
                pass
            second = Run(tmp_path, "lenet")
            for another in (lambda: second.start(settings), lambda: train(second, settings, drawn_train, drawn_test, Silent())):
                with pytest.raises(TrainingError, match="without its lock"):
                    another()

    with Run(tmp_path, "lenet") as run:
        run.start(settings)
        train(run, settings, drawn_train, drawn_test, Second())


def test_weights_that_share_memory_are_refused_before_the_first_epoch(tmp_path: Path, drawn_train: Dataset, drawn_test: Dataset) -> None:
    with pytest.raises(UsageError, match="its weights cannot be saved: .*give each its own"):
        train_small(tmp_path, "tied:Tied", data=drawn_train, test=drawn_test, name="tied")


def test_a_damaged_checkpoint_is_said_and_not_trusted(tmp_path: Path, drawn_train: Dataset, drawn_test: Dataset) -> None:
    settings = settings_for(drawn_train)
    with Run(tmp_path, "lenet") as run:
        run.start(settings)
        (run.folder / "checkpoint.pt").write_bytes(b"rubbish")
        with pytest.raises(TrainingError, match="cannot be resumed from"):
            train(run, settings, drawn_train, drawn_test, Silent())
        (run.folder / "run.json").write_text("{}")
        with pytest.raises(TrainingError, match="damaged"):
            run.read_settings()


def test_starting_over_keeps_the_unfinished_run(tmp_path: Path, drawn_train: Dataset) -> None:
    with Run(tmp_path, "lenet") as run:
        assert run.start(settings_for(drawn_train)) is None
        (run.folder / "checkpoint.pt").write_bytes(b"hours of work")
        kept = run.start(settings_for(drawn_train))
        assert kept is not None
        assert (kept / "checkpoint.pt").read_bytes() == b"hours of work"
        assert not (run.folder / "checkpoint.pt").exists()


def test_settings_survive_their_round_trip(drawn_train: Dataset) -> None:
    for recipe in (Recipe(), Recipe(augmentation=None)):
        settings = settings_for(drawn_train, recipe=recipe)
        assert Settings.from_json(json.loads(json.dumps(settings.to_json()))) == settings


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden"])
def test_a_model_name_is_a_folder_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be a model's name"):
        Run(tmp_path, name)


def test_augmentation_moves_ink_and_stays_in_range() -> None:
    images = torch.zeros(64, 1, 28, 28)
    images[:, :, 10:18, 10:18] = 255.0
    assert torch.allclose(augment(images, Augmentation(0, 0, 0, 0), torch.Generator().manual_seed(0)), images, atol=1e-2)
    moved = augment(images, Augmentation(), torch.Generator().manual_seed(0))
    assert moved.shape == images.shape
    assert 0 <= moved.min() <= moved.max() <= 255.001
    centres = (moved.sum(dim=(1, 2)) * torch.arange(28)).sum(dim=1) / moved.sum(dim=(1, 2, 3))
    assert 0.5 < centres.std() < 28 * 0.07
    shifted = augment(images, Augmentation(0, 0, 0, 0.1), torch.Generator().manual_seed(0))
    np.testing.assert_allclose(shifted.sum(dim=(1, 2, 3)), images.sum(dim=(1, 2, 3)), rtol=1e-3)


@pytest.mark.parametrize("name", architectures.names())
def test_every_tutorial_network_has_its_recipe(name: str) -> None:
    tutorial = architectures.find(name).recipe("tutorial")
    assert (tutorial.name, tutorial.schedule, tutorial.augmentation, tutorial.weight_decay) == ("tutorial", "constant", None, 0.0)
    assert architectures.find(name).recipe("best").name == "best"


def test_a_recipe_is_changed_only_where_asked() -> None:
    assert Recipe().changed(epochs=2, lr=0.5) == replace(Recipe(), epochs=2, lr=0.5)
    with pytest.raises(UsageError, match="--lr must be above 0"):
        Recipe().changed(lr=-1.0)


def test_a_device_that_is_not_here_is_named() -> None:
    assert choose_device("cpu") == "cpu"
    with pytest.raises(UsageError, match="no device 'tpu' on this machine; available: cpu"):
        choose_device("tpu")


def test_weights_trained_in_bfloat16_are_float32_and_answer_as_proven(tmp_path: Path, drawn_train: Dataset, drawn_test: Dataset) -> None:
    """What is tested and stored is the network as it is deployed: in float32, in the usual order of memory."""
    recipe = Recipe(epochs=1, batch_size=64, precision="bfloat16")
    model = train_small(tmp_path, "cnn-small", data=drawn_train.first(240), test=drawn_test, recipe=recipe)
    deployed = load_network(model)
    assert {parameter.dtype for parameter in deployed.parameters()} == {torch.float32}
    stored = store.read_reference(model, model.manifest.references[0])
    assert np.array_equal(torch_logits(deployed, drawn_test.images), stored)
    assert model.manifest.training["recipe"]["precision"] == "bfloat16"


def test_bfloat16_is_taken_where_the_processor_has_it_or_who_types_it_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"device": "cpu"}
    for has, asked, expected in (
        ({"avx512_bf16": True}, None, "bfloat16"),
        ({"amx_bf16": True}, None, "bfloat16"),
        ({}, None, "float32"),
        ({}, "bfloat16", "bfloat16"),
        ({"avx512_bf16": True}, "float32", "float32"),
    ):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda has=has: has)
        assert new_settings("vgg", given | {"precision": asked}).recipe.precision == expected
    assert new_settings("lenet", given).recipe.precision == "float32"


def test_a_pen_is_changed_by_up_to_a_pixel_on_each_side(drawn_train: Dataset) -> None:
    images = torch.from_numpy(drawn_train.images[:200]).float()
    still = Augmentation(rotation=0, scale=0, shear=0, shift=0)
    changed = augment(images, replace(still, pen=1.0), torch.Generator().manual_seed(1))
    assert torch.equal(changed, augment(images, replace(still, pen=1.0), torch.Generator().manual_seed(1)))
    share = changed.sum(dim=(1, 2, 3)) / images.sum(dim=(1, 2, 3))
    assert share.min() < 0.5 and share.max() > 1.5 and 0.35 < (share < 1).float().mean() < 0.65
    ink = (images > 0).float()
    beside = torch.nn.functional.conv2d(ink, torch.tensor([[[[0.0, 1, 0], [1, 1, 1], [0, 1, 0]]]]), padding=1) > 0
    assert changed[~beside].max() < 1  # and no farther
    assert changed.min() >= 0 and changed.max() < 255.1


def test_elastic_augmentation_bends_an_image_and_leaves_its_place(drawn_train: Dataset) -> None:
    images = torch.from_numpy(drawn_train.images[:50]).float()
    still = Augmentation(rotation=0, scale=0, shear=0, shift=0)
    assert torch.allclose(augment(images, still, torch.Generator().manual_seed(1)), images, atol=1e-2)
    bent = augment(images, replace(still, elastic=0.02), torch.Generator().manual_seed(1))
    assert torch.equal(bent, augment(images, replace(still, elastic=0.02), torch.Generator().manual_seed(1)))
    assert (bent - images).abs().amax(dim=(1, 2, 3)).min() > 20  # each one is changed
    ink, rows = images.sum(dim=(1, 2, 3)), torch.arange(28.0)
    assert ((bent.sum(dim=(1, 2, 3)) / ink - 1).abs() < 0.25).all()
    for axis in (2, 3):
        middle = [(x.sum(dim=(1, 5 - axis)) * rows).sum(dim=1) / x.sum(dim=(1, 2, 3)) for x in (images, bent)]
        assert (middle[0] - middle[1]).abs().max() < 2  # pixels
