"""Exporting and verifying by the installed command: what is killed, wrong, damaged or edited."""

import json
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import Command, sha256, start

QUICK = ("--data", "drawn", "--train-images", "600", "--epochs", "2")


@pytest.mark.proof
def test_killed_while_exporting_the_old_artifact_is_whole(run_command: Command, models: Path, tmp_path: Path) -> None:
    before = sha256(models / "lenet" / "lenet.onnx")
    random = np.random.default_rng()
    for _ in range(3):
        process = start(tmp_path, "export", "lenet", "--format", "onnx", "--opset", "19", "--data", "drawn")
        time.sleep(float(random.uniform(1.5, 5)))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        run_command("evaluate", "lenet", "--data", "drawn")
    artifact = next(a for a in json.loads(run_command("show", "lenet", "--json").stdout)["artifacts"] if a["file"] == "lenet.onnx")
    assert sha256(models / "lenet" / "lenet.onnx") == artifact["sha256"]
    assert (artifact["sha256"] == before) == (artifact["details"]["opset"] == 20)


@pytest.mark.proof
def test_another_distributions_format_that_nudges_a_weight_is_stopped(run_process: Command, models: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    info = site / "nudge-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: nudge\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mnist_edge.exporters]\nnudged = nudge:NUDGED\nbroken = nowhere:X\n")
    (site / "nudge.py").write_text(
        "from exporters import Format, find\n"
        "def export(deployed, target):\n"
        "    deployed.network.conv1.weight.data[0, 0, 2, 2] += 0.01\n"
        "    return find('onnx').export(deployed, target)\n"
        "NUDGED = Format('nudged', 'wrong', '.nudged.onnx', 'ort', export)\n"
    )
    before = {p.name: sha256(p) for p in (models / "lenet").iterdir()}
    env = {"PYTHONPATH": str(site)}
    listed = run_process("formats", env=env)
    assert "nudged" in listed.stdout
    assert "warning: format 'broken' (nowhere:X) could not be loaded" in listed.stderr
    done = run_process("export", "lenet", "--format", "nudged", "--data", "drawn", "--json", env=env, check=3)
    document = json.loads(done.stdout)
    assert document["published"] is False
    assert document["parity"]["failures"]
    assert (tmp_path / document["evidence"] / "report.json").exists()
    assert {p.name: sha256(p) for p in (models / "lenet").iterdir()} == before


def test_a_flipped_byte_and_an_edited_manifest_are_refused(run_command: Command, models: Path, picture: Path) -> None:
    artifact = models / "lenet" / "lenet.onnx"
    content = bytearray(artifact.read_bytes())
    content[1000] ^= 1
    artifact.write_bytes(content)
    assert "refused" in run_command("predict", picture, check=1).stderr
    manifest = models / "lenet" / "manifest.json"
    manifest.write_text(manifest.read_text().replace("lenet", "lenes", 1))
    assert "edited or damaged" in run_command("predict", picture, "--model", "lenet", check=1).stderr


@pytest.mark.slow
def test_verify_finds_the_artifact_that_is_wrong(run_command: Command, models: Path) -> None:
    run_command("export", "lenet", "--format", "onnx", "--data", "drawn")
    run_command("verify")
    artifact = models / "lenet" / "lenet.torchscript.pt"
    content = bytearray(artifact.read_bytes())
    content[len(content) // 2] ^= 1
    artifact.write_bytes(content)
    done = run_command("verify", check=3)
    assert "lenet.torchscript.pt" in done.stderr
    assert "FAILED" in done.stdout
    assert "passed" in done.stdout


def test_a_model_proven_on_drawn_digits_is_completed_when_mnist_is_here(run_command: Command, models: Path, mnist_dir: Path) -> None:
    done = run_command("verify", "--json", "--data-dir", mnist_dir)
    assert json.loads(done.stdout)["data"]["name"] == "mnist"
    assert "computing PyTorch's answers to MNIST" in done.stderr
    shown = json.loads(run_command("show", "--json").stdout)
    assert shown["scores"]["test_data"]["name"] == "mnist"
    assert {proof["parity"]["data"]["name"] for a in shown["artifacts"] for proof in a["proofs"]} == {"mnist"}
