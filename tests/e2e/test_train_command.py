"""Training by the installed command: killed, resumed, interrupted, on a full disk, without MNIST."""

import json
import resource
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import Command, sha256, start

from mnist_edge.dataset import drawn

QUICK = ("--data", "drawn", "--train-images", "600", "--epochs", "2")


def time_of(file: Path) -> int:
    return file.stat().st_mtime_ns if file.exists() else 0


@pytest.mark.proof
def test_killed_three_times_and_resumed_a_training_ends_with_the_same_bits(run_process: Command, tmp_path: Path) -> None:
    seed = int(time.time())
    print(f"seed {seed}")  # shown if the test fails
    random = np.random.default_rng(seed)
    long = ("train", "cnn-small", "--data", "drawn", "--train-images", "6000", "--epochs", "6", "--threads", "2")
    run_process(*long, "--name", "undisturbed")
    run = tmp_path / "models" / ".runs" / "killed"
    for awaited in ("run.json", "checkpoint.pt", "checkpoint.pt"):  # before the first epoch's end, then twice after one
        process = start(tmp_path, *long, "--name", "killed", "--resume")
        before = time_of(run / awaited)
        while time_of(run / awaited) == before:
            assert process.poll() is None
            time.sleep(0.01)
        time.sleep(float(random.uniform(0, 0.5 if awaited == "checkpoint.pt" else 0.2)))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    done = run_process(*long, "--name", "killed", "--resume")
    assert "starting from the beginning" not in done.stderr
    both = [tmp_path / "models" / name / "weights.safetensors" for name in ("undisturbed", "killed")]
    assert sha256(both[0]) == sha256(both[1])
    assert not run.exists()


@pytest.mark.slow
def test_ctrl_c_ends_a_training_cleanly_and_says_how_to_go_on(run_command: Command, tmp_path: Path) -> None:
    process = start(tmp_path, "train", "lenet", "--data", "drawn", "--train-images", "3000", "--epochs", "200")
    while not (tmp_path / "models" / ".runs" / "lenet" / "checkpoint.pt").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"Traceback" not in stderr
    assert b"Continue with: mnist-edge train lenet --resume --data drawn --train-images 3000" in stderr
    refused = run_command("train", "lenet", "--data", "drawn", "--train-images", "3000", "--epochs", "3", "--resume", check=2)
    assert "was started with --epochs 200, not 3" in refused.stderr
    other = run_command("train", "lenet", "--data", "drawn", "--train-images", "2000", "--resume", check=2)
    assert "was started on 3,000 images, not 2,000; give the same --train-images" in other.stderr


def _offline(home: Path) -> dict[str, str]:
    """Return an environment with no MNIST in its cache and nothing behind its proxy."""
    nowhere = "http://127.0.0.1:9"
    return {
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / "cache"),
        "MNIST_EDGE_DATA_DIR": "",
        "http_proxy": nowhere,
        "https_proxy": nowhere,
    }


def test_no_mnist_and_no_network_is_one_error_within_fifteen_seconds(run_command: Command, tmp_path: Path) -> None:
    started = time.monotonic()
    done = run_command("train", "lenet", env=_offline(tmp_path), check=1)
    assert time.monotonic() - started < 15
    error = done.stderr.splitlines()[-1]
    for part in (str(tmp_path / "cache"), "cannot be downloaded", "refused", "--data drawn", "--data-dir"):
        assert part in error


@pytest.mark.slow
def test_demo_without_mnist_goes_on_with_drawn_digits(run_command: Command, tmp_path: Path) -> None:
    done = run_command("demo", "--epochs", "1", "--train-images", "2400", "--json", env=_offline(tmp_path))
    document = json.loads(done.stdout)
    assert document["data"] == "drawn"
    assert document["parity"]["onnx"]["equal_answers"] == document["parity"]["torchscript"]["equal_answers"] == 10_000
    assert (document["prediction"]["path"], document["prediction"]["digit"] in range(10)) == ("demo/digit.png", True)
    assert "continuing with digits that the program draws itself" in done.stderr


@pytest.mark.proof
def test_a_disk_that_is_full_loses_nothing(run_process: Command, models: Path) -> None:
    """A limit on file sizes makes each larger write fail as a full disk does."""
    before = {p.name: sha256(p) for p in (models / "lenet").iterdir()}

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    for arguments in (("export", "lenet", "--format", "onnx", "--opset", "19", "--data", "drawn"), ("train", "lenet", *QUICK)):
        done = run_process(*arguments, check=1, preexec_fn=limit)
        assert len([line for line in done.stderr.splitlines() if line.startswith("error: ")]) == 1
        assert {p.name: sha256(p) for p in (models / "lenet").iterdir()} == before


def test_a_place_that_cannot_be_written_to_is_named(run_command: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    done = run_command("train", "lenet", *QUICK, "--models-dir", tmp_path / "file", check=1)
    assert str(tmp_path / "file") in done.stderr.splitlines()[-1]
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.slow
def test_a_folder_of_pictures_goes_the_whole_way(run_command: Command, tmp_path: Path) -> None:
    from mnist_edge.dataset.folder import write_folder

    for split, count in (("train", 600), ("test", 1000)):
        write_folder(drawn.draw(split, count), tmp_path / "pictures")
    run_command("train", "mlp-256", "--data", "pictures", "--epochs", "3", "--name", "mine")
    run_command("export", "mine", "--format", "onnx", "--data", "pictures")
    run_command("verify", "mine", "--data", "pictures")
    done = run_command("evaluate", "mine", "--data", "pictures", "--json")
    document = json.loads(done.stdout)
    assert document["images"] == 1000
    assert all(Path(tmp_path / case["path"]).exists() for case in document["wrong"])
    assert sum(c["correct"] for c in document["by_class"]) == document["correct"]
    text = run_command("evaluate", "mine", "--data", "pictures/test").stdout
    assert text.count("wrong: ") == len(document["wrong"])


def test_a_folder_in_the_way_is_said_before_the_training(run_command: Command, tmp_path: Path) -> None:
    (tmp_path / "models" / "lenet").mkdir(parents=True)
    (tmp_path / "models" / "lenet" / "thesis.txt").write_text("years of work")
    done = run_command("train", "lenet", *QUICK, check=2)
    assert "epoch" not in done.stderr
    assert "not a model; move it away" in done.stderr
