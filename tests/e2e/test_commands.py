"""The installed command, as a user types it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Command
from test_dataset import write_idx

QUICK = ("--data", "drawn", "--train-images", "600", "--epochs", "2")


@pytest.mark.slow
def test_the_three_commands_of_the_readme(run_process: Command, picture: Path, tmp_path: Path) -> None:
    """Each as it stands in the README, but for the time that a real training takes."""
    trained = run_process("train", "lenet", *QUICK)
    assert "next: mnist-edge export lenet --format onnx" in trained.stderr
    exported = run_process("export", "--format", "onnx", "--data", "drawn")
    assert "same answer      10,000 of 10,000" in exported.stdout
    assert "model: lenet (trained last in models)" in exported.stderr
    read = run_process("predict", "img.png", "--runtime", "ort")
    assert read.stdout.splitlines()[1].split()[3] == "img.png"
    assert sorted(p.name for p in (tmp_path / "models").iterdir()) == ["lenet"]


@pytest.mark.proof
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
        uses_models = arguments[0] not in ("architectures", "formats", "data")
        done = run_command(*arguments, *(place if uses_models else ["--json"]), check=None)
        assert isinstance(json.loads(done.stdout), dict), arguments
        assert done.returncode == (1 if arguments[0] == "verify" else 0), (arguments, done.stderr)
    failed = run_command("show", "nothing", *place, check=2)
    assert json.loads(failed.stdout) == {"error": failed.stderr.removeprefix("error: ").strip(), "exit_code": 2}


def test_the_doctor_finds_an_incomplete_mnist(run_command: Command, tmp_path: Path) -> None:
    (write_idx(tmp_path) / "t10k-labels-idx1-ubyte").unlink()
    found = json.loads(run_command("doctor", "--json", "--data-dir", tmp_path, check=None).stdout)["MNIST"]
    assert "incomplete" in found["state"]
    assert "t10k-labels" in found["mend"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["trian", "lenet"], 2, "did you mean 'train'"),
        (["train", "lenett"], 2, "did you mean 'lenet'"),
        (["train"], 2, "Missing argument 'ARCHITECTURE'"),
        (["train", "lenet", "--data", "drawn", "--recipe", "bset"], 2, "did you mean 'best'"),
        (["train", "lenet", "--data", "drawn", "--device", "tpu"], 2, "no device 'tpu'"),
        (["train", "lenet", "--data", "drawn", "--epochs", "0"], 2, "0 is not in the range"),
        (["train", "lenet", "--data", "drawn", "--lr", "-1"], 2, "-1.0 is not in the range x>0"),
        (["train", "lenet", "--data", "drawn", "--set", "width"], 2, "KEY=VALUE"),
        (["train", "lenet", "--data", "drawn", "--set", "width=3"], 2, "network lenet takes no arguments"),
        (["train", "lenet", "--data", "drawn", "--name", "../x"], 2, "cannot be a model's name"),
        (["train", "lenet", "--data", "nowhere"], 1, "nowhere: no such folder"),
        (["train", "nowhere:Net", "--data", "drawn"], 2, "nowhere"),
        (["export", "lenet"], 2, "add --format onnx, or one of c, executorch, litert, torchscript, triton, web"),
        (["export", "lenet", "--format", "onx"], 2, "did you mean 'onnx'"),
        (["export", "lenet", "--format", "onnx", "--opset", "11", "--data", "drawn"], 2, "--opset 11"),
        (
            ["export", "lenet", "--format", "torchscript", "--opset", "20", "--data", "drawn"],
            2,
            "--opset has no effect with --format torchscript",
        ),
        (["export", "nothing", "--format", "onnx"], 2, "unknown model 'nothing'"),
        (["predict", "img.png", "--runtime", "otr"], 2, "did you mean 'ort'"),
        (["predict", "img.png", "--model", "lenetx"], 2, "did you mean 'lenet'"),
        (["predict", "none.png"], 1, "none.png: no such file"),
        (["predict"], 2, "Missing argument"),
        (["predict", "img.png", "--thread", "2"], 2, "No such option '--thread'"),
        (["predict", "img.png", "--ink", "blue"], 2, "'blue' is not one of"),
        (["predict", "img.png", "--min-confidence", "70"], 2, "70.0 is not in the range"),
        (["predict", "img.png", "--csv", "--json"], 2, "cannot be used together"),
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


def test_the_module_runs_as_the_command_does() -> None:
    done = subprocess.run([sys.executable, "-m", "mnist_edge", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("mnist-edge ")


@pytest.mark.parametrize("arguments", [("show",), ("show", "--json"), ("predict", "img.png", "--json"), ("list",)])
def test_output_that_cannot_be_written_is_one_error(run_process: Command, models: Path, picture: Path, arguments: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        done = run_process(*arguments, check=1, stdout=full, stderr=subprocess.PIPE, capture_output=False)
    assert len([line for line in done.stderr.splitlines() if line.startswith("error: ")]) == 1


def test_a_model_without_its_weights_runs_and_says_how_to_get_them(models: Path, run_command: Command, picture: Path) -> None:
    (models / "lenet" / "weights.safetensors").unlink()
    place = ("--models-dir", models)
    run_command("predict", picture, "--model", "lenet", *place)
    run_command("verify", "lenet", "--quick", "--runtime", "ort", *place)
    run_command("list", *place)
    said = run_command("export", "lenet", "--format", "onnx", "--data", "drawn", *place, check=1).stderr
    assert "mnist-edge train lenet --epochs 3 --batch-size 64" in said and "--train-images 1200" in said
