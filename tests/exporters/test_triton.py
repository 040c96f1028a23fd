"""Format triton: the proven ONNX file byte for byte, with settings that Triton's and KServe's own classes read."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import LOWER, ROOT, Command
from once import lacking

from exporters import Target, gate, triton
from mnist_edge import Predictor, store
from mnist_edge.common.errors import ExportError, ModelError
from mnist_edge.dataset import Dataset
from mnist_edge.runtimes import get, ort

CLIENTS = ROOT / "build" / "clients" / "bin" / "python"


def read_by(which: str, path: Path) -> Any:
    if not CLIENTS.exists():
        lacking("needs the classes of Triton and KServe; run: make clients")
    line = [CLIENTS, ROOT / "tests" / "settings_of_clients.py", which, path]
    return json.loads(subprocess.run(line, capture_output=True, text=True, check=True, timeout=120).stdout)


@pytest.mark.parametrize("precision", ["float32", *LOWER])
def test_the_artifact_is_the_proven_one_byte_for_byte_and_proven_again(
    reduced: store.Model, tmp_path: Path, drawn_test: Dataset, picture: Path, precision: str
) -> None:
    model = store.Model.read(Path(shutil.copytree(reduced.folder, tmp_path / "lenet")))
    after, outcome = gate.export(
        model, "triton", drawn_test, precision=precision, max_accuracy_drop=None if precision == "float32" else 0.02
    )
    made = outcome.artifact
    assert made is not None
    source = next(one for one in after.artifacts if (one.format, one.precision) == ("onnx", precision))
    name = "lenet" if precision == "float32" else f"lenet-{precision}"
    assert made.members[f"{name}/1/model.onnx"] == source.sha256 == made.details["source"]["sha256"]
    assert set(made.members) == {f"{name}/1/model.onnx", f"{name}/config.pbtxt", f"{name}/labels.txt"}
    assert made.runtime == "ort" and made.oldest_runtime == source.oldest_runtime and made.details["model"] == name
    assert made.proofs[0].parity["images"] == len(drawn_test)
    answers = [get("ort").load_artifact(after, one)(drawn_test.images[:20]) for one in (source, made)]
    np.testing.assert_array_equal(*answers)
    assert (after.folder / made.file / name / "labels.txt").read_text().split() == list(after.manifest.classes)
    digits = [Predictor.load(after.folder / one.file).predict(picture).digit for one in (source, made)]
    assert digits[0] == digits[1]


def test_a_damaged_onnx_file_never_gets_into_a_repository(models: Path, drawn_test: Dataset) -> None:
    file = models / "lenet" / "lenet.onnx"
    file.write_bytes(file.read_bytes()[:-1] + b"\0")
    with pytest.raises(ModelError, match=r"lenet\.onnx"):
        gate.export(store.find("lenet", models), "triton", drawn_test)
    assert not (models / "lenet" / "lenet.triton").exists()


def test_without_the_onnx_artifact_the_error_says_how_to_make_it(models: Path, drawn_test: Dataset) -> None:
    with pytest.raises(
        ExportError, match=r"made from its onnx artifact in fp16.*run: mnist-edge export lenet --format onnx --quantize fp16"
    ):
        gate.export(store.find("lenet", models), "triton", drawn_test, precision="fp16")


def test_the_runtime_refuses_a_folder_without_one_file(models: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"empty: no files \*/\*/model\.onnx in it"):
        ort.load(tmp_path / "empty")
    for version in "12":
        (tmp_path / "two" / "lenet" / version).mkdir(parents=True)
        shutil.copy(models / "lenet" / "lenet.onnx", tmp_path / "two" / "lenet" / version / "model.onnx")
    with pytest.raises(ModelError, match=r"two: 2 files"):
        ort.load(tmp_path / "two")


def repository(folder: Path, name: str = "lenet", precision: str = "float32") -> Path:
    file = ROOT / "models" / "lenet" / ("lenet.onnx" if precision == "float32" else f"lenet.{precision}.onnx")
    triton.export(file, Target(folder / "made", name, "lenet", tuple("0123456789"), "MIT", precision))
    return folder / "made"


@pytest.mark.proof
@pytest.mark.parametrize(("name", "precision"), [("lenet", "float32"), ("lenet", "int8-static"), ('my "own" \\ net, #2', "float32")])
def test_triton_reads_the_settings_and_they_fit_the_file(tmp_path: Path, name: str, precision: str) -> None:
    import onnxruntime

    made = repository(tmp_path, name, precision)
    (folder,) = made.iterdir()
    config = read_by("triton", folder / "config.pbtxt")
    assert config["name"] == folder.name  # Triton refuses a model whose folder has another name
    assert config["backend"] == "onnxruntime" and config["max_batch_size"] == triton.MAX_BATCH
    session = onnxruntime.InferenceSession(folder / "1" / "model.onnx")
    kinds = {"tensor(uint8)": "TYPE_UINT8", "tensor(float)": "TYPE_FP32"}
    for told, ports in ((config["input"], session.get_inputs()), (config["output"], session.get_outputs())):
        assert [(one["name"], one["data_type"], [*map(int, one["dims"])]) for one in told] == [
            (port.name, kinds[port.type], port.shape[1:]) for port in ports
        ]
        assert all(isinstance(port.shape[0], str) for port in ports)  # Triton's batches need an open first size
    assert (folder / config["output"][0]["label_filename"]).exists()
    assert config["instance_group"] == [{"count": 1, "kind": "KIND_CPU"}]
    assert config["dynamic_batching"]["default_queue_policy"] == {"max_queue_size": triton.MAX_WAITING}
    (warmed,) = config["model_warmup"]
    assert {name: warmed["inputs"][name]["dims"] for name in warmed["inputs"]} == {one["name"]: one["dims"] for one in config["input"]}


@pytest.mark.proof
def test_settings_that_triton_does_not_know_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.pbtxt"
    path.write_text('name: "lenet"\nmax_batchsize: 64\n')
    with pytest.raises(subprocess.CalledProcessError) as error:
        read_by("triton", path)
    assert 'no field named "max_batchsize"' in error.value.stderr


@pytest.mark.proof
def test_kserve_knows_every_setting_of_the_service(tmp_path: Path) -> None:
    path = ROOT / "deploy" / "kserve.yaml"
    written = yaml.safe_load(path.read_text())
    assert read_by("kserve", path) == written
    written["spec"]["predictor"]["model"]["storageURI"] = written["spec"]["predictor"]["model"].pop("storageUri")
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(written))
    with pytest.raises(subprocess.CalledProcessError) as error:
        read_by("kserve", tmp_path / "wrong.yaml")
    assert "V1beta1ModelSpec has no field storageURI" in error.value.stderr


def test_the_command_makes_what_it_is_made_from(run_command: Command, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "models" / "lenet", tmp_path / "models" / "lenet")
    done = run_command("export", "lenet", "--format", "triton", "--quantize", "static", "--data", "drawn", "--models-dir", "models")
    assert "lenet.int8-static.triton in 3 files" in done.stdout
