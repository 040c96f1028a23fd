"""What a new user reads: errors that say what to type, and figures and names that are written one way."""

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import Command
from PIL import Image

from exporters.verdict import Verdict
from mnist_edge import store
from mnist_edge.cli.export import _calibration
from mnist_edge.common import text
from mnist_edge.common.errors import DataError, unknown_name
from mnist_edge.dataset import Dataset
from mnist_edge.dataset.folder import write_folder
from mnist_edge.proof.parity import Budget, compare

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (["-q", "predict", "x"], "options come after the command: mnist-edge predict -q x"),
        (["--models-dir", "m", "list", "--json"], "options come after the command: mnist-edge list --models-dir m --json"),
        (["list", "x"], "Got unexpected extra argument (x). See: mnist-edge list --help"),
        (["data", "imges", "x"], "unknown command of data 'imges' (did you mean 'images'?); known: download, images, status"),
        (
            ["export"],
            "export needs a format; add --format onnx, or one of c, executorch, litert, torchscript, triton, web; mnist-edge formats says what each is for",
        ),
        (["export", "--format"], "Option '--format' requires an argument. See: mnist-edge export --help"),
        (
            ["export", "--format", "ONNX"],
            "unknown format 'ONNX' (did you mean 'onnx'?); known: c, executorch, litert, onnx, torchscript, triton, web",
        ),
        (["train", "lenet", "--epochs", "abc"], "Invalid value for '--epochs': 'abc' is not a whole number. See: mnist-edge train --help"),
        (["train", "lenet", "--lr", "abc"], "Invalid value for '--lr': 'abc' is not a number. See: mnist-edge train --help"),
        (
            ["train", "lenet", "--name", "../x"],
            "'../x' cannot be a model's name, because it becomes a folder's name; choose another with --name",
        ),
        (["predict", "img.png", "--model", "img.png"], "img.png is a picture, not a model"),
    ],
)
def test_an_error_says_what_to_type(line: list[str], error: str, tmp_path: Path, run_command: Command) -> None:
    Image.new("L", (28, 28)).save(tmp_path / "img.png")
    done = run_command(*line, check=None)
    assert done.returncode in (1, 2)
    assert done.stderr.startswith(f"error: {error}")


def test_a_switch_in_the_environment_lists_no_empty_value(run_command: Command) -> None:
    done = run_command("list", env={"MNIST_EDGE_QUIET": "maybe"}, check=2)
    assert "Recognized values: 0, 1," in done.stderr


def test_help_gives_limits_and_defaults_that_are_there(run_command: Command) -> None:
    train, demo = (" ".join(run_command(name, "--help").stdout.split()) for name in ("train", "demo"))
    assert "None" not in train and "[x>0]" in train
    assert "[default: FOLDER/models]" in demo
    assert "Take only this many, for a quick try" in train and "Take only this many, for a quick try" in demo


def test_a_name_in_another_case_is_the_nearest() -> None:
    assert "(did you mean 'LeNet'?)" in str(unknown_name("network", "LENET", ["LeNet", "gru"]))


def test_evaluate_names_the_model_as_the_other_commands_do(run_command: Command, models: Path, drawn_test: Dataset, tmp_path: Path) -> None:
    write_folder(replace(drawn_test, images=drawn_test.images[:20], labels=drawn_test.labels[:20]), tmp_path / "few")
    done = run_command("evaluate", "--data", "few", "--json", "--models-dir", models, "--report", "wrong.png")
    document = json.loads(done.stdout)
    assert (document["model"], document["runtime"]) == ("lenet", "ort")
    assert document["description"].startswith("lenet (")
    assert "written: wrong.png" in done.stderr
    table = run_command("evaluate", "--data", "few", "--models-dir", models).stdout
    assert "test images of few" in table and "folder:" not in table


def test_verify_says_only_that_a_runtime_has_nothing_to_verify(run_command: Command, models: Path) -> None:
    done = run_command("verify", "--runtime", "torch", "--models-dir", models, check=2)
    assert done.stderr.splitlines()[-1].startswith("error: runtime torch takes the weights")
    assert "against" not in done.stderr


def test_clean_counts_what_is_younger(run_command: Command, tmp_path: Path) -> None:
    refused = tmp_path / "models" / ".failed" / f"lenet-lenet.onnx-{time.strftime('%Y%m%d-%H%M%S')}"
    refused.mkdir(parents=True)
    (refused / "report.json").write_bytes(b" " * 9000)
    younger = run_command("clean", "--older-than", "30").stdout
    assert "nothing that old is left over in models" in younger
    assert "1 folder or file is younger, " in younger and " kB" in younger
    assert "may still be written: it is younger than a minute" in run_command("clean", "--failed", "--yes").stderr
    before = time.time() - 90
    for path in (refused / "report.json", refused):
        os.utime(path, (before, before))
    assert "1 removed" in run_command("clean", "--failed", "--yes").stdout


def test_an_exported_reference_says_where_it_was_copied_to(run_command: Command) -> None:
    done = run_command("export", "lenet", "--format", "torchscript", "--data", "drawn")
    assert "the reference model was copied to models/lenet" in done.stderr


def test_pictures_are_not_written_into_a_file(tmp_path: Path, drawn_test: Dataset) -> None:
    (tmp_path / "img.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"img\.png is a file; name a folder"):
        write_folder(drawn_test, tmp_path / "img.png")


def test_a_figure_that_rounds_to_nothing_has_no_sign() -> None:
    assert [text.points(share) for share in (-0.00001, 0.0, -0.0001, 0.0123)] == ["0.00", "0.00", "-0.01", "+1.23"]


def test_all_must_be_equal() -> None:
    logits = np.eye(10, dtype=np.float32)
    other = logits[::-1].copy()
    labels = np.arange(10, dtype=np.uint8)
    assert compare(logits, other, labels, Budget(1.0, None)).failures[0] == "10 of 10 answers changed; all must be equal"
    assert "at least 99.00 % must be equal" in compare(logits, other, labels, Budget(0.99, None)).failures[0]


def test_half_the_size() -> None:
    assert Verdict(50, 100, 1.0, 1.0).describe() == "half the size; as fast here"
    assert Verdict(30, 100, 1.0, 1.0).describe() == "a third of the size; as fast here"


def test_few_calibration_images(capsys: pytest.CaptureFixture[str], drawn_train: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    from mnist_edge import dataset
    from mnist_edge.cli.common import Output

    monkeypatch.setattr(dataset, "load", lambda *arguments: drawn_train)
    for number in (1, 20):
        _calibration(store.Model.read(ROOT / "models" / "lenet"), "drawn", None, number, 0, Output(False))
    one, many = capsys.readouterr().err.splitlines()
    assert "1 calibration image is too few: about one new image in two will leave its range and be clipped" in one
    assert "20 calibration images are too few: about one new image in 21 will leave their range and be clipped" in many
