"""Which models are served: chosen at the start, and never others after it."""

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Command
from serving_process import LENET, Running, until

pytestmark = pytest.mark.slow


def test_a_model_that_was_removed_is_not_exchanged_for_the_reference(serve: Callable[..., Running], tmp_path: Path) -> None:
    """Neither by SIGHUP nor in a worker that takes the place of one that died."""
    shutil.copytree(LENET, tmp_path / "models" / "lenet")
    running = serve("lenet", "--models-dir", tmp_path / "models")
    workers = running.workers()
    (tmp_path / "models" / "lenet").rename(tmp_path / "away")
    running.process.send_signal(signal.SIGHUP)
    until(
        lambda: [
            line for line in running.errors if "the ones before it keep running" in line and str(tmp_path / "models" / "lenet") in line
        ]
    )
    until(lambda: running.workers() == workers)  # the one that could not start ends
    assert running.infer(bytes(784)).status == 200
    assert not any("now serving" in line for line in running.errors)
    (tmp_path / "models" / "lenet").symlink_to(LENET.parent / "cnn-small")
    running.process.send_signal(signal.SIGHUP)
    until(lambda: [line for line in running.errors if "leads to cnn-small now, and not to lenet" in line])
    assert running.infer(bytes(784)).status == 200


def test_a_reload_brings_no_other_models(serve: Callable[..., Running], tmp_path: Path) -> None:
    """Not with --all, not without a name: a model that comes later is served by the next start."""
    (tmp_path / "lenet").symlink_to(LENET)
    every = serve("--all", "--models-dir", tmp_path)
    unnamed = serve("--models-dir", tmp_path)
    (tmp_path / "cnn-small").symlink_to(LENET.parent / "cnn-small")
    shutil.copytree(LENET, tmp_path / "trained-later")
    (tmp_path / "trained-later" / "README.md").unlink(missing_ok=True)
    for running in (every, unnamed):
        running.process.send_signal(signal.SIGHUP)
    for running in (every, unnamed):
        until(lambda running=running: [line for line in running.errors if "now serving: lenet" in line])
        assert [one["name"] for one in running.ask("/v2/repository/index", b"").json()] == ["lenet"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["lenet", "--models-dir", "nowhere"], "nowhere: no such folder; --models-dir names"),
        (["--models-dir", "nowhere"], "nowhere: no such folder; --models-dir names"),
        (["lenet", "--models-dir", "empty"], "empty has no model 'lenet'"),
        (["--models-dir", "empty"], "empty has no model; "),
        (["lenet", "lenet"], "lenet is named twice; name it once"),
        (["lenet", str(LENET / "lenet.onnx")], "two models have the name 'lenet'"),
    ],
)
def test_a_folder_that_was_typed_and_a_model_named_twice(run_process: Command, tmp_path: Path, arguments: list[str], words: str) -> None:
    (tmp_path / "empty").mkdir()
    done = run_process("serve", *arguments, "--port", 0, check=2)
    assert words in done.stderr


def test_a_folder_of_the_environment_may_lack_the_model(serve: Callable[..., Running], tmp_path: Path) -> None:
    """As for predict; and the server says which model it is."""
    running = serve("lenet", env={"MNIST_EDGE_MODELS_DIR": str(tmp_path / "nowhere")})
    until(lambda: [line for line in running.errors if line.startswith("model: lenet (the reference installed with mnist-edge), ")])
