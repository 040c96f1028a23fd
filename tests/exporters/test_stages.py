"""The stages of an export, each by itself: what is refused before any work, what a format may write, what is kept of a refusal."""

import json
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import exporters
from exporters import Calibration, Format, Reduction, Target, gate, reference, registry, writing
from exporters import plan as plans
from exporters.evidence import keep_evidence
from mnist_edge import runtimes, store
from mnist_edge.common.errors import ExportError, MissingExtraError, ModelError, ParityError, UsageError
from mnist_edge.common.options import Option
from mnist_edge.dataset import Dataset, describe
from mnist_edge.proof.parity import BUDGETS, Budget, compare
from mnist_edge.proof.probes import Probes
from mnist_edge.runtimes import apart as apart_process

Add = Callable[..., Format]


@pytest.fixture
def add(monkeypatch: pytest.MonkeyPatch) -> Add:
    exporters.formats()
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))

    def add(export: Any, **changes: Any) -> Format:
        values = {"name": "other", "summary": "x", "suffix": ".other.onnx", "runtime": "ort", "export": export} | changes
        return exporters.register(Format(**values))

    return add


@pytest.fixture
def model(models: Path) -> store.Model:
    return store.find("lenet", models)


def test_a_plan_has_the_budget_of_its_precision_unless_another_is_asked_for(model: store.Model, drawn_test: Dataset) -> None:
    for precision, budget in BUDGETS.items():
        assert plans.plan(model, "onnx", drawn_test, precision=precision).budget == budget
    loose = plans.plan(model, "onnx", drawn_test, precision="fp16", max_accuracy_drop=0.01).budget
    assert loose == BUDGETS["fp16"].with_accuracy_drop(0.01)
    for drop in (0.0, 1.0):
        assert plans.plan(model, "onnx", drawn_test, precision="fp16", max_accuracy_drop=drop).budget.accuracy_drop == drop
    for drop, words in ((-0.001, "-0.1"), (1.001, "100.1")):
        with pytest.raises(UsageError, match=f"--max-accuracy-drop {words}: points of accuracy, 0 to 100"):
            plans.plan(model, "onnx", drawn_test, precision="fp16", max_accuracy_drop=drop)
    with pytest.raises(UsageError, match="float32 has to answer as PyTorch does"):
        plans.plan(model, "onnx", drawn_test, max_accuracy_drop=0.0)


def test_an_artifact_is_named_for_its_model_and_precision(model: store.Model, drawn_test: Dataset, tmp_path: Path) -> None:
    def file(of: store.Model, precision: str = "float32") -> str:
        return plans.plan(of, "onnx", drawn_test, precision=precision).file

    assert (file(model), file(model, "fp16"), file(model, "int8-static")) == ("lenet.onnx", "lenet.fp16.onnx", "lenet.int8-static.onnx")
    renamed = store.Model(model.folder.rename(tmp_path / "mine"), model.manifest)
    assert (file(renamed), file(renamed, "fp16")) == ("lenet.onnx", "mine.fp16.onnx")  # the first takes the old one's place
    assert plans.plan(model, "onnx", drawn_test).reduction is None
    assert plans.plan(model, "onnx", drawn_test, precision="fp16").reduction is exporters.find("onnx").reductions["fp16"]


def test_too_little_data_is_planned_by_force_only(model: store.Model, drawn_test: Dataset) -> None:
    few = drawn_test.first(999)
    with pytest.raises(ParityError, match="999 test images are too few .*name a larger test set"):
        plans.plan(model, "onnx", few)
    forced = plans.plan(model, "onnx", few, force=True)
    assert forced.too_little.startswith("999 test images") and forced.force
    assert plans.plan(model, "onnx", drawn_test).too_little == ""


def test_a_plan_looks_first_whether_its_place_can_be_taken(models: Path, drawn_test: Dataset) -> None:
    with pytest.raises(UsageError, match="a model of your own"):
        plans.plan(store.installed_reference(), "onnx", drawn_test, models_dir=models)


def test_a_lower_precision_is_refused_where_it_saves_nothing(model: store.Model, drawn_test: Dataset, add: Add) -> None:
    """A few bytes more than float32 of the same format; by force it is published all the same."""
    source = (model.folder / "lenet.onnx").read_bytes()

    def export(deployed: Any, target: Target) -> dict[str, Any]:
        target.path.write_bytes(source)
        return {}

    def convert(float32: Path, target: Target) -> dict[str, Any]:
        assert float32.read_bytes() == source and target.precision == "fp16" and target.path.name == "lenet.fp16.other.onnx"
        note = b"x" * 120
        target.path.write_bytes(source + b"r" + bytes([len(note) + 7]) + b"\n\x03new\x12" + bytes([len(note)]) + note)
        return {"reduced_weights": 0.25}

    add(export, reductions={"fp16": Reduction(convert)})
    before = sorted(path.name for path in model.folder.iterdir())
    with pytest.raises(
        ExportError, match=r"not published as fp16, because it saves no space: .*only 25 % of its weights.*--force publishes"
    ):
        gate.export(model, "other", drawn_test, precision="fp16")
    assert sorted(path.name for path in model.folder.iterdir()) == before
    _, forced = gate.export(model, "other", drawn_test, precision="fp16", force=True)
    assert forced.artifact is not None and forced.verdict is not None and not forced.verdict.gains
    assert not forced.artifact.unproven  # it is proven, and no smaller
    _, exact = gate.export(model, "other", drawn_test)
    assert exact.verdict is None and exact.artifact is not None


def test_a_folder_is_written_and_checked_like_a_file(tmp_path: Path) -> None:
    place = tmp_path / "aside" / "made"
    place.mkdir(parents=True)
    (place / "a").write_text("a")
    assert set(writing._checked("x", place).members) == {"a"}
    (tmp_path / "elsewhere").hardlink_to(place / "a")
    with pytest.raises(ExportError, match="format x: wrote a hard link"):
        writing._checked("x", place)
    (tmp_path / "elsewhere").unlink()
    (place / "empty").mkdir()
    with pytest.raises(ExportError, match="format x: made/empty: an empty folder; an artifact may hold files only"):
        writing._checked("x", place)
    (place / "empty").rmdir()
    (place / "link").symlink_to("a")
    with pytest.raises(ExportError, match="format x: made/link: neither a file nor a folder; an artifact may hold no links"):
        writing._checked("x", place)
    for name in ("b", "a"):
        (place.parent / name).touch()
    (place / "link").unlink()
    with pytest.raises(ExportError, match=r"format x: an artifact is one file or one folder; it also wrote a, b"):
        writing._checked("x", place)


@pytest.mark.parametrize(
    ("details", "error", "words"),
    [
        ({"x": float("nan")}, None, "its details are not JSON"),
        ({"x": {1, 2}}, None, "its details are not JSON"),
        (None, SystemExit(3), "format other: SystemExit: 3"),
        (None, UsageError("opset 99 is none"), "^opset 99 is none$"),
        (None, OSError(28, "No space left"), "No space left"),
    ],
)
def test_what_an_exporter_raises_or_returns(
    model: store.Model, drawn_test: Dataset, add: Add, details: Any, error: BaseException | None, words: str
) -> None:
    def export(deployed: Any, target: Target) -> dict[str, Any]:
        target.path.write_bytes((model.folder / "lenet.onnx").read_bytes())
        if error:
            raise error
        return details

    add(export)
    with pytest.raises((ExportError, UsageError, OSError), match=words) as caught:
        gate.export(model, "other", drawn_test)
    assert type(caught.value) in (ExportError, type(error))


def test_a_record_says_how_it_came_to_be(model: store.Model, drawn_test: Dataset, add: Add) -> None:
    source = (model.folder / "lenet.onnx").read_bytes()

    def export(deployed: Any, target: Target) -> dict[str, Any]:
        target.path.write_bytes(source)
        return {"oldest_runtime": "onnxruntime 1.17", "note": 1}

    add(export)
    after, done = gate.export(model, "other", drawn_test)
    record = done.artifact
    assert record is not None and record == after.artifact_of_file(Path("lenet.other.onnx"))
    assert (record.format, record.precision, record.runtime, record.oldest_runtime) == ("other", "float32", "ort", "onnxruntime 1.17")
    assert record.details == {"note": 1} and record.members == {} and record.bytes == len(source)
    proof = record.proof
    assert proof.artifact == record.sha256 and proof.version.startswith("onnxruntime ") and proof.platform is not None
    assert set(proof.golden) == {"max_difference"} and proof.parity["data"] == describe(drawn_test)

    def says_nothing(deployed: Any, target: Target) -> dict[str, Any]:
        target.path.write_bytes(source)
        return {}

    add(says_nothing, name="plain", suffix=".plain.onnx")
    _, done = gate.export(model, "plain", drawn_test)
    assert done.artifact is not None and done.artifact.oldest_runtime == "ort (oldest not known)"


def test_layers_are_compared_of_what_was_refused_and_an_error_there_changes_nothing(
    model: store.Model, drawn_test: Dataset, add: Add
) -> None:
    source, asked = (model.folder / "lenet.onnx").read_bytes(), []

    def export(deployed: Any, target: Target) -> dict[str, Any]:
        target.path.write_bytes(source)
        return {}

    def convert(float32: Path, target: Target) -> dict[str, Any]:
        import onnx

        graph = onnx.load(float32)
        last = next(tensor for tensor in graph.graph.initializer if tensor.name == "network.fc3.bias")
        last.CopyFrom(onnx.numpy_helper.from_array(np.arange(10, dtype=np.float32) * 1000, last.name))
        del graph.metadata_props[:]
        onnx.save(graph, target.path)
        return {}

    def costs(float32: Path, reduced: Path, images: np.ndarray) -> list[registry.LayerCost]:
        asked.append((float32.name, reduced.name, len(images)))
        if len(asked) > 1:
            raise RuntimeError("no such tensor")
        return [registry.LayerCost("fc3", 0.0, 1.0, 1.0)]

    add(export, reductions={"fp16": Reduction(convert, layer_costs=costs)})
    _, refused = gate.export(model, "other", drawn_test, precision="fp16", force=True)
    assert refused.artifact is None and refused.evidence is not None
    assert [cost.layer for cost in refused.costs] == ["fc3"] and asked == [("float32.other.onnx", "lenet.fp16.other.onnx", 200)]
    with pytest.warns(UserWarning, match="the layers could not be compared: .*no such tensor"):
        _, again = gate.export(model, "other", drawn_test, precision="fp16", force=True)
    assert again.artifact is None and again.costs == ()
    add(export, name="silent", suffix=".silent.onnx", reductions={"fp16": Reduction(convert)})  # cannot tell, and says nothing of it
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        _, silent = gate.export(model, "silent", drawn_test, precision="fp16", force=True)
    assert silent.artifact is None and silent.costs == ()


def answers_to(data: Dataset, logits: np.ndarray) -> Any:
    return SimpleNamespace(data=data, logits=logits)


def test_evidence_shows_what_changed_most_and_what_changed_its_answer(drawn_test: Dataset, tmp_path: Path) -> None:
    data = drawn_test.first(300)
    expected = np.random.default_rng(0).normal(0, 3, (300, 10)).astype(np.float32)
    logits = expected.copy()
    logits[:, 0] += np.linspace(0, 0.003, 300, dtype=np.float32)
    turned = [5, 11]
    for index in turned:
        first, second = np.argsort(-logits[index])[:2]
        logits[index, first], logits[index, second] = logits[index, second], logits[index, first]
    report = compare(expected, logits, data.labels, Budget(1.0, None))
    (tmp_path / "aside.onnx").write_bytes(b"refused")
    kept = keep_evidence(tmp_path, "lenet", tmp_path / "aside.onnx", report, answers_to(data, expected), logits)
    assert kept is not None and kept.parent == tmp_path / ".failed" and kept.name.startswith("lenet-aside.onnx-20")
    assert (kept / "aside.onnx").read_bytes() == b"refused" and not (tmp_path / "aside.onnx").exists()
    with np.load(kept / "outputs.npz") as outputs:
        shown = outputs["indices"].tolist()
        difference = np.abs(logits - expected).max(axis=1)
        assert shown == sorted({*report.changed, *np.argsort(-difference, kind="stable")[:20].tolist()})
        assert (outputs["reference"] == expected[shown]).all() and (outputs["artifact"] == logits[shown]).all()
        assert (outputs["labels"] == data.labels[shown]).all()
    pictures = sorted(kept.glob("*.png"))
    assert [path.name for path in pictures] == [f"{index:05d}-label-{data.labels[index]}.png" for index in shown]
    with Image.open(pictures[0]) as picture:
        assert (np.asarray(picture) == data.images[shown[0], 0]).all()
    assert json.loads((kept / "report.json").read_text())["changed"] == list(report.changed)


def test_evidence_of_many_changes_has_a_hundred_pictures(drawn_test: Dataset, tmp_path: Path) -> None:
    data = drawn_test.first(300)
    expected = np.random.default_rng(0).normal(0, 3, (300, 10)).astype(np.float32)
    logits = np.roll(expected, 1, axis=1)
    logits[3, 4] = np.nan
    report = compare(expected, logits, data.labels, Budget(1.0, None))
    (tmp_path / "aside.onnx").touch()
    kept = keep_evidence(tmp_path, "lenet", tmp_path / "aside.onnx", report, answers_to(data, expected), logits)
    assert kept is not None and len(list(kept.glob("*.png"))) == 100
    (tmp_path / "aside.onnx").touch()
    short = keep_evidence(tmp_path, "lenet", tmp_path / "aside.onnx", report, answers_to(data, expected), logits[:0])
    assert short is not None and sorted(path.name for path in short.iterdir()) == ["aside.onnx", "report.json"]
    (tmp_path / "aside.onnx").touch()
    (tmp_path / "file").touch()
    assert keep_evidence(tmp_path / "file", "lenet", tmp_path / "aside.onnx", report, answers_to(data, expected), logits) is None


def test_pytorchs_answers_are_compared_with_those_that_were_stored(model: store.Model, drawn_test: Dataset) -> None:
    found = reference.answers(model, drawn_test)
    assert found.golden_is_stored and isinstance(found.probes, Probes)
    stored = model.manifest.reference_on(drawn_test.sha256)
    assert stored is not None and np.abs(store.read_reference(model, stored) - found.logits).max() < 1e-4
    path = model.folder / stored.file
    for by, refused in ((5e-5, False), (3e-4, True)):
        logits = found.logits.copy()
        logits[7, 3] += by
        np.save(path, logits)
        from mnist_edge.store import publishing

        record = replace(stored, sha256=publishing.record_of(path).sha256)
        other = replace(model, manifest=replace(model.manifest, references=(record,)))
        if refused:
            with pytest.raises(ModelError, match=r"PyTorch here answers differently by 0\.0003 .*trained with torch \d"):
                reference.answers(other, drawn_test)
        else:
            reference.answers(other, drawn_test)


def test_a_network_that_answers_nan_is_no_reference(model: store.Model, drawn_test: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    from mnist_edge.architectures.lenet import LeNet

    real = LeNet.forward
    monkeypatch.setattr(LeNet, "forward", lambda self, x: real(self, x) * float("nan"))
    with pytest.raises(ModelError, match="PyTorch itself answers NaN or infinity; train it again"):
        reference.answers(model, drawn_test)


def test_a_first_proof_on_better_data_is_the_models_score(model: store.Model, drawn_test: Dataset) -> None:
    """A model that was only ever tested on drawn digits gets its test score from a real test set."""
    real = Dataset("folder:real", "test", drawn_test.images[::-1].copy(), drawn_test.labels[::-1].copy())
    found = reference.answers(model, real)
    after = reference.store_answers(model, found, model.manifest)
    correct = int((found.logits.argmax(axis=1) == real.labels).sum())
    assert (after.scores["test_correct"], after.scores["test_accuracy"]) == (correct, correct / 1000)
    assert after.scores["test_data"] == describe(real)
    assert after.scores["validation_accuracy"] == model.manifest.scores["validation_accuracy"]
    few = real.first(900)
    kept = reference.store_answers(model, reference.answers(model, few), model.manifest)
    assert kept.scores == model.manifest.scores and kept.reference_on(few.sha256) is not None
    other = Dataset("folder:other", "test", 255 - drawn_test.images, drawn_test.labels)
    third = reference.store_answers(model, reference.answers(model, other), after)
    assert third.scores == after.scores and len(third.references) == 3  # the first real one stays
    again = reference.store_answers(model, found, after)
    assert again == after and after.golden == model.manifest.golden


@pytest.mark.parametrize("damage", ["lost", "torn", "never made"])
def test_golden_inputs_that_are_not_there_follow_from_the_weights(model: store.Model, drawn_test: Dataset, damage: str) -> None:
    path = model.folder / "golden.npz"
    before = path.read_bytes()
    if damage == "torn":
        path.write_bytes(b"torn")
    else:
        path.unlink()
    if damage == "never made":
        model = replace(model, manifest=replace(model.manifest, golden=None))
    found = reference.answers(model, drawn_test)
    assert not found.golden_is_stored
    after = reference.store_answers(model, found, model.manifest)
    assert after.golden is not None and path.read_bytes() == before
    assert replace(model, manifest=after).path(after.golden) == path


def test_pytorchs_threads_are_given_back(model: store.Model, drawn_test: Dataset, add: Add) -> None:
    import torch

    torch.set_num_threads(1)

    def export(deployed: Any, target: Target) -> dict[str, Any]:
        torch.set_num_threads(2)
        target.path.write_bytes((model.folder / "lenet.onnx").read_bytes())
        return {}

    add(export)
    gate.export(model, "other", drawn_test)
    assert torch.get_num_threads() == 1


def test_the_runtime_of_the_gate_has_to_be_installed(model: store.Model, drawn_test: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    lacking = runtimes.get("ort")._replace(requires=("no_such_package",))
    monkeypatch.setattr(plans.runtimes, "get", lambda name: lacking)
    with pytest.raises(MissingExtraError, match="the gate of format onnx, which runs what it proves, needs"):
        plans.plan(model, "onnx", drawn_test)


def test_a_lower_precision_gets_its_images_and_runs_in_a_process_of_its_own_first(
    model: store.Model, drawn_test: Dataset, drawn_train: Dataset, add: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, seen, apart, judged = (model.folder / "lenet.onnx").read_bytes(), [], [], []

    def export(deployed: Any, target: Target) -> dict[str, Any]:
        seen.append((target.precision, target.calibration, dict(target.options)))
        target.path.write_bytes(source)
        return {"warnings": ["of the network"]}

    def convert(float32: Path, target: Target) -> dict[str, Any]:
        seen.append((target.precision, target.calibration, dict(target.options)))
        target.path.write_bytes(source)
        return {"warnings": ["of the conversion"]}

    real_run, real_judge = apart_process.subprocess.run, gate.judge
    monkeypatch.setattr(apart_process.subprocess, "run", lambda words, **how: (apart.append(words), real_run(words, **how))[1])
    monkeypatch.setattr(gate, "judge", lambda *files: (judged.append(files[2]), real_judge(*files))[1])
    own, reductions = (
        Option("mine", "of the format", bool),
        {"fp16": Reduction(convert, (Option("other", "of the precision", bool),), True)},
    )
    add(export, options=(own,), reductions=reductions)
    images = Calibration.draw(drawn_train, 10)
    options = {"mine": True, "other": True}
    _, done = gate.export(model, "other", drawn_test, precision="fp16", calibration=images, options=options, force=True)
    assert seen == [("float32", None, {"mine": True}), ("fp16", images, options)]
    assert [Path(words[-1]).name for words in apart] == ["lenet.fp16.other.onnx"]
    assert [image.tobytes() for image in judged] == [drawn_test.images[:1].tobytes()]
    assert done.artifact is not None and done.artifact.details["warnings"] == ["of the network", "of the conversion"]
    gate.export(model, "other", drawn_test, force=True)
    assert len(apart) == 1


def test_an_artifact_that_has_to_answer_alike_everywhere_gives_the_same_bits_on_each_runtime(
    model: store.Model, drawn_test: Dataset, add: Any
) -> None:
    """tract answers as onnxruntime does, but for the last bits."""
    onnx = exporters.find("onnx").export
    add(onnx, further=lambda options, details: ("tract",))
    _, done = gate.export(model, "other", drawn_test, force=True)
    assert done.artifact is not None
    add(
        lambda *given: onnx(*given) | {"bit_for_bit": True}, name="exact", suffix=".exact.onnx", further=lambda options, details: ("tract",)
    )
    _, done = gate.export(model, "exact", drawn_test, force=True)
    assert done.artifact is None
    assert done.report.failures == ("on tract: the logits are not bit for bit those that runtime ort gave",)


def test_a_further_runtime_that_is_not_installed_is_named_before_anything_is_written(
    model: store.Model, drawn_test: Dataset, add: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = runtimes.get("tract")._replace(name="absent", requires=("no_such_package",), install="pip install absent")
    monkeypatch.setitem(runtimes.RUNTIMES, "absent", absent)
    add(exporters.find("onnx").export, further=lambda options, details: ("absent",))
    with pytest.raises(MissingExtraError, match=r"^proving it on absent needs no_such_package, .*run: pip install absent$"):
        plans.plan(model, "other", drawn_test)


def test_a_reduced_artifact_whose_process_dies_says_what_to_try(
    model: store.Model, drawn_test: Dataset, drawn_train: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_run, dies = apart_process.subprocess.run, [sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"]
    monkeypatch.setattr(apart_process.subprocess, "run", lambda words, **how: real_run(dies, **how))
    with pytest.raises(ParityError, match=r"in fp16; try another --quantize, or --keep-float for parts of it$"):
        gate.export(model, "onnx", drawn_test, precision="fp16", calibration=Calibration.draw(drawn_train, 10), force=True)
