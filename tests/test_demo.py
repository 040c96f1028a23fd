"""The demo finds out before the training whether it can write what it will write."""

from pathlib import Path

import pytest
from PIL import Image

import mnist_edge.cli.train as command
import mnist_edge.training.run as training
from mnist_edge.cli import cli
from mnist_edge.cli.group import EXIT_FAILED, EXIT_USAGE
from mnist_edge.dataset import drawn


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Path]:
    """The runs that were begun; none is trained."""
    begun: list[Path] = []

    def begin(run: training.Run, *rest: object) -> None:
        begun.append(run.folder)
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "train", begin)
    monkeypatch.setattr(command, "load_data", lambda *given: (drawn.draw("train", 12), drawn.draw("test", 10)))
    monkeypatch.chdir(tmp_path)
    return begun


def demo(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        cli.main(args=["demo", "--train-images", "12", "--epochs", "1", *arguments])
    assert isinstance(end.value.code, int)
    return end.value.code


@pytest.mark.parametrize("arguments", [(), ("--models-dir", "x"), ("--folder", "a/b", "--models-dir", "x")])
def test_its_picture_is_there_before_the_training(trainings: list[Path], arguments: tuple[str, ...], tmp_path: Path) -> None:
    assert demo(*arguments) == 130
    (run,) = trainings
    assert run.parts[0] == ("x" if arguments else "demo")
    assert (run / "run.json").is_file()
    picture = tmp_path / ("a/b" if "a/b" in arguments else "demo") / "digit.png"
    with Image.open(picture) as opened:
        assert opened.size == (280, 280)


def test_a_file_in_the_way_is_said_before_anything_is_done(
    trainings: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "demo").write_text("mine")
    assert demo() == EXIT_USAGE
    assert capsys.readouterr().err == "error: demo: a file and not a folder; name another with --folder\n"
    assert (tmp_path / "demo").read_text() == "mine"
    (tmp_path / "x").write_text("mine")
    assert demo("--folder", "other", "--models-dir", "x") == EXIT_FAILED
    assert "x" in capsys.readouterr().err.splitlines()[-1]
    assert trainings == []


def test_a_picture_that_cannot_be_written_is_named(trainings: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "demo" / "digit.png").mkdir(parents=True)
    assert demo() == EXIT_FAILED
    assert capsys.readouterr().err == "error: demo/digit.png: Is a directory\n"
    assert trainings == []
