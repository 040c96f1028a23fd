"""A proof has a smallest size and an order, and what it does not cover is shown wherever the artifact is."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Command
from proving import with_parity

import exporters
from exporters import Format, Target, gate, registry
from mnist_edge import Predictor, store
from mnist_edge.benchmark import measure
from mnist_edge.common.contract import CLASSES
from mnist_edge.common.errors import ExportError, ParityError, UsageError
from mnist_edge.common.options import Option
from mnist_edge.dataset import Dataset, describe
from mnist_edge.dataset.folder import write_folder
from mnist_edge.proof import records, verification
from mnist_edge.report import figures, write
from mnist_edge.store import publishing
from mnist_edge.store.proofs import Proof, is_weaker


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.arange(1000) % 10, ""),
        (np.arange(999) % 10, "999 test images are too few for a proof, which needs 1,000"),
        (np.array([3]), "1 test image is too few for a proof, which needs 1,000"),
        (np.arange(1000) % 9, "no test image shows 9, and a proof needs every class"),
        (np.arange(1000) % 8, "no test image shows 8 or 9, and a proof needs every class"),
    ],
)
def test_a_proof_takes_a_thousand_images_and_every_class(labels: np.ndarray, words: str) -> None:
    assert records.shortcomings(labels.astype(np.uint8), CLASSES) == words


def kept(name: str = "mnist", images: int = 10_000, equal: float = 0.997, drop: float = 0.001, unproven: str = "") -> dict[str, Any]:
    budget = {"equal_answers": equal, "logit_difference": None, "accuracy_drop": drop}
    return Proof("0", "ort", {"data": {"name": name}, "images": images, "budget": budget, "unproven": unproven})


def test_proofs_have_an_order() -> None:
    in_order = [
        kept(images=20_000, unproven="forced"),
        kept("drawn", 10_000),
        kept("folder:mine", 1_000),
        kept(drop=0.02, equal=0.94),
        kept(drop=0.02),
        kept(),
        kept(equal=1.0, drop=0.0),
        kept(images=60_000),
    ]
    for place, weaker in enumerate(in_order):
        assert not is_weaker(weaker, weaker)
        for stronger in in_order[place + 1 :]:
            assert is_weaker(weaker, stronger), (weaker, stronger)
            assert not is_weaker(stronger, weaker)


def stripped(data: Dataset, name: str) -> Dataset:
    return Dataset(name, data.split, data.images, data.labels)


@pytest.mark.slow
def test_too_few_images_publish_nothing_unless_forced(
    models: Path, drawn_test: Dataset, run_command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A test folder with one picture was once enough to publish what all of MNIST had refused."""
    write_folder(drawn_test.first(1), tmp_path / "one")
    before = sorted(path.name for path in (models / "lenet").iterdir())
    export = ("export", "lenet", "--format", "onnx", "--data", tmp_path / "one", "--models-dir", models)
    done = run_command(*export, check=3)
    assert "1 test image is too few for a proof, which needs 1,000; name a larger test set with --data, or add --force" in done.stderr
    assert sorted(path.name for path in (models / "lenet").iterdir()) == before

    done = run_command(*export, "--force")  # over a stronger proof of the same bytes
    assert "the stronger proof that this file had, on 1,000 test images of drawn digits, is kept" in done.stderr
    assert not store.find("lenet", models).artifact("ort").unproven
    (models / "lenet" / "lenet.onnx").unlink()  # else the stronger proof of the same bytes stays
    model = store.find("lenet", models)
    replace(model.manifest, artifacts=()).write(model.folder)
    done = run_command(*export, "--force")
    assert "lenet.onnx (unproven)" in done.stdout
    assert "warning: unproven, because 1 test image is too few" in done.stderr

    there = ("--models-dir", models)
    monkeypatch.setattr(measure, "_from_weights", lambda: iter(()))  # the artifact alone is measured
    assert "lenet.onnx (unproven)" in run_command("list", *there).stdout
    assert "lenet.onnx (unproven)" in run_command("show", "lenet", *there).stdout
    assert "lenet.onnx (unproven)" in run_command("benchmark", "lenet", "--rounds", "1", *there).stdout
    assert "lenet.onnx (unproven)" in run_command("verify", "lenet", "--quick", *there).stdout
    for named in ("lenet", models / "lenet", models / "lenet" / "lenet.onnx"):
        assert "unproven" in Predictor.load(named, models_dir=models).description
    monkeypatch.setattr(write, "FIGURES", {"artifacts": figures.artifacts})  # and the table below it
    run_command("report", "lenet", "--data", tmp_path / "one", *there)
    assert "lenet.onnx (unproven)" in (models / "lenet" / "report.html").read_text()
    assert "lenet.onnx (unproven)" in (models / "lenet" / "README.md").read_text()
    assert json.loads(run_command("list", "--json", *there).stdout)["models"][0]["artifacts"][0]["unproven"]


def test_verify_makes_a_proof_of_what_was_published_by_force(models: Path, drawn_test: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    model = store.find("lenet", models)
    forced = with_parity(model.artifact("ort"), images=1, unproven="1 test image is too few")
    replace(model.manifest.with_artifact(forced)).write(model.folder)
    model = store.find("lenet", models)
    assert model.artifact("ort").unproven
    stored = model.manifest.reference_on(drawn_test.sha256)
    assert stored is not None
    tried = verification.trials(model)
    with monkeypatch.context() as patch:
        patch.setattr(records, "SMALLEST", 1001)
        few = verification.keep_proofs(model, list(verification.verify(model, tried, stored, drawn_test)))
    assert few.artifact("ort").unproven
    model = verification.keep_proofs(model, list(verification.verify(model, tried, stored, drawn_test)))
    assert not model.artifact("ort").unproven
    assert model.artifact("ort").parity["images"] == 1000
    assert store.find("lenet", models).artifact("ort") == model.artifact("ort")


@pytest.fixture
def copies(models: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A format that writes the float32 ONNX file that is there, with other bytes at its end if the option says so."""
    exporters.formats()
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    source = (models / "lenet" / "lenet.onnx").read_bytes()

    def export(deployed: Any, target: Target) -> dict[str, Any]:
        note = b"r\x08\n\x03new\x12\x01x" if target.options.get("new") else b""  # one more entry of ModelProto.metadata_props
        target.path.write_bytes(source + note)
        return {}

    exporters.register(
        Format(
            name="copied", summary="x", suffix=".copied.onnx", runtime="ort", export=export, options=(Option("new", "other bytes", bool),)
        )
    )
    return "copied"


def test_a_proof_is_replaced_only_by_one_that_is_as_strong(models: Path, drawn_test: Dataset, copies: str) -> None:
    real = stripped(drawn_test, "folder:real")
    drawn = Dataset("drawn", "test", drawn_test.images[::-1].copy(), drawn_test.labels[::-1].copy())
    model, first = gate.export(store.find("lenet", models), copies, real)
    assert first.artifact is not None
    # the same bytes: the stronger proof stays
    model, second = gate.export(model, copies, drawn)
    assert second.artifact is not None
    assert second.artifact.parity["data"] == first.artifact.parity["data"]
    # other bytes: refused, and the file is as it was
    with pytest.raises(
        ParityError, match=r"its proof, on 1,000 test images of real, is stronger than this one, on 1,000 test images of drawn"
    ):
        gate.export(model, copies, drawn, options={"new": True})
    assert store.find("lenet", models).artifact_of_file(Path("lenet.copied.onnx")) == second.artifact
    # by force, or where the file that is there is damaged
    model, forced = gate.export(model, copies, drawn, options={"new": True}, force=True)
    assert forced.artifact is not None
    assert forced.artifact.parity["data"]["name"] == "drawn"
    model, again = gate.export(model, copies, real)
    assert again.artifact is not None
    assert again.artifact.sha256 == first.artifact.sha256
    (models / "lenet" / "lenet.copied.onnx").write_bytes(b"damaged")
    model, mended = gate.export(model, copies, drawn, options={"new": True})
    assert mended.artifact is not None
    assert mended.artifact.parity["data"]["name"] == "drawn"


def test_a_stronger_proof_that_was_made_meanwhile_stays(models: Path, drawn_test: Dataset, copies: str) -> None:
    """The order is held to under the lock, by what is there then."""
    model, _ = gate.export(store.find("lenet", models), copies, drawn_test)
    before = store.find("lenet", models)  # as another program read it
    real = stripped(drawn_test, "folder:real")
    gate.export(model, copies, real)
    _, late = gate.export(before, copies, drawn_test)
    assert late.artifact is not None
    assert late.artifact.parity["data"]["name"] == "folder:real"


def test_two_folders_of_one_name_keep_their_answers(models: Path, drawn_test: Dataset, copies: str) -> None:
    one = Dataset("folder:pics", "test", drawn_test.images[::-1].copy(), drawn_test.labels[::-1].copy())
    other = Dataset("folder:pics", "test", 255 - drawn_test.images, drawn_test.labels)
    model, _ = gate.export(store.find("lenet", models), copies, one)
    model, _ = gate.export(model, copies, other)
    for data in (one, other, drawn_test):
        stored = model.manifest.reference_on(data.sha256)
        assert stored is not None
        assert store.read_reference(model, stored).shape == (1000, 10)
        assert stored.data == describe(data)
        assert len({reference.file for reference in model.manifest.references}) == 3


def test_a_link_that_a_format_writes_is_no_artifact(models: Path, drawn_test: Dataset, tmp_path: Path, copies: str) -> None:
    def export(deployed: Any, target: Target) -> dict[str, Any]:
        target.path.symlink_to(models / "lenet" / "lenet.onnx")
        return {}

    exporters.register(Format(name="linked", summary="x", suffix=".linked.onnx", runtime="ort", export=export))
    with pytest.raises(ExportError, match="wrote a symbolic link"):
        gate.export(store.find("lenet", models), "linked", drawn_test)
    assert not list((models / "lenet").glob("*.linked.onnx"))


def test_a_hard_link_that_a_format_writes_is_no_artifact(models: Path, drawn_test: Dataset, tmp_path: Path, copies: str) -> None:
    (tmp_path / "mine.onnx").write_bytes((models / "lenet" / "lenet.onnx").read_bytes())

    def export(deployed: Any, target: Target) -> dict[str, Any]:
        target.path.hardlink_to(tmp_path / "mine.onnx")
        return {}

    exporters.register(Format(name="linked", summary="x", suffix=".linked.onnx", runtime="ort", export=export))
    with pytest.raises(ExportError, match="wrote a hard link"):
        gate.export(store.find("lenet", models), "linked", drawn_test)


def test_what_is_refused_from_within_the_models_folder_lies_beside_the_model(
    models: Path, drawn_test: Dataset, monkeypatch: pytest.MonkeyPatch, copies: str
) -> None:
    """Of ``export .`` the evidence once lay inside the model, and another lock than everybody's was taken."""

    def export(deployed: Any, target: Target) -> dict[str, Any]:
        deployed.shift = 0.0
        return exporters.find("onnx").export(deployed, target)

    exporters.register(Format(name="wrong", summary="x", suffix=".wrong.onnx", runtime="ort", export=export))
    monkeypatch.chdir(models / "lenet")
    model = store.find(".", models)
    assert model.home == models
    _, refused = gate.export(model, "wrong", drawn_test)
    assert refused.evidence is not None
    assert refused.evidence.parent == models / ".failed"
    assert sorted(path.name for path in models.iterdir()) == [".failed", "lenet"]
    link = models.parent / "link"
    link.symlink_to(models / "lenet")
    assert store.find(link, models).home.samefile(models)


def test_a_models_place_that_is_a_link_is_left_alone(models: Path, tmp_path: Path) -> None:
    shutil.move(models / "lenet", tmp_path / "elsewhere")
    (models / "lenet").symlink_to(Path("..") / "elsewhere")
    aside = Path(shutil.copytree(tmp_path / "elsewhere", models / ".new.part"))
    with pytest.raises(UsageError, match=r"lenet: a symbolic link to \.\./elsewhere, which a new model would replace"):
        publishing.publish_model(aside, models / "lenet")
    assert store.Model.read(models / "lenet")
    assert aside.exists()


def test_the_reference_takes_no_place_of_a_model_of_ones_own(models: Path, drawn_test: Dataset, run_command: Command) -> None:
    reference = store.find("lenet", Path("no such folder"))
    before = store.find("lenet", models).manifest
    done = run_command("export", reference.folder, "--format", "onnx", "--data", "drawn", "--models-dir", models, check=2)
    assert "a model of your own, which a copy of the reference would replace" in done.stderr
    assert store.find("lenet", models).manifest == before
    assert [path.name for path in models.iterdir()] == ["lenet"]


def test_what_the_exporter_warned_of_stays_unproven(models: Path, drawn_test: Dataset, copies: str) -> None:
    source = (models / "lenet" / "lenet.onnx").read_bytes()

    def export(deployed: Any, target: Target) -> dict[str, Any]:
        target.path.write_bytes(source)
        return {"warnings": ["mine.py:3: an if on the values of an image"]}

    exporters.register(Format(name="warned", summary="x", suffix=".warned.onnx", runtime="ort", export=export))
    with pytest.raises(
        ExportError, match=r"exporter warns .*: mine\.py:3: an if on the values of an image; change the network, or add --force"
    ):
        gate.export(store.find("lenet", models), "warned", drawn_test)
    model, forced = gate.export(store.find("lenet", models), "warned", drawn_test, force=True)
    assert forced.artifact is not None
    assert forced.artifact.label == "lenet.warned.onnx (unproven)"
    stored = model.manifest.reference_on(drawn_test.sha256)
    assert stored is not None
    model = verification.keep_proofs(model, list(verification.verify(model, verification.trials(model, "ort"), stored, drawn_test)))
    assert model.artifact_of_file(Path("lenet.warned.onnx")).unproven == "the exporter warned: mine.py:3: an if on the values of an image"
