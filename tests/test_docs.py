"""What README and docs/ say can be typed: commands parse, Python runs, links lead somewhere."""

import os
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from conftest import COMMAND
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


#: Those of plug-ins.md need its plug-in: a test of its own runs them.
TYPED = [(page.name, line) for page in PAGES if page.name != "plug-ins.md" for line in commands(page)]


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


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 150


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_page_is_linked() -> None:
    linked = {(page.parent / link).resolve() for page in PAGES for link in re.findall(r"\]\(([^)#:]+)", page.read_text("utf-8"))}
    assert [page.name for page in (ROOT / "docs").glob("*.md") if page not in linked] == []


@pytest.mark.proof
def test_the_example_of_a_plug_in_works(tmp_path: Path, seven: object) -> None:
    """The page's files as a distribution on the module path, and its commands as they stand, on less data."""
    page = ROOT / "docs" / "plug-ins.md"
    site, work = tmp_path / "site", tmp_path / "work"
    for text in blocks(page, "python", "toml"):
        path = site / text.partition("\n")[0].removeprefix("# ")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    project = tomllib.loads((site / "pyproject.toml").read_text())["project"]
    about = site / f"{project['name']}-{project['version']}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = [[f"[{group}]", *(f"{name} = {where}" for name, where in points.items())] for group, points in project["entry-points"].items()]
    (about / "entry_points.txt").write_text("\n".join(line for lines in groups for line in lines))
    work.mkdir()
    Image.fromarray(seven).save(work / "img.png")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MNIST_EDGE_")} | {"PYTHONPATH": str(site)}
    less = {
        "train": ["--data", "drawn", "--train-images", "2400", "--epochs", "1"],
        "export": ["--data", "drawn"],
        "verify": ["--data", "drawn"],
    }

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([COMMAND, *words], cwd=work, env=environment, capture_output=True, text=True, check=False)

    done = {}
    for line in commands(page):
        words = shlex.split(line)[1:]
        done[words[0]] = run(*words, *less.get(words[0], ()))
        assert done[words[0]].returncode == 0, (line, done[words[0]].stderr)
    assert "a layer as arrays, in numpy" in done["formats"].stdout
    assert "10,000 of 10,000" in done["verify"].stdout
    assert "img.png" in done["predict"].stdout and "not proven" not in done["predict"].stderr
    for words, option in ((["export", "--format", "plain"], "--compress"), (["predict", "--runtime", "plain"], "--arithmetic")):
        assert option in run(*words, "--help").stdout
    licence = work / "models" / "linear" / "linear.plain" / "licence.txt"
    licence.write_bytes(licence.read_bytes()[:-1] + b"?")
    assert run("verify", "linear", "--data", "drawn").returncode == 3
    assert "refused" in run("predict", "img.png", "--model", "linear", "--runtime", "plain").stderr


PYTHON = [(page, block) for page in ("README.md", "docs/models.md") for block in blocks(ROOT / page, "python")]


@pytest.mark.parametrize(("page", "block"), PYTHON, ids=lambda value: value.partition("\n")[0])
def test_python_of_the_pages_runs(
    page: str,
    block: str,
    mnist_dir: Path,
    seven: object,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
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
