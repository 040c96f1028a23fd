"""A user without a home folder, or with one that cannot be used: nothing that needs none fails."""

from pathlib import Path

import pytest

from mnist_edge.cli import cli
from mnist_edge.common.errors import DataError
from mnist_edge.common.files import cache_dir
from mnist_edge.dataset import load, load_for_proof
from mnist_edge.dataset.download import ensure_mnist
from mnist_edge.dataset.sources import find_mnist


@pytest.fixture
def no_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As of a user id that the system has no entry for."""
    import pwd

    for name in ("HOME", "XDG_CACHE_HOME", "MNIST_EDGE_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)

    def unknown(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        cli.main(args=list(arguments))
    return int(end.value.code or 0)


@pytest.mark.usefixtures("no_home")
def test_nothing_is_looked_for_and_the_ways_on_are_said(tmp_path: Path) -> None:
    assert cache_dir() is None
    assert find_mnist().raw_dir is None
    for call in (lambda: load("mnist", "test"), ensure_mnist):
        with pytest.raises(DataError, match="no home folder to look in; MNIST_EDGE_DATA_DIR or --data-dir names another"):
            call()
    assert load_for_proof(None).name == "drawn"
    assert find_mnist(tmp_path).looked_in == (tmp_path,)


@pytest.mark.usefixtures("no_home")
@pytest.mark.parametrize(
    ("arguments", "code"), [(("data",), 0), (("data", "download"), 1), (("evaluate", "lenet"), 1), (("verify", "lenet"), 1)]
)
def test_a_command_says_it_in_a_line(arguments: tuple[str, ...], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*arguments) == code
    printed = capsys.readouterr()
    assert "internal error" not in printed.err
    assert "no home folder" in printed.out + printed.err
    assert len([line for line in printed.err.splitlines() if line.startswith("error: ")]) == code


@pytest.mark.usefixtures("no_home")
def test_what_needs_no_home_works(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("doctor") == 0
    assert run("list") == 0
    assert "internal error" not in capsys.readouterr().err


def test_a_folder_that_cannot_be_read_is_not_here_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(self: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "is_file", refuses)
    found = find_mnist(tmp_path)
    assert found.raw_dir is None
    assert found.missing() == f"MNIST is not on this machine (looked in {tmp_path}: Permission denied)"


def test_a_folder_that_cannot_be_written_to_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mnist_edge.dataset import download

    monkeypatch.setattr(download, "_answering", lambda mirrors, file: (["http://127.0.0.1:9/"], []))
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DataError, match=r"cannot be saved there: Not a directory.*--data drawn"):
        ensure_mnist(tmp_path / "file" / "data")
