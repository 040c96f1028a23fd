"""Numbers from outside are held to the same rule everywhere: logits, manifests, stored answers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from conftest import Command
from onnx import TensorProto, helper

from mnist_edge import Predictor, store
from mnist_edge.common import logits
from mnist_edge.common.errors import ModelError
from mnist_edge.common.files import sha256_bytes
from mnist_edge.common.shape import Closed, mismatch
from mnist_edge.dataset import Dataset
from mnist_edge.dataset.folder import write_folder
from mnist_edge.proof import evaluation
from mnist_edge.proof.golden import Golden
from mnist_edge.store import publishing
from mnist_edge.store.manifest import FILE_NAME


def write_onnx(path: Path, *, value: float = 0.0, rows: int = 1) -> Path:
    """A graph that answers every image with the same logits, `rows` times."""
    nodes = [
        helper.make_node("Cast", ["pixels"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["float"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["zeros"]),
        helper.make_node("Add", ["zeros", "bias"], ["once"]),
        helper.make_node("Concat", ["once"] * rows, ["logits"], axis=0),
    ]
    bias = np.zeros(10, np.float32)
    bias[3] = value
    weights = [onnx.numpy_helper.from_array(np.zeros((784, 10), np.float32), "weights"), onnx.numpy_helper.from_array(bias, "bias")]
    pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", 1, 28, 28])
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["M", 10])
    graph = helper.make_graph(nodes, "constant", [pixels], [output], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path)
    return path


@pytest.mark.parametrize(
    ("how", "words"),
    [({"value": float("nan")}, "answered NaN or infinity"), ({"value": float("inf")}, "answered NaN or infinity"), ({"rows": 2}, "answered float32 (2")],
)  # fmt: skip
def test_a_file_that_answers_no_logits_is_refused_by_every_command(
    tmp_path: Path, how: dict[str, Any], words: str, run_command: Command, picture: Path, drawn_test: Dataset
) -> None:
    """``evaluate`` once took NaN for a 0, and ``predict`` ten answers to five images."""
    file = write_onnx(tmp_path / "lone.onnx", **how)
    write_folder(drawn_test.first(20), tmp_path / "few")
    idx = tmp_path / "five-images-idx3-ubyte"
    idx.write_bytes(bytes((0, 0, 8, 3)) + b"".join(n.to_bytes(4, "big") for n in (5, 28, 28)) + drawn_test.images[:5].tobytes())
    for arguments in (
        ("predict", picture, "--model", file),
        ("predict", idx, "--model", file),
        ("evaluate", file, "--data", tmp_path / "few"),
    ):
        done = run_command(*arguments, check=1)
        assert words.replace("(2", "(10" if "idx3" in str(arguments[1]) else "(40" if "few" in str(arguments[-1]) else "(2") in done.stderr
        assert "accuracy" not in done.stdout
    with pytest.raises(ModelError, match="answered"):
        Predictor.load(file).logits(drawn_test.images[:3])


@pytest.mark.proof
def test_a_published_file_that_answers_no_logits_is_refused_too(models: Path, run_command: Command) -> None:
    """As a tampered model would have it, whose hashes fit."""
    folder = models / "lenet"
    write_onnx(folder / "lenet.onnx", value=float("nan"))
    edit(folder, lambda body: replace_hash(body, "lenet.onnx", (folder / "lenet.onnx").read_bytes()))
    done = run_command("verify", "lenet", "--quick", "--runtime", "ort", "--models-dir", models, check=3)
    assert "logits are NaN or infinite" in done.stderr
    done = run_command("benchmark", "lenet", "--rounds", "1", "--models-dir", models, check=1)
    assert "answered NaN or infinity" in done.stderr


@pytest.mark.parametrize("wrong", [None, [0.0] * 10, np.zeros((1, 10)), np.zeros((2, 10), np.float32), np.zeros(10, np.float32)])
def test_logits_are_float32_with_a_row_an_image(wrong: Any, drawn_test: Dataset) -> None:
    with pytest.raises(ModelError, match=r"answered .* where float32 \(1, 10\) was expected"):
        logits.check(wrong, 1)
    with pytest.raises(ModelError):
        evaluation.evaluate_logits(wrong, drawn_test.first(1))


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a manifest and give it a hash that fits."""
    body = json.loads((folder / FILE_NAME).read_text())
    del body["sha256"]
    change(body)
    body["sha256"] = sha256_bytes(json.dumps(body, sort_keys=True, separators=(",", ":")).encode())
    (folder / FILE_NAME).write_text(json.dumps(body))


def replace_hash(body: dict[str, Any], file: str, content: bytes) -> None:
    for artifact in body["artifacts"]:
        if artifact["file"] == file:
            artifact |= {"sha256": sha256_bytes(content), "bytes": len(content)}
            for proof in artifact["proofs"]:
                proof["artifact"] = artifact["sha256"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda body: body.update(name=5), "name is 5, not text"),
        (lambda body: body.update(parameters="many"), "parameters is 'many', not a count"),
        (lambda body: body["scores"].update(test_accuracy=10**400), "test_accuracy is 1000.*, not a number"),
        (lambda body: body["weights"].update(file="../x"), r"weights.file is '\.\./x', not the name of a file in this folder"),
        (lambda body: body["history"].update(file="/x"), "history.file is '/x', not the name"),
        (lambda body: body["golden"].update(file=".."), r"golden.file is '\.\.', not the name"),
        (lambda body: body["artifacts"][0].update(file="a/b"), "file is 'a/b', not the name"),
        (lambda body: body["references"][0].update(file=""), "file is '', not the name"),
        (lambda body: body.update(parameters=-1), "parameters is -1, not a count"),
        (lambda body: body.update(weights=[]), r"weights is \[\], not an object"),
        (lambda body: body["weights"].update(bytes=1.5), "weights.bytes is 1.5, not a count"),
        (lambda body: body["weights"].update(more=1), "weights.more is unknown"),
        (lambda body: body.update(artifacts=3), "artifacts is 3, not a list"),
        (lambda body: body["artifacts"][0]["proofs"][0].update(parity={}), r"artifacts\[0\].proofs\[0\].parity.images is missing"),
        (
            lambda body: body["artifacts"][0]["proofs"][0]["parity"]["budget"].update(equal_answers=None),
            "equal_answers is None, not a number",
        ),
        (lambda body: body["artifacts"][0]["proofs"][0]["parity"].update(max_difference=None), "max_difference is None, not a number"),
        (lambda body: body["artifacts"][0].update(proofs=[]), r"artifacts\[0\].proofs is empty"),
        (lambda body: body["artifacts"][0]["proofs"][0].update(artifact="0"), r"artifacts\[0\].proofs\[0\] belongs to another artifact"),
        (lambda body: body["artifacts"][0]["proofs"][0].update(platform={}), r"proofs\[0\].platform.system is missing"),
        (lambda body: body["artifacts"][0].update(members={"a": 1}), r"members.a is 1, not text"),
        (lambda body: body["training"].update(versions={}), "training.versions.torch is missing"),
        (lambda body: body["training"].update(seconds=None), "training.seconds is None, not a number"),
        (lambda body: body["training"].update(finished=5), "training.finished is 5, not text"),
        (lambda body: body["training"]["recipe"].pop("lr"), "training.recipe.lr is missing"),
        (lambda body: body["training"]["recipe"].update(average="0.9"), "training.recipe.average is '0.9', not a number"),
        (lambda body: body["scores"].update(confidence=[]), r"scores.confidence is \[\], not an object"),
        (lambda body: body["scores"].update(test_accuracy=True), "scores.test_accuracy is True, not a number"),
        (lambda body: body["normalisation"].update(mean="0"), "normalisation.mean is '0', not a number"),
        (lambda body: body.update(classes=list(range(10))), r"classes\[0\] is 0, not text"),
        (lambda body: body.update(mine=1), "mine is unknown"),
        (lambda body: body.update(references=[None]), r"references\[0\] is None, not an object"),
    ],
)
def test_a_manifest_of_the_wrong_shape_is_no_crash_and_stops_nothing_else(
    models: Path, change: Callable[[dict[str, Any]], object], words: str
) -> None:
    import shutil

    shutil.copytree(models / "lenet", models / "odd")
    edit(models / "odd", change)
    with pytest.raises(ModelError, match=f"odd/manifest.json: not readable: .*{words}"):
        store.find("odd", models)
    found, problems = store.list_models(models)
    assert [model.name for model in found] == ["lenet"]
    assert len(problems) == 1
    assert store.find(None, models).name == "lenet"


def test_a_manifest_without_the_programs_name_is_read(models: Path) -> None:
    edit(models / "lenet", lambda body: body.pop("program"))
    assert store.find("lenet", models)


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_manifest_holds_numbers_that_are_finite(models: Path, constant: str) -> None:
    path = models / "lenet" / FILE_NAME
    edit(models / "lenet", lambda body: body["scores"].update(test_accuracy=0.123456))
    path.write_text(path.read_text().replace("0.123456", constant))
    with pytest.raises(ModelError, match="not JSON|edited or damaged|not a number"):
        store.find("lenet", models)


def test_shapes() -> None:
    assert mismatch({"a": 1}, {"a": float, "?b": str}) == ""
    assert mismatch({"a": 1, "b": 2}, {"a": float, "?b": str}) == "b is 2, not text"
    assert mismatch({"a": 1, "c": 2}, Closed({"a": float})) == "c is unknown"
    assert mismatch(None, (str, None)) == ""
    assert mismatch(5, (str, None)) == "the content is 5, not text"
    assert mismatch([1, "2"], [int]) == "[1] is '2', not a count"
    assert mismatch({"x": 1, "y": None}, {str: int}) == "y is None, not a count"


def test_golden_inputs_and_stored_answers_are_held_to_it(tmp_path: Path, models: Path, drawn_test: Dataset) -> None:
    pixels, answers = drawn_test.images[:4], np.zeros((4, 10), np.float32)
    for wrong in (Golden(pixels[:, 0], answers), Golden(pixels.astype(np.int64), answers), Golden(pixels, answers[:3]),
                  Golden(pixels[:0], answers[:0]), Golden(pixels, answers * np.float32("nan"))):  # fmt: skip
        (tmp_path / publishing.GOLDEN).write_bytes(wrong.to_bytes())
        with pytest.raises(ModelError, match=r"golden\.npz: "):
            Golden.read(tmp_path / publishing.GOLDEN)
    model = store.find("lenet", models)
    stored = model.manifest.reference_on(drawn_test.sha256)
    assert stored is not None
    for array in (np.zeros((999, 10), np.float32), np.zeros((1000, 10)), np.full((1000, 10), np.nan, np.float32), np.array(["a"])):
        np.save(models / "lenet" / stored.file, array)
        edit(
            models / "lenet", lambda body: body["references"][0].update(sha256=sha256_bytes((models / "lenet" / stored.file).read_bytes()))
        )
        model = store.find("lenet", models)
        with pytest.raises(ModelError, match="answered"):
            store.read_reference(model, model.manifest.references[0])
