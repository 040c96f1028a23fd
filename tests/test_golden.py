"""Golden inputs: a check that needs no data set, at boot, on the device."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import Command
from proving import verify_quickly, with_bytes

from mnist_edge import Predictor, store
from mnist_edge.common.errors import ModelError, ParityError
from mnist_edge.dataset import Dataset, drawn
from mnist_edge.proof import golden, verification
from mnist_edge.proof.golden import Golden
from mnist_edge.store import publishing
from mnist_edge.store.manifest import FILE_NAME, Artifact, Manifest


def change(model: store.Model, **changes: object) -> store.Model:
    replace(model.manifest, **changes).write(model.folder)  # type: ignore[arg-type]
    return store.Model.read(model.folder)


@pytest.fixture
def exchanged(models: Path) -> store.Model:
    """A model whose ONNX file is another one's, with a manifest that says all is well."""
    import onnx

    model = store.find("lenet", models)
    graph = onnx.load(model.folder / "lenet.onnx")
    bias = next(t for t in graph.graph.initializer if t.name == "network.conv1.bias")
    bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + np.float32(0.01), bias.name))
    onnx.save(graph, model.folder / "lenet.onnx")
    artifact = model.artifact("ort")
    return change(model, artifacts=(with_record(artifact, model.folder),))


def with_record(artifact: Artifact, folder: Path) -> Artifact:
    record = publishing.record_of(folder / artifact.file)
    return with_bytes(artifact, record.sha256, record.bytes)


def test_forty_digits_travel_with_the_model(trained: Path) -> None:
    model = store.find("lenet", trained)
    found = verification.read_golden(model)
    assert found.pixels.shape == (40, 1, 28, 28)
    assert found.pixels.dtype == np.uint8
    assert found.logits.shape == (40, 10)
    assert np.allclose(Predictor.load(model.folder, "torch").logits(found.pixels), found.logits, atol=1e-5)
    assert (model.folder / publishing.GOLDEN).stat().st_size < 20_000


def test_what_is_read_wrongly_is_no_golden_input() -> None:
    """Nor where the wrong answers are as certain as the right ones."""
    truth: dict[bytes, int] = {}
    for image, label in zip(*drawn_candidates(), strict=True):
        truth[image.tobytes()] = int(label)

    def run(pixels: np.ndarray) -> np.ndarray:
        logits = np.zeros((len(pixels), 10), np.float32)
        for row, image in zip(logits, pixels, strict=True):
            wrong = int(image.sum() % 2)
            row[(truth[image.tobytes()] + wrong) % 10] = 0.5
        return logits

    chosen = golden.choose(run)
    assert [int(answer) for answer in chosen.logits.argmax(axis=1)] == [truth[image.tobytes()] for image in chosen.pixels]


def drawn_candidates() -> tuple[np.ndarray, np.ndarray]:
    """The images that golden inputs are chosen from, and their labels."""
    data = drawn.draw("test", 10 * golden._DRAWN, golden._SEED)
    return data.images, data.labels


def test_the_same_answers_give_the_same_bytes() -> None:
    one = Golden(np.zeros((2, 1, 28, 28), np.uint8), np.ones((2, 10), np.float32))
    assert one.to_bytes() == Golden(one.pixels.copy(), one.logits.copy()).to_bytes()


def test_verify_quick_needs_no_data(run_command: Command, models: Path) -> None:
    done = run_command("verify", "lenet", "--quick", "--models-dir", models, "--json", env={"MNIST_EDGE_DATA_DIR": "nowhere"})
    document = json.loads(done.stdout)
    assert document["passed"] is True
    assert {a["file"]: a["state"] for a in document["artifacts"]} == {"lenet.onnx": "passed", "lenet.torchscript.pt": "passed"}
    run_command("verify", "lenet", "--quick", "--models-dir", models, env={"MNIST_EDGE_DATA": "mnist"})
    assert "leave out --data" in run_command("verify", "lenet", "--quick", "--data", "drawn", "--models-dir", models, check=2).stderr
    only = run_command("verify", "lenet", "--quick", "--runtime", "ort", "--models-dir", models, "--json")
    assert [a["file"] for a in json.loads(only.stdout)["artifacts"]] == ["lenet.onnx"]


def test_verify_without_data_names_the_way_that_needs_none(run_command: Command, models: Path, tmp_path: Path) -> None:
    shutil.copytree(Path(__file__).resolve().parents[1] / "models" / "lenet", models / "reference")
    done = run_command("verify", "reference", "--models-dir", models, "--data-dir", tmp_path / "empty", check=1)
    assert "mnist-edge data download" in done.stderr and "--quick (needs no data)" in done.stderr
    assert "--data drawn" not in done.stderr  # which has no stored answers to compare with


def test_a_file_that_answers_otherwise_is_found_out(run_command: Command, exchanged: store.Model) -> None:
    done = run_command("verify", exchanged.folder, "--quick", check=3)
    assert "FAILED" in done.stdout
    assert "logits differ by up to" in done.stderr
    with pytest.raises(ParityError, match=r"lenet\.onnx does not answer as PyTorch did: .*logits differ"):
        Predictor.load(exchanged.folder, self_test=True)
    with pytest.raises(ParityError):
        Predictor.load(exchanged.folder / "lenet.onnx", self_test=True)
    Predictor.load(exchanged.folder)


@pytest.mark.parametrize("runtime", ["ort", "torchscript", "torch"])
def test_a_self_test_passes_in_every_runtime(trained: Path, runtime: str) -> None:
    Predictor.load("lenet", runtime, models_dir=trained, self_test=True)


def test_a_model_without_golden_inputs_says_how_to_get_them(models: Path, tmp_path: Path) -> None:
    model = change(store.find("lenet", models), golden=None)
    with pytest.raises(ModelError, match="no golden inputs, .* make it again: mnist-edge export .*lenet --format onnx"):
        verify_quickly(model)
    lone = tmp_path / "lone.onnx"
    shutil.copy(model.folder / "lenet.onnx", lone)
    with pytest.raises(ModelError, match="no golden inputs for a self-test"):
        Predictor.load(lone, self_test=True)


@pytest.mark.parametrize("damage", ["torn", "lost"])
@pytest.mark.slow
def test_golden_inputs_are_made_again_from_the_weights(models: Path, damage: str, drawn_test: Dataset) -> None:
    from exporters import gate

    model = store.find("lenet", models)
    path = model.folder / publishing.GOLDEN
    before = path.read_bytes()
    path.write_bytes(before[:-1]) if damage == "torn" else path.unlink()
    with pytest.raises(ModelError, match=r"golden\.npz: .*; make it again: mnist-edge export .* --format onnx"):
        verify_quickly(model)
    model, proof = gate.export(model, "onnx", drawn_test)
    assert proof.artifact is not None
    assert path.read_bytes() == before
    assert all(v.passed for v in verify_quickly(model))


def test_golden_inputs_hold_float32_to_its_own_budget(trained: Path) -> None:
    model = store.find("lenet", trained)
    found = verification.read_golden(model)
    run = Predictor.load(model.folder).logits
    for shift, passes in ((5e-5, True), (2e-4, False)):
        report = golden.compare(lambda pixels, shift=shift: run(pixels) + np.float32(shift), found, golden.tolerance("float32", 1.0))  # type: ignore[misc]
        assert bool(report) is passes
    assert golden.tolerance("int8-static", 0.5) == 1.0


@pytest.mark.slow
def test_a_model_in_a_renamed_folder_is_mended_as_the_error_says(run_command: Command, models: Path) -> None:
    (models / "lenet").rename(models / "other")
    (models / "other" / "lenet.onnx").unlink()
    done = run_command("verify", "other", "--quick", "--models-dir", models, check=3)
    assert f"make it again: mnist-edge export {models / 'other'} --format onnx" in done.stderr
    run_command("export", models / "other", "--format", "onnx", "--data", "drawn")
    assert (models / "other" / "lenet.onnx").exists()
    run_command("verify", "other", "--quick", "--models-dir", models)


def test_a_manifest_of_schema_1_is_read_and_completed_by_the_next_export(models: Path) -> None:
    from exporters import gate
    from mnist_edge.common.files import sha256_bytes
    from mnist_edge.dataset import drawn

    folder = models / "lenet"
    body = json.loads((folder / FILE_NAME).read_text())
    del body["golden"], body["sha256"]
    body["schema"] = 1
    for artifact in body["artifacts"]:
        artifact["parity"] = artifact.pop("proofs")[0]["parity"]
        del artifact["members"], artifact["parity"]["budget"]["accuracy_drop"]
    body["sha256"] = sha256_bytes(json.dumps(body, sort_keys=True, separators=(",", ":")).encode())
    (folder / FILE_NAME).write_text(json.dumps(body))
    (folder / publishing.GOLDEN).unlink()
    model = store.find("lenet", models)
    assert model.manifest.golden is None
    assert all(
        v.passed for v in verification.verify(model, verification.trials(model), model.manifest.references[0], drawn.draw("test", 1000))
    )
    model, proof = gate.export(model, "onnx", drawn.draw("test", 1000))
    assert proof.artifact is not None
    assert [v.passed for v in verify_quickly(model)] == [True, True]


def test_a_manifest_of_a_newer_version_is_refused(run_command: Command, models: Path) -> None:
    path = models / "lenet" / FILE_NAME
    body = json.loads(path.read_text()) | {"schema": 5, "program": "mnist-edge 9.9.9"}
    path.write_text(json.dumps(body))
    for arguments in (("predict", "x.png", "--model", "lenet"), ("verify", "lenet", "--quick"), ("show", "lenet"), ("benchmark", "lenet")):
        done = run_command(*arguments, "--models-dir", models, check=1)
        assert "schema 5, written by mnist-edge 9.9.9; this program reads up to 4: upgrade mnist-edge" in done.stderr


def test_an_artifact_for_a_newer_runtime_says_so(models: Path) -> None:
    model = store.find("lenet", models)
    (models / "lenet" / "lenet.onnx").write_bytes(b"from the future")
    newer = replace(with_record(model.artifact("ort"), model.folder), oldest_runtime="onnxruntime 99.1")
    model = change(model, artifacts=(newer,))
    with pytest.raises(ModelError, match=r"needs onnxruntime 99\.1 or newer, .* is installed; run: pip install -U onnxruntime, or export"):
        Predictor.load(model.folder)
    assert Manifest.read(model.folder).artifacts[0].oldest_runtime == "onnxruntime 99.1"


def test_an_operator_that_the_runtime_lacks_is_named(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    from mnist_edge.runtimes import get

    # bfloat16 is in the standard, and onnxruntime has no convolution for it on the CPU
    nodes = [
        helper.make_node("Cast", ["pixels"], ["a"], to=TensorProto.BFLOAT16),
        helper.make_node("Conv", ["a", "w"], ["b"], name="conv"),
        helper.make_node("Cast", ["b"], ["c"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["c"], ["logits"]),
    ]
    weight = helper.make_tensor("w", TensorProto.BFLOAT16, [10, 1, 28, 28], bytes(2 * 7840), raw=True)
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", 1, 28, 28])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 10])], [weight],
    )  # fmt: skip
    path = tmp_path / "conv.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10), path)
    with pytest.raises(ModelError, match=r"NOT_IMPLEMENTED .*Conv.*; it lacks that operator: upgrade onnxruntime, or export another"):
        get("ort").load(path)
