"""What README and docs/ say can be typed: commands parse, Python runs, links lead somewhere."""

import os
import re
import shlex
import shutil
from pathlib import Path

import pytest
from PIL import Image

from mnist_edge.cli import cli

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def blocks(page: Path, *languages: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return [text for language, text in found if language in languages]


def commands(page: Path) -> list[str]:
    """Return the lines that start with the command; those of README's overview are no lines to type."""
    lines = [line.partition("#")[0].strip() for block in blocks(page, "", "sh") for line in block.splitlines()]
    return [line for line in lines if line.startswith("mnist-edge ") and not re.search(r"\[|…| · ", line)]


TYPED = [(page.name, line) for page in PAGES for line in commands(page)]


@pytest.mark.parametrize(("page", "line"), TYPED)
def test_a_command_parses(page: str, line: str) -> None:
    ctx, command = None, cli
    name, words = "mnist-edge", shlex.split(line)[1:]
    while True:
        ctx = command.make_context(name, words, parent=ctx)  # type: ignore[arg-type]
        if not hasattr(command, "commands"):
            break
        name, child, words = command.resolve_command(ctx, [*ctx._protected_args, *ctx.args])  # type: ignore[assignment]
        command = child  # type: ignore[assignment]


def test_there_are_commands_to_try() -> None:
    assert len(TYPED) > 10


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("block", blocks(ROOT / "README.md", "python"))
def test_python_of_the_readme_runs(
    block: str, mnist_dir: Path, seven: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a folder with what the text speaks of: a picture, the reference model, MNIST's test images."""
    for name in [name for name in os.environ if name.startswith("MNIST_EDGE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    Image.fromarray(seven).save("img.png")
    shutil.copytree(ROOT / "models" / "lenet", tmp_path / "models" / "lenet")
    (tmp_path / "t10k-images-idx3-ubyte").symlink_to(next(mnist_dir.rglob("t10k-images-idx3-ubyte")))
    exec(block, {})
    assert "7" in capsys.readouterr().out
