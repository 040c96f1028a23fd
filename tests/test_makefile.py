"""Which PyTorch the Makefile installs, tried with a Python that only notes what it is asked to do."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")

#: Makes a folder for ``-m venv``, with itself in it; notes every other call, and fails those of pip that ask an index in FAILS.
STUB = """#!/bin/sh
echo "$@" >> {log}
case "$*" in
  *"venv --clear"*) rm -rf "$4";;
esac
case "$*" in
  *"-m venv"*) for last; do :; done; mkdir -p $last/bin; cp "$0" $last/bin/python; cp "$0" $last/bin/mnist-edge;;
  *"pip download"*) [ ! -e {fails} ] || {{ echo "ERROR: no route" >&2; exit 1; }}; mkdir -p build/torch/wheels; touch build/torch/wheels/torch.whl;;
esac
"""

Make = Callable[..., tuple[subprocess.CompletedProcess[str], list[str]]]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Run make in a folder with the Makefile; return what it printed and what Python was asked to do."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    log, python = tmp_path / "log", tmp_path / "python"
    python.write_text(STUB.format(log=log, fails=tmp_path / "fails"))
    python.chmod(0o755)

    def run(*arguments: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
        log.write_text("")
        command = ["make", "demo", f"PYTHON={python}", *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin"})
        return done, log.read_text().splitlines()

    return run


def test_cpu_builds_of_torch_alone_come_from_their_index(make: Make) -> None:
    done, asked = make("TORCH=cpu", "TORCH_INDEX=http://index.example/cpu")
    assert done.returncode == 0, done.stderr
    from_index = [line for line in asked if "index.example" in line]
    assert len(from_index) == 1
    assert "--no-deps" in from_index[0] and "-c constraints.txt" in from_index[0] and from_index[0].endswith("torch torchvision")
    wheels, rest = (next(i for i, line in enumerate(asked) if part in line) for part in ("torch.whl", "-e .[train,dev]"))
    assert wheels < rest


def test_by_default_no_index_is_named(make: Make) -> None:
    done, asked = make()
    assert done.returncode == 0 and not any("index" in line or "download" in line for line in asked)


def test_without_TORCH_the_environment_stays_what_it_is(make: Make) -> None:
    make("TORCH=cpu")
    assert make()[1] == ["demo"]
    assert make("TORCH=cpu")[1] == ["demo"]


@pytest.mark.parametrize(("first", "second"), [("cpu", "default"), ("default", "cpu")])
def test_switching_makes_the_environment_anew(make: Make, tmp_path: Path, first: str, second: str) -> None:
    make(f"TORCH={first}")
    (tmp_path / ".venv" / "old").touch()
    _, asked = make(f"TORCH={second}")
    assert "-m venv --clear .venv" in asked and not (tmp_path / ".venv" / "old").exists()
    assert make()[1] == ["demo"]
    assert make(f"TORCH={second}")[1] == ["demo"]


def test_an_index_out_of_reach_says_so_and_leaves_the_environment(make: Make, tmp_path: Path) -> None:
    make()
    (tmp_path / ".venv" / "mine").touch()
    (tmp_path / "fails").touch()
    done, _ = make("TORCH=cpu")
    assert done.returncode != 0
    error = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(error) == 1 and "download.pytorch.org" in error[0] and "make demo TORCH=default" in error[0]
    assert (tmp_path / "build" / "torch" / "log").read_text() == "ERROR: no route\n"
    assert (tmp_path / ".venv" / "mine").exists()
    assert make()[1] == ["demo"]


def test_an_index_out_of_reach_at_first_does_not_spoil_the_default(make: Make, tmp_path: Path) -> None:
    (tmp_path / "fails").touch()
    assert make("TORCH=cpu")[0].returncode != 0
    done, asked = make()
    assert done.returncode == 0 and "-m pip install --quiet -c constraints.txt -e .[train,dev]" in asked


def test_an_unknown_build_is_refused(make: Make) -> None:
    done, asked = make("TORCH=gpu")
    assert done.returncode != 0 and "TORCH=gpu" in done.stderr and asked == []
