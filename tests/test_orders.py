"""Two commands at once on one models folder, one of them stopped at each of its writes in turn: nothing is lost, and nothing unproven is there."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import proving
import pytest
from conftest import train_small
from turns import Turns

import exporters
from exporters import Format, Target, gate, reference, registry
from exporters.reference import complete
from mnist_edge import store
from mnist_edge.architectures.recipe import Recipe
from mnist_edge.common.errors import MnistEdgeError, ModelError
from mnist_edge.dataset import Dataset
from mnist_edge.proof import verification
from mnist_edge.report import write
from mnist_edge.report.findings import gather
from mnist_edge.store import housekeeping, publishing
from mnist_edge.store.manifest import FILE_NAME

pytestmark = pytest.mark.proof


@dataclass(frozen=True)
class House:
    """A models folder, another LeNet that takes its place there, and what the commands need."""

    models: Path
    other: store.Model
    test: Dataset

    @property
    def more(self) -> Dataset:
        """Images that count for more, because the program did not draw them."""
        return Dataset("folder:real", "test", self.test.images[::-1].copy(), self.test.labels[::-1].copy())


@pytest.fixture(scope="module")
def other_lenet(tmp_path_factory: pytest.TempPathFactory, drawn_train: Dataset, drawn_test: Dataset) -> store.Model:
    folder = tmp_path_factory.mktemp("other") / "models"
    return train_small(folder, data=drawn_train.first(240), test=drawn_test, seed=7, recipe=Recipe(epochs=1, batch_size=64))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, drawn_test: Dataset) -> None:
    """Formats that copy a file that was exported before, and PyTorch's answers asked once: the commands' own steps are what is tried."""
    exporters.formats()
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    asked: dict[str, reference.Answers] = {}
    real = reference.answers

    def answers(model: store.Model, data: Dataset) -> reference.Answers:
        key = model.manifest.weights.sha256 + data.sha256
        if key not in asked:
            asked[key] = real(model, data)
        return asked[key]

    monkeypatch.setattr(reference, "answers", answers)
    monkeypatch.setattr(write, "draw_report", lambda *rest: {"README.md": b"<!-- made by mnist-edge report -->", "report.html": b""})


def copying(name: str, file: Path) -> None:
    def export(deployed: Any, target: Target) -> dict[str, Any]:
        shutil.copyfile(file, target.path)
        return {}

    exporters.register(Format(name=name, summary="x", suffix=f".{name}", runtime="ort", export=export))


def check(house: House, turns: Turns, weights: set[str]) -> None:
    """Hold what has to be true after every order."""
    for outcome in turns.outcomes:
        assert not isinstance(outcome, BaseException) or isinstance(outcome, MnistEdgeError), outcome
    folders = [folder.parent for folder in house.models.rglob(FILE_NAME)]
    for folder in folders:
        model = store.Model.read(folder)
        manifest = model.manifest
        records = [*model.artifacts, *manifest.references, manifest.weights, manifest.history]
        for record in [*records, *([manifest.golden] if manifest.golden else [])]:
            model.path(record)
        for stored in manifest.references:
            logits = store.read_reference(model, stored)
            if stored.data["sha256"] == house.test.sha256:
                found = [verified.passed for verified in proving.verify(model, stored, house.test, "ort")] if model.artifacts else []
                assert all(found), (folder, found)
                assert len(logits) == len(house.test)
    assert {store.Model.read(folder).manifest.weights.sha256 for folder in folders} >= weights
    assert store.Model.read(house.models / "lenet")
    assert not list(house.models.rglob("*.part"))
    published = [
        (outcome[0], outcome[1].artifact)
        for outcome in turns.outcomes
        if isinstance(outcome, tuple) and isinstance(outcome[1], gate.Proof) and outcome[1].artifact
    ]
    for model, artifact in published:
        places = [place for place in map(store.Model.read, folders) if place.manifest.weights.sha256 == model.manifest.weights.sha256]
        assert any(one.sha256 == artifact.sha256 and one.file == artifact.file for place in places for one in place.artifacts), (
            artifact.file
        )


def commands(house: House) -> dict[str, Callable[[], Any]]:
    lenet = house.models / "lenet"

    def train() -> None:
        aside = house.models / ".new.part"
        shutil.copytree(house.other.folder, aside)
        publishing.publish_model(aside, lenet)

    def verify() -> None:
        """As on drawn digits and then where MNIST is: PyTorch's answers are added, and the proofs are renewed."""
        model = complete(store.Model.read(lenet), house.more)
        stored = model.manifest.reference_on(house.more.sha256)
        assert stored is not None
        verification.keep_proofs(model, proving.verify(model, stored, house.more))

    return {
        "export": lambda: gate.export(store.Model.read(lenet), "copied", house.test),
        "export of the same": lambda: gate.export(store.Model.read(lenet), "copied", house.test),
        "export of another": lambda: gate.export(store.Model.read(lenet), "again", house.test),
        "export of the reference": lambda: gate.export(store.find(str(REFERENCE)), "copied", house.test, models_dir=house.models),
        "train": train,
        "verify": verify,
        "restore": lambda: housekeeping.restore(house.models, "lenet"),
        "report": lambda: write.write_report(gather(store.Model.read(lenet), "drawn")),
    }


#: The reference by its path, as it lies in the checkout, which is where it is installed from.
REFERENCE = store.find("lenet", Path("no such folder")).folder

PAIRS = (
    ("export", "train"),
    ("export", "export of another"),
    ("export", "export of the same"),
    ("report", "train"),
    ("train", "export"),
    ("train", "report"),
    ("verify", "train"),
    ("verify", "export"),
    ("train", "verify"),
    ("export", "verify"),
    ("restore", "export"),
    ("restore", "train"),
    ("verify", "restore"),
)


def each_order(
    tmp_path: Path,
    make: Callable[[Path], House],
    first: str,
    second: str,
    weights: set[str],
    then: Callable[[House, Turns], None] = lambda house, turns: None,
) -> None:
    """Stop `first` at each of its writes, let `second` run, and go on."""
    stop_at = 0
    while True:
        stop_at += 1
        house = make(tmp_path / str(stop_at))
        known = commands(house)
        turns = Turns(house.models, stop_at).run(known[first], known[second])
        check(house, turns, weights)
        then(house, turns)
        if turns.writes < stop_at:
            break
    assert stop_at > 3  # it did write


@pytest.mark.parametrize(("first", "second"), PAIRS, ids=[" and ".join(pair) for pair in PAIRS])
def test_two_commands_on_one_model_lose_nothing_in_any_order(
    trained: Path, other_lenet: store.Model, drawn_test: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None, first: str, second: str
) -> None:  # fmt: skip
    monkeypatch.setattr("mnist_edge.dataset.load", lambda *rest: drawn_test)
    for name in ("copied", "again"):
        copying(name, trained / "lenet" / "lenet.onnx")
    weights = {store.find("lenet", trained).manifest.weights.sha256}
    weights |= {other_lenet.manifest.weights.sha256} if {"train", "restore"} & {first, second} else set()

    def make(place: Path) -> House:
        shutil.copytree(trained, place)
        if "restore" in (first, second):
            shutil.copytree(other_lenet.folder, place / publishing.REPLACED / "lenet-20260101-000000")
        return House(place, other_lenet, drawn_test)

    each_order(tmp_path, make, first, second, weights)


@pytest.mark.parametrize("second", ["train", "export of the reference"])
def test_an_export_of_the_reference_replaces_no_model_that_was_put_there_meanwhile(
    other_lenet: store.Model, drawn_test: Dataset, tmp_path: Path, quick: None, second: str
) -> None:
    reference = store.find("lenet", tmp_path)
    assert reference.is_installed_reference
    for name in ("copied", "again"):
        copying(name, reference.folder / "lenet.onnx")

    def make(place: Path) -> House:
        place.mkdir()
        return House(place, other_lenet, drawn_test)

    weights = {other_lenet.manifest.weights.sha256} if second == "train" else {reference.manifest.weights.sha256}

    def then(house: House, turns: Turns) -> None:
        there = store.find("lenet", house.models)
        if second == "train":
            assert turns.outcomes[1] is None
            assert there.manifest.weights.sha256 == other_lenet.manifest.weights.sha256
        else:
            assert not [outcome for outcome in turns.outcomes if isinstance(outcome, BaseException)]
            assert "lenet.copied" in [artifact.file for artifact in there.artifacts]
            assert not (house.models / publishing.REPLACED).exists()

    each_order(tmp_path, make, "export of the reference", second, weights, then)


def test_a_model_that_takes_the_place_of_the_copy_at_once_is_not_taken_for_it(
    other_lenet: store.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program may wait for the lock, and publish its model as soon as it is free."""
    reference, lenet, real = store.find(str(REFERENCE)), tmp_path / "lenet", publishing.locked

    @contextmanager
    def locked(folder: Path, wait: bool = False) -> Iterator[object]:
        with real(folder, wait=wait) as got:
            yield got
        shutil.rmtree(lenet)
        shutil.copytree(other_lenet.folder, lenet)

    monkeypatch.setattr(publishing, "locked", locked)
    model = publishing.writable(reference, tmp_path)
    assert model.manifest.weights.sha256 == reference.manifest.weights.sha256
    with pytest.raises(ModelError, match="trained again in the meantime"):
        publishing.current(model)
