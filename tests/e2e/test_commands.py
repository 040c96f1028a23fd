"""The installed command, as a user types it."""

import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import COMMAND, Command
from PIL import Image

from mnist_edge.dataset import drawn

QUICK = ("--data", "drawn", "--train-images", "600", "--epochs", "2")


@pytest.fixture
def picture(tmp_path: Path, seven: np.ndarray) -> Path:
    path = tmp_path / "img.png"
    Image.fromarray(seven).save(path)
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_three_commands_of_the_readme(run_command: Command, picture: Path, tmp_path: Path) -> None:
    """Each as it stands in the README, but for the time that a real training takes."""
    trained = run_command("train", "lenet", *QUICK)
    assert "next: mnist-edge export lenet --format onnx" in trained.stderr
    exported = run_command("export", "--format", "onnx", "--data", "drawn")
    assert "same answer      10,000 of 10,000" in exported.stdout
    assert "model: lenet (trained last in models)" in exported.stderr
    read = run_command("predict", "img.png", "--runtime", "ort")
    assert read.stdout.splitlines()[1].split()[3] == "img.png"
    assert sorted(p.name for p in (tmp_path / "models").iterdir()) == ["lenet"]


def test_json_is_one_document_on_standard_output(run_command: Command, models: Path, picture: Path) -> None:
    place = ("--models-dir", models, "--json")
    for arguments in (
        ("train", "mlp-256", *QUICK),
        ("export", "lenet", "--format", "onnx", "--data", "drawn"),
        ("verify", "mlp-256"),
        ("evaluate", "lenet", "--data", "drawn"),
        ("predict", picture, "--model", "lenet"),
        ("list",),
        ("show", "lenet"),
        ("architectures",),
        ("architectures", "gru"),
        ("formats",),
        ("doctor",),
        ("data", "status"),
    ):
        done = run_command(*arguments, *place, check=None)
        assert isinstance(json.loads(done.stdout), dict), arguments
        assert done.returncode == (1 if arguments[0] == "verify" else 0), (arguments, done.stderr)
    failed = run_command("show", "nothing", *place, check=2)
    assert json.loads(failed.stdout) == {"error": failed.stderr.removeprefix("error: ").strip(), "exit_code": 2}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["trian", "lenet"], 2, "did you mean 'train'"),
        (["train", "lenett"], 2, "did you mean 'lenet'"),
        (["train"], 2, "Missing argument 'ARCHITECTURE'"),
        (["train", "lenet", "--data", "drawn", "--recipe", "bset"], 2, "did you mean 'best'"),
        (["train", "lenet", "--data", "drawn", "--device", "tpu"], 2, "no device 'tpu'"),
        (["train", "lenet", "--data", "drawn", "--epochs", "0"], 2, "0 is not in the range"),
        (["train", "lenet", "--data", "drawn", "--lr", "-1"], 2, "--lr must be above 0"),
        (["train", "lenet", "--data", "drawn", "--set", "width"], 2, "KEY=VALUE"),
        (["train", "lenet", "--data", "drawn", "--set", "width=3"], 2, "unknown argument of network lenet 'width'"),
        (["train", "lenet", "--data", "drawn", "--name", "../x"], 2, "no name for a model"),
        (["train", "lenet", "--data", "nowhere"], 1, "nowhere: no such folder"),
        (["train", "nowhere:Net", "--data", "drawn"], 2, "nowhere"),
        (["export", "lenet"], 2, "Missing option '--format'"),
        (["export", "lenet", "--format", "onx"], 2, "did you mean 'onnx'"),
        (["export", "lenet", "--format", "onnx", "--opset", "11", "--data", "drawn"], 2, "--opset 11"),
        (["export", "lenet", "--format", "torchscript", "--opset", "20", "--data", "drawn"], 2, "unknown option"),
        (["export", "nothing", "--format", "onnx"], 2, "unknown model 'nothing'"),
        (["predict", "img.png", "--runtime", "otr"], 2, "did you mean 'ort'"),
        (["predict", "img.png", "--model", "lenetx"], 2, "did you mean 'lenet'"),
        (["predict", "none.png"], 1, "none.png: no such file"),
        (["predict"], 2, "Missing argument"),
        (["predict", "img.png", "--thread", "2"], 2, "No such option '--thread'"),
        (["predict", "img.png", "--ink", "blue"], 2, "'blue' is not one of"),
        (["predict", "img.png", "--min-confidence", "70"], 2, "70.0 is not in the range"),
        (["predict", "img.png", "--csv", "--json"], 2, "exclude each other"),
        (["predict", "img.png", "--explain", "seen.jpg"], 2, "must end in .png"),
        (["predict", "img.png", "img.png", "--explain", "seen.png"], 2, "2 pictures; name a folder"),
        (["predict", "img.png", "--explain", "img.png"], 2, "one of the pictures to read"),
        (["predict", "*.gif"], 1, "no file matches this pattern"),
        (["evaluate", "lenet", "--data", "drawn", "--report", "wrong.html"], 2, "must end in .png"),
        (["evaluate", "lenet", "--data", "nowhere"], 1, "no such folder"),
        (["verify", "nothing"], 2, "unknown model"),
        (["show", "models/rubbish"], 1, "not JSON"),
        (["data", "downlaod"], 2, "downlaod"),
        (["architectures", "resnet"], 2, "did you mean 'resnet18'"),
    ],
)
def test_what_people_mistype_is_one_line_and_an_exit_code(
    run_command: Command, models: Path, picture: Path, arguments: list[str], code: int, message: str
) -> None:
    (models / "rubbish").mkdir()
    (models / "rubbish" / "manifest.json").write_text("{")
    (models / "notes.txt").write_text("mine")
    before = sorted(p.name for p in models.iterdir())
    done = run_command(*arguments, check=code)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert sorted(p.name for p in models.iterdir()) == before


def test_an_option_can_come_from_the_environment(run_command: Command, models: Path, picture: Path, tmp_path: Path) -> None:
    models.rename(tmp_path / "elsewhere")
    env = {"MNIST_EDGE_MODELS_DIR": str(tmp_path / "elsewhere"), "MNIST_EDGE_RUNTIME": "torchscript", "MNIST_EDGE_JSON": "1"}
    done = run_command("predict", picture, env=env)
    assert "runtime torchscript" in done.stderr
    assert json.loads(done.stdout)["digit"] in range(10)


def start(tmp_path: Path, *arguments: str) -> subprocess.Popen[bytes]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MNIST_EDGE_")}
    return subprocess.Popen(
        [COMMAND, *arguments],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores Ctrl-C, and so would this
    )


def test_killed_three_times_and_resumed_a_training_ends_with_the_same_bits(run_command: Command, tmp_path: Path) -> None:
    seed = int(time.time())
    print(f"seed {seed}")  # shown if the test fails
    random = np.random.default_rng(seed)
    long = ("train", "cnn-small", "--data", "drawn", "--train-images", "6000", "--epochs", "4")
    run_command(*long, "--name", "undisturbed")
    run = tmp_path / "models" / ".runs" / "killed"
    for awaited in ("run.json", "checkpoint.pt", "checkpoint.pt"):  # before the first epoch's end, then twice after one
        process = start(tmp_path, *long, "--name", "killed", "--resume")
        started = time.time()
        while not (run / awaited).exists() or (awaited == "checkpoint.pt" and (run / awaited).stat().st_mtime < started - 60):
            assert process.poll() is None
            time.sleep(0.01)
        time.sleep(float(random.uniform(0, 1.5 if awaited == "checkpoint.pt" else 0.2)))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    done = run_command(*long, "--name", "killed", "--resume")
    assert "starting from the beginning" not in done.stderr
    both = [tmp_path / "models" / name / "weights.safetensors" for name in ("undisturbed", "killed")]
    assert sha256(both[0]) == sha256(both[1])
    assert not run.exists()


def test_ctrl_c_ends_a_training_cleanly_and_says_how_to_go_on(run_command: Command, tmp_path: Path) -> None:
    process = start(tmp_path, "train", "lenet", "--data", "drawn", "--train-images", "3000", "--epochs", "200")
    while not (tmp_path / "models" / ".runs" / "lenet" / "checkpoint.pt").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"Traceback" not in stderr
    assert b"Go on with: mnist-edge train lenet --resume --data drawn --train-images 3000" in stderr
    refused = run_command("train", "lenet", "--data", "drawn", "--train-images", "3000", "--epochs", "3", "--resume", check=2)
    assert "was started with --epochs 200, not 3" in refused.stderr
    other = run_command("train", "lenet", "--data", "drawn", "--train-images", "2000", "--resume", check=1)
    assert "give the same --data and --train-images" in other.stderr


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


def test_another_distributions_format_that_nudges_a_weight_is_stopped(run_command: Command, models: Path, tmp_path: Path) -> None:
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
    listed = run_command("formats", env=env)
    assert "nudged" in listed.stdout
    assert "warning: format 'broken' (nowhere:X) could not be loaded" in listed.stderr
    done = run_command("export", "lenet", "--format", "nudged", "--data", "drawn", "--json", env=env, check=3)
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
    assert {a["parity"]["data"]["name"] for a in shown["artifacts"]} == {"mnist"}


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


def test_demo_without_mnist_goes_on_with_drawn_digits(run_command: Command, tmp_path: Path) -> None:
    done = run_command("demo", "--epochs", "1", "--train-images", "2400", "--json", env=_offline(tmp_path))
    document = json.loads(done.stdout)
    assert document["data"] == "drawn"
    assert document["parity"]["onnx"]["equal_answers"] == document["parity"]["torchscript"]["equal_answers"] == 10_000
    assert (document["prediction"]["path"], document["prediction"]["digit"] in range(10)) == ("demo/digit.png", True)
    assert "going on with digits drawn by the program itself" in done.stderr


def test_a_disk_that_is_full_loses_nothing(run_command: Command, models: Path) -> None:
    """A limit on file sizes makes each larger write fail as a full disk does."""
    before = {p.name: sha256(p) for p in (models / "lenet").iterdir()}

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    for arguments in (("export", "lenet", "--format", "onnx", "--opset", "19", "--data", "drawn"), ("train", "lenet", *QUICK)):
        done = run_command(*arguments, check=1, preexec_fn=limit)
        assert len([line for line in done.stderr.splitlines() if line.startswith("error: ")]) == 1
        assert {p.name: sha256(p) for p in (models / "lenet").iterdir()} == before


def test_a_place_that_cannot_be_written_to_is_named(run_command: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    done = run_command("train", "lenet", *QUICK, "--models-dir", tmp_path / "file", check=1)
    assert str(tmp_path / "file") in done.stderr.splitlines()[-1]
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_of_pictures_goes_the_whole_way(run_command: Command, tmp_path: Path) -> None:
    from mnist_edge.dataset.folder import write_folder

    for split, count in (("train", 600), ("test", 100)):
        write_folder(drawn.draw(split, count), tmp_path / "pictures")
    run_command("train", "mlp-256", "--data", "pictures", "--epochs", "3", "--name", "mine")
    run_command("export", "mine", "--format", "onnx", "--data", "pictures")
    run_command("verify", "mine", "--data", "pictures")
    done = run_command("evaluate", "mine", "--data", "pictures", "--json")
    document = json.loads(done.stdout)
    assert document["images"] == 100
    assert all(Path(tmp_path / case["path"]).exists() for case in document["wrong"])
    assert sum(c["correct"] for c in document["by_class"]) == document["correct"]
    text = run_command("evaluate", "mine", "--data", "pictures/test").stdout
    assert text.count("wrong: ") == len(document["wrong"])


def test_the_module_runs_as_the_command_does() -> None:
    done = subprocess.run([sys.executable, "-m", "mnist_edge", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("mnist-edge ")


@pytest.mark.parametrize("arguments", [("show",), ("show", "--json"), ("predict", "img.png", "--json"), ("list",)])
def test_output_that_cannot_be_written_is_one_error(run_command: Command, models: Path, picture: Path, arguments: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        done = run_command(*arguments, check=1, stdout=full, stderr=subprocess.PIPE, capture_output=False)
    assert len([line for line in done.stderr.splitlines() if line.startswith("error: ")]) == 1


def test_a_folder_in_the_way_is_said_before_the_training(run_command: Command, tmp_path: Path) -> None:
    (tmp_path / "models" / "lenet").mkdir(parents=True)
    (tmp_path / "models" / "lenet" / "thesis.txt").write_text("years of work")
    done = run_command("train", "lenet", *QUICK, check=2)
    assert "epoch" not in done.stderr
    assert "not a model; move it away" in done.stderr
