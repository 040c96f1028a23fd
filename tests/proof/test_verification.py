"""Which answers are compared with, which runtimes are tried, what an artifact is held to, and what becomes of one that cannot be tried."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from proving import with_parity

from mnist_edge import runtimes, store
from mnist_edge.common.errors import DataError, MissingExtraError, ModelError, ParityError, UnknownNameError, UsageError
from mnist_edge.dataset import Dataset, describe, sources
from mnist_edge.dataset.folder import write_folder
from mnist_edge.proof import verification
from mnist_edge.proof.verification import Trial, choose_reference, keep_proofs, self_test, trials, verify, verify_quickly
from mnist_edge.store.manifest import Artifact, Reference


@pytest.fixture
def model(models: Path) -> store.Model:
    return store.find("lenet", models)


def with_references(model: store.Model, *about: dict[str, Any]) -> store.Model:
    stored = model.manifest.references[0]
    references = tuple(Reference(stored.file, stored.sha256, stored.bytes, data) for data in about)
    return replace(model, manifest=replace(model.manifest, references=references))


def test_answers_are_taken_for_the_data_that_is_named(model: store.Model, tmp_path: Path, drawn_test: Dataset) -> None:
    write_folder(drawn_test.first(20), tmp_path / "mine")
    from mnist_edge import dataset

    mine = dataset.load(str(tmp_path / "mine"), "test")
    about = model.manifest.references[0].data
    both = with_references(model, about, describe(mine))
    reference, data = choose_reference(both, str(tmp_path / "mine"))
    assert reference.data == describe(mine) and data.sha256 == mine.sha256
    with pytest.raises(DataError) as caught:
        choose_reference(model, str(tmp_path / "mine"))
    assert str(caught.value) == (
        f"lenet: no answers of PyTorch are stored for mine (SHA-256 {mine.sha256[:12]}…), only for drawn digits (SHA-256 {about['sha256'][:12]}…)"
    )


def test_without_a_name_mnist_comes_first_and_then_drawn_digits(
    model: store.Model, monkeypatch: pytest.MonkeyPatch, drawn_test: Dataset
) -> None:
    """On stand-ins for both, told apart by their images: which of them is here is what counts."""
    mnist = Dataset("mnist", "test", drawn_test.images[:50], drawn_test.labels[:50])
    drawn = Dataset("drawn", "test", drawn_test.images[50:90], drawn_test.labels[50:90])
    here: dict[str, Dataset] = {"mnist": mnist, "drawn": drawn}
    place = sources.find_mnist()

    def load(name: str, split: str, data_dir: Path | None = None) -> Dataset:
        if name not in here:
            raise DataError(f"{name} is damaged")
        return here[name]

    monkeypatch.setattr(verification.datasets, "load", load)
    monkeypatch.setattr(verification, "find_mnist", lambda data_dir: replace(place, raw_dir=Path() if "mnist" in here else None))
    folder = describe(drawn) | {"name": "folder:pics", "sha256": "0" * 64}
    both = with_references(model, folder, describe(drawn), describe(mnist))
    assert choose_reference(both)[1] is mnist
    assert choose_reference(with_references(model, describe(drawn)))[1] is drawn
    monkeypatch.setattr(verification.datasets, "load", lambda name, *rest: load("none" if name == "mnist" else name, *rest))
    assert choose_reference(both)[1] is drawn  # MNIST is there and cannot be read
    monkeypatch.setattr(verification.datasets, "load", load)
    del here["mnist"]
    assert choose_reference(both)[1] is drawn
    del here["drawn"]
    with pytest.raises(DataError, match=r"^lenet: .*; drawn is damaged; answers are stored for pics: name that folder with --data$"):
        choose_reference(both)
    others = [
        Dataset(name, "test", drawn_test.images[k : k + 30], drawn_test.labels[k : k + 30]) for name, k in (("mnist", 90), ("drawn", 120))
    ]
    here |= {data.name: data for data in others}
    with pytest.raises(DataError) as caught:
        choose_reference(both)
    first, second, third = str(caught.value).removeprefix("lenet: ").split("; ")
    assert first == f"MNIST here (SHA-256 {others[0].sha256[:12]}…) is not what PyTorch's answers were stored for ({mnist.sha256[:12]}…)"
    assert second.startswith("drawn digits here ") and third.startswith("answers are stored for pics")
    here["drawn"] = drawn
    assert choose_reference(both)[1] is drawn
    with pytest.raises(DataError, match=r"^lenet: no answers of PyTorch are stored with it; export it again$"):
        choose_reference(with_references(model))


def test_what_is_tried(model: store.Model) -> None:
    own = {(one.artifact.file, one.runtime.name) for one in trials(model)}
    assert own == {("lenet.onnx", "ort"), ("lenet.torchscript.pt", "torchscript")}
    assert [(one.artifact.file, one.runtime.name, one.machine) for one in trials(model, "ort")] == [("lenet.onnx", "ort", "")]
    assert {(one.artifact.file, one.runtime.name) for one in trials(model, "all")} >= own
    assert all(one.runtime.runs(one.artifact) and not one.runtime.from_weights for one in trials(model, "all"))
    with pytest.raises(UsageError, match="runtime torch takes the weights, so there is no artifact to verify; leave out --runtime torch"):
        trials(model, "torch")
    with pytest.raises(UnknownNameError):
        trials(model, "ort2")
    bare = replace(model, manifest=replace(model.manifest, artifacts=()))
    for runtime in (None, "all"):
        with pytest.raises(ModelError, match="no artifact to verify; make one: mnist-edge export"):
            trials(bare, runtime)
    with pytest.raises(ModelError, match=r"no artifact for runtime torchscript \(there: none yet\); make one: .*--format torchscript"):
        trials(bare, "torchscript")


def test_an_emulated_machine_runs_onnx_runtime_alone(model: store.Model) -> None:
    from mnist_edge.runtimes import emulated

    machine = next(iter(emulated.PLATFORMS))
    for runtime in (None, "ort"):
        assert [(one.artifact.file, one.runtime.name, one.machine) for one in trials(model, runtime, machine)] == [
            ("lenet.onnx", "ort", machine)
        ]
    with pytest.raises(UsageError, match="runs ONNX Runtime only; leave out --runtime torchscript"):
        trials(model, "torchscript", machine)
    with pytest.raises(UnknownNameError):
        trials(model, None, "pdp11")


def verified(model: store.Model, data: Dataset, runtime: str = "ort") -> verification.Verified:
    stored = model.manifest.reference_on(data.sha256)
    assert stored is not None
    (found,) = verify(model, trials(model, runtime), stored, data)
    return found


def test_what_passed_says_where_and_how_far(model: store.Model, drawn_test: Dataset) -> None:
    found = verified(model, drawn_test)
    assert found.passed and found.report is not None and not found.skipped and found.reason == ""
    assert found.artifact.file == "lenet.onnx" and found.version.startswith("onnxruntime ") and found.platform is not None
    assert found.proof is not None and found.proof.parity["images"] == 1000 and set(found.proof.golden) == {"max_difference"}
    assert found.proof.platform == found.platform.to_json() and found.proof.version == found.version


def test_an_artifact_is_held_to_the_budget_that_it_was_published_with(model: store.Model, drawn_test: Dataset) -> None:
    artifact = model.artifact("ort")
    budget = artifact.parity["budget"]
    tight = replace(model, manifest=model.manifest.with_artifact(with_parity(artifact, budget=budget | {"logit_difference": 0.0})))
    found = verified(tight, drawn_test)
    assert not found.passed and found.proof is None and found.report is not None and "allowed: 0" in found.report.failures[0]
    assert keep_proofs(tight, [found]) is tight


def test_what_cannot_be_tried_has_a_reason(model: store.Model, drawn_test: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*given: Any, **more: Any) -> Any:
        raise MissingExtraError("runtime ort needs onnxruntime: pip install it")

    with monkeypatch.context() as patch:
        patch.setattr(runtimes, "load_artifact", missing)
        found = verified(model, drawn_test)
        assert (found.skipped, found.passed, found.reason) == (True, False, "runtime ort needs onnxruntime: pip install it")
    (model.folder / "lenet.onnx").write_bytes(b"damaged")
    found = verified(model, drawn_test)
    assert (found.skipped, found.passed) == (False, False) and "refused, its SHA-256" in found.reason


def test_nothing_new_writes_nothing(model: store.Model, drawn_test: Dataset) -> None:
    model = keep_proofs(model, [verified(model, drawn_test)])
    before = (model.folder / "manifest.json").stat().st_mtime_ns
    assert keep_proofs(model, [verified(model, drawn_test)]) is model
    assert (model.folder / "manifest.json").stat().st_mtime_ns == before
    weak = with_parity(model.artifact("ort"), images=999)
    replace(model.manifest.with_artifact(weak)).write(model.folder)
    model = store.Model.read(model.folder)
    assert keep_proofs(model, [verified(model, drawn_test)]).artifact("ort").parity["images"] == 1000


def off_by(amount: float, model: store.Model) -> Callable[[np.ndarray], np.ndarray]:
    given = verification.read_golden(model)
    known = {image.tobytes(): row + np.float32(amount) for image, row in zip(given.pixels, given.logits, strict=True)}
    return lambda pixels: np.array([known[image.tobytes()] for image in pixels], np.float32)


def with_golden(artifact: Artifact, precision: str, *known: tuple[str, float | None]) -> Artifact:
    """An artifact of this precision whose runtimes were so far from PyTorch on the golden inputs."""
    first = artifact.proofs[0]
    proofs = [replace(first, runtime=name, golden={} if far is None else {"max_difference": far}) for name, far in known]
    return replace(artifact, precision=precision, proofs=tuple(proofs))


@pytest.mark.parametrize(
    ("precision", "known", "runtime", "allowed"),
    [
        ("int8-dynamic", [("ort", 0.1)], "ort", 0.2),
        ("int8-dynamic", [("ort", 0.1), ("ort", 0.3)], "ort", 0.6),
        ("int8-dynamic", [("ort", 0.1), ("torchscript", 0.3)], "torchscript", 0.6),  # its own, not the artifact's
        ("int8-dynamic", [("ort", 0.1), ("torchscript", 0.3)], "ort", 0.2),
        ("int8-dynamic", [("ort", 0.1)], "torchscript", 0.2),  # the artifact's, where it was never proven
        ("float32", [("ort", 0.1)], "ort", 1e-4),
        ("float32", [("ort", None)], "ort", 1e-4),
    ],
)
def test_golden_inputs_hold_a_runtime_to_how_far_it_was_where_it_was_proven(
    model: store.Model, precision: str, known: list[tuple[str, float | None]], runtime: str, allowed: float
) -> None:
    artifact = with_golden(model.artifact("ort"), precision, *known)
    self_test(model, artifact, runtimes.get(runtime), off_by(0.9 * allowed, model))
    with pytest.raises(ParityError, match=r"lenet\.onnx does not answer as PyTorch did: logits differ"):
        self_test(model, artifact, runtimes.get(runtime), off_by(1.2 * allowed, model))


def test_a_lower_precision_that_kept_no_distance_is_not_tested(model: store.Model) -> None:
    artifact = with_golden(model.artifact("ort"), "fp16", ("ort", None))
    with pytest.raises(ModelError, match=r"lenet\.onnx: its answers to the golden inputs were not kept; export it again"):
        self_test(model, artifact, runtimes.get("ort"), off_by(0, model))


def test_the_network_itself_is_tested_as_float32(model: store.Model) -> None:
    self_test(model, None, runtimes.get("torch"), off_by(9e-5, model))
    with pytest.raises(ParityError, match="the network does not answer as PyTorch did"):
        self_test(model, None, runtimes.get("torch"), off_by(2e-4, model))


def test_a_quick_check_makes_no_proof(model: store.Model, tmp_path: Path) -> None:
    found = list(verify_quickly(model, trials(model)))
    assert [one.passed for one in found] == [True, True] and all(one.proof is None for one in found)
    bare = replace(model, manifest=replace(model.manifest, golden=None))
    with pytest.raises(ModelError, match="no golden inputs, because an older version made it; make it again: mnist-edge export"):
        list(verify_quickly(bare, trials(bare)))
    copy = store.Model.read(Path(shutil.copytree(model.folder, tmp_path / "copy")))
    (copy.folder / "golden.npz").write_bytes(b"torn")
    with pytest.raises(ModelError, match="refused, its SHA-256"):
        list(verify_quickly(copy, [Trial(copy.artifact("ort"), runtimes.get("ort"))]))


def test_a_model_without_golden_inputs_is_verified_on_the_test_set_alone(model: store.Model, drawn_test: Dataset) -> None:
    bare = replace(model, manifest=replace(model.manifest, golden=None))
    found = verified(bare, drawn_test)
    assert found.passed and found.proof is not None and found.proof.golden == {}
