"""What the tests themselves stand on: a command in this process leaves nothing behind, and the checkout is watched."""

import os
import random
import shutil
import subprocess
import sys
import time
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import checkout
import in_process
import pytest
import torch
from conftest import Command

import mnist_edge.cli
import mnist_edge.runtimes.ort  # which sets the environment, once


def replace_command(monkeypatch: pytest.MonkeyPatch, main: Any) -> None:
    monkeypatch.setattr(mnist_edge.cli, "cli", SimpleNamespace(main=main))


def state() -> list[object]:
    modules = {name for name in sys.modules if name.startswith("left_behind")}
    streams = sys.stdin, sys.stdout, sys.stderr, [os.fstat(descriptor).st_ino for descriptor in (0, 1, 2)]
    numbers = random.random.__self__.getstate(), torch.get_rng_state().tolist()  # type: ignore[attr-defined]
    return [Path.cwd(), dict(os.environ), sys.path[:], sys.argv, modules, streams, torch.get_num_threads(), warnings.filters[:], numbers]


def test_what_a_command_sets_for_its_process_is_put_back(run_command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "left_behind.py").write_text("x = 1")
    (tmp_path / "elsewhere").mkdir()

    def main(args: list[str], prog_name: str) -> NoReturn:
        assert (args, prog_name, Path.cwd()) == (["a", "b"], "mnist-edge", tmp_path)
        assert os.environ["GIVEN"] == "yes" and "MNIST_EDGE_MODELS_DIR" not in os.environ
        os.environ["LEFT"] = "behind"
        sys.path.insert(0, str(tmp_path))
        __import__("left_behind")
        os.chdir("elsewhere")
        warnings.simplefilter("error")
        torch.set_num_threads(torch.get_num_threads() + 1)
        torch.manual_seed(7)
        random.seed(7)
        sys.exit(3)

    replace_command(monkeypatch, main)
    monkeypatch.setenv("MNIST_EDGE_MODELS_DIR", "not passed on")
    before = state()
    assert run_command("a", "b", env={"GIVEN": "yes"}, check=None).returncode == 3
    assert state() == before


def test_all_that_is_printed_is_returned_whoever_prints_it(run_command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def main(args: list[str], prog_name: str) -> NoReturn:
        print("one", sys.stdin.read())
        sys.stdout.flush()
        os.write(1, "zwölf\r\n".encode())
        subprocess.run(["sh", "-c", "echo three; echo four >&2"], check=True)
        warnings.warn("five", stacklevel=1)
        sys.exit(0)

    replace_command(monkeypatch, main)
    (tmp_path / "in").write_text("read")
    with (tmp_path / "in").open() as given:
        done = run_command(stdin=given)
    assert done.stdout == "one read\nzwölf\nthree\n"
    assert done.stderr.startswith("four\n") and "UserWarning: five" in done.stderr
    assert run_command(text=False).stdout == "one \nzwölf\r\nthree\n".encode()


@pytest.mark.parametrize("printed", ["Traceback (most recent call last)", "error: internal error, please report it"])
def test_a_fault_of_the_programs_own_fails_a_test(run_command: Command, monkeypatch: pytest.MonkeyPatch, printed: str) -> None:
    def main(args: list[str], prog_name: str) -> NoReturn:
        sys.stderr.write(printed)
        sys.exit(1)

    replace_command(monkeypatch, main)
    with pytest.raises(AssertionError, match=printed[:9]):
        run_command(check=1)


def test_a_command_that_hangs_is_ended(run_command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_command(monkeypatch, lambda args, prog_name: time.sleep(30))
    with pytest.raises(TimeoutError):
        run_command(timeout=1)


def test_what_only_a_process_can_have_makes_one() -> None:
    here = dict(os.environ)
    assert in_process.is_possible(here | {"MNIST_EDGE_JSON": "1"}, {"cwd": Path(), "stdin": None})
    for environment, options in (
        (here | {"PYTHONPATH": "x"}, {}),
        (here | {"LANG": "C"}, {}),
        (here, {"stdout": None}),
        (here, {"preexec_fn": 1}),
    ):
        assert not in_process.is_possible(environment, options)
    without = {key: value for key, value in here.items() if key != "PYTHONPATH"}
    assert in_process.is_possible(without, {}) is ("PYTHONPATH" not in here)


def test_a_checkout_that_changes_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkout, "ROOT", tmp_path)
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / ".gitignore").write_text("*.ignored\nmodels/.*\n/demo/\n")
    for name in ("models/lenet/manifest.json", "source.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("as shipped")
    config: Any = SimpleNamespace(stash=pytest.Stash())
    checkout.remember(config)
    (tmp_path / "cache.ignored").write_text("x")
    assert checkout.changes(config) == []
    (tmp_path / "models" / "lenet" / "manifest.json").write_text("replaced by other text")
    (tmp_path / "models" / ".replaced").mkdir()
    (tmp_path / "models" / ".replaced" / "x").touch()
    (tmp_path / "source.py").unlink()
    (tmp_path / "demo").mkdir()
    (tmp_path / "made").touch()
    assert checkout.changes(config) == [
        "demo was made",
        "made was made",
        "models/.replaced/x was made",
        "models/lenet/manifest.json was changed",
        "source.py was removed",
    ]
    assert checkout.changes(SimpleNamespace(stash=pytest.Stash())) == []  # type: ignore[arg-type]


def test_a_test_cannot_write_into_the_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken program once replaced the model that is shipped, while its tests ran."""
    root, outside = tmp_path / "checkout", tmp_path / "outside"
    for folder in (root / "models", outside):
        folder.mkdir(parents=True)
        (folder / "file").write_text("as it was")
    monkeypatch.chdir(root)
    with monkeypatch.context() as patch:
        patch.setattr(checkout, "_protected", root)
        for change in (
            lambda: (root / "models" / "file").write_text("x"),
            lambda: Path("models/new").touch(),
            lambda: os.rename(outside / "file", root / "file"),
            lambda: os.replace(root / "models", outside / "models"),
            lambda: shutil.copytree(outside, root / "copy"),
            lambda: shutil.rmtree(root / "models"),
            lambda: (root / "models" / "file").unlink(),
            lambda: (root / "link").symlink_to(outside),
            lambda: (root / "link").hardlink_to(outside / "file"),
            lambda: os.utime(root / "models" / "file"),
        ):
            with pytest.raises(AssertionError, match="the tests would change the checkout"):
                change()
        assert (root / "models" / "file").read_text() == "as it was"
        (outside / "file").write_text("another")
    assert sorted(path.name for path in root.rglob("*")) == ["file", "models"]


def test_the_checkout_is_protected_now() -> None:
    with pytest.raises(AssertionError, match="the tests would change the checkout"):
        (checkout.ROOT / "models" / "lenet" / "new").touch()
