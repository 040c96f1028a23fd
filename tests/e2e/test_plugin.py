"""A distribution of somebody else's, installed for real: it adds a runtime, and a format that writes a folder."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import command
from once import once

from mnist_edge import store

PLUGIN = Path(__file__).parents[1] / "plugin"

Installed = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that has the distribution and nothing else."""

    def make(folder: Path) -> None:
        source = shutil.copytree(PLUGIN, folder / "source")  # a build may write beside it
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder / "site", source]
        done = subprocess.run(install, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stderr

    return once(tmp_path_factory, "plugin", make) / "site"


@pytest.fixture(scope="session")
def exported(trained: Path, site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small LeNet with a folder, proven on 1,000 drawn digits by the installed command. Do not change it."""

    def make(folder: Path) -> None:
        from mnist_edge.dataset import drawn
        from mnist_edge.dataset.folder import write_folder

        shutil.copytree(trained, folder / "models")
        write_folder(drawn.draw("test", 1000), folder / "images" / "test")
        arguments = ("export", "lenet", "--format", "foldernet", "--digits", "float64", "--data", folder / "images" / "test")
        done = command(folder, *arguments, "--json", env={"PYTHONPATH": str(site)})
        (folder / "printed.json").write_text(done.stdout)

    return once(tmp_path_factory, "exported", make)


@pytest.fixture
def run(exported: Path, site: Path, tmp_path: Path) -> Installed:
    """Run the installed command, which finds the distribution, beside a copy of the models."""
    shutil.copytree(exported / "models", tmp_path / "models")

    def run(*arguments: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
        options = {"env": {"PYTHONPATH": str(site)}} | options
        return command(tmp_path, *arguments, process=True, **options)  # type: ignore[arg-type]

    return run


@pytest.mark.proof
def test_both_are_listed_with_what_installs_them(run: Installed) -> None:
    document = json.loads(run("formats", "--json").stdout)
    format = next(one for one in document["formats"] if one["name"] == "foldernet")
    assert (format["suffix"], format["runtime"], format["install"]) == (".folder", "foldernet", ["pip install foldernet"])
    assert format["options"] == {"float32": ["digits"]}
    runtime = next(one for one in document["runtimes"] if one["name"] == "foldernet")
    assert (runtime["formats"], runtime["options"], runtime["missing"]) == (["foldernet"], ["chunk"], [])
    assert runtime["limits"] == "convolution, pooling and dense layers only"
    help = " ".join(run("export", "--format", "foldernet", "--help").stdout.split())
    assert "--digits float32|float64|float16 Number type of the arrays. [default: float32]" in help
    assert "--digits" not in run("export", "--format", "onnx", "--help").stdout
    assert "--chunk INTEGER" in run("predict", "--runtime", "foldernet", "--help").stdout
    done = run("export", "lenet", "--format", "foldernet", "--digits", "float8", check=2)
    assert "--digits float8: no such choice (did you mean 'float64'?)" in done.stderr


@pytest.mark.proof
def test_the_folder_is_proven_and_every_command_takes_it(run: Installed, exported: Path, picture: Path, tmp_path: Path) -> None:
    printed = json.loads((exported / "printed.json").read_text())
    assert printed["published"]
    assert printed["parity"]["equal_answers"] == printed["parity"]["images"] == 1000
    assert {"graph.json", "about.txt", "weights/fc3.bias.npy"} < set(printed["members"])
    folder = tmp_path / "models" / "lenet" / "lenet.folder"
    assert printed["bytes"] == sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    artifact = store.find("lenet", tmp_path / "models").artifact("foldernet")
    assert artifact.proof.version == "foldernet 1.2.3"
    assert artifact.proof.platform is not None

    assert f"lenet.folder {printed['bytes'] / 1000:.0f} kB" in run("list").stdout
    shown = run("show", "lenet").stdout
    assert "foldernet 1.0" in shown
    assert f"{len(printed['members'])}  foldernet" in shown
    verified = json.loads(run("verify", "lenet", "--data", exported / "images" / "test", "--runtime", "all", "--json").stdout)
    states = {(one["file"], one["runtime"]): one["state"] for one in verified["artifacts"]}
    assert states["lenet.folder", "foldernet"] == "passed"
    assert {one for one in states if one[0] == "lenet.folder"} == {("lenet.folder", "foldernet")}
    run("verify", "lenet", "--data", exported / "images" / "test")
    for model in ("lenet", "models/lenet/lenet.folder", "models/lenet/lenet.folder/"):
        done = run("predict", picture, "--runtime", "foldernet", "--model", model, "--require-proof", "--json")
        assert json.loads(done.stdout)["digit"] == 7
    done = run("predict", picture, "--model", "models/lenet/lenet.folder", check=2)
    assert "add: --runtime foldernet" in done.stderr
    measured = json.loads(run("benchmark", "lenet", "--rounds", "1", "--json").stdout)
    row = next(row for row in measured["rows"] if row["runtime"] == "foldernet")
    assert row["bytes"] == printed["bytes"]
    run("report", "lenet", "--data", exported / "images" / "test")
    card = (tmp_path / "models" / "lenet" / "README.md").read_text()
    assert "lenet.folder" in card


@pytest.mark.proof
def test_a_runtimes_option_reaches_it_and_counts_for_the_proof(run: Installed, picture: Path) -> None:
    predict = ("predict", picture, "--runtime", "foldernet")
    done = run(*predict, "--chunk", "1")
    assert "not proven with foldernet 1.2.3 and --chunk 1 on " in done.stderr
    assert "verify proves it without --chunk" in done.stderr
    assert "--chunk 0: 1 or more" in run(*predict, "--chunk", "0", check=2).stderr  # and not as if it were not there
    run(*predict, "--chunk", "1", "--require-proof", check=3)


@pytest.mark.proof
def test_one_flipped_byte_is_refused_by_every_command(run: Installed, picture: Path, tmp_path: Path) -> None:
    member = tmp_path / "models" / "lenet" / "lenet.folder" / "weights" / "conv1.weight.npy"
    content = bytearray(member.read_bytes())
    content[-1] ^= 1
    member.write_bytes(content)
    words = "lenet.folder: refused, weights/conv1.weight.npy has changed: its SHA-256 is"
    for arguments, code in (
        (("predict", picture, "--runtime", "foldernet"), 1),
        (("predict", picture, "--runtime", "foldernet", "--model", "models/lenet/lenet.folder/"), 1),
        (("verify", "lenet", "--quick", "--runtime", "foldernet"), 3),
        (("benchmark", "lenet", "--rounds", "1"), 1),
    ):
        done = run(*arguments, check=code)
        assert words in done.stderr
        assert len([line for line in done.stderr.splitlines() if words in line]) == 1
    assert json.loads(run("verify", "lenet", "--quick", "--json", check=3).stdout)["artifacts"][1]["state"] == "passed"


@pytest.mark.proof
def test_where_the_distribution_is_not_installed_the_rest_works(run: Installed, picture: Path) -> None:
    done = run("verify", "lenet", "--quick", env={})
    assert "lenet.folder on foldernet: " in done.stderr
    assert "needs runtime foldernet, which no package installed here provides" in done.stderr
    assert done.stdout.count("passed") == 2
    assert "lenet.folder" in run("show", "lenet", env={}).stdout
    run("predict", picture, env={})
    assert "unknown runtime 'foldernet'" in run("predict", picture, "--runtime", "foldernet", env={}, check=2).stderr
    measured = run("benchmark", "lenet", "--rounds", "1", env={})
    assert "left out: lenet.folder needs runtime foldernet" in measured.stderr


@pytest.mark.proof
def test_a_built_in_runtime_starts_without_it(run: Installed, site: Path, picture: Path, tmp_path: Path) -> None:
    """Its entry points are not even looked at."""
    code = f"import sys\nfrom mnist_edge.cli import cli\ntry: cli.main(args=['predict', {str(picture)!r}])\nexcept SystemExit as end: assert not end.code\n"
    code += "print('foldernet' in sys.modules, 'importlib.metadata' in sys.modules, file=sys.stderr)"
    environment = os.environ | {"PYTHONPATH": str(site), "MNIST_EDGE_MODELS_DIR": str(tmp_path / "models")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stderr.splitlines()[-1].split()[0] == "False"
