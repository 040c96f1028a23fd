"""A network of the user's own is tried before the first epoch, and again before it is published."""

import random
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import own
import pytest
import torch
from conftest import settings_for, train_small

from mnist_edge.architectures.recipe import Recipe
from mnist_edge.common import trust
from mnist_edge.common.errors import TrainingError, UsageError
from mnist_edge.dataset import Dataset
from mnist_edge.store.publishing import RUNS
from mnist_edge.training import check, run
from mnist_edge.training.check import check_disk, check_network
from mnist_edge.training.run import Run


@pytest.fixture(autouse=True)
def _allowed() -> Iterator[None]:
    with trust.allowing(f"own:{name}" for name, kind in vars(own).items() if isinstance(kind, type)):
        yield


def line_of(text: str) -> int:
    return next(i for i, line in enumerate(Path(own.__file__).read_text().splitlines(), start=1) if text in line)


def tried(data: Dataset, name: str, *, images: int = 1088, processes: int = 1, **recipe: object) -> None:
    settings = settings_for(data, name, recipe=Recipe(epochs=1, batch_size=64, **recipe), processes=processes)  # type: ignore[arg-type]
    check_network(settings, data.images, images)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ("Raises", r"your network own:Raises: KeyError: 'pixel' \(\S*own\.py:LINE\)", ),
        ("Exits", r"your network own:Exits: SystemExit: 0 \(\S*own\.py:\d+\)"),
        ("ExitsWhenBuilt", r"your network own:ExitsWhenBuilt: cannot be built with \{\}: SystemExit: 0 \(\S*own\.py:\d+\)"),
        ("WrongWidth", r"your network own:WrongWidth: RuntimeError: .*mat1 and mat2.* \(\S*own\.py:\d+\)"),
        ("Eleven", r"answers 8 images with a tensor of \(8, 11\) in eval mode; it should be one float32 tensor of \(8, 10\)"),
        ("TupleWhileTraining", "answers 8 images with tuple in training mode"),
        ("TupleInEval", "answers 8 images with tuple in eval mode"),
        ("Half", "answers 8 images with float16 in eval mode"),
        ("Double", "answers 8 images with float64 in eval mode"),
        ("Noisy", "not deterministic in eval mode: asked twice"),
        ("NoisyBehindZeros", "not deterministic in eval mode: asked twice"),
        ("Counts", "not deterministic in eval mode: asked twice"),
        ("BatchStatistics", "when others are in its batch .* normalisation over the batch in eval mode"),
        ("Bright", "when others are in its batch .* or an if on the batch's size or on a value of the batch"),
        ("Three", r"when others are in its batch \(tried: 3 at once\)"),
        ("Divides", "answers NaN or infinity to a black image"),
        ("Mask", r"differently by \S+ after it was saved and loaded: its attribute mask is not among its weights; .*register_buffer"),
        ("Buffer", "saved and loaded: its buffer inner.mask is not among its weights"),
        ("Number", "saved and loaded: its attribute factor is not among its weights"),
        ("Frozen", "nothing to train, because all its parameters are frozen"),
        ("Empty", "nothing to train, because it has no parameters"),
        ("Detached", "nothing to train, because its answer depends on no parameter"),
        ("NoMemory", r"own:NoMemory: .*\(\S*own\.py:\d+\); there is not enough memory: take a smaller --batch-size"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_network_is_said_before_the_first_epoch(drawn_train: Dataset, network: str, message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("LINE", str(line_of("# raised here")))) as caught:
        tried(drawn_train, f"own:{network}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("network", ["own:Sound", "own:Lazy", "own:Norm", "own:Draws", "resnet-tiny", "gru"])
def test_a_sound_network_passes_without_a_word(drawn_train: Dataset, network: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tried(drawn_train, network)


def test_a_softmax_at_the_end_is_warned_of(drawn_train: Dataset) -> None:
    with pytest.warns(UserWarning, match="your network own:Softmax .* leave the softmax out"):
        tried(drawn_train, "own:Softmax")


def test_a_last_batch_of_one_is_tried_where_there_will_be_one(drawn_train: Dataset) -> None:
    tried(drawn_train, "own:Norm", images=1026)
    tried(drawn_train, "own:Sound", images=1025)
    with pytest.raises(UsageError, match="1,025 training images in batches of 64 leave a last batch of one.*: take --batch-size 63"):
        tried(drawn_train, "own:Norm", images=1025)
    for images in range(2, 200):
        for size in (1, 2, 8, 64, images - 1, images):
            assert images % check._nearest_size(images, max(size, 1), 1, 2) != 1


def test_every_process_gets_an_image_of_every_batch(drawn_train: Dataset) -> None:
    tried(drawn_train, "own:Norm", images=1024 + 4, processes=2)
    with pytest.raises(
        UsageError, match=r"leave one image to one of 2 processes, and it cannot be trained on one image: take --batch-size 63"
    ):
        tried(drawn_train, "own:Norm", images=1024 + 3, processes=2)
    tried(drawn_train, "own:Sound", images=1024 + 3, processes=2)
    with pytest.raises(UsageError, match=r"1,026 training images in batches of 64 leave none for one of 3 processes: take --batch-size 63"):
        tried(drawn_train, "own:Sound", images=1024 + 2, processes=3)


def test_training_counts_its_last_batch_before_it_begins(tmp_path: Path, drawn_train: Dataset, drawn_test: Dataset) -> None:
    recipe = Recipe(epochs=1, batch_size=157, drawn=0.0)  # 1,100 images are trained on
    assert 1100 % 157 == 1
    with pytest.raises(UsageError, match="take --batch-size 15"):
        train_small(tmp_path, "own:Norm", data=drawn_train, test=drawn_test, name="norm", recipe=recipe)
    assert not (tmp_path / "norm").exists()


def test_the_check_moves_nothing(drawn_train: Dataset) -> None:
    """Neither random numbers nor the class's own state: what is tried is thrown away."""

    def numbers() -> list[object]:
        return [random.random(), float(np.random.rand()), float(torch.rand(()))]

    for name in ("own:Draws", "cnn-small", "own:Mask"):
        for source in (random.seed, np.random.seed, torch.manual_seed):
            source(7)
        expected = numbers()
        for source in (random.seed, np.random.seed, torch.manual_seed):
            source(7)
        with suppress(UsageError):
            tried(drawn_train, name)
        assert numbers() == expected


@pytest.mark.slow
def test_a_training_has_the_bits_that_it_would_have_without_the_check(
    tmp_path: Path, drawn_train: Dataset, drawn_test: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings = [("lenet", "float32"), ("resnet-tiny", "bfloat16"), ("own:Draws", "float32")]

    def hashes(folder: Path) -> list[str]:
        found = []
        for architecture, precision in trainings:
            random.seed(3)
            recipe = Recipe(epochs=1, batch_size=64, precision=precision)  # type: ignore[arg-type]
            model = train_small(folder, architecture, data=drawn_train.first(240), test=drawn_test, name="m", recipe=recipe)
            found.append(model.manifest.weights.sha256)
        return found

    checked = hashes(tmp_path / "checked")
    monkeypatch.setattr(run, "check_network", lambda *given: 0)
    monkeypatch.setattr(run, "check_trained", lambda *given: None)
    assert hashes(tmp_path / "unchecked") == checked


@pytest.mark.parametrize(
    ("fails", "message"),
    [
        ("forward", r"your network own:BreaksLater: ZeroDivisionError: by zero \(\S*own\.py:\d+\); in epoch 2, batch \d+ of \d+; the first epoch is kept, and --resume"),
        ("exit", r"your network own:BreaksLater: SystemExit: 0 \(\S*own\.py:\d+\)"),
        ("backward", r"ValueError: on the way back \(\S*own\.py:\d+\)"),
        ("memory", r"OutOfMemoryError: .*there is not enough memory: free some and continue with --resume \(the first epoch is kept\), or start over"),
    ],
)  # fmt: skip
def test_what_a_network_raises_in_the_middle_is_its_own_and_epochs_are_kept(
    tmp_path: Path, drawn_train: Dataset, drawn_test: Dataset, fails: str, message: str
) -> None:
    recipe = Recipe(epochs=3, batch_size=64, drawn=0.0)  # 18 steps an epoch
    with pytest.raises(TrainingError, match=message) as caught:
        train_small(tmp_path, "own:BreaksLater", data=drawn_train, test=drawn_test, name="b", recipe=recipe, arguments={"fails": fails})
    assert "\n" not in str(caught.value)
    assert (tmp_path / RUNS / "b" / "checkpoint.pt").is_file()


def test_what_is_lost_by_saving_is_never_published(tmp_path: Path, drawn_train: Dataset, drawn_test: Dataset) -> None:
    """The state shows only after more steps than are tried beforehand."""
    with pytest.raises(
        TrainingError,
        match=r"not published: your network own:Remembers answers differently by \S+ after it was saved.*its attribute (steps|mean)",
    ) as caught:
        train_small(tmp_path, "own:Remembers", data=drawn_train, test=drawn_test, name="r")
    assert str(tmp_path / RUNS / "r") in str(caught.value)
    assert (tmp_path / RUNS / "r" / "checkpoint.pt").is_file()
    assert not (tmp_path / "r").exists()


def test_a_network_that_takes_its_shapes_from_the_first_image_is_trained(tmp_path: Path, drawn_train: Dataset, drawn_test: Dataset) -> None:
    model = train_small(tmp_path, "own:Lazy", data=drawn_train.first(240), test=drawn_test, name="lazy")
    assert model.manifest.parameters == 7850


def test_ctrl_c_in_a_network_is_no_fault_of_its_own(drawn_train: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: own.Sound, x: torch.Tensor) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr(own.Sound, "forward", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tried(drawn_train, "own:Sound")


@pytest.mark.parametrize("name", ["n" * 101, "ü" * 51])
def test_a_name_too_long_for_what_is_made_from_it_is_refused_at_once(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="a model's name has at most 100 bytes, and this one has 10[12]"):
        Run(tmp_path, name)


def test_the_longest_name_goes_the_whole_way(tmp_path: Path, drawn_train: Dataset, drawn_test: Dataset) -> None:
    from exporters import evidence, gate

    name = "ü" * 50
    for _ in range(2):  # the second replaces the first
        model = train_small(tmp_path, "own:Sound", data=drawn_train.first(240), test=drawn_test, name=name)
    gate.export(model, "torchscript", drawn_test)
    file = f"{name}.int8-dynamic.onnx"
    assert max(len(f"{'.' * 2}{stem}.xxxxxxxx.part-----".encode()) for stem in (name, file)) < 255
    assert len(f"{name}-{file}-20261124-131500".encode()) < 255, evidence.FAILED


def test_a_place_where_the_end_could_not_be_written_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "there").mkdir()
    (tmp_path / "relative").symlink_to("there")
    for name in ("link", "relative"):
        with pytest.raises(UsageError, match=f"{name}: a symbolic link to .*; remove it, or give the model another name with --name"):
            Run(tmp_path, name)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(TrainingError, match="file: not a folder"):
        Run(tmp_path / "file", "lenet")
    (tmp_path / ".replaced").write_text("mine")
    with pytest.raises(TrainingError, match=r"\.replaced: not a folder; move it away"):
        Run(tmp_path, "lenet")
    (tmp_path / ".replaced").unlink()
    (tmp_path / ".replaced").symlink_to("/dev/shm")
    with pytest.raises(TrainingError, match="on another disk"):
        Run(tmp_path, "lenet")


def test_a_folder_that_cannot_be_written_to_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *given: False)  # root may write anywhere
    with pytest.raises(TrainingError, match="cannot be written to"):
        Run(tmp_path, "lenet")


def test_a_disk_without_room_is_said_before_the_first_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_disk(tmp_path, 1000)
    with pytest.raises(TrainingError, match="the disk has .* MB left, and the training needs"):
        check_disk(tmp_path, 2**60)


def test_a_network_that_is_refused_leaves_nothing(tmp_path: Path, drawn_train: Dataset, drawn_test: Dataset) -> None:
    with pytest.raises(UsageError, match="own:Half"):
        train_small(tmp_path / "models", "own:Half", data=drawn_train, test=drawn_test, name="half")
    assert list(tmp_path.iterdir()) == []


def test_a_run_in_vain_leaves_nothing(tmp_path: Path) -> None:
    with Run(tmp_path / "models", "lenet"):
        assert (tmp_path / "models" / RUNS / ".lenet.lock").is_file()
    assert list(tmp_path.iterdir()) == []
