"""Setting up what an emulated machine is made of: once, aside, and without a trace if it fails."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from once import lacking

from mnist_edge.common.errors import MissingExtraError
from mnist_edge.runtimes import machines


def make_program(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was made, by a maker that downloads nothing; onnxruntime is 1.0 here, until a test says otherwise."""
    made: list[str] = []

    def qemu(folder: Path, tell: machines.Tell) -> dict[str, str]:
        made.append("qemu")
        return {"version": "10", "programs": list(machines._PROGRAMS)}

    def aarch64(folder: Path, qemu: Path, tell: machines.Tell) -> dict[str, str]:
        made.append(machines._onnxruntime())
        (folder / "file").write_text(machines._onnxruntime())
        if machines._onnxruntime() == "broken":
            raise MissingExtraError("no such wheel")
        return {"onnxruntime": machines._onnxruntime()}

    monkeypatch.setattr(machines, "_onnxruntime", lambda: "1.0")
    monkeypatch.setattr(machines, "_qemu", qemu)
    monkeypatch.setattr(machines, "_aarch64", aarch64)
    return made


PARTS: Sequence[str] = ("qemu", "aarch64")


def test_a_second_time_does_nothing(built: list[str], tmp_path: Path) -> None:
    for _ in range(2):
        assert machines.set_up(PARTS, tmp_path / "new" / "folder") == tmp_path / "new" / "folder"
    assert built == ["qemu", "1.0"]


def test_another_onnxruntime_here_replaces_the_one_there(built: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machines.set_up(PARTS, tmp_path)
    monkeypatch.setattr(machines, "_onnxruntime", lambda: "1.1")
    machines.set_up(PARTS, tmp_path)
    assert built == ["qemu", "1.0", "1.1"]
    assert names(tmp_path) == ["aarch64", "qemu"]
    assert (tmp_path / "aarch64" / "file").read_text() == machines.about(tmp_path / "aarch64")["onnxruntime"] == "1.1"


def test_what_fails_leaves_what_was_there(built: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machines.set_up(PARTS, tmp_path)
    monkeypatch.setattr(machines, "_onnxruntime", lambda: "broken")
    with pytest.raises(MissingExtraError, match="no such wheel"):
        machines.set_up(PARTS, tmp_path)
    assert names(tmp_path) == ["aarch64", "qemu"]
    assert (tmp_path / "aarch64" / "file").read_text() == "1.0"


def test_a_folder_that_tells_nothing_of_itself_is_no_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(machines.ENVIRONMENT, str(tmp_path))
    (tmp_path / "qemu").mkdir()
    assert machines.find("qemu") is None
    (tmp_path / "qemu" / "about.json").write_text(json.dumps({"version": "10"}))
    assert machines.find("qemu") == tmp_path / "qemu"
    (tmp_path / "qemu" / "about.json").write_text("[")
    assert machines.about(tmp_path / "qemu") == {}


def test_places_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(machines.ENVIRONMENT, raising=False)
    monkeypatch.setattr(machines.files, "cache_dir", lambda: tmp_path / "mnist-edge")
    clone = machines.clone()
    assert machines.places() == [*([clone / "build" / "machines"] if clone else []), tmp_path / "mnist-edge" / "machines"]
    monkeypatch.setattr(machines, "clone", lambda: None)
    assert machines.places() == [tmp_path / "mnist-edge" / "machines"]
    monkeypatch.setattr(machines.files, "cache_dir", lambda: None)
    with pytest.raises(MissingExtraError, match=machines.ENVIRONMENT):
        machines.set_up(("qemu",))


@pytest.fixture
def on_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machines.sys, "platform", "linux")
    monkeypatch.setattr(machines.platform, "machine", lambda: "x86_64")


def test_without_apt_it_says_what_to_do(on_linux: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(MissingExtraError, match=rf"^.*apt-get is not on this machine; .* {machines.ENVIRONMENT}$"):
        machines.set_up(("qemu",), tmp_path / "machines")
    assert names(tmp_path / "machines") == []


def test_on_another_system_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machines.sys, "platform", "darwin")
    with pytest.raises(MissingExtraError, match="qemu-user runs on Linux"):
        machines.set_up(("qemu",), tmp_path)


def test_what_apt_complains_of_is_passed_on(on_linux: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fails = 'case "$*" in *update*) echo "W: a warning" >&2; echo "E: no route to the mirror" >&2; echo "W: more" >&2; exit 100;; esac'
    make_program(tmp_path / "bin", "apt-get", fails)
    make_program(tmp_path / "bin", "dpkg-deb", "exit 1")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(MissingExtraError, match=r"^an emulated machine cannot be made: apt-get: E: no route to the mirror$"):
        machines.set_up(("qemu",), tmp_path / "machines")
    assert names(tmp_path / "machines") == []


@pytest.mark.parametrize(
    ("told", "mirror"),
    [
        (
            "http://security.example/debian-security/ https://mirror.example/debian/ http://other.example/debian",
            "https://mirror.example/debian",
        ),
        ("http://archive.example/ubuntu/", "http://deb.debian.org/debian"),
        ("", "http://deb.debian.org/debian"),
    ],
)
def test_mirror_is_the_one_that_apt_uses(told: str, mirror: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_program(tmp_path / "bin", "apt-get", f"echo {told}")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    assert machines._mirror() == mirror


def test_apt_keeps_to_the_folder(on_linux: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Debian's real apt-get, on a mirror that is not there: what it was told to use is what it uses."""
    if shutil.which("apt-get") is None:
        lacking("needs apt-get")
    monkeypatch.setattr(machines, "_mirror", lambda: f"file:{tmp_path / 'nothing'}")
    with pytest.raises(MissingExtraError, match=r"cannot be made: apt-get: E: .*nothing"):
        machines._debian(tmp_path / "apt", "arm64", ["python3"], lambda line: None)
    assert str(tmp_path / "nothing") in (tmp_path / "apt" / "debian.sources").read_text()
